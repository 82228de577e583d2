#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "io/runtime.h"
#include "net/server.h"

namespace pontage::app {

// One HTTP server on a thread of its own: the sandbox's chain, the demo's sample upstream.
class LocalServer {
 public:
  // Listens and serves until the object goes. `handler` runs on the server's thread; `background`,
  // if any, is made and spawned there. What they use outlives the object. kConfig, kConnection.
  static Result<std::unique_ptr<LocalServer>> Start(std::string_view address, net::Handler handler,
                                                    std::function<Task<>()> background = {});
  ~LocalServer();
  uint16_t port() const { return port_; }
  // "http://127.0.0.1:8545"
  std::string url() const;

 private:
  LocalServer();
  Runtime runtime_{1};
  std::unique_ptr<net::Server> server_;
  std::string host_;
  uint16_t port_ = 0;
};

}  // namespace pontage::app
