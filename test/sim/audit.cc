// What must hold when everything has come to rest.
#include <cstdlib>
#include <iostream>

#include "base/try.h"
#include "codec/hex.h"
#include "scheme/exact_evm.h"
#include "testing/settle_fixture.h"
#include "world.h"

namespace pontage::sim {
namespace {

constexpr db::Statement kRows{
    "sim.rows",
    "SELECT id, state, delivery FROM reservation WHERE once_key = $1 AND state <> 'voided'"};
constexpr db::Statement kTold{
    "sim.told", "SELECT COUNT(*) FROM outbox WHERE kind = 'payment.settled' AND payload LIKE $1"};
// How often the books allowed the work to run: once for each reservation and each redemption.
constexpr db::Statement kAllowed{
    "sim.allowed",
    "SELECT (SELECT COUNT(*) FROM reservation WHERE once_key = $1) + (SELECT COUNT(*) FROM"
    " reservation_event JOIN reservation ON id = reservation WHERE once_key = $1 AND"
    " what = 'redeeming')"};
constexpr db::Statement kLost{"sim.lost",
                              "SELECT COUNT(*) FROM reservation_event WHERE reservation = $1 AND"
                              " (what = 'taken_over' OR detail = 'node_lost')"};
constexpr db::Statement kHistory{
    "sim.history",
    "SELECT at_ms, what, detail FROM reservation_event WHERE reservation = $1 UNION ALL"
    " SELECT answered_ms, 'answered', '' FROM reservation WHERE id = $1 UNION ALL"
    " SELECT settled_ms, 'settled', tx_hash FROM reservation WHERE id = $1 UNION ALL"
    " SELECT delivered_ms, 'delivered', '' FROM reservation WHERE id = $1 ORDER BY 1"};
// A settled payment that a reorganisation undid, and that the books say is lost.
constexpr db::Statement kLostOnChain{
    "sim.lost_on_chain",
    "SELECT COUNT(*) FROM settlement_event e WHERE key = $1 AND what = 'lost' AND seq ="
    " (SELECT MAX(seq) FROM settlement_event WHERE key = e.key AND what IN ('lost', 'paid'))"};
constexpr db::Statement kUndone{
    "sim.undone", "SELECT COUNT(*) FROM settlement_event WHERE what IN ('left', 'moved')"};
constexpr db::Statement kWatched{
    "sim.watched",
    "SELECT COUNT(*) FROM outgoing_transaction WHERE watch IN ('watched', 'moved', 'gone')"};
constexpr db::Statement kStray{"sim.stray",
                               "SELECT signer, nonce, state, watch, hash FROM outgoing_transaction"
                               " WHERE state IN ('signed', 'broadcast') ORDER BY signer, nonce"};

}  // namespace

void World::Audit() {
  int64_t moved = 0;
  for (size_t i = 0; i < payments_.size(); ++i) {
    const Payment& p = payments_[i];
    const chain::EvmAsset usdc = *ground_.assets.DefaultOf(chain::ChainId::Evm(84532));
    const codec::Bytes32 key =
        scheme::OnceKey(chain::ChainId::Evm(84532), usdc.address, p.auth.from, p.auth.nonce);
    const db::Blob blob{std::string(key.begin(), key.end())};
    const Result<db::Rows> rows = ground_.server->Run(kRows, blob);
    PTG_CHECK(rows.has_value());
    const Result<db::Rows> allowed = ground_.server->Run(kAllowed, blob);
    PTG_CHECK(allowed.has_value());
    AuditRow(i, *rows, allowed->at(0).Int(0));
    if (ground_.chain.Moved(p.auth.from, p.auth.nonce)) moved += 1'000;
  }
  const codec::Uint256 got = ground_.chain.balance[testing::SettleFixture::Key(3).address()];
  ground_.Forbid(got != codec::Uint256(static_cast<uint64_t>(moved)),
                 "the payee has " + got.ToDecimal() + " and " + std::to_string(moved) + " moved");
  const Result<db::Rows> stray = ground_.server->Run(kStray);
  PTG_CHECK(stray.has_value());
  for (const db::Row& row : *stray) {
    ground_.Forbid(true, "a transaction was left open: " + row.Text(0) + " nonce " +
                             std::to_string(row.Int(1)) + " " + row.Text(2) + " " + row.Text(3) +
                             " " + row.Text(4) + ", of " + std::to_string(stray->size()));
  }
  AuditReorgs();
}

void World::AuditReorgs() {
  const Result<db::Rows> undone = ground_.server->Run(kUndone);
  PTG_CHECK(undone.has_value());
  figures_.undone = static_cast<int>(undone->at(0).Int(0));
  ground_.Forbid(figures_.reorgs == 0 && figures_.undone > 0, "a reorganisation that never was");
  const Result<db::Rows> watched = ground_.server->Run(kWatched);
  PTG_CHECK(watched.has_value());
  ground_.Forbid(watched->at(0).Int(0) > 0, "a block that is final is still watched");
}

bool World::LostOnChain(const codec::Bytes32& once_key) {
  const Result<db::Rows> lost = ground_.server->Run(kLostOnChain, codec::ToHex(once_key));
  PTG_CHECK(lost.has_value());
  return lost->at(0).Int(0) > 0;
}

void World::AuditRow(size_t index, const std::vector<db::Row>& rows, int64_t allowed) {
  const Payment& p = payments_[index];
  const bool moved = ground_.chain.Moved(p.auth.from, p.auth.nonce);
  const int crashes = figures_.crashes - p.crashes_before;
  const Upstream::Count& upstream = ground_.upstream.by_payment[index];
  std::string state = "none";
  std::string delivery = "none";
  int64_t told = 0;
  int64_t lost = 0;
  if (!rows.empty()) {
    state = rows[0].Text(1);
    delivery = rows[0].Text(2);
    const Result<db::Rows> outbox = ground_.server->Run(kTold, "%" + rows[0].Text(0) + "%");
    PTG_CHECK(outbox.has_value());
    told = outbox->at(0).Int(0);
    const Result<db::Rows> node_lost = ground_.server->Run(kLost, rows[0].Text(0));
    PTG_CHECK(node_lost.has_value());
    lost = node_lost->at(0).Int(0);
  }
  const chain::EvmAsset usdc = *ground_.assets.DefaultOf(chain::ChainId::Evm(84532));
  // Money that had moved and was taken back by the chain: allowed where the books say so.
  const bool taken_back = !moved && ground_.chain.EverMoved(p.auth.from, p.auth.nonce) &&
                          LostOnChain(scheme::OnceKey(chain::ChainId::Evm(84532), usdc.address,
                                                      p.auth.from, p.auth.nonce));
  figures_.lost += taken_back ? 1 : 0;
  figures_.served += p.goods > 0 ? 1 : 0;
  figures_.settled += moved ? 1 : 0;
  figures_.lapsed += p.invited ? 1 : 0;
  figures_.refused += p.failed ? 1 : 0;
  figures_.redeemed += p.goods > 1 ? 1 : 0;
  if (std::getenv("PTG_SIM_HISTORY") != nullptr && !rows.empty()) {
    const Result<db::Rows> events = ground_.server->Run(kHistory, rows[0].Text(0));
    for (const db::Row& row : *events) {
      std::cerr << index << " " << row.Int(0) - WorldClock::kStart << " " << row.Text(1) << " "
                << row.Text(2) << "\n";
    }
  }
  const auto forbid = [&](bool happened, std::string_view what) {
    ground_.Forbid(happened, "payment " + std::to_string(index) + ": " + std::string(what) + " [" +
                                 state + "/" + delivery + ", money " +
                                 (moved ? "moved" : "stayed") + ", goods " +
                                 std::to_string(p.goods) + ", runs " +
                                 std::to_string(upstream.runs) + ", heard" + p.heard + "]");
  };
  forbid(rows.size() > 1, "two rows hold one authorization");
  forbid(state == "held" || state == "in_doubt", "its row was never closed");
  forbid(!p.closed, "its buyer was never told an end");
  forbid(moved != (state == "settled") && !taken_back, "books and chain disagree");
  forbid(moved && p.mined_bad > 0, "two transactions were sent for it");
  forbid(told != (state == "settled" ? 1 : 0), "the outbox does not tell what the books say");
  forbid(p.goods > 0 && !moved && !taken_back, "served without money");
  forbid(p.invited && moved, "told to pay again, and charged");
  forbid(p.failed && moved, "told that it failed, and charged");
  forbid(moved && p.goods == 0 && plan_.weather.client_breaks == 0 && p.disturbed == 0,
         "charged and never served");
  forbid(delivery == "pending" || delivery == "redeeming", "its delivery was never closed");
  forbid(delivery == "delivered" && p.goods == 0 && p.disturbed == 0,
         "called delivered, and was not");
  // A node that could not reach the store for long was taken for dead: that is a crash to the
  // books.
  forbid(p.goods > 1 + crashes + lost, "served twice for one payment");
  forbid(upstream.most > 1 && crashes == 0 && lost == 0, "the upstream ran twice at once");
  forbid(p.goods > allowed, "served more often than the books allowed");
  // A redemption that was broken off may be written down later than the answer that left whole.
  forbid(p.goods > 0 && delivery != "delivered" && crashes == 0 && lost == 0 && allowed == 1,
         "served, and not called delivered");
  forbid(upstream.runs > allowed, "the upstream ran more often than the books allowed");
  forbid(p.goods > 0 && upstream.runs == 0, "served without work");
}

}  // namespace pontage::sim
