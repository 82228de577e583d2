#include "sales/portal.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/log.h"
#include "testing/stripe_peer.h"

namespace pontage::sales {
namespace {

stripe::PortalConfiguration Configuration(const std::string& id) {
  stripe::PortalConfiguration one;
  one.id = stripe::PortalConfigurationId(id);
  one.active = true;
  one.default_return_url = "https://api.example.com/billing";
  one.metadata = {{std::string(kMadeByKey), std::string(kMadeBy)}};
  return one;
}

TEST(FindOurPortalTest, IsOfThisShopMadeByUsAndInUse) {
  Shop shop;
  shop.public_url = "https://api.example.com";
  stripe::PortalConfiguration by_hand = Configuration("bpc_hand");
  by_hand.metadata.clear();
  stripe::PortalConfiguration others = Configuration("bpc_other");
  others.default_return_url = "https://other.example/billing";
  stripe::PortalConfiguration closed = Configuration("bpc_closed");
  closed.active = false;
  std::vector<stripe::PortalConfiguration> all = {by_hand, others, closed};
  EXPECT_EQ(FindOurPortal(all, shop), nullptr);
  all.push_back(Configuration("bpc_ours"));
  ASSERT_NE(FindOurPortal(all, shop), nullptr);
  EXPECT_EQ(FindOurPortal(all, shop)->id.str(), "bpc_ours");
}

class PortalTest : public ::testing::Test {
 protected:
  PortalTest() {
    SetLogLevel(LogLevel::kError);
    client_ = *StripeClient::Make(pontage::testing::OptionsFor(peer_), Clock::System(), rng_);
    shop_.public_url = "https://api.example.com";
    // The peer's answer to what is made is no session: what was asked is what counts here.
    peer_.kind = "billing_portal.session";
    peer_.lists["/v1/billing_portal/configurations"] = {};
  }
  ~PortalTest() override { SetLogLevel(LogLevel::kInfo); }

  void Ours(const std::string& id) {
    peer_.lists["/v1/billing_portal/configurations"] = {
        codec::ParseJson(R"({"id":")" + id +
                         R"(","object":"billing_portal.configuration","active":true,
        "is_default":false,"default_return_url":"https://api.example.com/billing","updated":1,
        "metadata":{"made_by":"pontage"}})")
            .value()};
  }
  // The last thing that was asked to be made.
  std::string Ask(Portal& portal) {
    const Deadline by = Deadline::In(Clock::System(), Millis(5'000));
    const auto url = loop_.RunUntilDone(portal.Open(stripe::CustomerId("cus_1"), by));
    failure_ = url ? "" : url.error().detail();
    return peer_.calls.back().method == "POST" ? peer_.calls.back().body : "";
  }

  static constexpr const char* kPlain =
      "customer=cus_1&return_url=https%3A%2F%2Fapi.example.com%2Fbilling";
  Loop loop_;
  SeededRng rng_{7};
  pontage::testing::StripePeer peer_{loop_};
  Shop shop_;
  std::unique_ptr<StripeClient> client_;
  std::string failure_;
};

TEST_F(PortalTest, NamesTheConfigurationThatTheShopWasSetUpWith) {
  Portal portal(*client_, shop_, Clock::System(), rng_);
  Ours("bpc_1");
  EXPECT_EQ(Ask(portal), std::string(kPlain) + "&configuration=bpc_1");
  const size_t asked = peer_.calls.size();
  Ask(portal);
  EXPECT_EQ(peer_.calls.size(), asked + 1) << "it is known";
}

TEST_F(PortalTest, LeavesItToTheAccountWhereThereIsNone) {
  Portal portal(*client_, shop_, Clock::System(), rng_);
  EXPECT_EQ(Ask(portal), kPlain);
}

TEST_F(PortalTest, AKeyThatMayNotLookOpensItAllTheSame) {
  Portal portal(*client_, shop_, Clock::System(), rng_);
  Ours("bpc_1");
  peer_.faults = {{.status = 403}};
  EXPECT_EQ(Ask(portal), kPlain);
}

TEST_F(PortalTest, AStripeThatFailsOpensNothing) {
  Portal portal(*client_, shop_, Clock::System(), rng_);
  Ours("bpc_1");
  peer_.faults = {{.status = 401}};
  EXPECT_EQ(Ask(portal), "");
  EXPECT_NE(failure_, "");
}

TEST_F(PortalTest, OneThatWasPutOutOfUseIsLookedUpAgain) {
  Portal portal(*client_, shop_, Clock::System(), rng_);
  Ours("bpc_1");
  Ask(portal);
  Ours("bpc_2");
  peer_.faults = {{.status = 400, .body = R"({"error":{"message":"inactive"}})"}};
  EXPECT_EQ(Ask(portal), std::string(kPlain) + "&configuration=bpc_2");
  // What is refused although it was just looked up is refused.
  const size_t asked = peer_.calls.size();
  peer_.faults = {{.status = 400}, {}, {.status = 400, .body = R"({"error":{"message":"no"}})"}};
  Ask(portal);
  EXPECT_EQ(peer_.calls.size(), asked + 3);
  EXPECT_EQ(failure_, "Stripe answered 400: no");
}

}  // namespace
}  // namespace pontage::sales
