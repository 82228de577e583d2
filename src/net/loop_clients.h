#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/check.h"
#include "net/client.h"

namespace pontage::net {

// One Client for each loop that asks for one, for objects that serve all loops. Destroyed after the
// loops have stopped running and before they are destroyed.
class LoopClients {
 public:
  explicit LoopClients(ClientLimits limits = {}) : limits_(limits) {}

  // The client of the loop whose thread this is.
  Client& Here() {
    Loop* loop = Loop::Current();
    PTG_CHECK(loop != nullptr);
    const std::lock_guard lock(mutex_);
    std::unique_ptr<Client>& client = clients_[loop];
    if (!client) client = std::make_unique<Client>(*loop, limits_);
    return *client;
  }

 private:
  ClientLimits limits_;
  std::mutex mutex_;
  std::unordered_map<Loop*, std::unique_ptr<Client>> clients_;
};

}  // namespace pontage::net
