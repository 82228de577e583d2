#include "settle/fee_policy.h"

#include <gtest/gtest.h>

#include "testing/expect.h"

namespace pontage::settle {
namespace {

using codec::Uint256;
using testing::FailsWith;
using testing::IsOk;

chain::EvmFees Market(uint64_t base, uint64_t tip) { return {Uint256(base), Uint256(tip)}; }

TEST(FeePolicy, AFirstVersionPaysTwiceTheBaseFeeWithinTheCap) {
  const auto price = FirstPrice(Market(100, 7), Uint256(1'000));
  ASSERT_THAT(price, IsOk());
  EXPECT_EQ(*price, (GasPrice{Uint256(207), Uint256(7)}));
  EXPECT_EQ(FirstPrice(Market(100, 7), Uint256(150))->most, Uint256(150));
  EXPECT_THAT(FirstPrice(Market(100, 7), Uint256(107)), IsOk());
  EXPECT_THAT(FirstPrice(Market(100, 7), Uint256(106)), FailsWith(Code::kOverloaded));
}

TEST(FeePolicy, ATipThatNobodyAsksIsANodesMistake) {
  constexpr uint64_t kGwei = 1'000'000'000;
  EXPECT_EQ(Believed(Market(kGwei / 100, 900 * kGwei)).priority_fee, Uint256(50 * kGwei));
  EXPECT_EQ(Believed(Market(300 * kGwei, 200 * kGwei)).priority_fee, Uint256(200 * kGwei));
  EXPECT_EQ(Believed(Market(300 * kGwei, 900 * kGwei)).priority_fee, Uint256(300 * kGwei));
  EXPECT_EQ(Believed(Market(100, 7)).priority_fee, Uint256(7));
}

TEST(FeePolicy, ARaiseIsAnEighthOrTheMarketAndNeverAboveTheCap) {
  const GasPrice last{Uint256(800), Uint256(80)};
  const struct {
    const char* name;
    chain::EvmFees market;
    uint64_t cap;
    std::optional<GasPrice> want;
  } cases[] = {
      {"an eighth", Market(100, 7), 10'000, GasPrice{Uint256(900), Uint256(90)}},
      {"exactly at the cap", Market(100, 7), 900, GasPrice{Uint256(900), Uint256(90)}},
      {"no room below the cap", Market(100, 7), 899, std::nullopt},
      {"the market has gone up", Market(1'000, 200), 10'000,
       GasPrice{Uint256(2'200), Uint256(200)}},
      {"the market is above the cap", Market(1'000, 200), 1'500,
       GasPrice{Uint256(1'500), Uint256(200)}},
  };
  for (const auto& c : cases)
    EXPECT_EQ(RaisedPrice(last, c.market, Uint256(c.cap)), c.want) << c.name;
  // Rounded up: a node that asks for an eighth gets it.
  const auto odd = RaisedPrice({Uint256(9), Uint256(1)}, Market(1, 1), Uint256(100));
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(*odd, (GasPrice{Uint256(11), Uint256(2)}));
  // A tip of zero is raised too.
  EXPECT_EQ(RaisedPrice({Uint256(9), Uint256()}, Market(1, 0), Uint256(100))->tip, Uint256(1));
}

TEST(FeePolicy, WhatIsDoneAboutATransactionThatNoBlockHas) {
  const auto late = [] {
    Unmined tx;
    tx.age = Millis(60'000);
    tx.price = {Uint256(1'000), Uint256(10)};
    return tx;
  };
  const struct {
    const char* name;
    Step want;
    Unmined (*make)(Unmined);
    chain::EvmFees market;
  } cases[] = {
      {"young", Step::kWait,
       [](Unmined t) {
         t.age = Millis(29'999);
         t.head = true;
         return t;
       },
       Market(1, 1)},
      {"the lowest nonce", Step::kRaise,
       [](Unmined t) {
         t.head = true;
         return t;
       },
       Market(1, 1)},
      {"behind another that waits", Step::kWait, [](Unmined t) { return t; }, Market(1, 1)},
      {"behind another, and the market has left it", Step::kRaise, [](Unmined t) { return t; },
       Market(995, 6)},
      {"behind another, and the market still takes it", Step::kWait, [](Unmined t) { return t; },
       Market(990, 10)},
      {"a node calls it underpriced", Step::kRaise,
       [](Unmined t) {
         t.underpriced = true;
         return t;
       },
       Market(1, 1)},
      {"nobody wants it any more", Step::kCancel,
       [](Unmined t) {
         t.wanted = false;
         return t;
       },
       Market(1, 1)},
      {"raised too often, and nobody wants it any more", Step::kCancel,
       [](Unmined t) {
         t.wanted = false;
         t.versions = kMaxVersions;
         return t;
       },
       Market(1, 1)},
      {"canceled already, and still not mined", Step::kRaise,
       [](Unmined t) {
         t.wanted = false;
         t.canceled = true;
         t.head = true;
         return t;
       },
       Market(1, 1)},
      {"raised too often", Step::kWait,
       [](Unmined t) {
         t.head = true;
         t.versions = kMaxVersions;
         return t;
       },
       Market(1, 1)},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(NextStep(c.make(late()), c.market, Millis(30'000)), c.want) << c.name;
  }
}

}  // namespace
}  // namespace pontage::settle
