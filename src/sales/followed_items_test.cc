#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/purchases.h"

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

class FollowTest : public PurchaseTest {};
INSTANTIATE_TEST_SUITE_P(Engines, FollowTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

// What Stripe's dashboard makes of another product: another item in the place of the first.
TEST_P(FollowTest, AnItemInPlaceOfAnotherGoesOnWithItsLicense) {
  PurchaseFacts facts = Facts();
  const License before = Apply(facts).licenses.at(0);
  facts.items[0].origin = "sub:sub_1:si_2";
  facts.items[0].plan = "team";
  Apply(facts);
  ASSERT_EQ(Licenses().size(), 1u);
  EXPECT_EQ(Licenses()[0].id, before.id);
  EXPECT_EQ(Licenses()[0].plan, "team");
  EXPECT_EQ(Licenses()[0].origin, "sub:sub_1:si_2");
  EXPECT_EQ(Mails().size(), 1u);
  facts.items[0].facts.refunded = true;
  Apply(facts);
  EXPECT_EQ(Licenses()[0].status, Status::kRevoked);
  // Nor is what was revoked opened by another item.
  facts.items[0].origin = "sub:sub_1:si_3";
  Apply(facts);
  ASSERT_EQ(Licenses().size(), 1u);
  EXPECT_EQ(Licenses()[0].status, Status::kRevoked);
}

TEST_P(FollowTest, ALicenseWhoseItemIsGoneEnds) {
  PurchaseFacts both = Facts();
  both.items.push_back(both.items[0]);
  both.items[1].origin = "sub:sub_1:si_2";
  both.items[1].plan = "team";
  Apply(both);
  ASSERT_EQ(Licenses().size(), 2u);
  PurchaseFacts one = both;
  one.items.pop_back();
  const auto of = [this](std::string_view plan) {
    const std::vector<License> all = Licenses();
    return *std::ranges::find(all, plan, &License::plan);
  };
  for (int i = 0; i < 2; ++i) {
    Apply(one);
    EXPECT_EQ(of("pro").status, Status::kActive);
    EXPECT_EQ(of("team").status, Status::kExpired);
    EXPECT_LE(of("team").expires, clock_.Now());
    EXPECT_THAT(Mails(), ::testing::UnorderedElementsAre("license", "license", "cancelled"));
    clock_.Advance(Millis(60'000));
  }
  const License ended = of("team");
  // Bought again, its text opens again.
  Apply(both);
  ASSERT_EQ(Licenses().size(), 2u);
  EXPECT_EQ(of("team").id, ended.id);
  EXPECT_EQ(of("team").status, Status::kActive);
}

}  // namespace
}  // namespace pontage::sales
