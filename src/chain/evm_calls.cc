#include "chain/evm_calls.h"

#include <algorithm>

#include "base/check.h"
#include "base/try.h"
#include "codec/abi.h"

namespace pontage::chain {
namespace {

using codec::AbiDecoder;
using codec::AbiEncoder;
using codec::Bytes;
using codec::Bytes32;
using codec::ByteView;

// The first four bytes of the hash of each function's signature, which the tests compute.
constexpr uint32_t kTransferWithAuthorizationVrs = 0xe3ee160e;
constexpr uint32_t kTransferWithAuthorizationBytes = 0xcf092995;
constexpr uint32_t kAuthorizationState = 0xe94a0102;
constexpr uint32_t kIsValidSignature = 0x1626ba7e;
constexpr uint32_t kBalanceOf = 0x70a08231;
constexpr uint32_t kTransfer = 0xa9059cbb;
constexpr uint32_t kDomainSeparator = 0x3644e515;
constexpr uint32_t kName = 0x06fdde03;
constexpr uint32_t kVersion = 0x54fd4d50;
constexpr uint32_t kDecimals = 0x313ce567;
constexpr uint32_t kAggregate3 = 0x82ad56cb;
constexpr uint32_t kTryAggregate = 0xbce38bd7;

void AddAuthorization(AbiEncoder& call, const TransferAuthorization& a) {
  call.Address(a.from.bytes).Address(a.to.bytes).Uint(a.value);
  call.Uint(a.valid_after).Uint(a.valid_before).Word(a.nonce);
}

bool Calls(ByteView calldata, uint32_t selector) {
  return calldata.size() >= 4 && calldata[0] == selector >> 24 &&
         calldata[1] == (selector >> 16 & 0xff) && calldata[2] == (selector >> 8 & 0xff) &&
         calldata[3] == (selector & 0xff);
}

Bytes JustSelector(uint32_t selector) { return AbiEncoder().Finish(selector); }

}  // namespace

Bytes CallTransferWithAuthorization(const TransferAuthorization& a,
                                    const crypto::Signature65& signature) {
  Bytes32 r;
  Bytes32 s;
  std::copy_n(signature.begin(), 32, r.begin());
  std::copy_n(signature.begin() + 32, 32, s.begin());
  // Token contracts compare v with 27 and 28 only; wallets may have written 0 or 1.
  const uint8_t v = static_cast<uint8_t>(signature[64] < 27 ? signature[64] + 27 : signature[64]);
  AbiEncoder call;
  AddAuthorization(call, a);
  call.Uint(uint64_t{v}).Word(r).Word(s);
  return call.Finish(kTransferWithAuthorizationVrs);
}

Bytes CallTransferWithAuthorizationBytes(const TransferAuthorization& a, ByteView signature) {
  AbiEncoder call;
  AddAuthorization(call, a);
  call.Dynamic(signature);
  return call.Finish(kTransferWithAuthorizationBytes);
}

std::optional<TransferAuthorization> AsTransferWithAuthorization(ByteView calldata) {
  if (!Calls(calldata, kTransferWithAuthorizationVrs) &&
      !Calls(calldata, kTransferWithAuthorizationBytes)) {
    return std::nullopt;
  }
  const AbiDecoder words(calldata.subspan(4));
  const auto from = words.Address(0);
  const auto to = words.Address(1);
  const auto value = words.Uint(2);
  const auto after = words.Uint(3);
  const auto before = words.Uint(4);
  const auto nonce = words.Word(5);
  if (!from || !to || !value || !after || !before || !nonce) return std::nullopt;
  TransferAuthorization auth;
  auth.from.bytes = *from;
  auth.to.bytes = *to;
  auth.value = *value;
  auth.valid_after = *after;
  auth.valid_before = *before;
  auth.nonce = *nonce;
  return auth;
}

Bytes CallAuthorizationState(const crypto::EvmAddress& authorizer, const Bytes32& nonce) {
  return AbiEncoder().Address(authorizer.bytes).Word(nonce).Finish(kAuthorizationState);
}

Bytes CallIsValidSignature(const Bytes32& digest, ByteView signature) {
  return AbiEncoder().Word(digest).Dynamic(signature).Finish(kIsValidSignature);
}

bool SaysValidSignature(ByteView returned) {
  // The magic value is the function's own selector, at the left of a word.
  return returned.size() == 32 && Calls(returned, kIsValidSignature) &&
         std::ranges::all_of(returned.subspan(4), [](uint8_t b) { return b == 0; });
}

Bytes CallBalanceOf(const crypto::EvmAddress& owner) {
  return AbiEncoder().Address(owner.bytes).Finish(kBalanceOf);
}

Bytes CallTransfer(const crypto::EvmAddress& to, const codec::Uint256& value) {
  return AbiEncoder().Address(to.bytes).Uint(value).Finish(kTransfer);
}

Bytes CallDomainSeparator() { return JustSelector(kDomainSeparator); }
Bytes CallName() { return JustSelector(kName); }
Bytes CallVersion() { return JustSelector(kVersion); }
Bytes CallDecimals() { return JustSelector(kDecimals); }

Result<bool> ReturnedBool(ByteView data) { return AbiDecoder(data).Bool(0); }
Result<codec::Uint256> ReturnedUint(ByteView data) { return AbiDecoder(data).Uint(0); }
Result<Bytes32> ReturnedWord(ByteView data) { return AbiDecoder(data).Word(0); }

Result<std::string> ReturnedString(ByteView data) {
  PTG_TRY(const ByteView text, AbiDecoder(data).Dynamic(0));
  if (text.size() > kMaxReturnedText) return Fail(Code::kBadRequest, "a text beyond reason");
  return std::string(codec::AsText(text));
}

crypto::EvmAddress Multicall3Address() {
  return {{0xca, 0x11, 0xbd, 0xe0, 0x59, 0x77, 0xb3, 0x63, 0x11, 0x67,
           0x02, 0x88, 0x62, 0xbe, 0x2a, 0x17, 0x39, 0x76, 0xca, 0x11}};
}

Bytes CallAggregate3(std::span<const Call> calls) {
  PTG_CHECK(calls.size() <= kMaxCalls);
  std::vector<Bytes> elements;
  for (const Call& call : calls) {
    elements.push_back(AbiEncoder()
                           .Address(call.target.bytes)
                           .Bool(call.allow_failure)
                           .Dynamic(call.data)
                           .Finish());
  }
  return AbiEncoder().DynamicArray(elements).Finish(kAggregate3);
}

Result<std::vector<Call>> ReadAggregate3(ByteView calldata) {
  if (!Calls(calldata, kAggregate3)) return Fail(Code::kBadRequest, "no aggregate3");
  PTG_TRY(const std::vector<AbiDecoder> rows,
          AbiDecoder(calldata.subspan(4)).DynamicArray(0, kMaxCalls));
  std::vector<Call> calls;
  for (const AbiDecoder& row : rows) {
    Call& call = calls.emplace_back();
    PTG_TRY(call.target.bytes, row.Address(0));
    PTG_TRY(call.allow_failure, row.Bool(1));
    PTG_TRY(const ByteView data, row.Dynamic(2));
    call.data.assign(data.begin(), data.end());
  }
  return calls;
}

Bytes CallTryAggregate(bool require_success, std::span<const Call> calls) {
  PTG_CHECK(calls.size() <= kMaxCalls);
  std::vector<Bytes> elements;
  for (const Call& call : calls) {
    elements.push_back(AbiEncoder().Address(call.target.bytes).Dynamic(call.data).Finish());
  }
  return AbiEncoder().Bool(require_success).DynamicArray(elements).Finish(kTryAggregate);
}

Result<std::vector<CallResult>> ReturnedCalls(ByteView data, size_t calls) {
  PTG_TRY(const std::vector<AbiDecoder> rows, AbiDecoder(data).DynamicArray(0, kMaxCalls));
  if (rows.size() != calls) return Fail(Code::kBadRequest, "not one result for each call");
  std::vector<CallResult> results;
  for (const AbiDecoder& row : rows) {
    CallResult result;
    PTG_TRY(result.success, row.Bool(0));
    PTG_TRY(const ByteView returned, row.Dynamic(1));
    result.data.assign(returned.begin(), returned.end());
    results.push_back(std::move(result));
  }
  return results;
}

Bytes32 TransferTopic() {
  static const Bytes32 topic =
      crypto::Keccak256(codec::AsBytes("Transfer(address,address,uint256)"));
  return topic;
}

Bytes32 AuthorizationUsedTopic() {
  static const Bytes32 topic =
      crypto::Keccak256(codec::AsBytes("AuthorizationUsed(address,bytes32)"));
  return topic;
}

std::optional<TransferEvent> AsTransfer(const EvmLog& log) {
  if (log.topics.size() != 3 || log.topics[0] != TransferTopic() || log.data.size() != 32) {
    return std::nullopt;
  }
  const Result<crypto::EvmAddress> from = crypto::EvmAddress::FromWord(log.topics[1]);
  const Result<crypto::EvmAddress> to = crypto::EvmAddress::FromWord(log.topics[2]);
  const Result<codec::Uint256> value = AbiDecoder(log.data).Uint(0);
  if (!from || !to || !value) return std::nullopt;
  return TransferEvent{.token = log.address, .from = *from, .to = *to, .value = *value};
}

std::optional<AuthorizationUsedEvent> AsAuthorizationUsed(const EvmLog& log) {
  if (log.topics.size() != 3 || log.topics[0] != AuthorizationUsedTopic() || !log.data.empty()) {
    return std::nullopt;
  }
  const Result<crypto::EvmAddress> authorizer = crypto::EvmAddress::FromWord(log.topics[1]);
  if (!authorizer) return std::nullopt;
  return AuthorizationUsedEvent{
      .token = log.address, .authorizer = *authorizer, .nonce = log.topics[2]};
}

}  // namespace pontage::chain
