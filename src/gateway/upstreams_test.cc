#include "gateway/upstreams.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"
#include "testing/expect.h"

namespace pontage::gateway {
namespace {

constexpr UpstreamLimits kLimits{
    .max_connect_failures = 2, .max_errors = 3, .down_for = Millis(500)};

TEST(HealthTest, AWalkThroughTheBreaker) {
  using enum Outcome;
  const struct {
    int64_t at;
    std::optional<Outcome> heard;  // nothing: only asked
    Ask may;                       // afterwards, at the same time
    Change change = Change::kNone;
  } steps[] = {
      {0, std::nullopt, Ask::kYes},
      {0, kNoConnect, Ask::kYes},
      {1, kGood, Ask::kYes},  // only those in a row count
      {1, kNoConnect, Ask::kYes},
      {1, kBad, Ask::kYes},  // somebody took the connection
      {1, kNoConnect, Ask::kYes},
      {1, kGood, Ask::kYes},
      {2, kNoConnect, Ask::kYes},
      {3, kNoConnect, Ask::kNo, Change::kDown},
      {502, std::nullopt, Ask::kNo},
      {503, std::nullopt, Ask::kTry},  // one of all who ask
      {504, std::nullopt, Ask::kNo},
      {505, kNoConnect, Ask::kNo},
      {1004, std::nullopt, Ask::kNo},
      {1005, std::nullopt, Ask::kTry},
      {1505, std::nullopt, Ask::kTry},  // nothing was heard of the one before
      {1506, kGood, Ask::kYes, Change::kUp},
      {1507, kBad, Ask::kYes},
      {1507, kBad, Ask::kYes},
      {1507, kNoConnect, Ask::kYes},  // a streak of its own
      {1507, kBad, Ask::kNo, Change::kDown},
      {2007, std::nullopt, Ask::kTry},
      {2008, kBad, Ask::kNo},
      {2508, std::nullopt, Ask::kTry},
      {2509, kGood, Ask::kYes, Change::kUp},
  };
  Health health;
  for (const auto& step : steps) {
    SCOPED_TRACE("at " + std::to_string(step.at));
    if (step.heard) {
      EXPECT_EQ(Note(health, kLimits, *step.heard, SteadyMs(step.at)), step.change);
    }
    EXPECT_EQ(MayAsk(health, kLimits, SteadyMs(step.at)), step.may);
  }
}

TEST(HealthTest, ZeroIsNever) {
  Health health;
  UpstreamLimits never = kLimits;
  never.max_connect_failures = 0;
  never.max_errors = 0;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Note(health, never, i % 2 == 0 ? Outcome::kBad : Outcome::kNoConnect, SteadyMs(i)),
              Change::kNone);
  }
  EXPECT_EQ(MayAsk(health, never, SteadyMs(100)), Ask::kYes);
}

class GateTest : public ::testing::Test {
 protected:
  // Asks for a place and keeps it; `code` says how that ended.
  struct Visitor {
    Gate::Permit permit;
    std::optional<Code> refused;
    bool came = false;
    Fork fork;
  };
  std::unique_ptr<Visitor> Come() {
    auto visitor = std::make_unique<Visitor>();
    const auto enter = [](Gate& gate, const UpstreamLimits& limits, const Clock& clock,
                          Visitor& v) -> Task<> {
      Result<Gate::Permit> permit = co_await gate.Enter(limits, clock);
      v.came = true;
      if (permit) {
        v.permit = *std::move(permit);
      } else {
        v.refused = permit.error().code();
      }
      co_return {};
    };
    visitor->fork.Start(enter(*gate_, limits_, Clock::System(), *visitor));
    return visitor;
  }
  static Task<> Pause() { return Sleep(Millis(5)); }
  // `body` runs on a loop.
  void OnLoop(std::move_only_function<Task<>()> body) {
    EXPECT_THAT(loop_.RunUntilDone(body()), testing::IsOk());
  }

  Loop loop_;
  obs::Registry metrics_;
  Upstreams upstreams_{metrics_};
  std::shared_ptr<Gate> gate_ = upstreams_.GateOf("api");
  UpstreamLimits limits_{.max_in_flight = 1, .max_waiting = 2, .wait_timeout = Millis(60'000)};
};

TEST_F(GateTest, OneInTheOthersInTheirOrderAndNoMoreThanMayWait) {
  OnLoop([this]() -> Task<> {
    const auto first = Come();
    const auto second = Come();
    const auto third = Come();
    const auto fourth = Come();
    EXPECT_TRUE(first->permit.held());
    EXPECT_FALSE(second->came);
    EXPECT_EQ(fourth->refused, Code::kUpstreamBusy);
    first->permit.Release();
    PTG_CO_RUN(co_await Pause());
    EXPECT_TRUE(second->permit.held());
    EXPECT_FALSE(third->came);
    second->permit.Release();
    PTG_CO_RUN(co_await Pause());
    EXPECT_TRUE(third->permit.held());
    co_return {};
  });
}

TEST_F(GateTest, WhoLeavesTheLineNeitherBlocksItNorKeepsItsPlace) {
  OnLoop([this]() -> Task<> {
    const auto first = Come();
    auto second = Come();
    const auto third = Come();
    second.reset();  // hung up while it waited
    first->permit.Release();
    PTG_CO_RUN(co_await Pause());
    EXPECT_TRUE(third->permit.held());
    auto fourth = Come();
    third->permit.Release();  // its turn has come, but it does not hear of it any more
    fourth.reset();
    const auto fifth = Come();
    EXPECT_TRUE(fifth->permit.held());
    co_return {};
  });
}

TEST_F(GateTest, WaitsNoLongerThanItMay) {
  limits_.wait_timeout = Millis(0);
  OnLoop([this]() -> Task<> {
    const auto first = Come();
    const auto second = Come();
    while (!second->came) PTG_CO_RUN(co_await Pause());
    EXPECT_EQ(second->refused, Code::kUpstreamBusy);
    first->permit.Release();
    EXPECT_TRUE(Come()->permit.held());
    co_return {};
  });
}

TEST_F(GateTest, AReloadThatAllowsMoreLetsThoseInWhoWait) {
  OnLoop([this]() -> Task<> {
    const auto first = Come();
    const auto second = Come();
    limits_.max_in_flight = 3;
    const auto third = Come();
    PTG_CO_RUN(co_await Pause());
    EXPECT_TRUE(second->permit.held());
    EXPECT_TRUE(third->permit.held());
    co_return {};
  });
}

TEST_F(GateTest, WithoutALimitNobodyIsCounted) {
  limits_.max_in_flight = 0;
  OnLoop([this]() -> Task<> {
    const auto first = Come();
    EXPECT_TRUE(first->came);
    EXPECT_FALSE(first->permit.held());
    co_return {};
  });
}

// Many loops at one gate: never more than it lets in, nobody forgotten.
TEST_F(GateTest, NeverMoreThanItLetsInWhateverTheThreads) {
  limits_.max_in_flight = 3;
  limits_.max_waiting = 1'000;
  Runtime runtime(4);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> served{0};
  constexpr int kVisits = 400;
  const auto visit = [](Gate& gate, const UpstreamLimits& limits, std::atomic<int>& in,
                        std::atomic<int>& peak, std::atomic<int>& done) -> Task<> {
    PTG_CO_TRY(Gate::Permit permit, co_await gate.Enter(limits, Clock::System()));
    const int now = ++in;
    int seen = peak.load();
    while (seen < now && !peak.compare_exchange_weak(seen, now)) {
    }
    PTG_CO_RUN(co_await Sleep(Millis(0)));
    --in;
    permit.Release();
    ++done;
    co_return {};
  };
  runtime.Start();
  for (int i = 0; i < kVisits; ++i) {
    Loop& loop = runtime.loop(static_cast<size_t>(i) % runtime.size());
    loop.Post(
        [&] { Loop::Current()->Spawn(visit(*gate_, limits_, inside, most, served), "visit"); });
  }
  while (served.load() < kVisits) std::this_thread::yield();
  runtime.Stop();
  runtime.Join();
  EXPECT_LE(most.load(), 3);
  EXPECT_EQ(inside.load(), 0);
}

TEST_F(GateTest, ANewConfigurationFindsTheSameGate) {
  EXPECT_EQ(upstreams_.GateOf("api"), gate_);
  EXPECT_NE(upstreams_.GateOf("other"), gate_);
  const auto health = upstreams_.HealthOf("api", "a:80");
  EXPECT_EQ(upstreams_.HealthOf("api", "a:80"), health);
  EXPECT_NE(upstreams_.HealthOf("api", "b:80"), health);
}

}  // namespace
}  // namespace pontage::gateway
