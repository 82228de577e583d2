#include "obs/metrics.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pontage::obs {
namespace {

using std::chrono::microseconds;
using ::testing::HasSubstr;

constexpr uint64_t kMost = UINT64_MAX;

TEST(CounterTest, StopsAtTheMostInsteadOfStartingAgain) {
  Counter counter;
  counter.Add();
  counter.Add(kMost - 2);
  EXPECT_EQ(counter.value(), kMost - 1);
  counter.Add(5);
  EXPECT_EQ(counter.value(), kMost);
}

TEST(CounterTest, ThreadsTogetherReachTheMostAndStayThere) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&counter] { counter.Add(kMost / 2); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), kMost);
}

TEST(CounterTest, NoAdditionOfAnyThreadIsLost) {
  Registry registry;
  constexpr int kThreads = 6;
  constexpr int kTimes = 20'000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&registry] {
      for (int i = 0; i < kTimes; ++i) {
        registry.CounterOf("pontage_things_total", "Things.", {{"kind", "a"}}).Add(2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry.CounterOf("pontage_things_total", "", {{"kind", "a"}}).value(),
            uint64_t{2} * kThreads * kTimes);
}

TEST(HistogramTest, ABoundBelongsToItsOwnBucket) {
  const struct {
    int64_t us;
    size_t bucket;
  } cases[] = {{-5, 0},          {0, 0},           {100, 0},
               {101, 1},         {250, 1},         {1'000'000, 12},
               {60'000'000, 17}, {60'000'001, 18}, {86'400'000'000, 18}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.us);
    Histogram histogram;
    histogram.Observe(microseconds(c.us));
    EXPECT_EQ(histogram.bucket(c.bucket), 1U);
    EXPECT_EQ(histogram.count(), 1U);
    EXPECT_EQ(histogram.sum().count(), c.us < 0 ? 0 : c.us);
  }
}

TEST(RegistryTest, TheSameNameAndLabelsInAnyOrderAreTheSameObject) {
  Registry registry;
  Counter& first = registry.CounterOf("a_total", "A.", {{"x", "1"}, {"y", "2"}});
  EXPECT_EQ(&first, &registry.CounterOf("a_total", "A.", {{"y", "2"}, {"x", "1"}}));
  EXPECT_NE(&first, &registry.CounterOf("a_total", "A.", {{"y", "1"}, {"x", "2"}}));
  EXPECT_NE(&first, &registry.CounterOf("b_total", "B.", {{"x", "1"}, {"y", "2"}}));
  EXPECT_NE(&first, &registry.CounterOf("a_total", "A."));
}

TEST(RegistryTest, AReferenceStaysGoodWhileOthersAreAdded) {
  Registry registry;
  Counter& first = registry.CounterOf("a_total", "A.", {{"n", "first"}});
  for (int i = 0; i < 900; ++i) {
    const std::string name = "m" + std::to_string(i);
    const std::string value = std::to_string(i);
    registry.CounterOf(name, "M.");
    registry.CounterOf("a_total", "A.", {{"n", value}});
  }
  first.Add(3);
  EXPECT_EQ(registry.CounterOf("a_total", "A.", {{"n", "first"}}).value(), 3U);
}

TEST(RegistryTest, ExposesTheTextFormatInAStableOrder) {
  Registry registry;
  registry.GaugeOf("pontage_owed", "Sales that are owed.").Set(-2);
  registry.CounterOf("pontage_calls_total", "Calls.", {{"route", "b"}}).Add(7);
  registry.CounterOf("pontage_calls_total", "Calls.", {{"route", "a"}, {"code", "x"}}).Add();
  EXPECT_EQ(registry.Expose(),
            "# HELP pontage_calls_total Calls.\n"
            "# TYPE pontage_calls_total counter\n"
            "pontage_calls_total{code=\"x\",route=\"a\"} 1\n"
            "pontage_calls_total{route=\"b\"} 7\n"
            "# HELP pontage_owed Sales that are owed.\n"
            "# TYPE pontage_owed gauge\n"
            "pontage_owed -2\n");
}

TEST(RegistryTest, AHistogramIsCumulativeAndItsSecondsAreExact) {
  Registry registry;
  Histogram& histogram = registry.HistogramOf("t_seconds", "T.", {{"stage", "verify"}});
  histogram.Observe(microseconds(90));
  histogram.Observe(microseconds(1'500'000));
  histogram.Observe(microseconds(70'000'000));
  const std::string text = registry.Expose();
  EXPECT_THAT(text, HasSubstr("# TYPE t_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{stage=\"verify\",le=\"0.0001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{stage=\"verify\",le=\"0.00025\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{stage=\"verify\",le=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{stage=\"verify\",le=\"2.5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{stage=\"verify\",le=\"60\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{stage=\"verify\",le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_sum{stage=\"verify\"} 71.50009\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_count{stage=\"verify\"} 3\n"));
}

TEST(RegistryTest, LabelValuesAreEscapedAndStayUtf8) {
  const struct {
    std::string value;
    std::string shown;
  } cases[] = {{"GET /v1/*", "GET /v1/*"},
               {"a\"b\\c\nd", "a\\\"b\\\\c\\nd"},
               {"caf\xc3\xa9 \xf0\x9f\x8c\x89", "caf\xc3\xa9 \xf0\x9f\x8c\x89"},
               {"\xff\xc0\xaf", "???"},
               {"\xed\xa0\x80", "???"},  // A surrogate.
               {"\xe2\x82", "??"},       // Cut short.
               {std::string(300, 'x'), std::string(kMaxLabelValue, 'x')}};
  for (const auto& c : cases) {
    Registry registry;
    registry.CounterOf("a_total", "A.", {{"v", c.value}});
    EXPECT_THAT(registry.Expose(), HasSubstr("a_total{v=\"" + c.shown + "\"} 0\n"));
  }
}

TEST(RegistryTest, HelpIsEscapedWithoutItsQuotes) {
  Registry registry;
  registry.CounterOf("a_total", "one\ntwo \\ \"three\"");
  EXPECT_THAT(registry.Expose(), HasSubstr("# HELP a_total one\\ntwo \\\\ \"three\"\n"));
}

TEST(RegistryTest, BeyondTheBoundEverythingIsOther) {
  Registry registry;
  for (size_t i = 0; i < kMaxSeriesPerMetric + 500; ++i) {
    const std::string value = std::to_string(i);
    registry.CounterOf("a_total", "A.", {{"payer", value}, {"route", "r"}}).Add();
  }
  const std::string text = registry.Expose();
  EXPECT_EQ(static_cast<size_t>(std::ranges::count(text, '\n')), kMaxSeriesPerMetric + 2);
  EXPECT_THAT(text, HasSubstr("a_total{payer=\"other\",route=\"other\"} 501\n"));
  // One that was there before is still counted by itself.
  registry.CounterOf("a_total", "A.", {{"payer", "7"}, {"route", "r"}}).Add();
  EXPECT_THAT(registry.Expose(), HasSubstr("a_total{payer=\"7\",route=\"r\"} 2\n"));
  // Another metric has its own bound.
  registry.CounterOf("b_total", "B.", {{"payer", "x"}});
  EXPECT_THAT(registry.Expose(), HasSubstr("b_total{payer=\"x\"} 0\n"));
}

TEST(RegistryTest, AMisuseOfNamesAborts) {
  Registry registry;
  registry.CounterOf("a_total", "A.");
  EXPECT_DEATH(registry.GaugeOf("a_total", "A."), "series != nullptr");
  EXPECT_DEATH(registry.CounterOf("not a name", "A."), "IsName");
  EXPECT_DEATH(registry.CounterOf("b_total", "B.", {{"le", "1"}}), "IsName");
  EXPECT_DEATH(registry.CounterOf("b_total", "B.", {{"x", "1"}, {"x", "2"}}), "first");
}

}  // namespace
}  // namespace pontage::obs
