#include "gateway/limiter.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace pontage::gateway {
namespace {

constexpr catalog::Allowance kTwo{.count = 2, .window = Millis(3'600'000)};
constexpr SteadyMs kNow(1'000);

TEST(ClientKeyTest, WhoIsOneClient) {
  const struct {
    const char* a;
    const char* b;
    bool same;
  } cases[] = {
      {"10.0.0.1", "10.0.0.1", true},
      {"10.0.0.1", "10.0.0.2", false},
      {"10.0.0.1", "::ffff:10.0.0.1", true},
      {"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
      {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
      {"unix", "", true},
      {"::", "0.0.0.0", false},
  };
  for (const auto& c : cases) EXPECT_EQ(ClientKey(c.a) == ClientKey(c.b), c.same) << c.a << c.b;
}

TEST(LimiterTest, ClientsAndRoutesAreCountedApart) {
  SeededRng rng(1);
  Limiter limiter(rng);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(limiter.TakeQuota("/a", "alice", kTwo, kNow).pass);
  EXPECT_FALSE(limiter.TakeQuota("/a", "alice", kTwo, kNow).pass);
  EXPECT_TRUE(limiter.TakeQuota("/a", "bob", kTwo, kNow).pass);
  EXPECT_TRUE(limiter.TakeQuota("/b", "alice", kTwo, kNow).pass);
  EXPECT_TRUE(limiter.TakeRate("/a", "alice", kTwo, kNow).pass) << "a rate is another thing";
}

// With a single set everybody lies together, which is the worst case.
TEST(LimiterTest, AFloodOfAddressesDoesNotResetWhoHasUsedEverything) {
  SeededRng rng(1);
  Limiter limiter(rng, 1);
  for (int i = 0; i < 2; ++i) limiter.TakeQuota("/a", "mallory", kTwo, kNow);
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_TRUE(limiter.TakeQuota("/a", "address " + std::to_string(i), kTwo, kNow).pass);
  }
  EXPECT_FALSE(limiter.TakeQuota("/a", "mallory", kTwo, kNow).pass);
}

TEST(LimiterTest, SeveralThreadsTogetherGetWhatOneWould) {
  SeededRng rng(1);
  Limiter limiter(rng);
  const catalog::Allowance allowance{.count = 1'000, .window = Millis(3'600'000)};
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        if (limiter.TakeRate("/a", "alice", allowance, kNow).pass) ++passed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(passed.load(), 1'000);
}

TEST(LimiterTest, WhoseTimeIsOverMakesRoomFirst) {
  SeededRng rng(1);
  Limiter limiter(rng, 1);
  const SteadyMs later = kNow + kTwo.window;
  for (size_t i = 0; i + 1 < Limiter::kWays; ++i) {
    const std::string who = "old " + std::to_string(i);
    for (int k = 0; k < 2; ++k) limiter.TakeQuota("/a", who, kTwo, kNow);
  }
  limiter.TakeQuota("/a", "half", kTwo, later + Millis(-1));
  for (int i = 0; i < 7; ++i) limiter.TakeQuota("/a", "new " + std::to_string(i), kTwo, later);
  EXPECT_EQ(limiter.TakeQuota("/a", "half", kTwo, later).left, 0U) << "was not forgotten";
}

}  // namespace
}  // namespace pontage::gateway
