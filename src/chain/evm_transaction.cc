#include "chain/evm_transaction.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/try.h"
#include "codec/rlp.h"

namespace pontage::chain {
namespace {

using codec::RlpItem;

constexpr uint8_t kType = 0x02;

std::unexpected<Error> Fault(std::string why) {
  return Fail(Error(Code::kBadRequest, "not a transaction we read: " + std::move(why))
                  .Want("a signed EIP-1559 transaction"));
}

RlpItem AccessList(const std::vector<AccessListEntry>& entries) {
  RlpItem list = RlpItem::List({});
  for (const AccessListEntry& entry : entries) {
    RlpItem keys = RlpItem::List({});
    for (const codec::Bytes32& key : entry.storage_keys) keys.items.push_back(RlpItem::Octets(key));
    list.items.push_back(RlpItem::List({RlpItem::Octets(entry.address.bytes), std::move(keys)}));
  }
  return list;
}

// The nine fields that are signed (EIP-1559, "Specification").
RlpItem Unsigned(const EvmTransaction& tx) {
  const RlpItem to = tx.to ? RlpItem::Octets(tx.to->bytes) : RlpItem::Octets({});
  return RlpItem::List({RlpItem::Uint(tx.chain_id), RlpItem::Uint(tx.nonce),
                        RlpItem::Uint(tx.max_priority_fee_per_gas),
                        RlpItem::Uint(tx.max_fee_per_gas), RlpItem::Uint(tx.gas_limit), to,
                        RlpItem::Uint(tx.value), RlpItem::Octets(tx.data),
                        AccessList(tx.access_list)});
}

codec::Bytes Typed(const RlpItem& fields) {
  codec::Bytes out = {kType};
  codec::Append(out, codec::EncodeRlp(fields));
  return out;
}

Result<crypto::EvmAddress> ToAddress(const RlpItem& item) {
  crypto::EvmAddress address;
  if (item.is_list || item.bytes.size() != address.bytes.size()) return Fault("a wrong address");
  std::ranges::copy(item.bytes, address.bytes.begin());
  return address;
}

Result<std::vector<AccessListEntry>> ToAccessList(const RlpItem& item) {
  if (!item.is_list) return Fault("a wrong access list");
  std::vector<AccessListEntry> entries;
  for (const RlpItem& row : item.items) {
    if (!row.is_list || row.items.size() != 2 || !row.items[1].is_list) {
      return Fault("a wrong access list");
    }
    AccessListEntry entry;
    PTG_TRY(entry.address, ToAddress(row.items[0]));
    for (const RlpItem& key : row.items[1].items) {
      if (key.is_list || key.bytes.size() != 32) return Fault("a wrong storage key");
      std::ranges::copy(key.bytes, entry.storage_keys.emplace_back().begin());
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<EvmTransaction> ToTransaction(const std::vector<RlpItem>& f) {
  EvmTransaction tx;
  PTG_TRY(tx.chain_id, f[0].ToU64());
  PTG_TRY(tx.nonce, f[1].ToU64());
  PTG_TRY(tx.max_priority_fee_per_gas, f[2].ToUint());
  PTG_TRY(tx.max_fee_per_gas, f[3].ToUint());
  PTG_TRY(tx.gas_limit, f[4].ToU64());
  if (f[5].is_list || !f[5].bytes.empty()) {
    PTG_TRY(tx.to, ToAddress(f[5]));
  }
  PTG_TRY(tx.value, f[6].ToUint());
  if (f[7].is_list) return Fault("data that is a list");
  tx.data = f[7].bytes;
  PTG_TRY(tx.access_list, ToAccessList(f[8]));
  return tx;
}

}  // namespace

SignedEvmTransaction SignTransaction(const EvmTransaction& tx, const crypto::PrivateKey& key) {
  RlpItem fields = Unsigned(tx);
  const crypto::Signature65 signature = key.SignRecoverable(crypto::Keccak256(Typed(fields)));
  const codec::ByteView rs(signature);
  const Result<codec::Uint256> r = codec::Uint256::FromBytesBE(rs.first(32));
  const Result<codec::Uint256> s = codec::Uint256::FromBytesBE(rs.subspan(32, 32));
  PTG_CHECK(r.has_value() && s.has_value());
  fields.items.push_back(RlpItem::Uint(signature[64] - uint64_t{27}));
  fields.items.push_back(RlpItem::Uint(*r));
  fields.items.push_back(RlpItem::Uint(*s));

  SignedEvmTransaction out;
  out.tx = tx;
  out.sender = key.address();
  out.raw = Typed(fields);
  out.hash = crypto::Keccak256(out.raw);
  return out;
}

Result<SignedEvmTransaction> ParseTransaction(codec::ByteView raw) {
  if (raw.size() > kMaxTransactionBytes) return Fault("too long");
  if (raw.empty() || raw[0] != kType) return Fault("another type");
  PTG_TRY(const RlpItem fields, codec::DecodeRlp(raw.subspan(1)));
  if (!fields.is_list || fields.items.size() != 12) return Fault("not twelve fields");
  SignedEvmTransaction out;
  PTG_TRY(out.tx, ToTransaction(fields.items));
  PTG_TRY(const uint64_t parity, fields.items[9].ToU64());
  PTG_TRY(const codec::Uint256 r, fields.items[10].ToUint());
  PTG_TRY(const codec::Uint256 s, fields.items[11].ToUint());
  if (parity > 1) return Fault("a wrong parity");
  crypto::Signature65 signature{};
  std::ranges::copy(r.ToBytesBE(), signature.begin());
  std::ranges::copy(s.ToBytesBE(), signature.begin() + 32);
  signature[64] = static_cast<uint8_t>(27 + parity);
  PTG_TRY(out.sender, crypto::Recover(crypto::Keccak256(Typed(Unsigned(out.tx))), signature));
  out.raw.assign(raw.begin(), raw.end());
  out.hash = crypto::Keccak256(raw);
  return out;
}

}  // namespace pontage::chain
