#include "ledger/ledger_store.h"

#include <gtest/gtest.h>

#include "base/try.h"
#include "db/migrate.h"
#include "ledger/outbox.h"
#include "testing/expect.h"
#include "testing/ledger_fixture.h"

namespace pontage::ledger {
namespace {

using testing::FailsWith;
using testing::IsOk;
using testing::Sample;
using testing::Settled;

class LedgerStoreTest : public testing::LedgerStoreFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, LedgerStoreTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(LedgerStoreTest, ARowComesBackAsItWasWritten) {
  const Reservation r = Sample("pay_1");
  ASSERT_TRUE(Held(r, At(5)));
  const Reservation got = Row("pay_1");
  EXPECT_EQ(got.once_key, r.once_key);
  EXPECT_EQ(got.request_id, r.request_id);
  EXPECT_EQ(got.tenant, r.tenant);
  EXPECT_EQ(got.route, r.route);
  EXPECT_EQ(got.method, r.method);
  EXPECT_EQ(got.resource, r.resource);
  EXPECT_EQ(got.request_digest, r.request_digest);
  EXPECT_EQ(got.rail, r.rail);
  EXPECT_EQ(got.protocol, r.protocol);
  EXPECT_EQ(got.scheme, r.scheme);
  EXPECT_EQ(got.network, r.network);
  EXPECT_EQ(got.asset, r.asset);
  EXPECT_EQ(got.payer, r.payer);
  EXPECT_EQ(got.pay_to, r.pay_to);
  EXPECT_EQ(got.nonce, r.nonce);
  EXPECT_EQ(got.amount, r.amount);
  EXPECT_EQ(got.price, r.price);
  EXPECT_EQ(got.payload, r.payload);
  EXPECT_EQ(got.requirement, r.requirement);
  EXPECT_EQ(got.valid_before, r.valid_before);
  EXPECT_EQ(got.state, State::kHeld);
  EXPECT_EQ(got.stage, Stage::kReserved);
  EXPECT_EQ(got.delivery, Delivery::kNone);
  EXPECT_EQ(got.node, "node_a");
  EXPECT_EQ(got.created, UnixMs(5));
  EXPECT_EQ(got.updated, UnixMs(5));
}

// A payer who resends the same authorization must not be charged twice.
TEST_P(LedgerStoreTest, TheSameKeyReservesOnceUntilItIsVoided) {
  EXPECT_TRUE(Held(Sample("pay_1"), At(1)));
  EXPECT_FALSE(Held(Sample("pay_2"), At(2, "node_b")));
  const auto taken = Do([&](db::Tx& tx) { return Reserve(tx, At(3), Sample("pay_3")); });
  ASSERT_THAT(taken, IsOk());
  EXPECT_EQ(taken->row.id.str(), "pay_1");
  EXPECT_TRUE(Held(Sample("pay_4", 8), At(3)));

  const auto voided =
      Do([&](db::Tx& tx) { return Void(tx, At(4), ReservationId("pay_1"), "upstream_500", 500); });
  EXPECT_THAT(voided, IsOk());
  EXPECT_TRUE(Held(Sample("pay_5"), At(5)));
  EXPECT_FALSE(Held(Sample("pay_6"), At(6)));
  EXPECT_EQ(Row("pay_1").failure, "upstream_500");
  EXPECT_EQ(Row("pay_1").upstream_status, 500);
}

// Expired, settled and doubtful payments keep their key: nothing may run twice.
TEST_P(LedgerStoreTest, OnlyAVoidGivesTheKeyBack) {
  const struct {
    const char* id;
    uint8_t key;
    Result<> (*end)(db::Tx&, const Author&, const ReservationId&);
  } cases[] = {
      {"pay_e", 1,
       [](db::Tx& tx, const Author& a, const ReservationId& id) {
         return Expire(tx, a, id, "process_died");
       }},
      {"pay_d", 2,
       [](db::Tx& tx, const Author& a, const ReservationId& id) {
         return Doubt(tx, a, id, "0xbb", "settle_unknown");
       }},
      {"pay_s", 3,
       [](db::Tx& tx, const Author& a, const ReservationId& id) {
         return Settled(tx, a, id, {.transaction = "0xcc"}, "out_s");
       }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.id);
    ASSERT_TRUE(Held(Sample(c.id, c.key), At(1)));
    ASSERT_THAT(Do([&](db::Tx& tx) { return c.end(tx, At(2), ReservationId(c.id)); }), IsOk());
    EXPECT_FALSE(Held(Sample(std::string(c.id) + "_again", c.key), At(3)));
  }
}

// A caller whose commit was lost asks again and must not hear that somebody else was first.
TEST_P(LedgerStoreTest, AskedAgainEveryChangeSucceedsWithoutASecondLine) {
  const ReservationId id("pay_1");
  const auto twice = [&](auto change) {
    EXPECT_THAT(Do(change), IsOk());
    EXPECT_THAT(Do(change), IsOk());
  };
  EXPECT_TRUE(Held(Sample("pay_1"), At(1)));
  EXPECT_TRUE(Held(Sample("pay_1"), At(1)));
  twice([&](db::Tx& tx) { return Answered(tx, At(2), id, 200); });
  twice([&](db::Tx& tx) { return Doubt(tx, At(3), id, "0xaa", "timeout"); });
  twice([&](db::Tx& tx) { return Settled(tx, At(4), id, {.transaction = "0xaa"}, "out_1"); });
  twice([&](db::Tx& tx) { return Deliver(tx, At(5), id, {Delivery::kDelivered}, ""); });
  const std::vector<std::string> want = {"reserved", "answered", "in_doubt", "settled",
                                         "delivered"};
  EXPECT_EQ(History("pay_1"), want);
  // But the same id after the row has moved on is not a new hold.
  EXPECT_FALSE(Held(Sample("pay_1"), At(6)));
}

// The lines that every sale has are times of its row, the others stand in a table beside it: read
// together they are in the order in which it happened, also where clocks disagree.
TEST_P(LedgerStoreTest, TheHistoryIsInOrderWhereverItsLinesStand) {
  const ReservationId id("pay_1");
  Digest digest;
  digest.fill(9);
  ASSERT_TRUE(Held(Sample("pay_1"), At(10)));
  ASSERT_THAT(Do([&](db::Tx& tx) { return Answered(tx, At(11), id, 201); }), IsOk());
  ASSERT_THAT(Do([&](db::Tx& tx) { return Doubt(tx, At(12), id, "", "timeout"); }), IsOk());
  // By another node whose clock is behind.
  ASSERT_THAT(Settle("pay_1", At(5, "node_b"), "0xaa", Delivery::kOwed), IsOk());
  ASSERT_THAT(Do([&](db::Tx& tx) { return Redeem(tx, At(6), id, digest, "red_1"); }), IsOk());
  ASSERT_THAT(
      Do([&](db::Tx& tx) { return Deliver(tx, At(7), id, {Delivery::kDelivered}, "red_1"); }),
      IsOk());
  const auto read = [&](db::Tx& tx) { return ReadHistory(tx, id); };
  const auto events = database_->ReadNow(read);
  ASSERT_THAT(events, IsOk());
  std::string lines;
  for (const auto& e : *events) {
    lines += std::to_string(e.at.ms()) + " " + e.what + " " + e.detail + "\n";
  }
  EXPECT_EQ(lines,
            "10 reserved \n11 answered 201\n12 in_doubt timeout\n5 settled 0xaa\n5 owed \n"
            "6 redeeming owed\n7 delivered \n");
}

// Books of the version before the lines moved into the row, with a sale that was under way.
TEST_P(LedgerStoreTest, BooksOfAnOlderVersionAreReadAndGoneOnWith) {
  const testing::Engine older(GetParam());
  const std::unique_ptr<db::Database> books = older.Open();
  const std::span<const db::Migration> all = db::AllMigrations();
  ASSERT_THAT(db::Migrate(*books, Clock::System(), all.first(4)), IsOk());
  const auto write = [&](auto body) { ASSERT_THAT(books->WriteNow(body), IsOk()); };
  constexpr db::Statement kLine{"test.line",
                                "INSERT INTO reservation_event VALUES ($1, $2, $2, $3, '')"};
  constexpr db::Statement kMove{
      "test.move",
      "UPDATE reservation SET state = $2, stage = 'answered', delivery = $3 WHERE id = $1"};
  const std::string what[] = {"reserved", "answered", "settled", "delivered"};
  for (const std::string name : {"pay_open", "pay_done"}) {
    const bool done = name == "pay_done";
    write([&](db::Tx& tx) { return Reserve(tx, At(1), Sample(name, done ? 1 : 2)); });
    write([&](db::Tx& tx) {
      return tx.Run(kMove, name, std::string(done ? "settled" : "held"),
                    std::string(done ? "delivered" : "none"));
    });
    for (int64_t seq = 1; seq <= (done ? 4 : 2); ++seq) {
      write([&](db::Tx& tx) { return tx.Run(kLine, name, seq, what[seq - 1]); });
    }
  }
  ASSERT_THAT(db::Migrate(*books, Clock::System()), IsOk());
  const ReservationId id("pay_open");
  write([&](db::Tx& tx) { return Commit(tx, At(5), id, {.transaction = "0xbb"}, "out_1"); });
  write([&](db::Tx& tx) { return Deliver(tx, At(6), id, {Delivery::kDelivered}, ""); });
  const std::vector<std::string> want = {"reserved", "answered", "settled", "delivered"};
  for (const char* const name : {"pay_done", "pay_open"}) {
    SCOPED_TRACE(name);
    const auto read = [&](db::Tx& tx) { return ReadHistory(tx, ReservationId(name)); };
    const auto events = books->ReadNow(read);
    ASSERT_THAT(events, IsOk());
    std::vector<std::string> lines;
    for (const auto& e : *events) lines.push_back(e.what);
    EXPECT_EQ(lines, want);
  }
}

// Every change from every state: what is not in this table must be refused and change nothing.
TEST_P(LedgerStoreTest, ChangesStartFromTheStatesTheyName) {
  using Step = Result<> (*)(db::Tx&, const Author&, const ReservationId&);
  static const Step kAnswer = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Answered(tx, a, id, 200);
  };
  static const Step kSettle = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Settled(tx, a, id, {.transaction = "0x1"}, "out_" + id.str());
  };
  static const Step kSettleOther = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Settled(tx, a, id, {.transaction = "0x2"}, "other_" + id.str());
  };
  static const Step kVoid = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Void(tx, a, id, "w", 500);
  };
  static const Step kDoubt = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Doubt(tx, a, id, "0x1", "w");
  };
  static const Step kExpire = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Expire(tx, a, id, "w");
  };
  static const Step kDeliver = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Deliver(tx, a, id, {Delivery::kDelivered}, "");
  };
  static const Step kBreak = [](db::Tx& tx, const Author& a, const ReservationId& id) {
    return Deliver(tx, a, id, {Delivery::kBroken}, "");
  };
  static const Step kRedeem = [](db::Tx& tx, const Author& a, const ReservationId& id) -> Result<> {
    Digest digest;
    digest.fill(9);
    const Result<Delivery> from = Redeem(tx, a, id, digest, "red_1");
    if (!from) return Fail(from.error());
    return {};
  };
  static const Step kRedeemOther = [](db::Tx& tx, const Author& a,
                                      const ReservationId& id) -> Result<> {
    Digest digest;
    digest.fill(9);
    const Result<Delivery> from = Redeem(tx, a, id, digest, "red_2");
    if (!from) return Fail(from.error());
    return {};
  };
  static const Step kRedeemElse = [](db::Tx& tx, const Author& a,
                                     const ReservationId& id) -> Result<> {
    const Result<Delivery> from = Redeem(tx, a, id, Digest{}, "red_1");
    if (!from) return Fail(from.error());
    return {};
  };
  const struct {
    const char* name;
    std::vector<Step> before;
    std::vector<Step> refused;
  } cases[] = {
      {"held", {}, {kDeliver, kBreak, kRedeem}},
      {"answered", {kAnswer}, {kDeliver, kBreak, kRedeem}},
      {"voided", {kVoid}, {kAnswer, kSettle, kDoubt, kExpire, kDeliver, kRedeem}},
      {"expired", {kExpire}, {kAnswer, kVoid, kDoubt, kDeliver, kRedeem}},
      {"in_doubt", {kDoubt}, {kAnswer, kVoid, kDeliver, kRedeem}},
      {"pending", {kSettle}, {kAnswer, kSettleOther, kVoid, kDoubt, kExpire, kRedeem}},
      {"delivered", {kSettle, kDeliver}, {kBreak, kSettleOther, kVoid, kExpire, kRedeem}},
      {"broken", {kSettle, kBreak}, {kDeliver, kSettleOther, kVoid, kExpire, kRedeemElse}},
      // Also a note about the first delivery that comes again.
      {"redeeming",
       {kSettle, kBreak, kRedeem},
       {kRedeemOther, kRedeemElse, kVoid, kExpire, kBreak, kDeliver}},
  };
  uint8_t key = 0;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const ReservationId id("pay_" + std::to_string(++key));
    ASSERT_TRUE(Held(Sample(id.str(), key), At(1)));
    for (const Step step : c.before) {
      ASSERT_THAT(Do([&](db::Tx& tx) { return step(tx, At(2), id); }), IsOk());
    }
    const Reservation before = Row(id.str());
    const auto history = History(id.str());
    for (size_t i = 0; i < c.refused.size(); ++i) {
      SCOPED_TRACE(i);
      const Step step = c.refused[i];
      EXPECT_THAT(Do([&](db::Tx& tx) { return step(tx, At(3), id); }), FailsWith(Code::kConflict));
    }
    const Reservation after = Row(id.str());
    EXPECT_EQ(after.state, before.state);
    EXPECT_EQ(after.delivery, before.delivery);
    EXPECT_EQ(after.updated, before.updated);
    EXPECT_EQ(History(id.str()), history);
  }
}

// A machine slept for a minute; another node took its payment for abandoned; it wakes up and
// settles. The money moved, so the books must say so.
TEST_P(LedgerStoreTest, MoneyThatMovedAfterAllIsWrittenDown) {
  ASSERT_TRUE(Held(Sample("pay_1"), At(1)));
  ASSERT_THAT(Do([&](db::Tx& tx) {
                return Expire(tx, At(2, "node_b"), ReservationId("pay_1"), "interrupted");
              }),
              IsOk());
  ASSERT_THAT(Settle("pay_1", At(3)), IsOk());
  EXPECT_EQ(Row("pay_1").state, State::kSettled);
  EXPECT_EQ(Row("pay_1").delivery, Delivery::kPending);
  EXPECT_EQ(Row("pay_1").failure, "");
  const std::vector<std::string> want = {"reserved", "expired", "settled"};
  EXPECT_EQ(History("pay_1"), want);
}

TEST_P(LedgerStoreTest, SettlingWritesTheOutboxAndTheAnswerInTheSameTransaction) {
  ASSERT_TRUE(Held(Sample("pay_1"), At(1)));
  Ledger::Settlement settlement{.transaction = "0xaa", .receipt = R"({"success":true})"};
  settlement.answer = Ledger::StoredAnswer{
      .status = 200, .head = R"([["content-type","text/plain"]])", .body = std::string("a\0b", 3)};
  // The body of a group that fails afterwards leaves nothing behind.
  const auto broken = Do([&](db::Tx& tx) -> Result<> {
    const Result<> done = Settled(tx, At(2), ReservationId("pay_1"), settlement, "out_0");
    EXPECT_THAT(done, IsOk());
    return Fail(Code::kInternal, "crash");
  });
  EXPECT_THAT(broken, FailsWith(Code::kInternal));
  EXPECT_EQ(Row("pay_1").state, State::kHeld);
  const auto take = [&](db::Tx& tx) { return TakeFromOutbox(tx, UnixMs(10), Millis(1000), 10); };
  ASSERT_THAT(Do(take), IsOk());
  EXPECT_TRUE(Do(take)->empty());

  ASSERT_THAT(Do([&](db::Tx& tx) {
                return Commit(tx, At(3), ReservationId("pay_1"), settlement, "out_1");
              }),
              IsOk());
  const auto answer = Do([&](db::Tx& tx) { return ReadAnswer(tx, ReservationId("pay_1")); });
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((**answer).status, 200);
  EXPECT_EQ((**answer).head, settlement.answer->head);
  EXPECT_EQ((**answer).body, settlement.answer->body);

  const auto due = Do(take);
  ASSERT_TRUE(due && due->size() == 1);
  EXPECT_EQ(due->front().kind, "payment.settled");
  EXPECT_TRUE(due->front().payload.contains(R"("transaction":"0xaa")")) << due->front().payload;
  EXPECT_TRUE(Do(take)->empty()) << "leased to the first taker";
  const auto later = [&](db::Tx& tx) { return TakeFromOutbox(tx, UnixMs(2000), Millis(1000), 10); };
  EXPECT_EQ(Do(later)->size(), 1U) << "due again when the lease has passed";
  EXPECT_THAT(Do([&](db::Tx& tx) { return OutboxDone(tx, "out_1", UnixMs(2100)); }), IsOk());
  const auto after = [&](db::Tx& tx) { return TakeFromOutbox(tx, UnixMs(9999), Millis(1), 10); };
  EXPECT_TRUE(Do(after)->empty());
  EXPECT_THAT(Do([&](db::Tx& tx) { return OutboxDone(tx, "out_9", UnixMs(1)); }),
              FailsWith(Code::kNotFound));
}

// Leaving out the last byte must not be a free pass, and a break of ours must not cost the buyer.
TEST_P(LedgerStoreTest, RedeemTellsWhatItWasAndHasOneWinner) {
  const Digest digest = Sample("x").request_digest;
  const auto redeem = [&](const std::string& id, const std::string& node) {
    return Do([&](db::Tx& tx) {
      return Redeem(tx, At(9, node), ReservationId(id), digest, "red_" + node);
    });
  };
  ASSERT_TRUE(Held(Sample("pay_b", 1), At(1)));
  ASSERT_THAT(Settle("pay_b", At(2)), IsOk());
  ASSERT_THAT(Do([&](db::Tx& tx) {
                return Deliver(tx, At(3), ReservationId("pay_b"), {Delivery::kBroken}, "");
              }),
              IsOk());
  ASSERT_TRUE(Held(Sample("pay_o", 2), At(1)));
  ASSERT_THAT(Settle("pay_o", At(2), "0xbb", Delivery::kOwed), IsOk());

  auto from = redeem("pay_b", "node_b");
  ASSERT_THAT(from, IsOk());
  EXPECT_EQ(*from, Delivery::kBroken);
  EXPECT_EQ(Row("pay_b").node, "node_b");
  EXPECT_THAT(redeem("pay_b", "node_c"), FailsWith(Code::kConflict));
  // The winner asks again, because his commit's answer was lost: still his, still broken before.
  from = redeem("pay_b", "node_b");
  ASSERT_THAT(from, IsOk());
  EXPECT_EQ(*from, Delivery::kBroken);
  from = redeem("pay_o", "node_a");
  ASSERT_THAT(from, IsOk());
  EXPECT_EQ(*from, Delivery::kOwed);
  EXPECT_THAT(redeem("pay_none", "node_a"), FailsWith(Code::kConflict));
}

// The node that holds it may have been taken for dead and live: what it went on with is not given
// up.
TEST_P(LedgerStoreTest, OnlyWhatIsOursAndNotAnsweredIsGivenUp) {
  const auto give_up = [&](const std::string& id, const std::string& node) {
    return Do(
        [&](db::Tx& tx) { return GiveUp(tx, At(9, node), ReservationId(id), "interrupted"); });
  };
  for (uint8_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(Held(Sample("pay_" + std::to_string(i), i), At(1)));
  }
  ASSERT_THAT(Do([&](db::Tx& tx) { return Answered(tx, At(2), ReservationId("pay_2"), 200); }),
              IsOk());
  ASSERT_THAT(Do([&](db::Tx& tx) { return Doubt(tx, At(2), ReservationId("pay_3"), "", "why"); }),
              IsOk());
  EXPECT_THAT(give_up("pay_1", "node_b"), FailsWith(Code::kConflict));
  // Nor does who lost it void it: the other one may be settling it.
  EXPECT_THAT(Do([&](db::Tx& tx) {
                return Void(tx, At(9, "node_b"), ReservationId("pay_2"), "refused", 0);
              }),
              FailsWith(Code::kConflict));
  EXPECT_THAT(give_up("pay_2", "node_a"), FailsWith(Code::kConflict));
  EXPECT_THAT(give_up("pay_3", "node_a"), FailsWith(Code::kConflict));
  EXPECT_EQ(Row("pay_3").state, State::kInDoubt);
  EXPECT_THAT(give_up("pay_1", "node_a"), IsOk());
  EXPECT_THAT(give_up("pay_1", "node_a"), IsOk()) << "its commit's answer was lost";
  EXPECT_EQ(Row("pay_1").state, State::kExpired);
  EXPECT_EQ(Row("pay_1").failure, "interrupted");
}

// Who is told that it was settled before must know what has become of the goods since.
TEST_P(LedgerStoreTest, CommitTellsWhatStandsInTheBooks) {
  const ReservationId id("pay_1");
  ASSERT_TRUE(Held(Sample("pay_1"), At(1)));
  const auto commit = [&](Delivery as) {
    const Ledger::Settlement settlement{.transaction = "0xaa", .delivery = as};
    return Do([&](db::Tx& tx) { return Commit(tx, At(2), id, settlement, "out_1"); });
  };
  EXPECT_EQ(*commit(Delivery::kOwed), Delivery::kOwed);
  EXPECT_EQ(*commit(Delivery::kPending), Delivery::kOwed);
  ASSERT_THAT(
      Do([&](db::Tx& tx) { return Redeem(tx, At(3), id, Sample("x").request_digest, "red_1"); }),
      IsOk());
  EXPECT_EQ(*commit(Delivery::kPending), Delivery::kRedeeming);
  ASSERT_THAT(
      Do([&](db::Tx& tx) { return Deliver(tx, At(4), id, {Delivery::kDelivered}, "red_1"); }),
      IsOk());
  EXPECT_EQ(*commit(Delivery::kPending), Delivery::kDelivered);
}

TEST_P(LedgerStoreTest, AnswersThatBreakOffInTheirMiddleAreDueAFewTimesOnly) {
  const ReservationId id("pay_1");
  ASSERT_TRUE(Held(Sample("pay_1"), At(1)));
  ASSERT_THAT(Settle("pay_1", At(2)), IsOk());
  const auto end = [&](Ledger::Ending ending, const std::string& attempt) {
    return Do([&](db::Tx& tx) { return Deliver(tx, At(3), id, ending, attempt); });
  };
  const auto redeem = [&](const std::string& attempt) {
    return Do(
        [&](db::Tx& tx) { return Redeem(tx, At(3), id, Sample("x").request_digest, attempt); });
  };
  std::string attempt;
  for (int cuts = 1; cuts <= Ledger::kMostCuts; ++cuts) {
    EXPECT_THAT(end({Delivery::kOwed, true}, attempt), IsOk());
    EXPECT_THAT(end({Delivery::kOwed, true}, attempt), IsOk()) << "its commit was lost";
    EXPECT_EQ(Row("pay_1").delivery, Delivery::kOwed) << cuts;
    // What fails before anything has left is no cut, however often.
    for (int i = 0; i < 5; ++i) {
      attempt = "red_" + std::to_string(cuts) + "_" + std::to_string(i);
      ASSERT_THAT(redeem(attempt), IsOk());
      if (i < 4) EXPECT_THAT(end({Delivery::kOwed}, attempt), IsOk());
    }
  }
  EXPECT_THAT(end({Delivery::kOwed, true}, attempt), IsOk());
  EXPECT_EQ(Row("pay_1").delivery, Delivery::kRedeemed);
  EXPECT_THAT(end({Delivery::kOwed, true}, attempt), IsOk()) << "its commit was lost";
  EXPECT_THAT(redeem("red_late"), FailsWith(Code::kConflict));
}

TEST_P(LedgerStoreTest, FindsByIdRequestAndTransactionAndFiltersLists) {
  ASSERT_TRUE(Held(Sample("pay_1", 1), At(1'000)));
  ASSERT_TRUE(Held(Sample("pay_2", 2), At(2'000)));
  ASSERT_TRUE(Held(Sample("pay_3", 3), At(3'000)));
  ASSERT_THAT(Settle("pay_2", At(2'500), "0xabcdef"), IsOk());
  const auto find = [&](const std::string& name) {
    const auto rows = Do([&](db::Tx& tx) { return FindReservations(tx, name); });
    EXPECT_THAT(rows, IsOk());
    return rows && rows->size() == 1 ? rows->front().id.str() : "";
  };
  EXPECT_EQ(find("pay_1"), "pay_1");
  EXPECT_EQ(find("req_pay_3"), "pay_3");
  EXPECT_EQ(find("0xABCDEF"), "pay_2");
  EXPECT_EQ(find("pay_9"), "");
  EXPECT_EQ(find(""), "");

  const auto list = [&](const Ledger::Filter& filter) {
    const auto rows = Do([&](db::Tx& tx) { return ListReservations(tx, filter); });
    EXPECT_THAT(rows, IsOk());
    std::string ids;
    if (rows) {
      for (const Reservation& r : *rows) ids += r.id.str().substr(4);
    }
    return ids;
  };
  EXPECT_EQ(list({}), "321");
  EXPECT_EQ(list({.limit = 2}), "32");
  EXPECT_EQ(list({.since = UnixMs(2'000)}), "32");
  EXPECT_EQ(list({.state = State::kHeld}), "31");
  EXPECT_EQ(list({.payer = "0xabc0000000000000000000000000000000000001"}), "321");
  EXPECT_EQ(list({.payer = "0xother"}), "");
  EXPECT_EQ(list({.route = "GET /v1/quotes/*"}), "321");
  EXPECT_EQ(list({.transaction = "0xABCdef"}), "2");

  const auto totals = Do([](db::Tx& tx) { return CountReservations(tx); });
  ASSERT_THAT(totals, IsOk());
  EXPECT_EQ(totals->held, 2);
  EXPECT_EQ(totals->in_doubt, 0);
  EXPECT_EQ(totals->owed, 0);
}

}  // namespace
}  // namespace pontage::ledger
