// What the binary `pontage` has beside gateway and facilitator.
#include <utility>

#include "app/console_wiring.h"
#include "app/role.h"
#include "app/sales_wiring.h"
#include "base/try.h"

namespace pontage::app {
namespace {

class Console : public Role {
 public:
  explicit Console(std::unique_ptr<ConsoleRole> role) : role_(std::move(role)) {}
  std::vector<Door> Doors() override { return role_->Doors(); }
  void Start(Loop&) override {}
  void Stop() override {}
  void UseBooks(const std::vector<license::SigningKey>&) override {}

 private:
  std::unique_ptr<ConsoleRole> role_;
};

Result<std::unique_ptr<Role>> MakeSales(const RoleParts& parts) {
  PTG_TRY(std::unique_ptr<SalesRole> role, SalesRole::Make(parts));
  return std::unique_ptr<Role>(std::move(role));
}

Result<std::unique_ptr<Role>> MakeConsole(const RoleParts& parts) {
  PTG_TRY(
      std::unique_ptr<ConsoleRole> role,
      ConsoleRole::Make(parts.config, parts.public_url, parts.database, parts.clock, parts.rng));
  return std::unique_ptr<Role>(std::make_unique<Console>(std::move(role)));
}

}  // namespace

RoleMakers AllRoles() { return {{"sales", &MakeSales}, {"console", &MakeConsole}}; }

}  // namespace pontage::app
