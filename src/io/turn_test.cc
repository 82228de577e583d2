#include "io/turn.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"
#include "io/turn_batch.h"

namespace pontage {
namespace {

class Asks final : public TurnNode {
 public:
  explicit Asks(std::vector<int>& called, int name) : called_(called), name_(name) {}
  void Ask() { AskForTurnEnd(); }
  Asks* takes_along = nullptr;

 private:
  void AtTurnEnd() override {
    called_.push_back(name_);
    if (takes_along != nullptr) takes_along->Ask();
  }
  std::vector<int>& called_;
  int name_;
};

TEST(TurnTest, WhoAsksIsCalledOnceWhenTheTurnIsOverAndNotAfterItsEnd) {
  std::vector<int> called;
  Asks first(called, 1);
  Asks second(called, 2);
  Asks third(called, 3);
  std::optional<Asks> gone(std::in_place, called, 4);
  second.takes_along = &third;
  const auto turn = [&]() -> Task<> {
    first.Ask();
    gone->Ask();
    second.Ask();
    first.Ask();
    gone.reset();
    EXPECT_TRUE(called.empty());
    PTG_CO_RUN(co_await Sleep(Millis(1)));
    EXPECT_EQ(called, (std::vector<int>{1, 2, 3}));
    PTG_CO_RUN(co_await Sleep(Millis(1)));
    EXPECT_EQ(called.size(), 3U);
    co_return {};
  };
  Loop loop;
  EXPECT_TRUE(loop.RunUntilDone(turn()));
}

// Notes what happens to it under its name.
class Noted final : public TurnBatch::Work {
 public:
  Noted(TurnBatch& batch, std::string& log, char name) : Work(batch), log_(log), name_(name) {}
  char await_resume() const { return name_; }

 private:
  void Do() override { log_ += name_; }
  std::string& log_;
  char name_;
};

Task<> WaitFor(TurnBatch& batch, std::string& log, char name) {
  Noted work(batch, log, name);
  const char done = co_await work;
  log += static_cast<char>(done - 'a' + 'A');
  co_return {};
}

TEST(TurnBatchTest, AllIsDoneBeforeAnybodyGoesOn) {
  std::string log;
  TurnBatch batch(3);
  const auto turn = [&]() -> Task<> {
    Loop& loop = *Loop::Current();
    for (const char name : {'a', 'b', 'c'}) loop.Spawn(WaitFor(batch, log, name), "work");
    EXPECT_EQ(log, "");
    PTG_CO_RUN(co_await Sleep(Millis(1)));
    EXPECT_EQ(log, "abcABC");
    co_return {};
  };
  Loop loop;
  EXPECT_TRUE(loop.RunUntilDone(turn()));
}

// Whoever only wants to send what he has comes before arithmetic, though he asks after it.
TEST(TurnBatchTest, ComesLastInItsTurn) {
  std::vector<int> called;
  std::string log;
  TurnBatch batch(3);
  Asks other(called, 1);
  const auto waits = [&]() -> Task<> {
    Noted work(batch, log, 'a');
    (void)co_await work;
    EXPECT_EQ(called.size(), 1U);
    co_return {};
  };
  const auto turn = [&]() -> Task<> {
    Loop::Current()->Spawn(waits(), "work");
    other.Ask();
    PTG_CO_RUN(co_await Sleep(Millis(1)));
    EXPECT_EQ(log, "a");
    co_return {};
  };
  Loop loop;
  EXPECT_TRUE(loop.RunUntilDone(turn()));
}

// What is ready comes between two parts of a crowd, and what that makes ready, too: nobody waits
// for more than one part.
TEST(TurnBatchTest, ACrowdLetsOthersBetween) {
  std::string log;
  TurnBatch batch(2);
  const auto turn = [&]() -> Task<> {
    Loop& loop = *Loop::Current();
    for (const char name : {'a', 'b', 'c', 'd', 'e'}) {
      loop.Spawn(WaitFor(batch, log, name), "work");
    }
    loop.Post([&] {
      log += '1';
      loop.Post([&] { log += '2'; });
    });
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    EXPECT_EQ(log, "abAB12cdCDeE");
    co_return {};
  };
  Loop loop;
  EXPECT_TRUE(loop.RunUntilDone(turn()));
}

// Nothing is waited for while some of a crowd are left.
TEST(TurnBatchTest, ACrowdIsDoneThoughNothingElseHappens) {
  const std::string want = "abABcdCDeE";
  std::string log;
  TurnBatch batch(2);
  const auto begin = [&](Loop& loop) {
    log.clear();
    for (const char name : {'a', 'b', 'c', 'd', 'e'}) loop.Spawn(WaitFor(batch, log, name), "work");
  };
  Loop by_hand(Clock::System(), Loop::Drive::kByHand);
  begin(by_hand);
  by_hand.Poll();
  EXPECT_EQ(log, want);
  const auto wait = [&]() -> Task<> {
    begin(*Loop::Current());
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    EXPECT_EQ(log, want);
    co_return {};
  };
  Loop by_time;
  EXPECT_TRUE(by_time.RunUntilDone(wait()));
}

// One connection may bring many requests: those behind the first come in later turns.
TEST(TurnBatchTest, WhoAsksAgainLetsOthersBetween) {
  std::string log;
  TurnBatch batch(2);
  const auto one_by_one = [&]() -> Task<> {
    for (const char name : {'a', 'b', 'c'}) {
      Noted work(batch, log, name);
      (void)co_await work;
    }
    co_return {};
  };
  const auto begin = [&]() -> Task<> {
    Loop::Current()->Spawn(one_by_one(), "work");
    Loop::Current()->Post([&log] { log += '1'; });
    PTG_CO_RUN(co_await Sleep(Millis(50)));
    EXPECT_EQ(log, "a1bc");
    co_return {};
  };
  Loop by_time;
  EXPECT_TRUE(by_time.RunUntilDone(begin()));
}

TEST(TurnBatchTest, WhoIsGoneIsNeitherDoneNorWoken) {
  std::string log;
  TurnBatch batch(3);
  std::optional<Fork> first(WaitFor(batch, log, 'a'));
  std::optional<Fork> last;
  const auto ends_the_last = [&]() -> Task<> {
    Noted work(batch, log, 'b');
    (void)co_await work;
    last.reset();
    co_return {};
  };
  const auto turn = [&]() -> Task<> {
    first.reset();  // before it was done
    Loop::Current()->Spawn(ends_the_last(), "work");
    last.emplace(WaitFor(batch, log, 'c'));
    PTG_CO_RUN(co_await Sleep(Millis(1)));
    EXPECT_EQ(log, "bc");  // done, and then gone
    co_return {};
  };
  Loop loop;
  EXPECT_TRUE(loop.RunUntilDone(turn()));
}

}  // namespace
}  // namespace pontage
