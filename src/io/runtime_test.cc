#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/timer.h"

namespace pontage {
namespace {

Task<int> Twice(int n) {
  PTG_CO_RUN(co_await Sleep(Millis(1)));
  if (n < 0) co_return Fail(Code::kBadRequest, "negative");
  co_return 2 * n;
}

Task<int> Sum(int a, int b) {
  PTG_CO_TRY(const int x, co_await Twice(a));
  PTG_CO_TRY(const int y, co_await Twice(b));
  co_return x + y;
}

TEST(TaskTest, ValuesAndErrorsComeBack) {
  Loop loop;
  EXPECT_EQ(loop.RunUntilDone(Sum(1, 2)).value(), 6);
  EXPECT_EQ(loop.RunUntilDone(Sum(1, -2)).error().code(), Code::kBadRequest);
}

Task<int> Throws() {
  throw 1;
  co_return 0;
}

TEST(TaskTest, AnExceptionBecomesAnError) {
  Loop loop;
  EXPECT_EQ(loop.RunUntilDone(Throws()).error().code(), Code::kInternal);
}

TEST(CompletionTest, AnotherThreadWakesTheLoop) {
  Loop loop;
  const auto body = []() -> Task<int> {
    Completion<int> done;
    std::thread other([done] { done.Set(42); });
    Result<int> got = co_await done;
    other.join();
    co_return got;
  };
  EXPECT_EQ(loop.RunUntilDone(body()).value(), 42);
}

TEST(CompletionTest, WhoWillNotWaitForEverGoesOnAndWhatComesLateIsDropped) {
  Loop loop;
  std::optional<Completion<int>> slow;
  const auto body = [&slow]() -> Task<> {
    slow.emplace();
    const Deadline soon = Deadline::In(Clock::System(), Millis(20));
    Error late(Code::kStore, "too late");
    const Result<int> got = co_await slow->Until(soon, std::move(late));
    EXPECT_EQ(got.error().code(), Code::kStore);
    slow->Set(1);
    Completion<int> quick;
    quick.Set(2);
    Error never(Code::kStore, "not this one");
    const Result<int> in_time = co_await quick.Until(soon, std::move(never));
    EXPECT_EQ(in_time.value(), 2);
    co_return {};
  };
  EXPECT_TRUE(loop.RunUntilDone(body()).has_value());
}

// A client hangs up while the database works for it: its coroutine is gone when the answer comes.
TEST(CompletionTest, AWaiterThatIsGoneIsNotResumed) {
  std::optional<Completion<int>> posted;
  std::optional<Completion<int>> late;
  bool resumed = false;
  {
    Loop loop;
    const auto body = [&resumed](std::optional<Completion<int>>& out) -> Task<> {
      Completion<int> done;
      out = done;
      (void)co_await done;
      resumed = true;
      co_return {};
    };
    loop.Spawn(body(posted), "posted");
    loop.Spawn(body(late), "late");
    // Delivered, but the loop ends before it gets there.
    posted->Set(1);
  }
  late->Set(2);
  EXPECT_FALSE(resumed);
}

// Two loops, and one waiter that is gone before it ends: the rest wakes, each on its own loop.
TEST(CompletionTest, WhoWakesTogetherWakesOnHisLoop) {
  struct Side {
    std::unique_ptr<Loop> loop = std::make_unique<Loop>();
    std::vector<Completion<int>> asked;
    std::vector<int> got;
  };
  Side sides[2];
  Side gone;
  const auto ask = [](Side& side) -> Task<> {
    Completion<int> done;
    side.asked.push_back(done);
    Result<int> answer = co_await done;
    EXPECT_EQ(Loop::Current(), side.loop.get());
    side.got.push_back(*answer);
    if (side.got.size() == 3) side.loop->Stop();
    co_return {};
  };
  for (Side* side : {&sides[0], &sides[1], &gone}) {
    for (int i = 0; i < 3; ++i) side->loop->Spawn(ask(*side), "ask");
  }
  {
    const WakeTogether together;
    for (int i = 0; i < 3; ++i) {
      for (Side* side : {&sides[0], &gone, &sides[1]}) side->asked[static_cast<size_t>(i)].Set(i);
    }
    EXPECT_TRUE(sides[0].got.empty());
    gone.loop.reset();
  }
  for (Side& side : sides) {
    side.loop->Run();
    EXPECT_EQ(side.got, (std::vector{0, 1, 2}));
  }
  EXPECT_TRUE(gone.got.empty());
}

TEST(EventTest, WaitEndsBySetOrByTime) {
  Loop loop;
  const auto body = [&loop]() -> Task<> {
    Event event;
    const auto setter = [](Event& e) -> Task<> {
      PTG_CO_RUN(co_await Sleep(Millis(5)));
      e.Set();
      co_return {};
    };
    loop.Spawn(setter(event), "setter");
    PTG_CO_RUN(co_await event.Wait(Deadline::In(loop.clock(), 5s)));
    event.Clear();
    const Result<> late = co_await event.Wait(Deadline::In(loop.clock(), 20ms));
    EXPECT_EQ(late.error().code(), Code::kTimeout);
    co_return {};
  };
  EXPECT_TRUE(loop.RunUntilDone(body()).has_value());
}

struct CountsItsEnd {
  explicit CountsItsEnd(int& n) : count(n) {}
  ~CountsItsEnd() { ++count; }
  int& count;
};

TEST(LoopTest, WhatWasSpawnedDiesWithTheLoop) {
  int ended = 0;
  {
    Loop loop;
    const auto body = [](int& n) -> Task<> {
      const CountsItsEnd guard(n);
      PTG_CO_RUN(co_await Sleep(Millis(60'000)));
      co_return {};
    };
    loop.Spawn(body(ended), "long");
    EXPECT_EQ(loop.spawned(), 1U);
  }
  EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace pontage
