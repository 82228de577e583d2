#include "db/pool.h"

#include <atomic>
#include <latch>
#include <map>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "testing/expect.h"

namespace pontage::db {
namespace {

using Health = Connection::Health;
using testing::FailsWith;
using testing::IsOk;

// An engine that keeps the names of the statements it was given, and breaks when told to.
struct Server {
  std::vector<std::string> committed;
  int begun = 0;
  int commits = 0;
  int saves = 0;
  int sessions = 0;
  bool up = true;
  bool ahead = false;  // takes the first statements of a group in one go
  int together = 0;    // how often it did
  // The next so many statements of that name fail with that health.
  std::string fault_at;
  Health fault = Health::kGood;
  int faults = 0;
  // The next commit: nothing happened / it happened, but the reply is lost.
  std::optional<Health> commit_fault;
  bool commit_happens = false;
};

class FakeConnection final : public Connection {
 public:
  explicit FakeConnection(Server& server) : server_(server) { (void)Reconnect(); }

  Result<Rows> Execute(const Statement& statement, std::vector<Value>) override {
    if (server_.faults > 0 && statement.name == server_.fault_at) {
      --server_.faults;
      Worsen(server_.fault);
      return Fail(Code::kConflict, "told to");
    }
    open_.emplace_back(statement.name);
    return Rows();
  }
  Result<> Begin(bool) override {
    if (health_ == Health::kLost) return Fail(Code::kStore, "lost");
    health_ = Health::kGood;
    ++server_.begun;
    open_.clear();
    return {};
  }
  std::optional<Result<std::vector<Rows>>> BeginWith(const std::vector<Ask>& asks) override {
    if (!server_.ahead) return std::nullopt;
    ++server_.together;
    PTG_RUN(Begin(true));
    std::vector<Rows> all;
    for (const Ask& ask : asks) {
      PTG_TRY(Rows rows, Execute(ask.statement, ask.values));
      rows.changed = static_cast<int64_t>(open_.size());
      all.push_back(std::move(rows));
    }
    return all;
  }
  Result<> Commit() override {
    if (server_.commit_fault) {
      Worsen(*std::exchange(server_.commit_fault, std::nullopt));
      if (server_.commit_happens) Keep();
      return Fail(Code::kStore, "told to");
    }
    Keep();
    return {};
  }
  void Rollback() override { open_.clear(); }
  Result<> Save() override {
    ++server_.saves;
    saved_ = open_.size();
    return {};
  }
  Result<> Release() override { return {}; }
  Result<> RollbackToSave() override {
    if (health_ == Health::kRetry) health_ = Health::kGood;
    open_.resize(saved_);
    return {};
  }
  Result<> Reconnect() override {
    if (!server_.up) {
      health_ = Health::kLost;
      return Fail(Code::kStore, "cannot connect to secret-host");
    }
    ++server_.sessions;
    health_ = Health::kGood;
    open_.clear();
    return {};
  }

 private:
  void Keep() {
    ++server_.commits;
    server_.committed.insert(server_.committed.end(), open_.begin(), open_.end());
  }
  Server& server_;
  std::vector<std::string> open_;
  size_t saved_ = 0;
};

// Each test twice: statements that wait for their body, and those that go ahead of it.
class PoolTest : public ::testing::TestWithParam<bool> {
 protected:
  void Open(size_t queue = 100) {
    server_.ahead = GetParam();
    Options options;
    options.readers = 0;
    options.queue = queue;
    auto connect = [this]() -> Result<std::unique_ptr<Connection>> {
      return std::make_unique<FakeConnection>(server_);
    };
    auto opened = PooledDatabase::Open("fake", connect, options, Clock::System());
    ASSERT_THAT(opened, IsOk());
    database_ = *std::move(opened);
  }

  // Jobs of these names in one group, behind one that holds the writer until all are in the queue.
  // The answer of each, "" for a good one.
  std::map<std::string, std::string> Group(const std::vector<std::string>& names,
                                           Deadline by = Deadline::Never()) {
    std::map<std::string, std::string> answers;
    std::latch all_queued(1);
    Loop loop;
    size_t left = names.size();
    const auto hold = [&]() -> Task<> {
      auto body = [&all_queued](Tx&) -> Result<> {
        all_queued.wait();
        return {};
      };
      co_return co_await database_->Write(body, Deadline::Never());
    };
    const auto write = [&](std::string name) -> Task<> {
      auto body = [this, name](Tx& tx) -> Result<> {
        ++runs_;
        PTG_RUN(tx.First({name, "sql"}, [] { return std::vector<Value>(); }));
        return {};
      };
      const auto ahead = [name] { return Ask{{name, "sql"}, {}}; };
      const Result<> done = co_await database_->Write(body, by, ahead);
      answers[name] = done ? "" : done.error().detail();
      if (--left == 0) loop.Stop();
      co_return {};
    };
    const auto before = database_->stats().write_jobs;
    loop.Spawn(hold(), "hold");
    // The writer is woken at the end of the loop's turn.
    EXPECT_THAT(loop.RunUntilDone(Sleep(Millis(0))), IsOk());
    // The writer has taken it once its transaction has begun; give it no chance to take others too.
    while (database_->stats().write_jobs == before) std::this_thread::yield();
    for (const std::string& name : names) loop.Spawn(write(name), "write");
    all_queued.count_down();
    loop.Run();
    return answers;
  }

  Server server_;
  std::unique_ptr<Database> database_;
  std::atomic<int> runs_ = 0;
  const std::map<std::string, std::string> all_good_ = {{"a", ""}, {"b", ""}, {"c", ""}};
  const std::vector<std::string> abc_ = {"a", "b", "c"};
};

INSTANTIATE_TEST_SUITE_P(Statements, PoolTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "GoAhead" : "Wait"; });

// Bodies refer to the variables of whoever calls.
TEST_P(PoolTest, ABodyNeverRunsAfterItsCallerWasToldThatItIsLate) {
  Open();
  std::latch queued(1);
  std::latch held(1);
  Loop loop;
  const auto hold = [&](std::latch& until) -> Task<> {
    auto body = [&until](Tx&) -> Result<> {
      until.wait();
      return {};
    };
    co_return co_await database_->Write(body, Deadline::Never());
  };
  const auto late = [&]() -> Task<> {
    const auto body = [this](Tx&) -> Result<> {
      ++runs_;
      return {};
    };
    co_return co_await database_->Write(body, Deadline::In(Clock::System(), Millis(300)));
  };
  loop.Spawn(hold(queued), "hold");
  EXPECT_THAT(loop.RunUntilDone(Sleep(Millis(50))), IsOk());
  // One group: what is late was taken in time, and then its turn does not come.
  loop.Spawn(hold(held), "hold");
  loop.Post([&queued] { queued.count_down(); });
  EXPECT_THAT(loop.RunUntilDone(late()), FailsWith(Code::kStore));
  held.count_down();
  const auto after = [&]() -> Task<> {
    const auto body = [](Tx&) -> Result<> { return {}; };
    co_return co_await database_->Write(body, Deadline::Never());
  };
  EXPECT_THAT(loop.RunUntilDone(after()), IsOk());
  EXPECT_EQ(runs_, 0);
}

TEST_P(PoolTest, ABodyThatRunsIsWaitedForByACallerWhoIsLate) {
  Open();
  std::latch begun(1);
  std::latch held(1);
  std::atomic<bool> ended = false;
  Loop loop;
  const auto late = [&]() -> Task<> {
    const auto body = [&](Tx&) -> Result<> {
      begun.count_down();
      held.wait();
      ended = true;
      return {};
    };
    const Result<> done =
        co_await database_->Write(body, Deadline::In(Clock::System(), Millis(100)));
    EXPECT_TRUE(ended) << "the body still runs";
    co_return done;
  };
  std::thread releases([&] {
    begun.wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(1'500));
    held.count_down();
  });
  EXPECT_THAT(loop.RunUntilDone(late()), FailsWith(Code::kStore));
  releases.join();
}

TEST_P(PoolTest, ABodyThatRunsIsWaitedForWhenItsCallerIsDestroyed) {
  Open();
  std::latch begun(1);
  std::latch held(1);
  std::atomic<bool> ended = false;
  std::thread releases([&] {
    begun.wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.count_down();
  });
  {
    Loop loop;
    const auto waits = [&]() -> Task<> {
      const auto body = [&](Tx&) -> Result<> {
        begun.count_down();
        held.wait();
        ended = true;
        return {};
      };
      co_return co_await database_->Write(body, Deadline::Never());
    };
    loop.Spawn(waits(), "waits");
    EXPECT_THAT(loop.RunUntilDone(Sleep(Millis(20))), IsOk());
    loop.DropSpawned();
    EXPECT_TRUE(ended) << "the body still runs";
  }
  releases.join();
}

TEST_P(PoolTest, AGroupIsOneCommitWithoutSavepoints) {
  Open();
  EXPECT_EQ(Group(abc_), all_good_);
  EXPECT_EQ(server_.committed, abc_);
  EXPECT_EQ(server_.commits, 2);  // The holder's, and the group's.
  EXPECT_EQ(server_.saves, 0);
  EXPECT_EQ(runs_, 3);
}

TEST_P(PoolTest, WhatAGroupAsksFirstGoesTogetherAndOnce) {
  Open();
  EXPECT_EQ(Group(abc_), all_good_);
  EXPECT_EQ(server_.together, GetParam() ? 1 : 0);
  EXPECT_EQ(server_.committed, abc_);
  EXPECT_EQ(Group({"d"}), (std::map<std::string, std::string>{{"d", ""}})) << "alone";
  EXPECT_EQ(server_.together, GetParam() ? 1 : 0);
}

// What was asked in its name is not what it wants: nothing of it may stay.
TEST_P(PoolTest, WhatWentAheadAndIsNotTakenDoesNotStay) {
  Open();
  Loop loop;
  std::vector<Result<>> answers;
  const auto write = [&](bool takes) -> Task<> {
    const auto body = [takes](Tx& tx) -> Result<> {
      if (takes) PTG_RUN(tx.First({"good", "sql"}, [] { return std::vector<Value>(); }));
      return {};
    };
    const auto ahead = [takes] { return Ask{{takes ? "good" : "bad", "sql"}, {}}; };
    answers.push_back(co_await database_->Write(body, Deadline::Never(), ahead));
    if (answers.size() == 2) loop.Stop();
    co_return {};
  };
  loop.Spawn(write(true), "write");
  loop.Spawn(write(false), "write");
  loop.Run();
  EXPECT_EQ(server_.together, GetParam() ? 1 : 0);
  EXPECT_EQ(server_.committed, std::vector<std::string>{"good"});
}

TEST_P(PoolTest, OneThatFailsIsTakenOutOfItsGroup) {
  Open();
  server_.fault_at = "b";
  server_.faults = 2;
  const std::map<std::string, std::string> want = {{"a", ""}, {"b", "told to"}, {"c", ""}};
  EXPECT_EQ(Group(abc_), want);
  const std::vector<std::string> kept = {"a", "c"};
  EXPECT_EQ(server_.committed, kept);
  EXPECT_EQ(server_.commits, 2);
  EXPECT_EQ(server_.saves, 3);
}

TEST_P(PoolTest, WhatMetAnotherNodeRunsAgainAlone) {
  Open();
  server_.fault_at = "b";
  server_.fault = Health::kRetry;
  server_.faults = 3;
  EXPECT_EQ(Group(abc_), all_good_);
  const std::vector<std::string> want = {"a", "c", "b"};
  EXPECT_EQ(server_.committed, want);
  EXPECT_EQ(server_.commits, 3) << "the holder's, the group's without it, and its own";
  EXPECT_EQ(database_->stats().retries, 1);
}

TEST_P(PoolTest, WhatIsAlwaysInTheWayIsTheStoreInTheEnd) {
  Open();
  server_.fault_at = "b";
  server_.fault = Health::kRetry;
  server_.faults = 1'000;
  const auto answers = Group(abc_);
  EXPECT_EQ(answers.at("a"), "");
  EXPECT_EQ(answers.at("b"), "the database keeps refusing the transaction");
  const std::vector<std::string> kept = {"a", "c"};
  EXPECT_EQ(server_.committed, kept);
}

TEST_P(PoolTest, ASessionLostBeforeTheCommitIsReplacedAndNobodyNotices) {
  Open();
  server_.fault_at = "b";
  server_.fault = Health::kLost;
  server_.faults = 1;
  EXPECT_EQ(Group(abc_), all_good_);
  EXPECT_EQ(server_.committed, abc_);
  EXPECT_EQ(server_.sessions, 2);
}

// The one case in which nobody can know: it is said, never guessed.
TEST_P(PoolTest, ACommitWhoseReplyIsLostIsUnknownAndNotRunAgain) {
  for (const bool happened : {false, true}) {
    SCOPED_TRACE(happened);
    server_ = Server();
    runs_ = 0;
    Open();
    // The holder commits first: the fault is set by the job behind it.
    auto body = [&](Tx& tx) -> Result<> {
      ++runs_;
      server_.commit_fault = Health::kLost;
      server_.commit_happens = happened;
      const Statement statement{"a", "sql"};
      PTG_RUN(tx.Run(statement));
      return {};
    };
    const Result<> done = database_->WriteNow(body);
    EXPECT_THAT(done, FailsWith(Code::kStore));
    EXPECT_TRUE(done.error().detail().contains("may or may not"));
    EXPECT_EQ(runs_, 1);
    EXPECT_EQ(server_.committed.size(), happened ? 1U : 0U);
    EXPECT_EQ(server_.sessions, 2) << "and a new session waits for the next job";
  }
}

TEST_P(PoolTest, ACommitThatWasRefusedRunsAgain) {
  Open();
  auto body = [&](Tx& tx) -> Result<> {
    if (++runs_ == 1) server_.commit_fault = Health::kRetry;
    const Statement statement{"a", "sql"};
    PTG_RUN(tx.Run(statement));
    return {};
  };
  EXPECT_THAT(database_->WriteNow(body), IsOk());
  EXPECT_EQ(runs_, 2);
  EXPECT_EQ(server_.committed.size(), 1U);
}

TEST_P(PoolTest, AServerThatIsAwayIsAnErrorAtOnceAndFoundAgainLater) {
  Open();
  server_.fault_at = "b";
  server_.fault = Health::kLost;
  server_.faults = 1;
  const auto go_away = [&](Tx&) -> Result<> {
    server_.up = false;
    return {};
  };
  EXPECT_THAT(database_->WriteNow(go_away), IsOk());
  for (const auto& [name, answer] : Group(abc_)) {
    EXPECT_EQ(answer, "the database does not answer") << name;
  }
  EXPECT_TRUE(server_.committed.empty());
  server_.up = true;
  EXPECT_EQ(Group(abc_), all_good_);
  EXPECT_EQ(server_.committed, abc_);
}

TEST_P(PoolTest, AFullQueueRefusesAtOnce) {
  Open(2);
  const auto answers = Group(abc_);
  EXPECT_EQ(answers.at("a"), "");
  EXPECT_EQ(answers.at("b"), "");
  EXPECT_EQ(answers.at("c"), "too much waits for the database");
}

TEST_P(PoolTest, WhatIsTooLateIsNotRun) {
  Open();
  for (const auto& [name, answer] : Group(abc_, Deadline::In(Clock::System(), 0ms))) {
    EXPECT_EQ(answer, "the database had no time for it") << name;
  }
  EXPECT_EQ(runs_, 0);
}

TEST_P(PoolTest, ClosingFinishesWhatWasAccepted) {
  Open();
  std::latch closing(1);
  Loop loop;
  int left = 10;
  int good = 0;
  const auto write = [&]() -> Task<> {
    auto body = [&closing](Tx&) -> Result<> {
      closing.wait();
      return {};
    };
    const Result<> done = co_await database_->Write(body, Deadline::Never());
    good += done ? 1 : 0;
    if (--left == 0) loop.Stop();
    co_return {};
  };
  for (int i = 0; i < 10; ++i) loop.Spawn(write(), "write");
  std::thread opener([&] {
    std::this_thread::sleep_for(Millis(20));
    closing.count_down();
  });
  database_.reset();
  opener.join();
  loop.Run();
  EXPECT_EQ(good, 10);
}

}  // namespace
}  // namespace pontage::db
