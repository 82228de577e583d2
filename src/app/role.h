#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/door.h"
#include "app/license_keys.h"
#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "io/runtime.h"
#include "io/task.h"
#include "obs/metrics.h"

namespace pontage::app {

// What a role is made of beside its own; all of it outlives the role.
struct RoleParts {
  const Config& config;
  std::string public_url;  // where buyers reach this process
  db::Database& database;
  const LicenseKeys& keys;
  obs::Registry& metrics;
  const Clock& clock;
  Rng& rng;
};

// A role that a binary has or has not: a house knows it by this alone, so that a gateway's binary
// is linked without the issuer of licenses and what sells them.
class Role {
 public:
  virtual ~Role() = default;
  // Its paths, beside the routes.
  virtual std::vector<Door> Doors() = 0;
  // On the loop's thread: its own work begins.
  virtual void Start(Loop& loop) = 0;
  // Nobody is kept waiting any more. From any thread.
  virtual void Stop() = 0;
  // On the loop of Start, once every loop has served: gives back what its next start, or another
  // process, would wait for.
  virtual Task<> End() { co_return {}; }
  // What the books of signing keys say, each time somebody has looked. On the first loop.
  virtual void UseBooks(const std::vector<license::SigningKey>& books) = 0;
};

// By name: "sales". kConfig of a maker says what its role lacks.
using RoleMaker = std::function<Result<std::unique_ptr<Role>>(const RoleParts&)>;
using RoleMakers = std::map<std::string, RoleMaker>;

// All that the binary `pontage` has.
RoleMakers AllRoles();

}  // namespace pontage::app
