#include <set>

#include <gtest/gtest.h>

#include "base/id.h"
#include "base/log.h"
#include "base/money.h"
#include "base/secret.h"
#include "base/time.h"

namespace pontage {
namespace {

TEST(MoneyTest, PricesAreExactOrRefused) {
  const struct {
    const char* text;
    int64_t micros;  // -1: refused.
  } cases[] = {{"$0.001", 1000},
               {"0.000001", 1},
               {"$29", 29'000'000},
               {"0.10 USD", 100'000},
               {"$0.0000001", -1},
               {"", -1},
               {"$", -1},
               {".5", -1},
               {"1.", -1},
               {"-1", -1},
               {"1e3", -1},
               {"9223372036854.775807", INT64_MAX},
               {"9223372036854.775808", -1},
               {"1 000", -1},
               {"$1.2.3", -1}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const Result<Money> got = ParseMoney(c.text);
    EXPECT_EQ(got.has_value(), c.micros >= 0);
    if (got) EXPECT_EQ(got->micros(), c.micros);
  }
}

TEST(MoneyTest, PrintsWithoutTrailingZeros) {
  EXPECT_EQ(Money::Micros(1000).ToString(), "$0.001");
  EXPECT_EQ(Money::Micros(29'000'000).ToString(), "$29");
  EXPECT_EQ(Money::Micros(-1'500'000).ToString(), "$-1.5");
  EXPECT_EQ(Money::Micros(INT64_MIN).ToString(), "$-9223372036854.775808");
}

TEST(MoneyTest, ASumThatOverflowsIsRefused) {
  EXPECT_FALSE(Add(Money::Micros(INT64_MAX), Money::Micros(1)).has_value());
  EXPECT_EQ(Add(Money::Micros(2), Money::Micros(3))->micros(), 5);
}

TEST(TimeTest, DurationsNeedAUnit) {
  EXPECT_EQ(ParseDuration("500ms")->count(), 500);
  EXPECT_EQ(ParseDuration("2h")->count(), 7'200'000);
  for (const char* bad : {"", "5", "s", "-1s", "5 s", "99999999999d", "1.5s"}) {
    EXPECT_FALSE(ParseDuration(bad).has_value()) << bad;
  }
}

TEST(TimeTest, Rfc3339) {
  EXPECT_EQ(UnixMs(0).Rfc3339(), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(UnixMs(1'795'239'650'123).Rfc3339(), "2026-11-21T05:40:50.123Z");
}

TEST(IdTest, IdsSortByTimeAndDoNotRepeat) {
  SeededRng rng(7);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(NewIdText("pay", Clock::System(), rng));
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_EQ(seen.begin()->size(), 36U);
}

TEST(SecretTest, MatchesOnlyItself) {
  const Secret secret(std::string("hunter2"));
  EXPECT_TRUE(secret.Matches("hunter2"));
  EXPECT_FALSE(secret.Matches("hunter3"));
  EXPECT_FALSE(secret.Matches("hunter22"));
  EXPECT_FALSE(secret.Matches(""));
}

TEST(LogTest, ALineIsOneJsonObjectWhateverIsInIt) {
  EXPECT_EQ(FormatLogLine(UnixMs(0), LogLevel::kInfo, "a.b", {{"k", "x\n\"\\\xff"}, {"n", 5}}),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"event\":\"a.b\","
            "\"k\":\"x\\u000a\\\"\\\\\\u00ff\",\"n\":5}");
}

TEST(LogTest, CredentialsAreNeverWritten) {
  const std::string line =
      FormatLogLine(UnixMs(0), LogLevel::kInfo, "e", {{"authorization", "Bearer abc"}});
  EXPECT_EQ(line.find("abc"), std::string::npos);
  EXPECT_NE(line.find("[redacted]"), std::string::npos);
}

}  // namespace
}  // namespace pontage
