#include "settle/outgoing_store.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/try.h"
#include "codec/hex.h"
#include "settle/pending_store.h"
#include "settle/reorg_store.h"

namespace pontage::settle {
namespace {

constexpr int64_t kMinute = 60'000;
constexpr int64_t kHour = 60 * kMinute;

constexpr db::Statement kTakeNonce{
    "settle.nonce_take",
    "INSERT INTO signer_nonce (chain, signer, next_nonce) VALUES ($1, $2, $3 + 1)"
    " ON CONFLICT (chain, signer) DO UPDATE SET next_nonce = CASE WHEN signer_nonce.next_nonce < $3"
    " THEN $3 + 1 ELSE signer_nonce.next_nonce + 1 END"};
constexpr db::Statement kReadNonce{
    "settle.nonce_read",
    "SELECT next_nonce, first_block FROM signer_nonce WHERE chain = $1 AND signer = $2"};
constexpr db::Statement kSetNonce{
    "settle.nonce_set", "UPDATE signer_nonce SET next_nonce = $3 WHERE chain = $1 AND signer = $2"};
constexpr db::Statement kFirstBlock{
    "settle.nonce_first_block",
    "INSERT INTO signer_nonce (chain, signer, next_nonce, first_block) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (chain, signer) DO UPDATE SET first_block = excluded.first_block"};

// Nothing is inserted where the nonce has its transaction already.
constexpr db::Statement kInsertOutgoing{
    "settle.outgoing_insert",
    "INSERT INTO outgoing_transaction (id, chain, signer, nonce, hash, raw, purpose, reservation,"
    " state, created_ms, updated_ms, gas_gwei)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, '', 'signed', $8, $8, $9)"
    " ON CONFLICT DO NOTHING"};
constexpr db::Statement kInsertMember{
    "settle.member_insert", "INSERT INTO outgoing_member (outgoing, seq, key) VALUES ($1, $2, $3)"};
constexpr db::Statement kCopyMembers{
    "settle.member_copy",
    "INSERT INTO outgoing_member (outgoing, seq, key)"
    " SELECT CAST($2 AS TEXT), seq, key FROM outgoing_member WHERE outgoing = $1"};
constexpr db::Statement kKeysOf{"settle.member_keys",
                                "SELECT key FROM outgoing_member WHERE outgoing = $1 UNION"
                                " SELECT purpose FROM outgoing_transaction WHERE id = $1"};
constexpr db::Statement kInsertVersion{
    "settle.version_insert",
    "INSERT INTO outgoing_version (hash, outgoing, raw, created_ms) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT DO NOTHING"};
constexpr db::Statement kVersionsOf{
    "settle.version_of",
    "SELECT hash, raw, created_ms FROM outgoing_version WHERE outgoing = $1 ORDER BY created_ms"};
constexpr db::Statement kVersionsOfOpen{
    "settle.version_open",
    "SELECT v.outgoing, v.hash, v.raw, v.created_ms FROM outgoing_version v"
    " JOIN outgoing_transaction t ON t.id = v.outgoing WHERE t.chain = $1 AND t.signer = $2"
    " AND t.state IN ('signed', 'broadcast') ORDER BY v.created_ms"};
constexpr db::Statement kNewVersion{
    "settle.outgoing_version",
    "UPDATE outgoing_transaction SET hash = $3, raw = $4, state = 'signed', updated_ms = $5,"
    " gas_gwei = $6 WHERE id = $1 AND hash = $2 AND state IN ('signed', 'broadcast') RETURNING id"};
constexpr db::Statement kOpen{
    "settle.outgoing_open",
    "SELECT id, nonce, hash, raw, purpose, created_ms, signer FROM outgoing_transaction WHERE"
    " chain = $1 AND signer = $2 AND state IN ('signed', 'broadcast') AND"
    " (created_ms <= $3 OR created_ms > $4) ORDER BY nonce LIMIT 5000"};
constexpr db::Statement kIdOfHash{"settle.outgoing_id",
                                  "SELECT id FROM outgoing_transaction WHERE hash = $1 UNION"
                                  " SELECT outgoing FROM outgoing_version WHERE hash = $1"};
constexpr db::Statement kById{
    "settle.outgoing_by_id",
    "SELECT id, nonce, hash, raw, purpose, created_ms, signer FROM outgoing_transaction WHERE"
    " id = $1"};
constexpr db::Statement kMinedBetween{
    "settle.outgoing_mined_between",
    "SELECT id, nonce, hash, raw, purpose, created_ms, signer, block_hash FROM outgoing_transaction"
    " WHERE chain = $1 AND signer = $2 AND nonce >= $3 AND nonce < $4"
    " AND state IN ('mined', 'failed') ORDER BY nonce"};
constexpr db::Statement kReopen{
    "settle.outgoing_reopen",
    "UPDATE outgoing_transaction SET state = 'broadcast', block = NULL, receipt_status = NULL,"
    " block_hash = '', watch = CASE WHEN watch = '' THEN '' ELSE 'gone' END,"
    " updated_ms = $3 WHERE id = $1 AND block_hash = $2 AND state IN ('mined', 'failed')"
    " RETURNING watch"};
constexpr db::Statement kBroadcast{
    "settle.outgoing_broadcast",
    "UPDATE outgoing_transaction SET state = 'broadcast', updated_ms = $2"
    " WHERE id = $1 AND state = 'signed'"};
constexpr db::Statement kMined{
    "settle.outgoing_mined",
    "UPDATE outgoing_transaction SET state = 'mined', hash = $2, block = $3, receipt_status = $4,"
    " updated_ms = $5, gas_gwei = $6, block_hash = $7, watch = CASE WHEN $7 = '' THEN ''"
    " WHEN watch = 'gone' THEN 'moved' WHEN $4 = 1 THEN 'watched' ELSE '' END"
    " WHERE id = $1 AND state IN ('signed', 'broadcast')"};
constexpr db::Statement kReplaced{
    "settle.outgoing_replaced",
    "UPDATE outgoing_transaction SET state = 'replaced', watch = '', updated_ms = $2, gas_gwei = 0"
    " WHERE id = $1 AND hash = $3 AND state IN ('signed', 'broadcast') RETURNING id"};
constexpr db::Statement kWindBack{
    "settle.outgoing_wind_back",
    "UPDATE outgoing_transaction SET state = 'replaced', watch = '', updated_ms = $4 WHERE"
    " chain = $1 AND signer = $2 AND nonce >= $3 AND state IN ('mined', 'failed')"};
constexpr db::Statement kForgetWatch{
    "settle.outgoing_forget_watch",
    "UPDATE outgoing_transaction SET watch = '' WHERE chain = $1 AND signer = $2"
    " AND watch IN ('watched', 'moved')"};
constexpr db::Statement kWatchedFrom{
    "settle.outgoing_watched_from",
    "SELECT id FROM outgoing_transaction WHERE chain = $1 AND signer = $2 AND nonce >= $3"
    " AND watch IN ('watched', 'moved') LIMIT 1"};
constexpr db::Statement kInheritGone{
    "settle.outgoing_inherit_gone", "UPDATE outgoing_transaction SET watch = 'gone' WHERE id = $1"};

constexpr db::Statement kGasOf{
    "settle.gas_of",
    "SELECT gas_gwei, created_ms, watch FROM outgoing_transaction WHERE id = $1 AND"
    " state IN ('signed', 'broadcast')"};
constexpr db::Statement kAddGas{
    "settle.gas_add",
    "INSERT INTO gas_spent (chain, signer, minute_ms, gwei) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (chain, signer, minute_ms) DO UPDATE SET gwei = gas_spent.gwei + excluded.gwei"};
constexpr db::Statement kPruneGas{
    "settle.gas_prune",
    "DELETE FROM gas_spent WHERE chain = $1 AND signer = $2 AND minute_ms < $3"};
constexpr db::Statement kSumGas{
    "settle.gas_sum",
    "SELECT CAST(COALESCE(SUM(gwei), 0) AS BIGINT) FROM gas_spent WHERE chain = $1 AND signer = $2"
    " AND minute_ms > $3"};

constexpr db::Statement kAttempts{
    "settle.outgoing_attempts",
    "SELECT t.hash, t.signer, t.nonce, t.state, t.block, t.receipt_status, t.created_ms,"
    " (SELECT COUNT(*) FROM outgoing_member m WHERE m.outgoing = t.id), t.watch"
    " FROM outgoing_transaction t WHERE t.id IN (SELECT id FROM outgoing_transaction WHERE"
    " purpose = $1 UNION SELECT outgoing FROM outgoing_member WHERE key = $1)"
    " ORDER BY t.created_ms, t.id LIMIT 100"};

// What a transaction may cost at most, in gwei, rounded up; what does not fit is beyond any bound.
int64_t MostGwei(const chain::EvmTransaction& tx) {
  constexpr uint64_t kWeiOfGwei = 1'000'000'000;
  const Result<codec::Uint256> wei = Mul(tx.max_fee_per_gas, tx.gas_limit);
  if (!wei) return INT64_MAX / 4;
  const codec::QuotientRemainder gwei = DivMod(*wei, kWeiOfGwei);
  const uint64_t whole = gwei.quotient.ToU64().value_or(INT64_MAX / 4);
  return static_cast<int64_t>(std::min<uint64_t>(whole, INT64_MAX / 4)) +
         (gwei.remainder != 0 ? 1 : 0);
}

Result<> AddGas(db::Tx& tx, const Signer& signer, int64_t at_ms, int64_t gwei) {
  if (gwei == 0) return {};
  PTG_RUN(tx.Run(kAddGas, signer.chain, signer.address, at_ms - at_ms % kMinute, gwei));
  return {};
}

db::Blob BlobOf(const codec::Bytes& bytes) { return {std::string(bytes.begin(), bytes.end())}; }

Result<Version> VersionAt(const db::Row& row, size_t hash, size_t raw) {
  Version version;
  PTG_TRY(version.hash, codec::FromHex0x<32>(row.Text(hash)));
  const std::string& bytes = row.Bytes(raw);
  version.raw.assign(bytes.begin(), bytes.end());
  return version;
}

// The columns of kOpen, kById and kMinedBetween.
Result<Outgoing> ReadRow(const db::Row& row) {
  Outgoing one;
  one.id = row.Text(0);
  one.nonce = static_cast<uint64_t>(row.Int(1));
  PTG_TRY(Version latest, VersionAt(row, 2, 3));
  one.versions.push_back(std::move(latest));
  one.batch = row.Text(4).empty();
  one.signed_at = UnixMs(row.Int(5));
  return one;
}

// An earlier version, found in the order they were signed; the latest of the row stays the last.
void PutVersion(Outgoing& one, Version version, UnixMs at) {
  one.signed_at = std::max(one.signed_at, at);
  if (version.hash == one.versions.back().hash) {
    // Of a mined one the row has the bytes of the last version and the hash of the mined one.
    one.versions.back().raw = std::move(version.raw);
    return;
  }
  one.versions.insert(one.versions.end() - 1, std::move(version));
}

Result<> ReadVersions(db::Tx& tx, Outgoing& one) {
  PTG_TRY(const db::Rows rows, tx.Run(kVersionsOf, one.id));
  for (const db::Row& row : rows) {
    PTG_TRY(Version version, VersionAt(row, 0, 1));
    PutVersion(one, std::move(version), UnixMs(row.Int(2)));
  }
  return {};
}

// Writes a signed transaction down. kConflict when its nonce has one.
Result<Outgoing> Insert(db::Tx& tx, const Signer& signer, const chain::SignedEvmTransaction& made,
                        const std::string& id, const std::string& purpose, UnixMs now) {
  const int64_t gwei = MostGwei(made.tx);
  PTG_TRY(const db::Rows in, tx.Run(kInsertOutgoing, id, signer.chain, signer.address,
                                    static_cast<int64_t>(made.tx.nonce), codec::Hex0x(made.hash),
                                    BlobOf(made.raw), purpose, now.ms(), gwei));
  if (in.changed == 0) return Fail(Code::kConflict, "the nonce has a transaction already");
  PTG_RUN(AddGas(tx, signer, now.ms(), gwei));
  Outgoing out;
  out.id = id;
  out.nonce = made.tx.nonce;
  out.batch = purpose.empty();
  out.signed_at = now;
  out.versions.push_back({made.hash, made.raw});
  return out;
}

Result<uint64_t> TakeNonce(db::Tx& tx, const Signer& signer, uint64_t floor) {
  // The row is locked from here on: what is read is what was written.
  PTG_RUN(tx.Run(kTakeNonce, signer.chain, signer.address, static_cast<int64_t>(floor)));
  PTG_TRY(const db::Rows taken, tx.Run(kReadNonce, signer.chain, signer.address));
  if (taken.empty()) return Fail(Code::kStore, "no nonce was given");
  return static_cast<uint64_t>(taken[0].Int(0) - 1);
}

// The hour's gas with `more` on top of it is within bounds. After TakeNonce, whose row stays locked
// until the commit: two nodes cannot both spend the rest.
Result<> CheckBudget(db::Tx& tx, const Signer& signer, const SigningRules& rules, int64_t more,
                     UnixMs now) {
  if (!rules.gwei_per_hour) return {};
  PTG_TRY(const int64_t spent, GasOfLastHour(tx, signer, now));
  if (spent + more <= *rules.gwei_per_hour) return {};
  return Fail(Error(Code::kOverloaded, "the gas of this hour is spent on " + signer.chain));
}

chain::EvmTransaction WithFees(chain::EvmTransaction call, const chain::EvmTransaction& fees) {
  call.chain_id = fees.chain_id;
  call.max_fee_per_gas = fees.max_fee_per_gas;
  call.max_priority_fee_per_gas = fees.max_priority_fee_per_gas;
  return call;
}

}  // namespace

Result<Outgoing> ReadOutgoing(db::Tx& tx, const db::Row& row) {
  PTG_TRY(Outgoing one, ReadRow(row));
  PTG_RUN(ReadVersions(tx, one));
  return one;
}

Result<Stored> StoreTransaction(db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret,
                                const Unsigned& wanted, const SigningRules& rules, UnixMs now) {
  PTG_TRY(const uint64_t nonce, TakeNonce(tx, signer, rules.floor));
  const auto sign = [&](const std::vector<const SettleJob*>& jobs) {
    chain::EvmTransaction call = WithFees(CallFor(jobs, rules.gas_cap), wanted.fees);
    call.nonce = nonce;
    return chain::SignTransaction(call, secret);
  };
  chain::SignedEvmTransaction made = sign(wanted.jobs);
  PTG_RUN(CheckBudget(tx, signer, rules, MostGwei(made.tx), now));
  Stored stored;
  std::vector<const SettleJob*> jobs;
  for (size_t i = 0; i < wanted.jobs.size(); ++i) {
    PTG_TRY(const bool ours, ClaimPending(tx, wanted.jobs[i]->key, codec::Hex0x(made.hash), now));
    (ours ? stored.claimed : stored.refused).push_back(i);
    if (ours) jobs.push_back(wanted.jobs[i]);
  }
  if (jobs.empty()) return Fail(Code::kConflict, "the payment is being settled already");
  if (!stored.refused.empty()) {
    made = sign(jobs);
    for (const SettleJob* job : jobs) {
      PTG_RUN(MovePending(tx, job->key, codec::Hex0x(made.hash), now));
    }
  }
  const bool batch = jobs.size() > 1;
  PTG_TRY(Outgoing out,
          Insert(tx, signer, made, wanted.id, batch ? std::string() : jobs[0]->key, now));
  for (size_t i = 0; batch && i < jobs.size(); ++i) {
    PTG_RUN(tx.Run(kInsertMember, out.id, static_cast<int64_t>(i), jobs[i]->key));
  }
  stored.made = std::move(out);
  return stored;
}

Result<Outgoing> AddVersion(db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret,
                            const chain::EvmTransaction& call, const Outgoing& old,
                            const SigningRules& rules, UnixMs now) {
  PTG_TRY(const db::Rows gas, tx.Run(kGasOf, old.id));
  if (gas.empty()) return Fail(Code::kConflict, "the transaction is open no more");
  const chain::SignedEvmTransaction made = chain::SignTransaction(call, secret);
  const int64_t most = std::max(gas[0].Int(0), MostGwei(made.tx));
  PTG_RUN(CheckBudget(tx, signer, rules, most - gas[0].Int(0), now));
  const Version& last = old.versions.back();
  PTG_TRY(const db::Rows moved, tx.Run(kNewVersion, old.id, codec::Hex0x(last.hash),
                                       codec::Hex0x(made.hash), BlobOf(made.raw), now.ms(), most));
  if (moved.empty()) return Fail(Code::kConflict, "the transaction has another version already");
  PTG_RUN(tx.Run(kInsertVersion, codec::Hex0x(last.hash), old.id, BlobOf(last.raw),
                 old.signed_at.ms()));
  PTG_RUN(tx.Run(kInsertVersion, codec::Hex0x(made.hash), old.id, BlobOf(made.raw), now.ms()));
  PTG_RUN(AddGas(tx, signer, gas[0].Int(1), most - gas[0].Int(0)));
  Outgoing out = old;
  out.signed_at = now;
  out.versions.push_back({made.hash, made.raw});
  return out;
}

Result<std::optional<Outgoing>> ReplaceTransaction(db::Tx& tx, const Signer& signer,
                                                   const crypto::PrivateKey& secret,
                                                   chain::EvmTransaction call, const Outgoing& old,
                                                   const std::string& id, const SigningRules& rules,
                                                   UnixMs now) {
  PTG_TRY(const db::Rows gas, tx.Run(kGasOf, old.id));
  // A version that the caller does not know may be the one that was mined.
  const std::string newest = codec::Hex0x(old.versions.back().hash);
  PTG_TRY(const db::Rows replaced, tx.Run(kReplaced, old.id, now.ms(), newest));
  if (replaced.empty() || gas.empty()) {
    return Fail(Code::kConflict, "the transaction is open no more, or has another version");
  }
  // What the chain threw out had been told to be settled, and is to be so again.
  const bool gone = gas[0].Text(2) == "gone";
  const auto move = [&](const std::string& key, const std::string& hash) {
    return gone ? MoveSettled(tx, key, old.id, hash, now) : MovePending(tx, key, hash, now);
  };
  PTG_TRY(const db::Rows keys, tx.Run(kKeysOf, old.id));
  std::vector<std::string> waiting;
  for (const db::Row& row : keys) {
    if (row.Text(0).empty()) continue;
    PTG_TRY(const bool waits, move(row.Text(0), newest));
    if (waits) waiting.push_back(row.Text(0));
  }
  if (waiting.empty()) return std::optional<Outgoing>();
  PTG_TRY(call.nonce, TakeNonce(tx, signer, rules.floor));
  const chain::SignedEvmTransaction made = chain::SignTransaction(call, secret);
  PTG_RUN(CheckBudget(tx, signer, rules, MostGwei(made.tx), now));
  for (const std::string& key : waiting) PTG_RUN(move(key, codec::Hex0x(made.hash)));
  PTG_TRY(Outgoing out,
          Insert(tx, signer, made, id, old.batch ? std::string() : waiting.front(), now));
  if (gone) PTG_RUN(tx.Run(kInheritGone, id));
  if (old.batch) PTG_RUN(tx.Run(kCopyMembers, old.id, id));
  return std::optional<Outgoing>(std::move(out));
}

Result<Outgoing> StoreFiller(db::Tx& tx, const Signer& signer, const crypto::PrivateKey& secret,
                             const chain::EvmTransaction& call, const std::string& id,
                             const SigningRules& rules, UnixMs now) {
  PTG_RUN(CheckBudget(tx, signer, rules, MostGwei(call), now));
  return Insert(tx, signer, chain::SignTransaction(call, secret), id, "", now);
}

Result<std::vector<CountedMined>> MinedBetween(db::Tx& tx, const Signer& signer, uint64_t from,
                                               uint64_t to) {
  PTG_TRY(const db::Rows rows, tx.Run(kMinedBetween, signer.chain, signer.address,
                                      static_cast<int64_t>(from), static_cast<int64_t>(to)));
  std::vector<CountedMined> mined;
  for (const db::Row& row : rows) {
    PTG_TRY(Outgoing one, ReadOutgoing(tx, row));
    mined.push_back({std::move(one), row.Text(7)});
  }
  return mined;
}

Result<bool> Reopen(db::Tx& tx, const CountedMined& gone, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kReopen, gone.tx.id, gone.block_hash, now.ms()));
  if (rows.empty()) return false;
  if (rows[0].Text(0) == "gone") PTG_RUN(WriteEvents(tx, gone.tx.id, "left", "", now));
  return true;
}

Result<std::vector<Outgoing>> OpenTransactions(db::Tx& tx, const Signer& signer, UnixMs before,
                                               UnixMs after) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kOpen, signer.chain, signer.address, before.ms(), after.ms()));
  std::vector<Outgoing> open;
  std::map<std::string, size_t> at;
  for (const db::Row& row : rows) {
    PTG_TRY(Outgoing one, ReadRow(row));
    at[one.id] = open.size();
    open.push_back(std::move(one));
  }
  if (open.empty()) return open;
  PTG_TRY(const db::Rows versions, tx.Run(kVersionsOfOpen, signer.chain, signer.address));
  for (const db::Row& row : versions) {
    const auto of = at.find(row.Text(0));
    if (of == at.end()) continue;
    PTG_TRY(Version version, VersionAt(row, 1, 2));
    PutVersion(open[of->second], std::move(version), UnixMs(row.Int(3)));
  }
  return open;
}

Result<std::optional<FoundOutgoing>> FindOutgoing(db::Tx& tx, const crypto::Hash32& hash) {
  PTG_TRY(const db::Rows ids, tx.Run(kIdOfHash, codec::Hex0x(hash)));
  if (ids.empty()) return std::optional<FoundOutgoing>();
  PTG_TRY(const db::Rows rows, tx.Run(kById, ids[0].Text(0)));
  if (rows.empty()) return std::optional<FoundOutgoing>();
  FoundOutgoing found;
  PTG_TRY(found.tx, ReadOutgoing(tx, rows[0]));
  found.signer = rows[0].Text(6);
  return std::optional<FoundOutgoing>(std::move(found));
}

Result<> MarkBroadcast(db::Tx& tx, const std::string& id, UnixMs now) {
  PTG_RUN(tx.Run(kBroadcast, id, now.ms()));
  return {};
}

Result<bool> MarkMined(db::Tx& tx, const Signer& signer, const Mined& mined, UnixMs now) {
  PTG_TRY(const db::Rows open, tx.Run(kGasOf, mined.id));
  if (open.empty()) return false;
  const int64_t cost = mined.gwei.value_or(open[0].Int(0));
  const bool named = mined.block_hash != crypto::Hash32{};
  const std::string block_hash = named ? codec::Hex0x(mined.block_hash) : std::string();
  PTG_TRY(const db::Rows closed,
          tx.Run(kMined, mined.id, codec::Hex0x(mined.hash), static_cast<int64_t>(mined.block),
                 int64_t{mined.ok}, now.ms(), cost, block_hash));
  // Another node has seen it too, and was first.
  if (closed.changed == 0) return false;
  PTG_RUN(AddGas(tx, signer, open[0].Int(1), cost - open[0].Int(0)));
  PTG_RUN(tx.Run(kPruneGas, signer.chain, signer.address, now.ms() - 24 * kHour));
  if (open[0].Text(2) != "gone") return false;
  const std::string where =
      "block " + std::to_string(mined.block) + ", " + codec::Hex0x(mined.hash);
  PTG_RUN(WriteEvents(tx, mined.id, "back", where, now));
  return true;
}

Result<int64_t> GasOfLastHour(db::Tx& tx, const Signer& signer, UnixMs now) {
  PTG_TRY(const db::Rows sum, tx.Run(kSumGas, signer.chain, signer.address, now.ms() - kHour));
  return sum.empty() ? 0 : sum[0].Int(0);
}

Result<std::vector<Attempt>> ReadAttempts(db::Tx& tx, const std::string& key) {
  PTG_TRY(const db::Rows rows, tx.Run(kAttempts, key));
  std::vector<Attempt> attempts;
  for (const db::Row& row : rows) {
    Attempt& a = attempts.emplace_back();
    a.hash = row.Text(0);
    a.signer = row.Text(1);
    a.nonce = static_cast<uint64_t>(row.Int(2));
    a.state = row.Text(3);
    if (!row.IsNull(4)) a.block = row.Int(4);
    if (!row.IsNull(5)) a.ok = row.Int(5) == 1;
    a.created = UnixMs(row.Int(6));
    a.payments = static_cast<size_t>(std::max<int64_t>(1, row.Int(7)));
    a.watch = row.Text(8);
  }
  return attempts;
}

Result<bool> MendNonce(db::Tx& tx, const Signer& signer, const ChainStart& start, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kReadNonce, signer.chain, signer.address));
  const std::string known = rows.empty() ? std::string() : rows[0].Text(1);
  const std::string says = start.first_block ? codec::Hex0x(*start.first_block) : known;
  const auto count = static_cast<int64_t>(start.count);
  if (says != known) {
    PTG_RUN(tx.Run(kFirstBlock, signer.chain, signer.address, count, says));
    // What was mined on the other chain cannot be thrown out of this one.
    if (!known.empty()) PTG_RUN(tx.Run(kForgetWatch, signer.chain, signer.address));
  }
  PTG_TRY(const std::vector<Outgoing> open, OpenTransactions(tx, signer, UnixMs(INT64_MAX)));
  if (!open.empty() || rows.empty() || rows[0].Int(0) <= count) return false;
  PTG_TRY(const db::Rows watched, tx.Run(kWatchedFrom, signer.chain, signer.address, count));
  if (!watched.empty()) return false;
  PTG_RUN(tx.Run(kSetNonce, signer.chain, signer.address, count));
  PTG_RUN(tx.Run(kWindBack, signer.chain, signer.address, count, now.ms()));
  return true;
}

}  // namespace pontage::settle
