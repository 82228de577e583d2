#include "chain/rpc_health.h"

#include <gtest/gtest.h>

namespace pontage::chain {
namespace {

TEST(RpcHealth, WhoIsAskedFirst) {
  const struct {
    const char* name;
    std::vector<bool> rests;
    size_t first;
    std::vector<size_t> want;
  } cases[] = {
      {"one", {false}, 0, {0}},
      {"one that rests is asked all the same", {true}, 0, {0}},
      {"from the one that answered last", {false, false, false}, 1, {1, 2, 0}},
      {"those that rest come last", {false, true, false}, 1, {2, 0, 1}},
      {"all rest", {true, true}, 1, {1, 0}},
  };
  for (const auto& c : cases) EXPECT_EQ(OrderOfNodes(c.rests, c.first), c.want) << c.name;
}

TEST(RpcHealth, ANodeThatFailsRestsTwiceAsLongEachTimeAndMustSayAgainWhoItIs) {
  NodeHealth node;
  EXPECT_FALSE(node.Known(SteadyMs(0))) << "before it has answered";
  EXPECT_FALSE(node.Rests(SteadyMs(0)));
  node.Named(SteadyMs(0));
  EXPECT_TRUE(node.Known(SteadyMs(29'999)));
  EXPECT_FALSE(node.Known(SteadyMs(30'000))) << "now and then, too";
  const int64_t rests[] = {1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000};
  int64_t now = 1'000'000;
  for (const int64_t rest : rests) {
    node.Named(SteadyMs(now));
    node.Failed(SteadyMs(now));
    EXPECT_FALSE(node.Known(SteadyMs(now)));
    EXPECT_TRUE(node.Rests(SteadyMs(now + rest - 1))) << rest;
    EXPECT_FALSE(node.Rests(SteadyMs(now + rest))) << rest;
    now += 100'000;
  }
  node.Succeeded();
  node.Failed(SteadyMs(now));
  EXPECT_FALSE(node.Rests(SteadyMs(now + 1'000))) << "an answer is a new start";
}

TEST(HeadWatchTest, AHeadStandsWhenItHasBeenNoHigherForAWhile) {
  const Millis still = HeadWatch::kStill;
  const SteadyMs start(1'000'000);
  const struct {
    Millis at;
    uint64_t head;
    bool stands;
  } steps[] = {
      {Millis(0), 10, false},
      // A node that is behind is no progress.
      {still - Millis(1), 9, false},
      {still, 10, true},
      // Asked about just now.
      {still + Millis(1), 10, false},
      {2 * still, 10, true},
      {2 * still + Millis(1), 11, false},
      {3 * still, 11, false},
  };
  HeadWatch watch;
  for (const auto& step : steps) {
    EXPECT_EQ(watch.Stands(step.head, start + step.at), step.stands) << step.at.count();
  }
}

}  // namespace
}  // namespace pontage::chain
