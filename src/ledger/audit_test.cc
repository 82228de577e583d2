#include "ledger/audit.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::ledger {
namespace {

using pontage::testing::IsOk;

constexpr db::Statement kForge{"test.forge", "UPDATE audit SET reason = 'nothing' WHERE seq = $1"};
constexpr db::Statement kForgeWhole{
    "test.forge_whole", "UPDATE audit SET reason = 'nothing', hash = $2 WHERE seq = $1"};
constexpr db::Statement kLose{"test.lose", "DELETE FROM audit WHERE seq = $1"};

AuditEntry Entry(const std::string& subject) {
  AuditEntry entry;
  entry.actor = "operator";
  entry.verb = "license.revoke";
  entry.subject = subject;
  entry.before = R"({"status":"active"})";
  entry.after = R"({"status":"revoked"})";
  entry.reason = "it was asked for";
  entry.request_id = "req_1";
  return entry;
}

class AuditTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  AuditTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  template <typename F>
  auto Do(F body) {
    return database_->WriteNow(body);
  }
  void Append(const std::string& subject, int64_t at = 10) {
    EXPECT_THAT(Do([&](db::Tx& tx) { return AppendAudit(tx, Entry(subject), UnixMs(at)); }),
                IsOk());
  }
  AuditCheck Check(const AuditCheck& done = {}, size_t limit = 1'000) {
    const auto check = Do([&](db::Tx& tx) { return CheckAudit(tx, done, limit); });
    EXPECT_THAT(check, IsOk());
    AuditCheck none;
    none.broken_at = -1;
    return check.value_or(none);
  }
  std::vector<AuditRow> List(const AuditFilter& filter) {
    return Do([&](db::Tx& tx) { return ListAudit(tx, filter); }).value_or(std::vector<AuditRow>());
  }
  void Run(const db::Statement& statement, int64_t seq) {
    EXPECT_THAT(Do([&](db::Tx& tx) { return tx.Run(statement, seq); }), IsOk());
  }

  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, AuditTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(AuditTest, EachRowIsBoundToAllBeforeIt) {
  EXPECT_TRUE(Check().holds());
  for (const char* subject : {"lic_1", "lic_2", "lic_1"}) Append(subject);
  const AuditCheck check = Check();
  EXPECT_TRUE(check.holds());
  EXPECT_EQ(check.rows, 3);
  const auto rows = List({});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].seq, 3);
  EXPECT_EQ(rows[0].hash, check.hash);
  EXPECT_EQ(rows[0].prev_hash, rows[1].hash);
  EXPECT_EQ(rows[2].prev_hash, "");
  EXPECT_EQ(rows[0].entry.reason, "it was asked for");
  EXPECT_EQ(rows[0].entry.before, R"({"status":"active"})");
  EXPECT_EQ(List({.subject = "lic_1"}).size(), 2u);
  const auto older = List({.before = 3, .limit = 1});
  ASSERT_EQ(older.size(), 1u);
  EXPECT_EQ(older[0].seq, 2);
}

TEST_P(AuditTest, ARowThatWasChangedOrTakenAwayShows) {
  for (int i = 0; i < 5; ++i) Append("lic_" + std::to_string(i));
  Run(kForge, 3);
  EXPECT_EQ(Check().broken_at, 3);
  // Even with a hash that fits the row: the next one knows better.
  auto forged = List({.before = 4, .limit = 1});
  ASSERT_EQ(forged.size(), 1u);
  const std::string hash = AuditHash(forged[0]);
  EXPECT_THAT(Do([&](db::Tx& tx) { return tx.Run(kForgeWhole, int64_t{3}, hash); }), IsOk());
  EXPECT_EQ(Check().broken_at, 4);
}

TEST_P(AuditTest, AGapShows) {
  for (int i = 0; i < 4; ++i) Append("lic_1");
  Run(kLose, 2);
  EXPECT_EQ(Check().broken_at, 2);
}

TEST_P(AuditTest, WhatIsTakenFromTheEndShowsForGood) {
  for (int i = 0; i < 6; ++i) Append("lic_1");
  const AuditCheck whole = Check();
  EXPECT_TRUE(whole.holds());
  Run(kLose, 6);
  Run(kLose, 5);
  EXPECT_EQ(Check().broken_at, 5);
  EXPECT_EQ(Check(whole).broken_at, 5) << "what was good once is gone";
  for (int i = 5; i < 10; ++i) {
    Append("lic_2");
    EXPECT_EQ(Check().broken_at, std::min(i + 1, 6)) << i;
    EXPECT_FALSE(Check(whole).holds()) << i;
  }
  for (int64_t seq = 1; seq < 10; ++seq) Run(kLose, seq);
  EXPECT_EQ(Check().broken_at, 1);
}

TEST_P(AuditTest, ALongChainIsLookedAtInParts) {
  for (int i = 0; i < 5; ++i) Append("lic_1");
  AuditCheck check = Check({}, 2);
  EXPECT_EQ(check.rows, 2);
  check = Check(check, 2);
  EXPECT_EQ(check.seq, 4);
  check = Check(check, 2);
  EXPECT_EQ(check.rows, 1);
  EXPECT_EQ(check.seq, 5);
  EXPECT_TRUE(check.holds());
}

TEST_P(AuditTest, WhatFailsLeavesNoRow) {
  const auto failing = [](db::Tx& tx) -> Result<> {
    PTG_RUN(AppendAudit(tx, Entry("lic_1"), UnixMs(1)));
    return Fail(Code::kInternal, "told to");
  };
  EXPECT_FALSE(Do(failing));
  Append("lic_2");
  EXPECT_EQ(Check().rows, 1);
}

// Two nodes of one store, and several loops of each.
TEST_P(AuditTest, ManyWritersMakeOneChain) {
  const auto other = engine_.Open();  // of another node
  constexpr int kEach = 20;
  const auto write = [](db::Database& database) {
    for (int i = 0; i < kEach; ++i) {
      const auto body = [](db::Tx& tx) { return AppendAudit(tx, Entry("lic_1"), UnixMs(1)); };
      EXPECT_THAT(database.WriteNow(body), IsOk());
    }
  };
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 2; ++i) {
      writers.emplace_back([&] { write(*database_); });
      writers.emplace_back([&] { write(*other); });
    }
  }
  const AuditCheck check = Check();
  EXPECT_TRUE(check.holds());
  EXPECT_EQ(check.rows, 4 * kEach);
}

TEST(AuditHashTest, NoMemberCanPassForAnother) {
  AuditRow a{.seq = 1, .at = UnixMs(1), .entry = Entry("x"), .prev_hash = {}, .hash = {}};
  AuditRow b = a;
  b.entry.subject = "";
  b.entry.verb = a.entry.verb + "x";
  EXPECT_NE(AuditHash(a), AuditHash(b));
}

}  // namespace
}  // namespace pontage::ledger
