// What the console writes: a command, its audit row and what was done at once, together or not at
// all; and what it then shows.
#include "console/verbs.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "console/operator_api.h"
#include "console/queries.h"
#include "io/runtime.h"
#include "ledger/audit.h"
#include "license/license_store.h"
#include "license/refund_store.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::console {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

class VerbsTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  VerbsTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {
    license::License l;
    l.id = "lic_1";
    l.origin = "sub:sub_1:si_1";
    l.customer = "cus_1";
    l.email = "ann@example.com";
    l.plan = "pro";
    l.subscription = "sub_1";
    l.paid_through = clock_.Now() + Millis(1'000'000);
    l.expires = l.paid_through;
    l.issued = clock_.Now();
    l.signed_until = l.expires;
    Insert(l);
    l.id = "lic_2";
    l.origin = "operator:lic_2";
    l.subscription = "";
    l.customer = "acme";
    l.email = "bob@example.com";
    Insert(l);
  }
  void Insert(const license::License& l) {
    EXPECT_THAT(database_->WriteNow(
                    [&](db::Tx& tx) { return license::InsertLicense(tx, l, clock_.Now()); }),
                IsOk());
  }
  Verbs Make(Verbs::Limits limits = {}) {
    // Not waiting for a worker: there is none.
    return Verbs(
        {.sales = *database_, .clock = clock_, .rng = rng_, .limits = limits, .wait = Millis(0)});
  }
  static Who Asks(std::string key) {
    return {.actor = "operator", .request_id = "req_1", .idempotency_key = std::move(key)};
  }
  Result<Done> Run(Task<Done> task) { return loop_.RunUntilDone(std::move(task)); }
  Deadline By() { return Deadline::In(clock_, Millis(20'000)); }
  license::License License(const std::string& id) {
    const auto found = database_->ReadNow([&](db::Tx& tx) { return license::FindLicense(tx, id); });
    return found && *found ? **found : license::License{};
  }
  std::vector<ledger::AuditRow> Audit() {
    return database_->ReadNow([](db::Tx& tx) { return ledger::ListAudit(tx, {}); })
        .value_or(std::vector<ledger::AuditRow>());
  }
  std::vector<license::Refund> Refunds() {
    return database_->ReadNow([](db::Tx& tx) { return license::ListRefunds(tx, {}); })
        .value_or(std::vector<license::Refund>());
  }
  // The worker's part, in short.
  void EndAll(ledger::CommandState state, const std::string& outcome) {
    const auto end = [&](db::Tx& tx) -> Result<> {
      auto all = ledger::TakeCommands(tx, clock_.Now() + Millis(1'000'000), Millis(1), 100);
      if (!all) return Fail(all.error());
      for (const auto& one : *all) {
        auto ended = ledger::CommandEnded(tx, one.id, state, outcome, "", clock_.Now());
        if (!ended) return Fail(ended.error());
      }
      return {};
    };
    EXPECT_THAT(database_->WriteNow(end), IsOk());
  }

  Loop loop_;
  const Clock& clock_ = Clock::System();
  Rng& rng_ = Rng::System();
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, VerbsTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(VerbsTest, RevokingIsDoneAtOnceAndOnce) {
  Verbs verbs = Make();
  const auto done = Run(verbs.Revoke(Asks("k1"), "lic_1", "fraud", By()));
  ASSERT_THAT(done, IsOk());
  EXPECT_EQ(done->command.state, ledger::CommandState::kDone);
  EXPECT_FALSE(done->again);
  EXPECT_EQ(License("lic_1").status, license::Status::kRevoked);
  EXPECT_EQ(License("lic_1").revoked_by, "operator");
  const auto again = Run(verbs.Revoke(Asks("k1"), "lic_1", "fraud", By()));
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->again);
  EXPECT_EQ(again->command.id, done->command.id);
  EXPECT_EQ(again->result, done->result);
  const auto audit = Audit();
  ASSERT_EQ(audit.size(), 1u);
  EXPECT_EQ(audit[0].entry.verb, "license.revoke");
  EXPECT_TRUE(audit[0].entry.before.contains("active"));
  EXPECT_TRUE(audit[0].entry.after.contains("revoked"));
  EXPECT_EQ(audit[0].entry.reason, "fraud");
  EXPECT_THAT(Run(verbs.Revoke(Asks("k1"), "lic_2", "fraud", By())), FailsWith(Code::kConflict));
  EXPECT_EQ(License("lic_2").status, license::Status::kActive);
}

TEST_P(VerbsTest, WhatCannotBeLeavesNothing) {
  Verbs verbs = Make();
  EXPECT_THAT(Run(verbs.Revoke(Asks("k1"), "lic_none", "x", By())), FailsWith(Code::kNotFound));
  EXPECT_THAT(Run(verbs.Refund(Asks("k2"), "lic_2", {.amount = {}, .reason = "x"}, By())),
              FailsWith(Code::kConflict));
  EXPECT_THAT(Run(verbs.RerunEvent(Asks("k3"), "evt_none", "", By())), FailsWith(Code::kNotFound));
  EXPECT_THAT(Run(verbs.RetryMail(Asks("k4"), "mail_none", {}, By())), FailsWith(Code::kNotFound));
  EXPECT_THAT(Run(verbs.Extend(Asks("k5"), "lic_1", 0, "x", By())), FailsWith(Code::kBadRequest));
  EXPECT_THAT(Run(verbs.Extend(Asks("k6"), "lic_1", 1, "", By())), FailsWith(Code::kBadRequest));
  EXPECT_THAT(Run(verbs.Extend(Asks(""), "lic_1", 1, "x", By())), FailsWith(Code::kBadRequest));
  EXPECT_THAT(Run(verbs.Extend(Asks("\n"), "lic_1", 1, "x", By())), FailsWith(Code::kBadRequest));
  EXPECT_TRUE(Audit().empty());
  EXPECT_TRUE(Refunds().empty());
  // A key that was refused is free.
  EXPECT_THAT(Run(verbs.Revoke(Asks("k1"), "lic_1", "x", By())), IsOk());
}

TEST_P(VerbsTest, WhichMailsCanBeTriedAgain) {
  struct Row {
    const char* state;
    const char* kind;
    const char* address;  // of which "shut@example.com" is suppressed
    bool allow;
    const char* fault;  // in its detail; "": it is ordered
  };
  const Row rows[] = {
      {"sent", "license", "a@example.com", false, "this mail is sent"},
      {"queued", "license", "a@example.com", true, "this mail is queued"},
      {"dead", "receipt", "a@example.com", false, ""},
      {"dead", "license", "shut@example.com", false, "nobody writes to this address"},
      {"dead", "license", "shut@example.com", true, ""},
      {"bounced", "license", "a@example.com", false, ""},
      {"bounced", "receipt", "a@example.com", false, "only a license is mailed again"},
      {"bounced", "license", "shut@example.com", false, "any more: complained"},
      {"bounced", "receipt", "shut@example.com", true, ""},
      {"suppressed", "key_rotation", "shut@example.com", true, ""},
  };
  constexpr db::Statement kPut{
      "test.mail",
      "INSERT INTO mail_outbox (id, kind, dedup_key, license, recipient, payload, state, attempts,"
      " doubts, next_ms, lease_until_ms, batch, provider, provider_id, last_error, created_ms,"
      " updated_ms) VALUES ($1, $2, $1, 'lic_1', $3, '', $4, 1, 0, 0, 0, '', '', '', '', 0, 0)"};
  constexpr db::Statement kShut{"test.shut",
                                "INSERT INTO mail_suppressed (address, reason, at_ms)"
                                " VALUES ('shut@example.com', 'complained', 0)"};
  ASSERT_THAT(database_->WriteNow([&](db::Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kShut));
    return {};
  }),
              IsOk());
  Verbs verbs = Make();
  int n = 0;
  for (const Row& row : rows) {
    const std::string id = "mail_" + std::to_string(++n);
    ASSERT_THAT(database_->WriteNow([&](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(kPut, id, std::string(row.kind), std::string(row.address),
                     std::string(row.state)));
      return {};
    }),
                IsOk());
    const auto done = Run(verbs.RetryMail(Asks(id), id, {.allow = row.allow}, By()));
    EXPECT_EQ(done.has_value(), *row.fault == '\0') << id;
    if (done) continue;
    EXPECT_EQ(done.error().code(), Code::kConflict);
    EXPECT_TRUE(done.error().detail().contains(row.fault)) << done.error().detail();
  }
}

TEST_P(VerbsTest, WithoutAWorkerTheAnswerIsThatItIsWrittenDown) {
  Verbs verbs = Make();
  const auto asked = Run(verbs.Extend(Asks("k1"), "lic_1", 5, "sorry", By()));
  ASSERT_THAT(asked, IsOk());
  EXPECT_EQ(asked->command.state, ledger::CommandState::kRequested);
  EXPECT_EQ(Audit().size(), 1u);
  EndAll(ledger::CommandState::kFailed, R"({"code":"conflict","detail":"it is gone"})");
  const auto failed = Run(verbs.Extend(Asks("k1"), "lic_1", 5, "sorry", By()));
  ASSERT_THAT(failed, IsOk());
  ASSERT_TRUE(failed->failure.has_value());
  EXPECT_EQ(failed->failure->code(), Code::kConflict);
  EXPECT_EQ(failed->failure->detail(), "it is gone");
  EXPECT_TRUE(failed->again) << "it is the answer to what was asked before";
}

TEST_P(VerbsTest, OneRefundOfALicenseAtATimeAndSoManyADay) {
  Verbs verbs = Make({.refunds_per_day = 2, .refund_amount_per_day = 0});
  ASSERT_THAT(Run(verbs.Refund(Asks("k1"), "lic_1", {.amount = 5, .reason = "x"}, By())), IsOk());
  ASSERT_EQ(Refunds().size(), 1u);
  EXPECT_EQ(Refunds()[0].purchase, "sub_1");
  EXPECT_THAT(Run(verbs.Refund(Asks("k2"), "lic_1", {.amount = 5, .reason = "x"}, By())),
              FailsWith(Code::kConflict));
  ASSERT_EQ(Refunds().size(), 1u);
  const auto end = [&](std::string_view state) {
    const std::string id = Refunds()[0].id;
    return database_->WriteNow(
        [&](db::Tx& tx) { return license::EndRefund(tx, id, state, clock_.Now()); });
  };
  EXPECT_THAT(end("succeeded"), IsOk());
  ASSERT_THAT(Run(verbs.Refund(Asks("k3"), "lic_1", {.amount = 5, .reason = "x"}, By())), IsOk());
  EXPECT_THAT(end("succeeded"), IsOk());
  EXPECT_THAT(Run(verbs.Refund(Asks("k4"), "lic_1", {.amount = 5, .reason = "x"}, By())),
              FailsWith(Code::kForbidden));
}

TEST_P(VerbsTest, ARefundMayEndTheSubscriptionIfThereIsOne) {
  Verbs verbs = Make();
  const RefundAsk ask{.amount = std::nullopt, .reason = "x", .cancel = true};
  const auto asked = Run(verbs.Refund(Asks("k1"), "lic_1", ask, By()));
  ASSERT_THAT(asked, IsOk());
  EXPECT_THAT(asked->command.payload, ::testing::HasSubstr(R"("cancel":true)"));
  EXPECT_THAT(Run(verbs.Refund(Asks("k1"), "lic_1", {.amount = std::nullopt, .reason = "x"}, By())),
              FailsWith(Code::kConflict))
      << "another thing under the same key";
  license::License once;
  once.id = "lic_once";
  once.origin = "session:cs_1";
  once.plan = "pro";
  Insert(once);
  const auto refused = Run(verbs.Refund(Asks("k2"), "lic_once", ask, By()));
  EXPECT_THAT(refused, FailsWith(Code::kBadRequest));
  EXPECT_EQ(refused.error().pointer(), "/cancel");
}

TEST_P(VerbsTest, ALicenseWithAllThatBelongsToIt) {
  Verbs verbs = Make();
  ASSERT_THAT(Run(verbs.Revoke(Asks("k1"), "lic_1", "fraud", By())), IsOk());
  Queries queries({.ledger = *database_, .sales = *database_, .clock = clock_});
  const auto whole = loop_.RunUntilDone(queries.License("lic_1", By()));
  ASSERT_THAT(whole, IsOk());
  EXPECT_EQ(whole->commands.size(), 1u);
  EXPECT_EQ(whole->audit.size(), 1u);
  EXPECT_EQ(whole->status, license::Status::kRevoked);
  const auto page = loop_.RunUntilDone(queries.Customers("", {.limit = 1}, By()));
  ASSERT_THAT(page, IsOk());
  ASSERT_EQ(page->rows.size(), 1u);
  EXPECT_FALSE(page->next.empty());
  const auto rest =
      loop_.RunUntilDone(queries.Customers("", {.cursor = page->next, .limit = 1}, By()));
  ASSERT_THAT(rest, IsOk());
  ASSERT_EQ(rest->rows.size(), 1u);
  EXPECT_NE(rest->rows[0].id, page->rows[0].id);
  EXPECT_TRUE(rest->next.empty());
  for (const char* search : {"ann@example.com", "ann@", "Ann@Example.com", "cus_1", "lic_1"}) {
    const auto found = loop_.RunUntilDone(queries.Customers(search, {}, By()));
    ASSERT_THAT(found, IsOk());
    ASSERT_EQ(found->rows.size(), 1u) << search;
    EXPECT_EQ(found->rows[0].id, "cus_1") << search;
  }
  // The beginning of an address finds somebody, but is nobody's name.
  for (const char* none : {"nobody", "ann@", "a"}) {
    EXPECT_THAT(loop_.RunUntilDone(queries.Customer(none, By())), FailsWith(Code::kNotFound))
        << none;
  }
  for (const char* name : {"cus_1", "lic_1", "Ann@Example.com"}) {
    const auto one = loop_.RunUntilDone(queries.Customer(name, By()));
    ASSERT_THAT(one, IsOk()) << name;
    EXPECT_EQ(one->id, "cus_1") << name;
  }
  const auto look = loop_.RunUntilDone(queries.Look(By()));
  ASSERT_THAT(look, IsOk());
  EXPECT_EQ(look->sales.commands_open, 0);
  const auto payments = loop_.RunUntilDone(queries.Payments({}, {}, By()));
  ASSERT_THAT(payments, IsOk());
  EXPECT_TRUE(payments->rows.empty());
  const auto audit = loop_.RunUntilDone(queries.CheckAudit(By()));
  ASSERT_THAT(audit, IsOk());
  EXPECT_TRUE(audit->holds && audit->whole);
  for (const char* cursor : {"x", "1", ".a", "1.", "-1.a"}) {
    EXPECT_THAT(loop_.RunUntilDone(queries.Licenses({}, {.cursor = cursor}, By())),
                FailsWith(Code::kBadRequest))
        << cursor;
  }
}

// Who reads `next` to its end has read everything, once and newest first.
TEST_P(VerbsTest, ASearchAndTheRefundsGoOnToTheirEnd) {
  license::License l;
  l.plan = "pro";
  for (int i = 0; i < 9; ++i) {
    l.id = "lic_u" + std::to_string(i);
    l.origin = "operator:" + l.id;
    // Two of a customer, who is found once.
    l.customer = "user." + std::to_string(i == 8 ? 7 : i);
    l.email = i < 4 ? "user@example.com" : "user" + std::to_string(i) + "@example.com";
    Insert(l);
    const auto request = [&](db::Tx& tx) {
      license::Refund refund;
      refund.id = "rfd_" + std::to_string(i);
      refund.license = l.id;
      return license::RequestRefund(tx, refund, clock_.Now());
    };
    ASSERT_THAT(database_->WriteNow(request), IsOk());
  }
  Queries queries({.ledger = *database_, .sales = *database_, .clock = clock_});
  const auto all = [](auto page, auto name) {
    std::vector<std::string> seen;
    std::string cursor;
    do {
      const auto some = page(cursor);
      EXPECT_THAT(some, IsOk());
      if (!some || seen.size() > 20) break;
      EXPECT_LE(some->rows.size(), 3u);
      for (const auto& one : some->rows) seen.push_back(name(one));
      cursor = some->next;
    } while (!cursor.empty());
    return seen;
  };
  const auto found = [&](const char* search) {
    return all(
        [&](const std::string& cursor) {
          return loop_.RunUntilDone(
              queries.Customers(search, {.cursor = cursor, .limit = 3}, By()));
        },
        [](const license::Customer& c) { return c.id; });
  };
  using ::testing::UnorderedElementsAre;
  EXPECT_THAT(found("user"), UnorderedElementsAre("user.0", "user.1", "user.2", "user.3", "user.4",
                                                  "user.5", "user.6", "user.7"));
  EXPECT_THAT(found("user@example.com"),
              UnorderedElementsAre("user.0", "user.1", "user.2", "user.3"));
  const auto refunds = all(
      [&](const std::string& cursor) {
        return loop_.RunUntilDone(queries.Refunds("", {.cursor = cursor, .limit = 3}, By()));
      },
      [](const license::Refund& r) { return r.id; });
  EXPECT_EQ(refunds.size(), 9u);
  EXPECT_EQ(std::set<std::string>(refunds.begin(), refunds.end()).size(), 9u);
}

// A break behind the first part must show in every look, not in every second one.
TEST_P(VerbsTest, ABreakOfALongAuditStaysFoundUntilItIsMended) {
  const auto append = [&](db::Tx& tx) -> Result<> {
    for (int i = 1; i <= 7; ++i) {
      const ledger::AuditEntry entry{.actor = "operator", .verb = "test", .subject = "lic_1"};
      PTG_RUN(ledger::AppendAudit(tx, entry, clock_.Now()));
    }
    return {};
  };
  ASSERT_THAT(database_->WriteNow(append), IsOk());
  const auto reason = [&](int64_t seq, const char* text) {
    constexpr db::Statement kChange{"test.change_audit",
                                    "UPDATE audit SET reason = $2 WHERE seq = $1"};
    EXPECT_THAT(database_->WriteNow([&](db::Tx& tx) { return tx.Run(kChange, seq, text); }),
                IsOk());
  };
  Queries queries({.ledger = *database_,
                   .sales = *database_,
                   .clock = clock_,
                   .audit_rows = 3,
                   .audit_for = Millis(0)});
  const auto look = [&]() -> std::string {
    const auto state = loop_.RunUntilDone(queries.CheckAudit(By()));
    if (!state) return state.error().detail();
    if (!state->holds) return "broken at " + std::to_string(state->broken_at);
    return (state->whole ? "all " : "the first ") + std::to_string(state->rows);
  };
  for (const char* want : {"the first 3", "the first 6", "all 7", "the first 3"}) {
    EXPECT_EQ(look(), want);
  }
  reason(5, "nothing");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(look(), "broken at 5") << i;
  reason(5, "");
  for (const char* want : {"the first 6", "all 7"}) EXPECT_EQ(look(), want);
  reason(2, "nothing");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(look(), "broken at 2") << i;
  Queries patient({.ledger = *database_, .sales = *database_, .clock = clock_, .audit_rows = 3});
  reason(2, "");
  const auto all = loop_.RunUntilDone(patient.CheckAudit(By()));
  ASSERT_THAT(all, IsOk());
  EXPECT_TRUE(all->holds && all->whole) << "in parts, but in one call";
}

// Every call has a scope, and none that changes something is for those who only read.
TEST(OperatorRoutesTest, EachNeedsWhatItShould) {
  for (const OperatorApi::Route& route : OperatorApi::Routes()) {
    EXPECT_TRUE(route.path.starts_with("/admin/v1")) << route.path;
    if (route.method == "POST") EXPECT_NE(route.scope, Scope::kRead) << route.path;
    if (route.path.contains("refund") && route.method == "POST") {
      EXPECT_EQ(route.scope, Scope::kRefund);
    }
    EXPECT_NE(route.act, nullptr);
  }
}

TEST(RedactedTest, LeavesIdsWordsAndNumbers) {
  const auto json = codec::ParseJson(
      R"({"id":"evt_1Ab","type":"invoice.paid","created":5,"livemode":false,"data":{"object":{)"
      R"("id":"in_1","customer":"cus_9","customer_email":"ann@example.com","status":"paid",)"
      R"("customer_address":{"city":"berlin","line1":"x","postal_code":"1"},"amount_paid":2900,)"
      R"("hosted_invoice_url":"https://s.example/i","lines":[{"description":"Ann's plan"}],)"
      R"("client_secret":"pi_1_secret_2","metadata":{"plan":"pro","note":"Call Ann"}}}})");
  ASSERT_THAT(json, IsOk());
  const std::string text = codec::ToString(Redacted(*json));
  for (const char* stays :
       {"evt_1Ab", "invoice.paid", "in_1", "cus_9", "\"paid\"", "2900", "pro"}) {
    EXPECT_TRUE(text.contains(stays)) << stays << " in " << text;
  }
  for (const char* goes : {"ann", "Ann", "berlin", "https", "secret_2"}) {
    EXPECT_FALSE(text.contains(goes)) << goes << " in " << text;
  }
}

}  // namespace
}  // namespace pontage::console
