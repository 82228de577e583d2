#include "db/migrate.h"

#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::db {
namespace {

using testing::FailsWith;
using testing::IsOk;

constexpr Migration kOne{.version = 1, .name = "one", .sql = "CREATE TABLE a (x BIGINT);\n-- ;\n"};
constexpr Migration kTwo{.version = 2,
                         .name = "two",
                         .sql =
                             "CREATE TABLE b (x BLOB); "
                             "INSERT INTO a (x) VALUES (7)"};
constexpr Migration kTwoEdited{.version = 2, .name = "two", .sql = "CREATE TABLE b (x TEXT)"};
constexpr Migration kThreeFails{
    .version = 3, .name = "three", .sql = "CREATE TABLE c (x BIGINT); CREATE TABLE b (x BIGINT)"};

class MigrateTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  MigrateTest() : engine_(GetParam()), database_(engine_.Open()) {}
  Result<MigrateReport> Apply(std::vector<Migration> migrations) {
    return Migrate(*database_, Clock::System(), migrations);
  }
  bool HasTable(const std::string& name) {
    const std::string sql = "SELECT COUNT(*) FROM " + name;
    const Statement statement{"test.has", sql};
    const auto body = [&](Tx& tx) { return tx.Run(statement); };
    return database_->ReadNow(body).has_value();
  }
  testing::Engine engine_;
  std::unique_ptr<Database> database_;
};

TEST_P(MigrateTest, AppliesWhatIsMissingOnceAndInOrder) {
  EXPECT_EQ(SchemaVersion(*database_).value_or(-1), 0);
  auto report = Apply({kOne});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->from, 0);
  EXPECT_EQ(report->to, 1);
  report = Apply({kOne, kTwo});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->from, 1);
  EXPECT_EQ(report->to, 2);
  report = Apply({kOne, kTwo});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->from, 2);
  EXPECT_EQ(SchemaVersion(*database_).value_or(-1), 2);
}

TEST_P(MigrateTest, ANewerDatabaseAndAnEditedMigrationAreRefused) {
  ASSERT_THAT(Apply({kOne, kTwo}), IsOk());
  EXPECT_THAT(Apply({kOne}), FailsWith(Code::kConfig));
  EXPECT_THAT(Apply({kOne, kTwoEdited}), FailsWith(Code::kConfig));
  EXPECT_EQ(SchemaVersion(*database_).value_or(-1), 2);
}

TEST_P(MigrateTest, OneThatFailsLeavesNothingOfItself) {
  ASSERT_THAT(Apply({kOne}), IsOk());
  EXPECT_FALSE(Apply({kOne, kTwo, kThreeFails}).has_value());
  EXPECT_EQ(SchemaVersion(*database_).value_or(-1), 1);
  EXPECT_TRUE(HasTable("a"));
  EXPECT_FALSE(HasTable("b"));
  EXPECT_FALSE(HasTable("c"));
}

// Several nodes start at once on an empty database.
TEST_P(MigrateTest, AtOnceTheyQueueUp) {
  std::vector<std::thread> nodes;
  for (int i = 0; i < 4; ++i) {
    nodes.emplace_back([this] {
      const auto mine = engine_.Open();
      ASSERT_NE(mine, nullptr);
      EXPECT_THAT(Migrate(*mine, Clock::System()), IsOk());
    });
  }
  for (std::thread& node : nodes) node.join();
  EXPECT_EQ(SchemaVersion(*database_).value_or(-1), AllMigrations().back().version);
}

INSTANTIATE_TEST_SUITE_P(Engines, MigrateTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST(MigrationsTest, AreNumberedWithoutGaps) {
  int64_t version = 0;
  for (const Migration& migration : AllMigrations()) EXPECT_EQ(migration.version, ++version);
  EXPECT_GE(version, 2);
}

TEST(SplitSqlTest, KnowsQuotesAndComments) {
  const struct {
    const char* text;
    std::vector<std::string> want;
  } cases[] = {
      {"", {}},
      {" ;; \n", {}},
      {"a;b", {"a", "b"}},
      {"a ; b ;", {"a", "b"}},
      {"-- x;y\na", {"a"}},
      {"a -- trailing", {"a"}},
      {"'a;b';c", {"'a;b'", "c"}},
      {"'it''s;';\"x;\"\"y\"", {"'it''s;'", "\"x;\"\"y\""}},
      {"'--';a", {"'--'", "a"}},
      {"'open", {"'open"}},
      {"a - b", {"a - b"}},
  };
  for (const auto& c : cases) EXPECT_EQ(SplitSql(c.text), c.want) << c.text;
}

}  // namespace
}  // namespace pontage::db
