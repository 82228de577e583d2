#include "catalog/allowance.h"

#include <gtest/gtest.h>

#include "testing/seeds.h"

namespace pontage::catalog {
namespace {

constexpr Allowance kThreeASecond{.count = 3, .window = Millis(1'000)};
constexpr Allowance kTwoADay{.count = 2, .window = Millis(86'400'000)};

struct Step {
  int64_t at_ms;
  bool pass;
  uint64_t left;
  int64_t reset_ms;
  int64_t retry_ms;
};

template <typename Take>
void Walk(Take take, const Allowance& allowance, std::initializer_list<Step> steps) {
  Usage usage;
  for (const Step& step : steps) {
    SCOPED_TRACE("at " + std::to_string(step.at_ms) + " ms");
    const Verdict v = take(allowance, usage, SteadyMs(step.at_ms));
    EXPECT_EQ(v.pass, step.pass);
    EXPECT_EQ(v.left, step.left);
    EXPECT_EQ(v.reset.count(), step.reset_ms);
    EXPECT_EQ(v.retry.count(), step.retry_ms);
  }
}

TEST(AllowanceTest, ARateIsABurstAndThenOneAtATime) {
  Walk(TakeRate, kThreeASecond,
       {
           {0, true, 2, 334, 0},
           {0, true, 1, 667, 0},
           {0, true, 0, 1001, 0},  // a third of a second does not go into nanoseconds
           {0, false, 0, 1001, 334},
           {333, false, 0, 668, 1},
           {334, true, 0, 1000, 0},  // exactly one has come back
           {334, false, 0, 1000, 333},
           {5'000, true, 2, 334, 0},  // long silence saves up no more than the burst
       });
}

TEST(AllowanceTest, AQuotaIsCountedFromTheFirstRequest) {
  Walk(TakeQuota, kTwoADay,
       {
           {10, true, 1, 86'400'000, 0},
           {20, true, 0, 86'399'990, 0},
           {30, false, 0, 86'399'980, 86'399'980},
           {86'400'009, false, 0, 1, 1},
           {86'400'010, true, 1, 86'400'000, 0},
       });
}

TEST(AllowanceTest, ARefusedRequestCostsNothing) {
  Usage usage;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(TakeRate(kThreeASecond, usage, SteadyMs(0)).pass);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(TakeRate(kThreeASecond, usage, SteadyMs(100)).pass);
  EXPECT_TRUE(TakeRate(kThreeASecond, usage, SteadyMs(334)).pass);
}

TEST(AllowanceTest, AReloadKeepsWhatWasUsed) {
  Usage usage;
  for (int i = 0; i < 3; ++i) TakeRate(kThreeASecond, usage, SteadyMs(0));
  // Twice as much: half of it was used, and this is one more.
  const Allowance six{.count = 6, .window = Millis(1'000)};
  EXPECT_EQ(TakeRate(six, usage, SteadyMs(0)).left, 2U);
  // Much less: all of it is used, and nobody waits longer than its own window.
  const Allowance one{.count = 1, .window = Millis(100)};
  const Verdict v = TakeRate(one, usage, SteadyMs(0));
  EXPECT_FALSE(v.pass);
  EXPECT_EQ(v.retry.count(), 100);

  Usage quota;
  TakeQuota(kTwoADay, quota, SteadyMs(0));
  const Allowance hour{.count = 1, .window = Millis(3'600'000)};
  const Verdict shorter = TakeQuota(hour, quota, SteadyMs(0));
  EXPECT_FALSE(shorter.pass);
  EXPECT_EQ(shorter.retry.count(), 3'600'000);
}

TEST(AllowanceTest, TheLargestAndTheSmallestDoNotOverflow) {
  Usage usage;
  const Allowance most{.count = 1'000'000'000, .window = Millis(86'400'000)};
  const SteadyMs late(int64_t{100} * 365 * 86'400'000);
  EXPECT_TRUE(TakeRate(most, usage, late).pass);
  const Allowance dense{.count = 1'000'000'000, .window = Millis(1'000)};
  Usage other;
  EXPECT_EQ(TakeRate(dense, other, late).left, 999'999'999U);
}

// Over any stretch of time nobody gets more than the burst and what came back meanwhile.
TEST(AllowanceTest, NoPatternOfRequestsGetsMoreThanTheRate) {
  for (const uint64_t seed : testing::Seeds(20)) {
    SCOPED_TRACE(testing::Rerun(seed));
    SeededRng rng(seed);
    const Allowance a{.count = 1 + rng.Next64() % 50, .window = Millis(1'000)};
    Usage usage;
    int64_t now = 1'000'000;
    std::vector<int64_t> passed;
    for (int i = 0; i < 2'000; ++i) {
      now += static_cast<int64_t>(rng.Next64() % 40);
      if (TakeRate(a, usage, SteadyMs(now)).pass) passed.push_back(now);
    }
    for (size_t i = 0; i < passed.size(); i += 7) {
      for (size_t k = i; k < passed.size(); k += 13) {
        const auto most = static_cast<int64_t>(a.count) * (passed[k] - passed[i]) / 1'000 +
                          static_cast<int64_t>(a.count);
        ASSERT_LE(static_cast<int64_t>(k - i + 1), most + 1);
      }
    }
  }
}

TEST(AllowanceTest, FillIsWhatIsUsed) {
  Usage usage;
  EXPECT_EQ(FillOfQuota(kTwoADay, usage, SteadyMs(0)), 0U);
  TakeQuota(kTwoADay, usage, SteadyMs(0));
  EXPECT_EQ(FillOfQuota(kTwoADay, usage, SteadyMs(1)), 1U << 15);
  TakeQuota(kTwoADay, usage, SteadyMs(0));
  EXPECT_EQ(FillOfQuota(kTwoADay, usage, SteadyMs(1)), 1U << 16);
  EXPECT_EQ(FillOfQuota(kTwoADay, usage, SteadyMs(86'400'000)), 0U);
  Usage rate;
  for (int i = 0; i < 3; ++i) TakeRate(kThreeASecond, rate, SteadyMs(0));
  EXPECT_EQ(FillOfRate(kThreeASecond, rate, SteadyMs(0)), 1U << 16);
  EXPECT_EQ(FillOfRate(kThreeASecond, rate, SteadyMs(2'000)), 0U);
}

TEST(AllowanceTest, FieldsAreTheDrafts) {
  EXPECT_EQ(PolicyMember("rate", kThreeASecond), "\"rate\";q=3;w=1");
  EXPECT_EQ(PolicyMember("free", kTwoADay), "\"free\";q=2;w=86400");
  const Verdict verdict{.pass = true, .left = 2, .reset = Millis(334), .retry = {}};
  EXPECT_EQ(LimitMember("rate", verdict), "\"rate\";r=2;t=1");
  EXPECT_EQ(RetrySeconds(Millis(1)), 1);
  EXPECT_EQ(RetrySeconds(Millis(1'001)), 2);
}

}  // namespace
}  // namespace pontage::catalog
