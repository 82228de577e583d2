#include "sandbox/raw_transaction.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/try.h"
#include "codec/rlp.h"
#include "crypto/secp256k1.h"

namespace pontage::sandbox {
namespace {

using codec::RlpItem;

std::unexpected<Error> Fault(std::string why) {
  return Fail(Error(Code::kBadRequest, std::move(why))
                  .Want("a signed transaction of type 0 or 2, as 0x and hex digits"));
}

// The signature fields of a type 2 transaction, which chain::ParseTransaction has checked.
Result<RawTransaction> ParseTyped(codec::ByteView raw) {
  RawTransaction out;
  PTG_TRY(out.signed_tx, chain::ParseTransaction(raw));
  PTG_TRY(const RlpItem fields, codec::DecodeRlp(raw.subspan(1)));
  PTG_TRY(out.v, fields.items[9].ToU64());
  PTG_TRY(out.r, fields.items[10].ToUint());
  PTG_TRY(out.s, fields.items[11].ToUint());
  return out;
}

Result<chain::EvmTransaction> LegacyFields(const std::vector<RlpItem>& f) {
  chain::EvmTransaction tx;
  PTG_TRY(tx.nonce, f[0].ToU64());
  PTG_TRY(tx.max_fee_per_gas, f[1].ToUint());
  tx.max_priority_fee_per_gas = tx.max_fee_per_gas;
  PTG_TRY(tx.gas_limit, f[2].ToU64());
  if (f[3].is_list || f[5].is_list) return Fault("a list where octets belong");
  if (!f[3].bytes.empty()) {
    crypto::EvmAddress to;
    if (f[3].bytes.size() != to.bytes.size()) return Fault("a wrong address");
    std::ranges::copy(f[3].bytes, to.bytes.begin());
    tx.to = to;
  }
  PTG_TRY(tx.value, f[4].ToUint());
  tx.data = f[5].bytes;
  return tx;
}

// Before EIP-2718; v is 27 + parity, or 35 + 2 * chain id + parity with EIP-155.
Result<RawTransaction> ParseLegacy(codec::ByteView raw) {
  PTG_TRY(const RlpItem list, codec::DecodeRlp(raw));
  if (!list.is_list || list.items.size() != 9) return Fault("not nine fields");
  RawTransaction out;
  out.type = 0;
  PTG_TRY(out.signed_tx.tx, LegacyFields(list.items));
  PTG_TRY(out.v, list.items[6].ToU64());
  PTG_TRY(out.r, list.items[7].ToUint());
  PTG_TRY(out.s, list.items[8].ToUint());

  RlpItem unsigned_fields = RlpItem::List({list.items.begin(), list.items.begin() + 6});
  uint64_t parity = out.v - 27;
  if (out.v >= 35) {
    parity = (out.v - 35) % 2;
    out.signed_tx.tx.chain_id = (out.v - 35) / 2;
    for (const uint64_t n : {out.signed_tx.tx.chain_id, uint64_t{0}, uint64_t{0}}) {
      unsigned_fields.items.push_back(RlpItem::Uint(n));
    }
  } else {
    out.has_chain_id = false;
  }
  if (out.v < 27 || parity > 1) return Fault("a wrong v");
  crypto::Signature65 signature{};
  std::ranges::copy(out.r.ToBytesBE(), signature.begin());
  std::ranges::copy(out.s.ToBytesBE(), signature.begin() + 32);
  signature[64] = static_cast<uint8_t>(27 + parity);
  const crypto::Hash32 digest = crypto::Keccak256(codec::EncodeRlp(unsigned_fields));
  PTG_TRY(out.signed_tx.sender, crypto::Recover(digest, signature));
  out.signed_tx.raw.assign(raw.begin(), raw.end());
  out.signed_tx.hash = crypto::Keccak256(raw);
  return out;
}

}  // namespace

Result<RawTransaction> ParseRawTransaction(codec::ByteView raw) {
  if (raw.empty() || raw.size() > chain::kMaxTransactionBytes) return Fault("a wrong size");
  if (raw[0] == 2) return ParseTyped(raw);
  if (raw[0] >= 0xc0) return ParseLegacy(raw);
  return Fault("transaction type not supported");
}

uint64_t IntrinsicGas(codec::ByteView data) {
  const auto zeros = static_cast<uint64_t>(std::ranges::count(data, uint8_t{0}));
  return 21'000 + 4 * zeros + 16 * (data.size() - zeros);
}

uint64_t IntrinsicGas(const chain::EvmTransaction& tx) {
  uint64_t gas = IntrinsicGas(tx.data);
  for (const chain::AccessListEntry& entry : tx.access_list) {
    gas += 2'400 + 1'900 * entry.storage_keys.size();
  }
  return gas;
}

}  // namespace pontage::sandbox
