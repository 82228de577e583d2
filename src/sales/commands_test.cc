// What the operator ordered, done once: each effect with the end of its command and its audit row.
#include "sales/commands.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "ledger/audit.h"
#include "license/sales_books.h"
#include "sales/mail/mail_outbox.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::sales {
namespace {

using ledger::Command;
using ledger::CommandState;
using license::License;
using pontage::testing::IsOk;

constexpr Millis kDay{86'400'000};

class CommandsTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  CommandsTest()
      : engine_(GetParam()),
        database_(engine_.OpenMigrated()),
        fulfilment_(
            shop_,
            [](const license::Claims& c) {
              return "token." + c.id + "." + std::to_string(c.generation);
            },
            clock_, rng_),
        worker_({.stripe = nullptr,
                 .worker = nullptr,
                 .database = *database_,
                 .shop = shop_,
                 .fulfilment = fulfilment_,
                 .metrics = metrics_,
                 .clock = clock_,
                 .rng = rng_}) {
    SoldPlan pro;
    pro.name = "pro";
    pro.products = {"yield"};
    pro.days = 30;
    shop_.plans = {{"pro", pro}};
    shop_.issuer = "https://api.example.com";
    shop_.grace = 3 * kDay;
    shop_.seller = {.from = "Example <keys@example.com>",
                    .name = "Example",
                    .call_url = "https://api.example.com/v1/",
                    .mcp_url = "",
                    .manage_url = ""};
  }
  std::string Order(const std::string& verb, const std::string& subject,
                    const std::string& payload) {
    Command command;
    command.id = "cmd_" + std::to_string(++orders_);
    command.verb = verb;
    command.subject = subject;
    command.payload = payload;
    command.asked = payload;
    command.actor = "operator";
    command.request_id = "req_1";
    command.idempotency_key = command.id;
    const auto order = [&](db::Tx& tx) { return ledger::OrderCommand(tx, command, clock_.Now()); };
    EXPECT_THAT(database_->WriteNow(order), IsOk());
    return command.id;
  }
  size_t Work() {
    const auto done = loop_.RunUntilDone(worker_.RunOnce());
    EXPECT_THAT(done, IsOk());
    return done.value_or(0);
  }
  Command Get(const std::string& id) {
    const auto found = database_->ReadNow([&](db::Tx& tx) { return ledger::FindCommand(tx, id); });
    return found && *found ? **found : Command{};
  }
  License Lic(const std::string& id) {
    const auto found = database_->ReadNow([&](db::Tx& tx) { return license::FindLicense(tx, id); });
    return found && *found ? **found : License{};
  }
  size_t Mails() {
    return database_->ReadNow([](db::Tx& tx) { return mail::ListMails(tx, {}); })
        .value_or(std::vector<mail::OutboxRow>())
        .size();
  }
  // The license "lic_9", at whose purchase somebody looks for a minute.
  void PutLookedAt() {
    License l;
    l.id = "lic_9";
    l.origin = "sub:sub_1:si_1";
    l.plan = "pro";
    l.subscription = "sub_1";
    l.expires = clock_.Now() + kDay;
    const auto insert = [&](db::Tx& tx) -> Result<> {
      PTG_RUN(license::InsertLicense(tx, l, clock_.Now()));
      PTG_RUN(LeasePurchase(tx, "sub_1", "somebody", clock_.Now(), Millis(60'000)));
      return {};
    };
    ASSERT_THAT(database_->WriteNow(insert), IsOk());
  }
  std::vector<ledger::AuditRow> Audit() {
    return database_->ReadNow([](db::Tx& tx) { return ledger::ListAudit(tx, {}); })
        .value_or(std::vector<ledger::AuditRow>());
  }

  int orders_ = 0;
  Loop loop_;
  pontage::testing::SteppedClock clock_;
  SeededRng rng_{1};
  obs::Registry metrics_;
  Shop shop_;
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  Fulfilment fulfilment_;
  CommandWorker worker_;
};

INSTANTIATE_TEST_SUITE_P(Engines, CommandsTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

constexpr const char* kIssue =
    R"({"plan":"pro","customer":"acme","email":"ann@example.com","days":10,"mail":true})";

TEST_P(CommandsTest, AnIssuedLicenseIsOneWithItsMailAndItsText) {
  const std::string id = Order("license.issue", "lic_1", kIssue);
  EXPECT_EQ(Work(), 1u);
  const Command done = Get(id);
  EXPECT_EQ(done.state, CommandState::kDone);
  EXPECT_EQ(done.secret, "token.lic_1.1");
  EXPECT_EQ(Lic("lic_1").customer, "acme");
  EXPECT_EQ((Lic("lic_1").expires - Lic("lic_1").issued).count(), (13 * kDay).count());
  EXPECT_EQ(Mails(), 1u);
  ASSERT_EQ(Audit().size(), 1u);
  EXPECT_EQ(Audit()[0].entry.verb, "license.issue.done");
  EXPECT_EQ(Work(), 0u);
}

// "sent" mails came back, and the address is suppressed, as a bounce does it.
TEST_P(CommandsTest, WhatCameBackIsWrittenOnceMoreWhenTheOperatorAllowsTheAddress) {
  Order("license.issue", "lic_1", kIssue);
  Work();
  const auto bounce = [&](db::Tx& tx) -> Result<> {
    const auto claim = mail::TakeDue(tx, clock_.Now(), Millis(60'000), {});
    if (!claim || claim->singles.size() != 1) return Fail(Code::kInternal, "no mail");
    PTG_RUN(mail::MarkSent(tx, claim->singles[0].id, "resend", "re_1", clock_.Now()));
    PTG_RUN(mail::Suppress(tx, "ann@example.com", "bounced", clock_.Now()));
    PTG_RUN(mail::MarkBounced(tx, "re_1", "bounced", clock_.Now()));
    return {};
  };
  ASSERT_THAT(database_->WriteNow(bounce), IsOk());
  const auto mails = [&](std::string_view state) {
    const license::MailFilter filter{.state = std::string(state), .now = clock_.Now()};
    return database_->ReadNow([&](db::Tx& tx) { return license::ListOutbox(tx, filter); })
        .value_or(std::vector<license::MailRow>());
  };
  const auto unreached = [&] {
    const auto now = [&](db::Tx& tx) { return license::CountSales(tx, clock_.Now()); };
    return database_->ReadNow(now).value_or(license::SalesTotals()).mails_unreached;
  };
  EXPECT_EQ(unreached(), 1);
  ASSERT_EQ(mails(license::kUnreached).size(), 1u);
  const license::MailRow back = mails(license::kUnreached)[0];
  EXPECT_EQ(back.suppressed, "bounced");
  const std::string not_allowed = Order("mail.retry", back.id, R"({})");
  Work();
  EXPECT_EQ(Get(not_allowed).state, CommandState::kFailed);
  EXPECT_EQ(Mails(), 1u);

  clock_.Advance(Millis(1));
  const std::string allowed = Order("mail.retry", back.id, R"({"allow":true})");
  Work();
  EXPECT_EQ(Get(allowed).outcome, R"({"id":")" + back.id +
                                      R"(","state":"bounced","allowed":"ann@example.com",)"
                                      R"("sent_again":"lic_1"})");
  EXPECT_EQ(unreached(), 0);
  ASSERT_EQ(mails("queued").size(), 1u);
  EXPECT_EQ(mails("queued")[0].recipient, "ann@example.com");
  EXPECT_EQ(mails("queued")[0].suppressed, "");
  EXPECT_EQ(Audit()[0].entry.verb, "mail.retry.done");

  // Whose license opens nothing gets none; nobody looks after him either.
  ASSERT_THAT(database_->WriteNow([&](db::Tx& tx) -> Result<> {
    PTG_RUN(mail::Suppress(tx, "ann@example.com", "complained", clock_.Now()));
    PTG_TRY(const mail::Claim claim, mail::TakeDue(tx, clock_.Now(), Millis(60'000), {}));
    EXPECT_EQ(claim.suppressed, 1u);
    return {};
  }),
              IsOk());
  EXPECT_EQ(unreached(), 1);
  clock_.Advance(20 * kDay);
  EXPECT_EQ(unreached(), 0);
  EXPECT_TRUE(mails(license::kUnreached).empty());
  const std::string late = Order("mail.retry", mails("suppressed")[0].id, R"({"allow":true})");
  Work();
  EXPECT_TRUE(Get(late).outcome.contains("allowed")) << Get(late).outcome;
  EXPECT_FALSE(Get(late).outcome.contains("sent_again"));
  EXPECT_EQ(Mails(), 2u);
}

// What a dead mail has in it may be worth nothing by now.
TEST_P(CommandsTest, ADeadMailIsSentAgainWithTheTextOfNow) {
  Order("license.issue", "lic_1", kIssue);
  Work();
  const auto die = [&](db::Tx& tx) -> Result<> {
    PTG_TRY(const mail::Claim claim, mail::TakeDue(tx, clock_.Now(), Millis(60'000), {}));
    for (const mail::HeldMail& one : claim.singles) {
      PTG_RUN(mail::MarkDead(tx, one, "resend", "no", clock_.Now()));
    }
    return {};
  };
  const auto dead = [&] {
    EXPECT_THAT(database_->WriteNow(die), IsOk());
    const auto rows =
        database_->ReadNow([](db::Tx& tx) { return mail::ListMails(tx, {.state = "dead"}); });
    return rows && !rows->empty() ? rows->front().id : std::string();
  };
  const std::string id = dead();
  const std::string same = Order("mail.retry", id, R"({})");
  Work();
  EXPECT_EQ(Get(same).outcome, R"({"id":")" + id + R"(","state":"queued"})");
  EXPECT_EQ(dead(), id);
  Order("license.reissue", "lic_1", R"({"mail":false})");
  Work();
  const std::string anew = Order("mail.retry", id, R"({})");
  Work();
  EXPECT_EQ(Get(anew).outcome, R"({"id":")" + id + R"(","state":"dead","sent_again":"lic_1"})");
  EXPECT_EQ(Mails(), 2u);
  // Of a license that is over nobody wants to hear "this is your license".
  clock_.Advance(100 * kDay);
  const std::string over = Order("mail.retry", id, R"({})");
  Work();
  EXPECT_EQ(Get(over).state, CommandState::kFailed);
  EXPECT_EQ(Mails(), 2u);
}

// A provider that was down: what waited for him is not sent when it is worth nothing any more.
TEST_P(CommandsTest, AMailWhoseLicenseWasReplacedOrRevokedDoesNotLeave) {
  const auto taken = [&] {
    const auto take = [&](db::Tx& tx) {
      return mail::TakeDue(tx, clock_.Now(), Millis(1'000), {});
    };
    const auto claim = database_->WriteNow(take);
    EXPECT_THAT(claim, IsOk());
    clock_.Advance(Millis(1'000));
    std::vector<int64_t> generations;
    for (const mail::HeldMail& one : claim.value_or(mail::Claim()).singles) {
      generations.push_back(one.mail.dedup_key.contains("reissue") ? 2 : 1);
    }
    return generations;
  };
  Order("license.issue", "lic_1", kIssue);
  Work();
  EXPECT_THAT(taken(), ::testing::ElementsAre(1));
  Order("license.reissue", "lic_1", R"({"mail":true,"overlap_s":3600})");
  Work();
  EXPECT_THAT(taken(), ::testing::UnorderedElementsAre(1, 2)) << "the first is good for an hour";
  clock_.Advance(Millis(3'600'000));
  EXPECT_THAT(taken(), ::testing::ElementsAre(2));
  License l = Lic("lic_1");
  l.status = license::Status::kRevoked;
  l.revoked_by = "operator";
  const auto revoke = [&](db::Tx& tx) { return license::UpdateLicense(tx, l, clock_.Now()); };
  ASSERT_THAT(database_->WriteNow(revoke), IsOk());
  EXPECT_THAT(taken(), ::testing::IsEmpty());
}

TEST_P(CommandsTest, APlanThatIsNotThereFailsForGood) {
  const std::string id = Order("license.issue", "lic_1", R"({"plan":"gold","customer":"acme"})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Get(id).state, CommandState::kFailed);
  EXPECT_TRUE(Get(id).outcome.contains("/plan"));
  EXPECT_EQ(Lic("lic_1").id, "");
  EXPECT_EQ(Audit().size(), 1u);
}

TEST_P(CommandsTest, AnAddressThatNobodyCanWriteToIsToldByItsName) {
  const std::string id =
      Order("license.issue", "lic_1", R"({"plan":"pro","customer":"acme","email":"ann@no dots"})");
  Work();
  EXPECT_EQ(Get(id).state, CommandState::kFailed);
  EXPECT_TRUE(Get(id).outcome.contains(R"("pointer":"/email")")) << Get(id).outcome;
  EXPECT_EQ(Lic("lic_1").id, "");
}

TEST_P(CommandsTest, ExtendedAndReissued) {
  Order("license.issue", "lic_1", kIssue);
  Work();
  const UnixMs end = Lic("lic_1").expires;
  Order("license.extend", "lic_1", R"({"days":5,"reason":"sorry"})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Lic("lic_1").expires, end + 5 * kDay);
  EXPECT_EQ(Lic("lic_1").extended, end + 5 * kDay);
  EXPECT_EQ(Lic("lic_1").extended_end, end);
  Order("license.extend", "lic_1", R"({"days":2,"reason":"sorry"})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Lic("lic_1").extended, end + 7 * kDay);
  EXPECT_EQ(Lic("lic_1").extended_end, end) << "days on days";
  const std::string id = Order("license.reissue", "lic_1", R"({"mail":true})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Get(id).secret, "token.lic_1.2");
  EXPECT_EQ(Lic("lic_1").signed_until, end + 7 * kDay);
  EXPECT_EQ(Mails(), 2u);
  // Over for a while: from now on, not from then; and no other text before.
  clock_.Advance(100 * kDay);
  const std::string over = Order("license.reissue", "lic_1", R"({"mail":true})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Get(over).state, CommandState::kFailed);
  EXPECT_TRUE(Get(over).outcome.contains("is over")) << Get(over).outcome;
  EXPECT_EQ(Lic("lic_1").generation, 2);
  Order("license.extend", "lic_1", R"({"days":5,"reason":"sorry"})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Lic("lic_1").expires.seconds(), (clock_.Now() + 5 * kDay).seconds());
}

TEST_P(CommandsTest, WhoeverLooksAtThePurchaseIsWaitedFor) {
  PutLookedAt();
  const std::string id = Order("license.extend", "lic_9", R"({"days":5,"reason":"sorry"})");
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Get(id).state, CommandState::kRequested);
  clock_.Advance(Millis(70'000));
  EXPECT_EQ(Work(), 1u);
  EXPECT_EQ(Get(id).state, CommandState::kDone);
}

// One that waits, for Stripe or for a purchase, holds up no other, and a stop gives it back.
TEST_P(CommandsTest, WhatWaitsHoldsUpNobodyAndIsGivenBack) {
  PutLookedAt();
  const std::string waits = Order("license.extend", "lic_9", R"({"days":5,"reason":"sorry"})");
  const std::string quick = Order("license.issue", "lic_2", R"({"plan":"pro","reason":"gift"})");
  loop_.Spawn(worker_.Run(), "test.commands");
  const auto watch = [&]() -> Task<> {
    for (int i = 0; i < 3'000 && !Get(quick).over(); ++i) PTG_CO_RUN(co_await Sleep(Millis(5)));
    EXPECT_TRUE(Get(quick).over());
    EXPECT_FALSE(Get(waits).over());
    PTG_CO_RUN(co_await worker_.GiveBack());
    clock_.Advance(Millis(2'000));  // on a slow machine it has been put off by a second meanwhile
    const auto release = [](db::Tx& tx) { return ReleasePurchase(tx, "sub_1", "somebody"); };
    const auto take = [&](db::Tx& tx) {
      return ledger::TakeCommands(tx, clock_.Now(), Millis(60'000), 10);
    };
    const Deadline by = Deadline::In(Clock::System(), Millis(10'000));
    PTG_CO_TRY(const std::vector<Command> taken, co_await database_->Write(take, by));
    EXPECT_EQ(taken.size(), 1u) << "before its lease has ended";
    PTG_CO_RUN(co_await database_->Write(release, by));
    PTG_CO_TRY(const size_t more, co_await worker_.RunOnce());
    EXPECT_EQ(more, 0u) << "who stops takes nothing any more";
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(watch()), IsOk());
}

// Whoever has lost a command to somebody else has no say in what it comes to.
TEST_P(CommandsTest, ATryThatWasOvertakenEndsNothing) {
  PutLookedAt();
  const std::string id = Order("license.extend", "lic_9", R"({"days":5,"reason":"sorry"})");
  std::optional<Result<size_t>> done;
  const auto work = [&]() -> Task<> {
    done.emplace(co_await worker_.RunOnce());
    co_return {};
  };
  loop_.Spawn(work(), "test.overtaken");
  const auto watch = [&]() -> Task<> {
    for (int i = 0; i < 3'000 && Get(id).attempts == 0; ++i) PTG_CO_RUN(co_await Sleep(Millis(5)));
    clock_.Advance(Millis(10'000));
    const auto take = [&](db::Tx& tx) {
      return ledger::TakeCommands(tx, clock_.Now(), Millis(3'600'000), 10);
    };
    const auto taken = database_->WriteNow(take);
    EXPECT_EQ(taken.value_or(std::vector<Command>()).size(), 1u);
    for (int i = 0; i < 3'000 && !done; ++i) PTG_CO_RUN(co_await Sleep(Millis(10)));
    EXPECT_TRUE(done.has_value());
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(watch()), IsOk());
  EXPECT_EQ(Get(id).attempts, 2);
  EXPECT_EQ(Get(id).last_error, "");
  EXPECT_EQ(Work(), 0u) << "it is the other's";
}

// A refund that Stripe has made, and of which its answer was lost: its id in the metadata says so.
TEST_P(CommandsTest, ARefundIsKnownByItsIdAndEndsWithItsCommand) {
  const std::string id = Order("license.refund", "lic_1", "{}");
  license::Refund refund;
  refund.id = "rfd_1";
  refund.command = id;
  refund.license = "lic_1";
  refund.purchase = "sub_1";
  stripe::Refund said;
  said.id = stripe::RefundId("re_1");
  said.status = stripe::WordOf<stripe::RefundStatus>("pending");
  said.metadata.emplace("refund", "rfd_1");
  const auto note = [&] {
    return database_->WriteNow([&](db::Tx& tx) { return NoteRefunds(tx, {said}, clock_.Now()); });
  };
  const auto state = [&] {
    const auto found =
        database_->ReadNow([&](db::Tx& tx) { return license::FindRefund(tx, "rfd_1"); });
    return found && *found ? (*found)->state : "";
  };
  ASSERT_THAT(database_->WriteNow(
                  [&](db::Tx& tx) { return license::RequestRefund(tx, refund, clock_.Now()); }),
              IsOk());
  EXPECT_THAT(note(), IsOk());
  EXPECT_EQ(state(), "pending");
  EXPECT_FALSE(Get(id).over());
  said.status = stripe::WordOf<stripe::RefundStatus>("succeeded");
  said.metadata.clear();
  EXPECT_THAT(note(), IsOk());
  EXPECT_EQ(state(), "succeeded");
  EXPECT_EQ(Get(id).state, CommandState::kDone);
  EXPECT_THAT(note(), IsOk());
  EXPECT_EQ(Audit().size(), 1u);
  // The bank may return it weeks later: the order has ended, and the books say what became of it.
  said.status = stripe::WordOf<stripe::RefundStatus>("failed");
  for (int i = 0; i < 2; ++i) EXPECT_THAT(note(), IsOk());
  EXPECT_EQ(state(), "failed");
  EXPECT_EQ(Get(id).state, CommandState::kDone);
  EXPECT_EQ(Audit().size(), 2u);
  said.status = stripe::WordOf<stripe::RefundStatus>("succeeded");
  EXPECT_THAT(note(), IsOk());
  EXPECT_EQ(state(), "failed") << "an end is an end";
}

TEST(RefundTest, IsTakenFromOnePaymentThatHasEnough) {
  struct Row {
    std::vector<int64_t> left;
    int64_t asked;
    std::string from;  // or what it wants
  };
  const Row rows[] = {
      {{}, 0, "nothing was paid for this license"},
      {{2'900}, 0, "pi_0"},
      {{2'900}, 500, "pi_0"},
      {{2'900}, 2'900, "pi_0"},
      {{2'900}, 2'901, "/amount at most $29.00"},
      {{0}, 0, "all of it was given back already"},
      {{-1}, 5, "all of it was given back already"},
      {{2'000, 900}, 0, "/amount at most $20.00, then the rest"},
      {{2'000, 900}, 2'900, "/amount at most $20.00, then the rest"},
      {{2'000, 900}, 2'901, "/amount at most $29.00"},
      {{2'000, 900}, 901, "pi_0"},
      {{2'000, 900}, 900, "pi_1"},
      {{900, 2'000}, 100, "pi_0"},
      {{0, 900}, 0, "pi_1"},
      {{0, 0}, 0, "all of it was given back already"},
  };
  for (const Row& row : rows) {
    std::vector<PaidPart> parts;
    for (const int64_t left : row.left) {
      parts.push_back({.payment_intent = "pi_" + std::to_string(parts.size()), .left = left});
    }
    const auto chosen = ChoosePart(parts, row.asked, "usd");
    std::string said;
    if (chosen) {
      said = chosen->payment_intent;
    } else if (chosen.error().pointer().empty()) {
      said = chosen.error().detail();
    } else {
      said = chosen.error().pointer() + " " + chosen.error().expected();
    }
    EXPECT_EQ(said, row.from) << ::testing::PrintToString(row.left) << " " << row.asked;
  }
}

TEST(RefundTest, DollarsAreNoAmountOfAnotherCurrency) {
  EXPECT_THAT(SaidInItsCurrency("usd", "usd"), IsOk());
  EXPECT_THAT(SaidInItsCurrency("", "jpy"), IsOk());
  EXPECT_THAT(SaidInItsCurrency("usd", ""), IsOk()) << "nothing was paid, which is told elsewhere";
  const Result<> yen = SaidInItsCurrency("usd", "jpy");
  ASSERT_FALSE(yen);
  EXPECT_EQ(yen.error().pointer(), "/amount");
  EXPECT_EQ(yen.error().expected(), "a whole number of the smallest unit of jpy");
}

TEST(CommandFaultsTest, WhatIsTriedAgain) {
  for (const Code code : {Code::kStore, Code::kTimeout, Code::kRateLimited, Code::kUpstreamTimeout,
                          Code::kUpstreamUnreachable, Code::kOverloaded}) {
    EXPECT_TRUE(MayTryAgain(Error(code, "x")));
  }
  for (const Code code : {Code::kBadRequest, Code::kNotFound, Code::kConflict, Code::kForbidden}) {
    EXPECT_FALSE(MayTryAgain(Error(code, "x")));
  }
}

}  // namespace
}  // namespace pontage::sales
