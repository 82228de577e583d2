#include "paywall/challenge.h"

#include <gtest/gtest.h>

#include "testing/fake_sale.h"

namespace pontage::paywall {
namespace {

class RefusalCacheTest : public ::testing::Test {
 protected:
  static rail::RailSet Rails() {
    std::vector<std::unique_ptr<rail::Rail>> list;
    list.push_back(std::make_unique<testing::FakeRail>(Clock::System()));
    return rail::RailSet(std::move(list));
  }
  // What is asked of who wants `path`, by a price list that says `micros`.
  std::string Offer(const rail::RailSet& rails, const std::string& path, int64_t micros,
                    size_t route = 0) {
    deal::Quote quote;
    quote.route = route;
    quote.resource_url = "https://shop.example" + path;
    quote.price = Money::Micros(micros);
    const auto unpaid = [] { return Error(Code::kPaymentRequired, "costs something"); };
    const std::shared_ptr<Offered> offered = cache_.Of(rails, quote, unpaid);
    EXPECT_EQ(offered->fields.at(1).value, quote.resource_url);
    EXPECT_TRUE(offered->fields.judged(1));
    EXPECT_EQ(offered->fields.Get("Cache-Control"), "no-store");
    const auto body = codec::ParseJson(offered->body);
    return body ? *body->Find("price")->AsString() : "not JSON";
  }

  RefusalCache cache_;
};

TEST_F(RefusalCacheTest, BetweenTwoPriceListsAnAnswerIsMadeOnce) {
  const rail::RailSet rails = Rails();
  EXPECT_EQ(Offer(rails, "/a", 1000), "$0.001");
  EXPECT_EQ(Offer(rails, "/a", 2000), "$0.001");
  EXPECT_EQ(Offer(rails, "/b", 2000), "$0.002");
  EXPECT_EQ(Offer(rails, "/a", 3000, 1), "$0.003");
}

TEST_F(RefusalCacheTest, ANewPriceListForgetsTheOldOne) {
  const rail::RailSet old = Rails();
  const rail::RailSet now = Rails();
  EXPECT_EQ(Offer(old, "/a", 1000), "$0.001");
  EXPECT_EQ(Offer(now, "/a", 2000), "$0.002");
  // A request that began before the reload keeps its price, and nobody after it gets that one.
  EXPECT_EQ(Offer(old, "/a", 1000), "$0.001");
  EXPECT_EQ(Offer(old, "/b", 1000), "$0.001");
  EXPECT_EQ(Offer(now, "/a", 2000), "$0.002");
  EXPECT_EQ(Offer(now, "/b", 2000), "$0.002");
}

// Whoever is being told an offer keeps it until he has heard it.
TEST_F(RefusalCacheTest, WhatIsForgottenIsStillGoodForWhomItIsSentTo) {
  const rail::RailSet old = Rails();
  deal::Quote quote;
  quote.price = Money::Micros(1000);
  const auto unpaid = [] { return Error(Code::kPaymentRequired, "costs something"); };
  const std::shared_ptr<Offered> offered = cache_.Of(old, quote, unpaid);
  const std::string body = offered->body;
  Offer(Rails(), "/b", 2000);
  EXPECT_EQ(cache_.size(), 1U);
  EXPECT_EQ(offered->body, body);
}

TEST_F(RefusalCacheTest, ManyAndLongAddressesTakeNoMoreThanTheirPlace) {
  const rail::RailSet rails = Rails();
  for (size_t i = 0; i < 3 * RefusalCache::kKept; ++i) Offer(rails, "/" + std::to_string(i), 1000);
  EXPECT_LE(cache_.size(), RefusalCache::kKept);
  const size_t before = cache_.size();
  const std::string path = "/" + std::string(2 * RefusalCache::kKey, 'x');
  EXPECT_EQ(Offer(rails, path, 1000), "$0.001");
  EXPECT_EQ(Offer(rails, path, 2000), "$0.002");
  EXPECT_EQ(cache_.size(), before);
}

}  // namespace
}  // namespace pontage::paywall
