#include "io/fork.h"

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/timer.h"

namespace pontage {
namespace {

Task<> SleepThenSet(Millis time, bool& set) {
  PTG_CO_RUN(co_await Sleep(time));
  set = true;
  co_return {};
}

TEST(ForkTest, RunsBesideItsOwnerAndTellsItsEnd) {
  Loop loop;
  const auto body = []() -> Task<> {
    bool set = false;
    const Fork fork(SleepThenSet(Millis(5), set));
    EXPECT_FALSE(fork.result().has_value());
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    EXPECT_TRUE(set);
    EXPECT_TRUE(fork.result().has_value() && fork.result()->has_value());
    co_return {};
  };
  EXPECT_TRUE(loop.RunUntilDone(body()));
}

TEST(ForkTest, EndsWithItsOwnerWhereverItWaits) {
  Loop loop;
  const auto body = []() -> Task<> {
    bool set = false;
    {
      const Fork fork(SleepThenSet(Millis(5), set));
    }
    PTG_CO_RUN(co_await Sleep(Millis(30)));
    EXPECT_FALSE(set);
    co_return {};
  };
  EXPECT_TRUE(loop.RunUntilDone(body()));
}

// Both timers have run out when the loop looks: the first to wake ends the other, whose handler is
// queued already.
TEST(ForkTest, MayEndWhenItsTimerHasRunOutAlready) {
  Loop loop;
  const auto body = []() -> Task<> {
    bool set = false;
    Fork fork;
    const auto ends_other = [](Fork& other) -> Task<> {
      PTG_CO_RUN(co_await Sleep(Millis(2)));
      other.Stop();
      co_return {};
    };
    const Fork first(ends_other(fork));
    fork.Start(SleepThenSet(Millis(2), set));
    const SteadyMs until = Clock::System().Steady() + Millis(10);
    while (Clock::System().Steady() < until) {
    }
    PTG_CO_RUN(co_await Sleep(Millis(20)));
    EXPECT_FALSE(set);
    co_return {};
  };
  EXPECT_TRUE(loop.RunUntilDone(body()));
}

}  // namespace
}  // namespace pontage
