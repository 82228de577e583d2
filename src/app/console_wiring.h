#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/gateway_wiring.h"
#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"

namespace pontage::app {

// The role `console` of a process: the operator's API and pages.
class ConsoleRole {
 public:
  // kConfig without an operator's key that can be used, and for what [console] says wrong; kStore
  // when a store of its own does not answer, or is of another version. `public_url` is where the
  // pages are reached. `store` is that of this process; it, `clock` and `rng` outlive it.
  static Result<std::unique_ptr<ConsoleRole>> Make(const Config& config,
                                                   const std::string& public_url,
                                                   db::Database& store, const Clock& clock,
                                                   Rng& rng);
  ~ConsoleRole();

  std::vector<Door> Doors();

 private:
  struct Impl;
  explicit ConsoleRole(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pontage::app
