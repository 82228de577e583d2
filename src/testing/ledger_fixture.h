#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "ledger/ledger_store.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::testing {

inline ledger::Reservation Sample(const std::string& id, uint8_t key = 7) {
  ledger::Reservation r;
  r.id = ReservationId(id);
  r.once_key.fill(key);
  r.request_id = RequestId("req_" + id);
  r.tenant = "default";
  r.route = "GET /v1/quotes/*";
  r.method = "GET";
  r.resource = "/v1/quotes/eur?a=1";
  r.request_digest.fill(9);
  r.rail = "x402";
  r.protocol = 2;
  r.scheme = "exact";
  r.network = "eip155:84532";
  r.asset = "0x036cbd53842c5426634e7929541ec2318f3dcf7e";
  r.payer = "0xAbC0000000000000000000000000000000000001";
  r.pay_to = "0xdef0000000000000000000000000000000000002";
  r.nonce = "0x01";
  r.amount = codec::Uint256::Max();
  r.price = Money::Micros(1000);
  r.payload = R"({"signature":"0x"})";
  r.requirement = R"({"scheme":"exact"})";
  r.valid_before = UnixMs(2'000'000'000'000);
  return r;
}

// Commit, for tests that only ask whether it was done.
inline Result<> Settled(db::Tx& tx, const ledger::Author& author, const ReservationId& id,
                        const ledger::Ledger::Settlement& settlement,
                        const std::string& outbox_id) {
  PTG_RUN(ledger::Commit(tx, author, id, settlement, outbox_id));
  return {};
}

// The books by themselves: rows that are reserved, settled and read, by nodes and at times of a
// test's choice.
class LedgerStoreFixture : public ::testing::TestWithParam<EngineKind> {
 protected:
  LedgerStoreFixture() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  template <typename F>
  auto Do(F body) {
    return database_->WriteNow(body);
  }
  ledger::Author At(int64_t ms, std::string node = "node_a") const {
    return {.node = std::move(node), .now = UnixMs(ms)};
  }
  ledger::Reservation Row(const std::string& id) {
    const auto body = [&](db::Tx& tx) { return ledger::ReadReservation(tx, ReservationId(id)); };
    const auto row = database_->ReadNow(body);
    EXPECT_TRUE(row && *row) << id;
    return row && *row ? **row : ledger::Reservation();
  }
  bool Held(const ledger::Reservation& r, const ledger::Author& author) {
    const auto reserved = Do([&](db::Tx& tx) { return ledger::Reserve(tx, author, r); });
    EXPECT_THAT(reserved, IsOk());
    return reserved && reserved->held;
  }
  Result<> Settle(const std::string& id, const ledger::Author& author,
                  const std::string& hash = "0xaa",
                  ledger::Delivery delivery = ledger::Delivery::kPending) {
    ledger::Ledger::Settlement settlement{
        .transaction = hash, .receipt = "{}", .delivery = delivery};
    return Do([&](db::Tx& tx) {
      return Settled(tx, author, ReservationId(id), settlement, "out_" + id + hash);
    });
  }
  std::vector<std::string> History(const std::string& id) {
    const auto body = [&](db::Tx& tx) { return ledger::ReadHistory(tx, ReservationId(id)); };
    std::vector<std::string> what;
    const auto events = database_->ReadNow(body);
    EXPECT_THAT(events, IsOk());
    if (events) {
      for (const auto& event : *events) what.push_back(event.what);
    }
    return what;
  }
  std::vector<std::string> Orphans(const ledger::Author& author, size_t limit = 100) {
    // Here the wall clock may say who is dead; ledger::Ledger goes by its steady one.
    const UnixMs heard = author.now - ledger::Ledger::kNodeSilence;
    EXPECT_THAT(Do([&](db::Tx& tx) { return ledger::ForgetOtherNodes(tx, author, heard); }),
                IsOk());
    const auto rows = Do([&](db::Tx& tx) { return ledger::TakeOrphans(tx, author, {}, limit); });
    EXPECT_THAT(rows, IsOk());
    std::vector<std::string> ids;
    if (rows) {
      for (const ledger::Reservation& r : *rows) ids.push_back(r.id.str());
    }
    std::ranges::sort(ids);
    return ids;
  }
  void Beat(const ledger::Author& author) {
    EXPECT_THAT(Do([&](db::Tx& tx) { return ledger::Heartbeat(tx, author); }), IsOk());
  }

  Engine engine_;
  std::unique_ptr<db::Database> database_;
};

}  // namespace pontage::testing
