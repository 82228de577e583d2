#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sales/purchase.h"

namespace pontage::sales {
namespace {

using license::License;
using license::Status;

TEST(FollowItemsTest, EachItemThatIsNewTakesALicenseThatIsLeft) {
  struct Has {
    std::string origin, plan;
    Status status = Status::kActive;
  };
  struct Sells {
    std::string origin, plan;
  };
  const Has a{"sub:s:a", "pro"};
  const Has b{"sub:s:b", "team"};
  const Has over{"sub:s:o", "pro", Status::kExpired};
  const struct {
    const char* what;
    std::vector<Has> licenses;
    std::vector<Sells> items;
    Followed followed;
  } rows[] = {
      {"nothing changed", {a, b}, {{"sub:s:a", "team"}, {"sub:s:b", "pro"}}, {}},
      {"the first", {}, {{"sub:s:a", "pro"}}, {}},
      {"exchanged", {a}, {{"sub:s:c", "team"}}, {{{0, 0}}, {}}},
      {"removed", {a, b}, {{"sub:s:a", "pro"}}, {{}, {1}}},
      {"added", {a}, {{"sub:s:a", "pro"}, {"sub:s:c", "team"}}, {}},
      {"both, the same plan first",
       {a, b},
       {{"sub:s:c", "team"}, {"sub:s:d", "pro"}},
       {{{1, 0}, {0, 1}}, {}}},
      {"one of a plan before one of none",
       {a},
       {{"sub:s:c", ""}, {"sub:s:d", "team"}},
       {{{0, 1}}, {}}},
      {"one of no plan", {a}, {{"sub:s:c", ""}}, {{{0, 0}}, {}}},
      {"what opens before what is over", {over, a}, {{"sub:s:c", "pro"}}, {{{1, 0}}, {0}}},
      {"what is over", {over}, {{"sub:s:c", "team"}}, {{{0, 0}}, {}}},
      {"the operator's", {{"operator:lic_1", "pro"}}, {{"sub:s:c", "pro"}}, {}},
  };
  for (const auto& row : rows) {
    std::vector<License> licenses;
    for (const Has& has : row.licenses) {
      License& one = licenses.emplace_back();
      one.origin = has.origin;
      one.plan = has.plan;
      one.status = has.status;
    }
    std::vector<SoldItem> items;
    for (const Sells& sells : row.items) {
      items.push_back({.origin = sells.origin, .plan = sells.plan, .price = "", .facts = {}});
    }
    EXPECT_EQ(FollowItems(licenses, items), row.followed) << row.what;
  }
}

}  // namespace
}  // namespace pontage::sales
