#include "db/db.h"

#include <atomic>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/try.h"
#include "db/checkpoints.h"
#include "io/runtime.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::db {
namespace {

using testing::FailsWith;
using testing::IsOk;

constexpr Statement kCreate{"test.create",
                            "CREATE TABLE thing (id TEXT NOT NULL PRIMARY KEY, n BIGINT,"
                            " flag BOOLEAN, bytes BLOB)"};
constexpr Statement kInsert{"test.insert",
                            "INSERT INTO thing (id, n, flag, bytes) VALUES ($1, $2, $3, $4)"};
constexpr Statement kInsertOnce{"test.insert_once",
                                "INSERT INTO thing (id, n) VALUES ($1, $2)"
                                " ON CONFLICT (id) DO NOTHING RETURNING id"};
constexpr Statement kSelect{"test.select", "SELECT id, n, flag, bytes FROM thing WHERE id = $1"};
constexpr Statement kCount{"test.count", "SELECT COUNT(*), SUM(n) FROM thing"};
constexpr Statement kNonsense{"test.nonsense", "SELEC nothing"};

Result<int64_t> Count(Tx& tx) {
  PTG_TRY(const Rows rows, tx.Run(kCount));
  return rows.at(0).Int(0);
}

class DbTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  DbTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {
    const auto create = [](Tx& tx) { return tx.Run(kCreate); };
    EXPECT_THAT(database_->WriteNow(create), IsOk());
  }
  static auto Inserting(std::string id, int64_t n = 1) {
    return [id = std::move(id), n](Tx& tx) {
      return tx.Run(kInsert, id, n, std::monostate{}, std::monostate{});
    };
  }
  int64_t CountNow() {
    const auto count = database_->ReadNow(Count);
    EXPECT_THAT(count, IsOk());
    return count.value_or(-1);
  }

  testing::Engine engine_;
  std::unique_ptr<Database> database_;
};

TEST_P(DbTest, ValuesComeBackAsTheyWent) {
  const std::string text = "schön \U0001F309 \"quoted\" 'too'\n$1";
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const auto body = [&](Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kInsert, text, INT64_MIN, true, Blob{bytes}));
    PTG_RUN(tx.Run(kInsert, std::string(), std::monostate{}, false, Blob{}));
    PTG_TRY(const Rows full, tx.Run(kSelect, text));
    EXPECT_EQ(full.size(), 1U);
    EXPECT_EQ(full.at(0).Text(0), text);
    EXPECT_EQ(full.at(0).Int(1), INT64_MIN);
    EXPECT_TRUE(full.at(0).Bool(2));
    EXPECT_EQ(full.at(0).Bytes(3), bytes);
    PTG_TRY(const Rows empty, tx.Run(kSelect, std::string()));
    EXPECT_EQ(empty.size(), 1U);
    EXPECT_EQ(empty.at(0).Text(0), "");
    EXPECT_TRUE(empty.at(0).IsNull(1));
    EXPECT_EQ(empty.at(0).Int(1), 0);
    EXPECT_FALSE(empty.at(0).Bool(2));
    EXPECT_FALSE(empty.at(0).IsNull(3));
    EXPECT_EQ(empty.at(0).Bytes(3), "");
    return {};
  };
  EXPECT_THAT(database_->WriteNow(body), IsOk());
}

TEST_P(DbTest, WhatOneEngineCannotKeepBothRefuse) {
  for (const std::string& text :
       {std::string("a\0b", 3), std::string("\xff"), std::string("\xc0\x80"),
        std::string("\xed\xa0\x80"), std::string("abc\xe2\x82"), std::string("\xf4\x90\x80\x80")}) {
    EXPECT_THAT(database_->WriteNow(Inserting(text)), FailsWith(Code::kBadRequest)) << text;
  }
  EXPECT_EQ(CountNow(), 0);
}

TEST_P(DbTest, AConstraintIsAConflictAndAnythingElseIsTheStore) {
  EXPECT_THAT(database_->WriteNow(Inserting("a")), IsOk());
  EXPECT_THAT(database_->WriteNow(Inserting("a")), FailsWith(Code::kConflict));
  const auto nameless = [](Tx& tx) {
    return tx.Run(kInsert, std::monostate{}, int64_t{1}, std::monostate{}, std::monostate{});
  };
  EXPECT_THAT(database_->WriteNow(nameless), FailsWith(Code::kConflict));
  const auto nonsense = [](Tx& tx) { return tx.Run(kNonsense); };
  EXPECT_THAT(database_->WriteNow(nonsense), FailsWith(Code::kStore));
  EXPECT_THAT(database_->ReadNow(nonsense), FailsWith(Code::kStore));
  EXPECT_EQ(CountNow(), 1);
}

// PostgreSQL goes no further in a transaction after an error, SQLite does: a body that overlooks
// one must not succeed on either.
TEST_P(DbTest, AnErrorThatTheBodyIgnoresStillFailsIt) {
  const auto body = [](Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kInsert, std::string("a"), int64_t{1}, std::monostate{}, std::monostate{}));
    (void)tx.Run(kInsert, std::string("a"), int64_t{1}, std::monostate{}, std::monostate{});
    (void)tx.Run(kInsert, std::string("b"), int64_t{1}, std::monostate{}, std::monostate{});
    return {};
  };
  EXPECT_THAT(database_->WriteNow(body), FailsWith(Code::kConflict));
  EXPECT_EQ(CountNow(), 0);
}

TEST_P(DbTest, AnExceptionInABodyChangesNothing) {
  const auto body = [](Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kInsert, std::string("a"), int64_t{1}, std::monostate{}, std::monostate{}));
    throw std::runtime_error("oops");
  };
  EXPECT_THAT(database_->WriteNow(body), FailsWith(Code::kInternal));
  EXPECT_EQ(CountNow(), 0);
}

// One job of a group fails: the others are committed, and their writers hear so.
TEST_P(DbTest, AFailedJobDoesNotDisturbItsGroup) {
  Loop loop;
  constexpr int kJobs = 300;
  int left = kJobs;
  int good = 0;
  const auto write = [&](int i) -> Task<> {
    // Every third inserts a key that is there already, after a row that must go with it.
    auto body = [i](Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(kInsertOnce, std::to_string(i), int64_t{1}));
      if (i % 3 != 0) return {};
      PTG_RUN(tx.Run(kInsert, std::to_string(i), int64_t{1}, std::monostate{}, std::monostate{}));
      return {};
    };
    const Result<> done = co_await database_->Write(body, Deadline::Never());
    EXPECT_EQ(done.has_value(), i % 3 != 0);
    good += done ? 1 : 0;
    if (--left == 0) loop.Stop();
    co_return {};
  };
  const int64_t commits = database_->stats().commits;
  for (int i = 0; i < kJobs; ++i) loop.Spawn(write(i), "write");
  loop.Run();
  EXPECT_EQ(good, 200);
  EXPECT_EQ(CountNow(), 200);
  EXPECT_LT(database_->stats().commits - commits, 30);
}

// A hundred writers of twenty names in one group, all of them alone or one that fails among them:
// the first of each name is who asked first, and only what is wrong fails.
TEST_P(DbTest, WhatGoesAheadDecidesAsItWouldInItsPlace) {
  constexpr size_t kWriters = 100;
  constexpr size_t kNames = 20;
  const struct {
    std::string prefix;
    std::optional<Statement> odd;
    std::string odd_name;
    Code code;
  } rounds[] = {{"good ", std::nullopt, "", Code::kInternal},
                {"text ", kInsertOnce, std::string("a\0b", 3), Code::kBadRequest},
                {"sql ", kNonsense, "nonsense", Code::kStore}};
  for (const auto& round : rounds) {
    SCOPED_TRACE(round.prefix);
    Loop loop;
    std::vector<bool> won(kWriters);
    std::optional<Error> failed;
    size_t left = kWriters + (round.odd ? 1 : 0);
    const auto write = [&](Statement statement, std::string name) -> Task<bool> {
      const auto values = [name] { return std::vector<Value>{name, int64_t{1}}; };
      const auto body = [&](Tx& tx) -> Result<bool> {
        PTG_TRY(const Rows rows, tx.First(statement, values));
        PTG_TRY(const Rows seen, tx.Run(kSelect, name));
        EXPECT_EQ(seen.size(), 1U);
        return !rows.empty();
      };
      const auto ahead = [statement, values] { return Ask{statement, values()}; };
      Result<bool> first = co_await database_->Write(body, Deadline::Never(), ahead);
      if (--left == 0) loop.Stop();
      co_return first;
    };
    const auto good = [&](size_t i) -> Task<> {
      const Result<bool> first =
          co_await write(kInsertOnce, round.prefix + std::to_string(i % kNames));
      EXPECT_THAT(first, IsOk());
      won[i] = first.value_or(false);
      co_return {};
    };
    const auto odd = [&]() -> Task<> {
      const Result<bool> first = co_await write(*round.odd, round.odd_name);
      if (!first) failed = first.error();
      co_return {};
    };
    for (size_t i = 0; i < kWriters; ++i) {
      if (i == 30 && round.odd) loop.Spawn(odd(), "odd");
      loop.Spawn(good(i), "good");
    }
    loop.Run();
    for (size_t i = 0; i < kWriters; ++i) EXPECT_EQ(won[i], i < kNames) << i;
    ASSERT_EQ(failed.has_value(), round.odd.has_value());
    if (failed) EXPECT_EQ(failed->code(), round.code);
  }
  EXPECT_EQ(CountNow(), int64_t{3 * kNames});
}

TEST_P(DbTest, AStatementSaysHowManyRowsItChanged) {
  const auto body = [](Tx& tx) -> Result<> {
    constexpr Statement kOnce{"test.once",
                              "INSERT INTO thing (id, n) VALUES ($1, $2) ON CONFLICT DO NOTHING"};
    PTG_TRY(const Rows first, tx.Run(kOnce, std::string("a"), int64_t{1}));
    EXPECT_EQ(first.changed, 1);
    PTG_TRY(const Rows again, tx.Run(kOnce, std::string("a"), int64_t{2}));
    EXPECT_EQ(again.changed, 0) << "it is there already";
    PTG_TRY(const Rows second, tx.Run(kOnce, std::string("b"), int64_t{1}));
    EXPECT_EQ(second.changed, 1);
    constexpr Statement kRaise{"test.raise", "UPDATE thing SET n = n + 1 WHERE n = $1"};
    PTG_TRY(const Rows both, tx.Run(kRaise, int64_t{1}));
    EXPECT_EQ(both.changed, 2);
    PTG_TRY(const Rows none, tx.Run(kRaise, int64_t{77}));
    EXPECT_EQ(none.changed, 0);
    return {};
  };
  EXPECT_THAT(database_->WriteNow(body), IsOk());
}

// Wherever in a text they stand: it is looked at eight bytes at a time.
TEST_P(DbTest, ATextWithANulOrBrokenUtf8IsRefusedByBothEngines) {
  const auto insert = [this](const std::string& text) {
    return database_->WriteNow([&](Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(kInsert, text, int64_t{1}, std::monostate{}, std::monostate{}));
      return {};
    });
  };
  for (size_t at = 0; at < 20; ++at) {
    const std::string before(at, 'a');
    const std::string after(19 - at, 'z');
    EXPECT_THAT(insert(before + "\xc3\xa4" + after), IsOk()) << at;
    EXPECT_THAT(insert(before + "\x7f" + after), IsOk()) << at;
    EXPECT_THAT(insert(before + std::string(1, '\0') + after), FailsWith(Code::kBadRequest)) << at;
    EXPECT_THAT(insert(before + "\x80" + after), FailsWith(Code::kBadRequest)) << at;
    EXPECT_THAT(insert(before + "\xc3"), FailsWith(Code::kBadRequest)) << at;
  }
}

TEST_P(DbTest, AReaderSeesWhatWasCommittedBeforeItAsked) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(database_->WriteNow(Inserting(std::to_string(i))), IsOk());
    EXPECT_EQ(CountNow(), i + 1);
  }
}

TEST_P(DbTest, AReaderCannotWrite) {
  if (GetParam() == testing::EngineKind::kPostgres) {
    EXPECT_FALSE(database_->ReadNow(Inserting("a")).has_value());
    EXPECT_EQ(CountNow(), 0);
  }
  // A reader that looks twice sees the same both times, whatever is written meanwhile.
  const auto body = [&](Tx& tx) -> Result<> {
    PTG_TRY(const int64_t before, Count(tx));
    EXPECT_THAT(database_->WriteNow(Inserting("b")), IsOk());
    PTG_TRY(const int64_t after, Count(tx));
    EXPECT_EQ(before, after);
    return {};
  };
  EXPECT_THAT(database_->ReadNow(body), IsOk());
  EXPECT_EQ(CountNow(), 1);
}

TEST_P(DbTest, ManyThreadsManyRows) {
  std::vector<std::thread> threads;
  std::atomic<int> won = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto body = [i](Tx& tx) {
          return tx.Run(kInsertOnce, std::to_string(i), int64_t{1});
        };
        const auto rows = database_->WriteNow(body);
        EXPECT_THAT(rows, IsOk());
        if (rows && !rows->empty()) ++won;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 50);
  EXPECT_EQ(CountNow(), 50);
}

TEST_P(DbTest, WhatWasCommittedIsThereAfterItIsOpenedAgain) {
  EXPECT_THAT(database_->WriteNow(Inserting("a")), IsOk());
  database_.reset();
  database_ = engine_.Open();
  EXPECT_EQ(CountNow(), 1);
}

INSTANTIATE_TEST_SUITE_P(Engines, DbTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST(DbUrlTest, SaysWhatAUrlShouldLookLike) {
  for (const char* url : {"", "sqlite:", "mysql://x", "pontage.db", "postgres:/x", "SQLITE:x"}) {
    EXPECT_THAT(ParseUrl(url), FailsWith(Code::kConfig)) << url;
    EXPECT_THAT(Database::Open(url, {}, Clock::System()), FailsWith(Code::kConfig)) << url;
  }
  EXPECT_EQ(ParseUrl("sqlite:///var/a.db")->where, "/var/a.db");
  EXPECT_EQ(ParseUrl("sqlite:a.db")->where, "a.db");
  EXPECT_EQ(ParseUrl("postgres://u@h/d")->engine, Engine::kPostgres);
}

// The password stands in the URL and must not come out again.
TEST(DbUrlTest, AUrlThatLibpqRefusesIsNotQuoted) {
  const auto opened = Database::Open("postgresql://user:hunter2@[bad/db", {}, Clock::System());
  ASSERT_FALSE(opened.has_value());
  EXPECT_FALSE(opened.error().detail().contains("hunter2"));
  EXPECT_FALSE(opened.error().expected().contains("hunter2"));
}

TEST(SqliteTest, ADirectoryThatIsNotThereIsTheStore) {
  EXPECT_THAT(Database::Open("sqlite:/nowhere/at/all.db", {}, Clock::System()),
              FailsWith(Code::kStore));
}

TEST(SqliteTest, ADatabaseInMemoryIsOneForReadersAndTheWriter) {
  const auto database = Database::Open("sqlite::memory:", {}, Clock::System());
  ASSERT_THAT(database, IsOk());
  const auto create = [](Tx& tx) { return tx.Run(kCreate); };
  EXPECT_THAT((*database)->WriteNow(create), IsOk());
  EXPECT_EQ((*database)->ReadNow(Count).value_or(-1), 0);
}

// Payments and paid answers are in it.
TEST(SqliteTest, ANewFileIsItsOwnersAlone) {
  const testing::Engine engine(testing::EngineKind::kSqlite);
  const auto database = engine.OpenMigrated();
  for (const char* end : {"", "-wal"}) {
    const auto mode = std::filesystem::status(engine.path() + end).permissions();
    EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)
        << end;
  }
}

// kill -9 in the middle of writing: every row that was answered is there, and no half of a job.
TEST(SqliteTest, WhatWasAnsweredOutlivesAKilledProcess) {
  const testing::Engine engine(testing::EngineKind::kSqlite);
  const auto create = [](Tx& tx) { return tx.Run(kCreate); };
  ASSERT_THAT(engine.Open()->WriteNow(create), IsOk());
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto database = engine.Open();
    for (int64_t i = 0; i < 1'000'000; ++i) {
      const auto body = [i](Tx& tx) -> Result<> {
        PTG_RUN(tx.Run(kInsertOnce, "a" + std::to_string(i), int64_t{1}));
        PTG_RUN(tx.Run(kInsertOnce, "b" + std::to_string(i), int64_t{1}));
        return {};
      };
      if (!database->WriteNow(body) || write(ends[1], "x", 1) != 1) _exit(1);
    }
    _exit(1);
  }
  close(ends[1]);
  int64_t answered = 0;
  char byte = 0;
  while (answered < 50 && read(ends[0], &byte, 1) == 1) ++answered;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  while (read(ends[0], &byte, 1) == 1) ++answered;
  close(ends[0]);
  const int64_t rows = engine.Open()->ReadNow(Count).value_or(-1);
  EXPECT_GE(answered, 50);
  EXPECT_GE(rows, 2 * answered);
  EXPECT_LE(rows, 2 * answered + 2);
  EXPECT_EQ(rows % 2, 0);
}

// What is committed is moved into the file beside the writer (checkpoints.h), who never pauses
// here.
TEST(SqliteTest, TheLogBeginsAnewUnderSteadyWriting) {
  const testing::Engine engine(testing::EngineKind::kSqlite);
  const auto database = engine.Open();
  const auto create = [](Tx& tx) { return tx.Run(kCreate); };
  ASSERT_THAT(database->WriteNow(create), IsOk());
  constexpr int64_t kRows = 420;  // of a MiB each, as fast as the disk takes them
  for (int64_t i = 0; i < kRows; ++i) {
    const auto body = [i](Tx& tx) {
      return tx.Run(kInsert, std::to_string(i), i, std::monostate{},
                    Blob{std::string(1 << 20, static_cast<char>(i))});
    };
    ASSERT_THAT(database->WriteNow(body), IsOk());
  }
  EXPECT_LT(std::filesystem::file_size(engine.path() + "-wal"),
            size_t{Checkpoints::kMost + 2 * Checkpoints::kAt} * 4096);
  EXPECT_GT(std::filesystem::file_size(engine.path()), size_t{100} << 20);
  EXPECT_EQ(database->ReadNow(Count).value_or(-1), kRows);
}

// A command beside the running server: both write, neither fails.
TEST(SqliteTest, TwoProcessesTakeTurns) {
  const testing::Engine engine(testing::EngineKind::kSqlite);
  const auto one = engine.Open();
  const auto two = engine.Open();
  const auto create = [](Tx& tx) { return tx.Run(kCreate); };
  ASSERT_THAT(one->WriteNow(create), IsOk());
  const auto write = [](Database& database, int first) {
    for (int i = 0; i < 100; ++i) {
      const auto body = [&](Tx& tx) {
        return tx.Run(kInsertOnce, std::to_string(first + i), int64_t{1});
      };
      EXPECT_THAT(database.WriteNow(body), IsOk());
    }
  };
  std::thread other([&] { write(*two, 1'000); });
  write(*one, 0);
  other.join();
  EXPECT_EQ(one->ReadNow(Count).value_or(-1), 200);
}

// Only where there is a PostgreSQL.
class PostgresTest : public ::testing::TestWithParam<testing::EngineKind> {};

// The server restarts, or a proxy cuts idle sessions: the next statement finds it out, and nobody
// else has to.
TEST_P(PostgresTest, ASessionThatWasCutIsReplacedWithoutAnError) {
  const testing::Engine engine(GetParam());
  const auto database = engine.OpenMigrated();
  const auto admin = Database::Open(testing::PostgresUrl(), {}, Clock::System());
  ASSERT_THAT(admin, IsOk());
  constexpr Statement kPid{"test.pid", "SELECT pg_backend_pid()"};
  constexpr Statement kKill{"test.kill", "SELECT pg_terminate_backend($1::int)"};
  const auto pid = [&](Tx& tx) { return tx.Run(kPid); };
  const auto kill = [&](int64_t n) {
    const auto body = [&](Tx& tx) { return tx.Run(kKill, std::to_string(n)); };
    EXPECT_THAT((*admin)->WriteNow(body), IsOk());
  };
  const auto writer = database->WriteNow(pid);
  ASSERT_THAT(writer, IsOk());
  kill(writer->at(0).Int(0));
  const auto create = [](Tx& tx) { return tx.Run(kCreate); };
  EXPECT_THAT(database->WriteNow(create), IsOk());
  EXPECT_EQ(database->stats().reconnects, 1);

  // Cut in the middle of a job: nothing was committed, so it runs again.
  int runs = 0;
  const auto insert = [&](Tx& tx) -> Result<> {
    ++runs;
    PTG_RUN(tx.Run(kInsertOnce, std::string("a"), int64_t{1}));
    PTG_TRY(const Rows mine, tx.Run(kPid));
    if (runs == 1) kill(mine.at(0).Int(0));
    PTG_RUN(tx.Run(kInsertOnce, std::string("b"), int64_t{1}));
    return {};
  };
  EXPECT_THAT(database->WriteNow(insert), IsOk());
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(database->ReadNow(Count).value_or(-1), 2);
}

TEST_P(PostgresTest, AServerThatIsNotThereIsTheStore) {
  EXPECT_THAT(Database::Open("postgresql://nobody@/nothing?host=/nonexistent", {}, Clock::System()),
              FailsWith(Code::kStore));
}

INSTANTIATE_TEST_SUITE_P(Engines, PostgresTest, ::testing::ValuesIn(testing::PostgresHere()),
                         testing::EngineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PostgresTest);

// Now and then a new store was still being made when the thread that moves its pages opened it.
TEST(SqliteTest, ANewStoreIsOpenedWithoutAWordOfFailure) {
  static std::atomic<int> failures{0};
  SetLogSink([](std::string_view line) { failures += line.contains("store.failed") ? 1 : 0; });
  for (int i = 0; i < 60; ++i) {
    testing::Engine engine(testing::EngineKind::kSqlite);
    (void)engine.OpenMigrated();
  }
  SetLogSink(nullptr);
  EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace pontage::db
