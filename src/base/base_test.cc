#include <algorithm>
#include <array>
#include <fcntl.h>
#include <pthread.h>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "base/money.h"
#include "base/rng.h"
#include "base/secret.h"
#include "base/shelves.h"
#include "base/thread_name.h"
#include "base/time.h"

namespace pontage {
namespace {

// Every coroutine's frame holds several.
static_assert(sizeof(Result<>) <= 3 * sizeof(void*));

TEST(ErrorTest, ACopyIsOneOfItsOwnAndWhatWasMovedAwaySaysNothing) {
  Error error = Error(Code::kConfig, "found").At("/pointer").Want("expected").Because("their word");
  Error copy = error;
  EXPECT_EQ(copy.code(), Code::kConfig);
  EXPECT_EQ(copy.detail(), "found");
  EXPECT_EQ(copy.pointer(), "/pointer");
  EXPECT_EQ(copy.expected(), "expected");
  EXPECT_EQ(copy.reason(), "their word");
  copy = std::move(copy).Want("something else");
  EXPECT_EQ(error.expected(), "expected");
  copy = error;
  EXPECT_EQ(copy.expected(), "expected");
  const Error taken = std::move(error);
  EXPECT_EQ(taken.detail(), "found");
  // NOLINTNEXTLINE(bugprone-use-after-move): that it may be asked is the point.
  EXPECT_EQ(error.detail(), "");
  copy = taken;
  EXPECT_EQ(copy.detail(), "found");
}

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

using Nonce = std::array<uint8_t, 16>;

Nonce Draw() {
  Nonce nonce{};
  Rng::System().Fill(nonce);
  return nonce;
}

TEST(RngTest, WhatAThreadHasInReserveIsGivenOutOnce) {
  std::set<Nonce> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(Draw()).second);
}

TEST(RngTest, AChildDrawsNothingThatItsParentDraws) {
  Draw();  // so that there is a reserve to inherit
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const Nonce theirs = Draw();
    ::_exit(::write(ends[1], theirs.data(), theirs.size()) == ssize_t{16} ? 0 : 1);
  }
  Nonce theirs{};
  EXPECT_EQ(::read(ends[0], theirs.data(), theirs.size()), ssize_t{16});
  EXPECT_NE(theirs, Draw());
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(ShelvesTest, PiecesInUseNeverOverlapWhoeverGivesThemBack) {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<unsigned char*, size_t>> pieces;
    for (size_t i = 0; i < 300; ++i) {
      const size_t bytes = 1 + i * 37 % 6000;
      auto* const piece = static_cast<unsigned char*>(TakeShelved(bytes));
      std::fill_n(piece, bytes, static_cast<unsigned char>(i));
      pieces.emplace_back(piece, bytes);
    }
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto [piece, bytes] = pieces[i];
      EXPECT_EQ(std::count(piece, piece + bytes, static_cast<unsigned char>(i)), bytes);
    }
    std::jthread other([&pieces] {
      for (size_t i = 0; i < pieces.size(); i += 2) GiveShelved(pieces[i].first, pieces[i].second);
    });
    for (size_t i = 1; i < pieces.size(); i += 2) GiveShelved(pieces[i].first, pieces[i].second);
    other.join();
  }
}

// By a thread of its own, whose shelves nothing else has touched.
TEST(ShelvesTest, WhatABurstLeftIsGivenBackAndNotWhatIsInUse) {
  std::jthread([] {
    constexpr size_t kBytes = 1000;
    const auto use = [](size_t pieces) {
      std::vector<void*> taken;
      for (size_t i = 0; i < pieces; ++i) taken.push_back(TakeShelved(kBytes));
      for (void* const piece : taken) GiveShelved(piece, kBytes);
    };
    use(50);
    EXPECT_EQ(TrimShelves(), 0U) << "all fifty were in use";
    use(20);
    const size_t rest = TrimShelves();
#if defined(__has_feature) && __has_feature(address_sanitizer)
    EXPECT_EQ(rest, 0U) << "each is an allocation of its own";
#else
    EXPECT_EQ(rest, 30 * size_t{1024}) << "of the size that a thousand bytes take";
#endif
    use(20);
    EXPECT_EQ(TrimShelves(), 0U) << "the twenty are in use";
  });
}

TEST(ThreadNameTest, IsTheThreadsOwnAndCutToWhatTheKernelKeeps) {
  const auto called = [](std::string_view name) {
    std::array<char, 32> text{};
    std::thread([&] {
      NameThread(name);
      pthread_getname_np(pthread_self(), text.data(), text.size());
    }).join();
    return std::string(text.data());
  };
  EXPECT_EQ(called("loop 0"), "loop 0");
  EXPECT_EQ(called("a name that is too long"), "a name that is ");
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

// The line is written eight bytes at a time; here each byte is, wherever it stands.
TEST(LogTest, EveryByteIsEscapedWhereverItStands) {
  const auto naive = [](std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    for (const char c : text) {
      const auto u = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out += {'\\', c};
      } else if (u < 0x20 || u >= 0x7f) {
        out += {'\\', 'u', '0', '0', kHex[u >> 4], kHex[u & 15]};
      } else {
        out += c;
      }
    }
    return out;
  };
  for (size_t size = 1; size <= 19; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(size, 'a');
        text[at] = static_cast<char>(byte);
        const std::string line = FormatLogLine(UnixMs(0), LogLevel::kInfo, "e", {{"k", text}});
        ASSERT_TRUE(line.ends_with(",\"k\":\"" + naive(text) + "\"}")) << line;
      }
    }
  }
}

TEST(LogTest, AFieldIsCutWhateverItsBytesBecome) {
  const std::string long_text(5000, '\x01');
  const std::string line = FormatLogLine(UnixMs(0), LogLevel::kInfo, "e",
                                         {{"a", long_text}, {"b", long_text}, {"c", INT64_MIN}});
  EXPECT_TRUE(line.ends_with("\\u0001...\",\"c\":-9223372036854775808}"));
  EXPECT_EQ(std::ranges::count(line, '\\'), 2 * 2048);
}

TEST(LogTest, TheTimeIsThatOfItsLine) {
  for (const int64_t ms : {0LL, 1LL, 999LL, 1000LL, 999LL, 86'399'999LL, 86'400'000LL, -1LL}) {
    const std::string line = FormatLogLine(UnixMs(ms), LogLevel::kInfo, "e", {});
    EXPECT_TRUE(line.starts_with("{\"time\":\"" + UnixMs(ms).Rfc3339() + "\",")) << line;
  }
}

// Standard error, caught in a pipe while it lives.
class CaughtErrors {
 public:
  CaughtErrors() : before_(::dup(STDERR_FILENO)) {
    EXPECT_EQ(::pipe2(ends_.data(), O_NONBLOCK), 0);
    ::dup2(ends_[1], STDERR_FILENO);
  }
  ~CaughtErrors() {
    ::dup2(before_, STDERR_FILENO);
    for (const int fd : {before_, ends_[0], ends_[1]}) ::close(fd);
  }
  // How many lines came since the last call.
  int64_t Lines() {
    std::array<char, 65536> text{};
    const ssize_t n = ::read(ends_[0], text.data(), text.size());
    return n <= 0 ? 0 : std::count(text.begin(), text.begin() + n, '\n');
  }

 private:
  int before_;
  std::array<int, 2> ends_{};
};

TEST(LogTest, LinesOfRequestsAreGatheredAndOthersOvertakeNone) {
  CaughtErrors errors;
  int promises = 0;
  GatherLog([&promises] { ++promises; });
  LogGathered(LogLevel::kInfo, "a", {});
  LogGathered(LogLevel::kInfo, "b", {});
  EXPECT_EQ(promises, 1);
  EXPECT_EQ(errors.Lines(), 0);
  FlushLog();
  EXPECT_EQ(errors.Lines(), 2);
  LogGathered(LogLevel::kInfo, "c", {});
  Log(LogLevel::kWarn, "d");
  EXPECT_EQ(errors.Lines(), 2);
  // Never more than a pipe takes in one piece.
  for (int i = 0; i < 100; ++i) LogGathered(LogLevel::kInfo, "e", {{"k", std::string(80, 'x')}});
  EXPECT_GT(errors.Lines(), 0);
  GatherLog(nullptr);
  errors.Lines();
  LogGathered(LogLevel::kInfo, "f", {});
  EXPECT_EQ(errors.Lines(), 1);
}

TEST(LogTest, CredentialsAreNeverWritten) {
  const std::string line =
      FormatLogLine(UnixMs(0), LogLevel::kInfo, "e", {{"authorization", "Bearer abc"}});
  EXPECT_EQ(line.find("abc"), std::string::npos);
  EXPECT_NE(line.find("[redacted]"), std::string::npos);
}

}  // namespace
}  // namespace pontage
