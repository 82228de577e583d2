#include "db/copy.h"

#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "db/db.h"
#include "db/writer_lock.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::db {
namespace {

using testing::FailsWith;
using testing::IsOk;

constexpr Statement kOutbox{
    "test.outbox",
    "INSERT INTO outbox (id, kind, key, payload, created_ms, next_ms, attempts, done_ms)"
    " VALUES ($1, 'k', $1, $2, $3, $3, 0, $4)"};
constexpr Statement kAnswer{
    "test.answer",
    "INSERT INTO stored_answer (reservation, status, head, body) VALUES ($1, 200, '[]', $2)"};
constexpr Statement kReadOutbox{"test.read_outbox",
                                "SELECT id, payload, created_ms, done_ms FROM outbox ORDER BY id"};
constexpr Statement kReadAnswer{"test.read_answer",
                                "SELECT reservation, body FROM stored_answer ORDER BY reservation"};

// 300 rows, more than a page and more than one INSERT takes.
Result<> Fill(Tx& tx) {
  for (int64_t i = 0; i < 300; ++i) {
    const std::string id = "id" + std::to_string(1000 + i);
    const Value done = i % 2 == 0 ? Value(std::monostate{}) : Value(i);
    PTG_RUN(
        tx.Run(kOutbox, id, "ö" + std::string(static_cast<size_t>(i), 'x'), INT64_MAX - i, done));
    Blob body{std::string(static_cast<size_t>(i % 7), static_cast<char>(i))};
    PTG_RUN(tx.Run(kAnswer, id, std::move(body)));
  }
  return {};
}

std::vector<std::vector<Value>> Everything(Database& database) {
  std::vector<std::vector<Value>> all;
  const auto body = [&](Tx& tx) -> Result<> {
    for (const Statement& statement : {kReadOutbox, kReadAnswer}) {
      PTG_TRY(const Rows rows, tx.Run(statement));
      for (const Row& row : rows) {
        std::vector<Value>& values = all.emplace_back();
        for (size_t i = 0; i < row.size(); ++i) values.push_back(row.Get(i));
      }
    }
    return {};
  };
  EXPECT_THAT(database.ReadNow(body), IsOk());
  return all;
}

class CopyTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  // From SQLite to each engine, and from each engine back.
  testing::Engine file_{testing::EngineKind::kSqlite};
  testing::Engine other_{GetParam()};
  testing::Engine third_{testing::EngineKind::kSqlite};
  Clock& clock_ = Clock::System();
};

TEST_P(CopyTest, EverythingArrivesThereAndBack) {
  const auto source = file_.OpenMigrated();
  ASSERT_THAT(source->WriteNow(Fill), IsOk());
  const auto report = CopyDatabase(file_.url(), other_.url(), clock_);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->rows, 600);
  for (const CopyReport::Table& table : report->tables) {
    EXPECT_EQ(table.rows, table.name == "outbox" || table.name == "stored_answer" ? 300 : 0)
        << table.name;
  }
  ASSERT_THAT(CopyDatabase(other_.url(), third_.url(), clock_), IsOk());
  const auto other = other_.Open();
  const auto third = third_.Open();
  const auto want = Everything(*source);
  EXPECT_EQ(want.size(), 600U);
  EXPECT_EQ(Everything(*other), want);
  EXPECT_EQ(Everything(*third), want);
  EXPECT_TRUE(HasRows(other_.url(), clock_).value_or(false));
}

TEST_P(CopyTest, ATargetWithRowsIsLeftAlone) {
  ASSERT_THAT(file_.OpenMigrated()->WriteNow(Fill), IsOk());
  const auto target = other_.OpenMigrated();
  const auto one = [](Tx& tx) { return tx.Run(kAnswer, std::string("mine"), Blob{"x"}); };
  ASSERT_THAT(target->WriteNow(one), IsOk());
  EXPECT_THAT(CopyDatabase(file_.url(), other_.url(), clock_), FailsWith(Code::kConflict));
  EXPECT_EQ(Everything(*target).size(), 1U);
}

TEST_P(CopyTest, NotWhileAnythingServesFromEither) {
  ASSERT_THAT(other_.OpenMigrated()->WriteNow(Fill), IsOk());
  {
    const auto serving = AcquireWriterLock(other_.url(), WriterLock::Mode::kServe);
    ASSERT_THAT(serving, IsOk());
    EXPECT_TRUE((*serving)->alone());
    const auto second = AcquireWriterLock(other_.url(), WriterLock::Mode::kServe);
    ASSERT_THAT(second, IsOk());
    EXPECT_FALSE((*second)->alone());
    EXPECT_THAT(CopyDatabase(other_.url(), file_.url(), clock_), FailsWith(Code::kConflict));
    EXPECT_THAT(CopyDatabase(file_.url(), other_.url(), clock_), FailsWith(Code::kStore));
  }
  {
    const auto migrating = AcquireWriterLock(other_.url(), WriterLock::Mode::kMigrate);
    ASSERT_THAT(migrating, IsOk());
    EXPECT_THAT(AcquireWriterLock(other_.url(), WriterLock::Mode::kServe),
                FailsWith(Code::kConflict));
  }
  EXPECT_THAT(CopyDatabase(other_.url(), file_.url(), clock_), IsOk());
  // A server lets go of a session's lock a moment after that session has gone.
  bool alone = false;
  for (int i = 0; i < 100 && !alone; ++i) {
    const auto after = AcquireWriterLock(other_.url(), WriterLock::Mode::kServe);
    alone = after && (*after)->alone();
    if (!alone) std::this_thread::sleep_for(Millis(20));
  }
  EXPECT_TRUE(alone);
}

TEST_P(CopyTest, ASourceOfAnotherSchemaIsRefused) {
  EXPECT_THAT(CopyDatabase(other_.url(), other_.url(), clock_), FailsWith(Code::kUsage));
  (void)other_.Open();
  EXPECT_THAT(CopyDatabase(other_.url(), file_.url(), clock_), FailsWith(Code::kConfig));
}

TEST_P(CopyTest, HasRowsDoesNotCountTablesOrHeartbeats) {
  EXPECT_FALSE(HasRows(other_.url(), clock_).value_or(true));
  const auto database = other_.OpenMigrated();
  EXPECT_FALSE(HasRows(other_.url(), clock_).value_or(true));
  constexpr Statement kBeat{"test.beat", "INSERT INTO node (id, heartbeat_ms) VALUES ('n', 1)"};
  const auto beat = [&](Tx& tx) { return tx.Run(kBeat); };
  ASSERT_THAT(database->WriteNow(beat), IsOk());
  EXPECT_FALSE(HasRows(other_.url(), clock_).value_or(true));
  ASSERT_THAT(database->WriteNow(Fill), IsOk());
  EXPECT_TRUE(HasRows(other_.url(), clock_).value_or(false));
}

INSTANTIATE_TEST_SUITE_P(Engines, CopyTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST(HasRowsTest, AFileThatIsNotThereIsNotMade) {
  const testing::Engine engine(testing::EngineKind::kSqlite);
  EXPECT_FALSE(HasRows(engine.url(), Clock::System()).value_or(true));
  EXPECT_FALSE(std::filesystem::exists(engine.path()));
}

}  // namespace
}  // namespace pontage::db
