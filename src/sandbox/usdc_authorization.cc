// USDC's second half: what moves money by a signature instead of by the sender.
#include <utility>

#include "base/try.h"
#include "crypto/secp256k1.h"
#include "sandbox/usdc.h"

namespace pontage::sandbox {
namespace {

using codec::AbiEncoder;
using codec::Bytes;
using codec::ByteView;
using codec::Uint256;
using crypto::EvmAddress;
using crypto::Hash32;

constexpr uint64_t kReadGas = 2'600;
constexpr uint64_t kAuthorizedGas = 68'000;
constexpr uint64_t kCancelGas = 32'000;
constexpr uint64_t kPermitGas = 52'000;

constexpr std::string_view kReceiveType =
    "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
    "uint256 validBefore,bytes32 nonce)";
constexpr std::string_view kCancelType = "CancelAuthorization(address authorizer,bytes32 nonce)";

Hash32 HashOf(std::string_view text) { return crypto::Keccak256(codec::AsBytes(text)); }
Bytes Word(const codec::Bytes32& word) { return AbiEncoder().Word(word).Finish(); }

OrRevert<EvmAddress> AddressAt(const codec::AbiDecoder& args, size_t index) {
  PTG_TRY(const codec::AddressBytes bytes, args.Address(index));
  return EvmAddress{bytes};
}

// from, to, value, validAfter, validBefore, nonce: how both authorizations begin.
OrRevert<chain::TransferAuthorization> AuthorizationOf(const codec::AbiDecoder& args) {
  chain::TransferAuthorization auth;
  PTG_TRY(auth.from, AddressAt(args, 0));
  PTG_TRY(auth.to, AddressAt(args, 1));
  PTG_TRY(auth.value, args.Uint(2));
  PTG_TRY(auth.valid_after, args.Uint(3));
  PTG_TRY(auth.valid_before, args.Uint(4));
  PTG_TRY(auth.nonce, args.Word(5));
  return auth;
}

// (uint8 v, bytes32 r, bytes32 s) at `index`, packed as r || s || v.
OrRevert<crypto::Signature65> SignatureAt(const codec::AbiDecoder& args, size_t index) {
  PTG_TRY(const uint64_t v, args.U64(index));
  PTG_TRY(const codec::Bytes32 r, args.Word(index + 1));
  PTG_TRY(const codec::Bytes32 s, args.Word(index + 2));
  if (v > 0xff) return std::unexpected(Revert());
  crypto::Signature65 packed{};
  std::copy(r.begin(), r.end(), packed.begin());
  std::copy(s.begin(), s.end(), packed.begin() + 32);
  packed[64] = static_cast<uint8_t>(v);
  return packed;
}

// Half the order of secp256k1; an s above it is the same signature in another spelling (EIP-2).
constexpr codec::Bytes32 kHalfOrder = {
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0};

// Circle's ECRecover: the order of its checks and its words.
OrRevert<EvmAddress> RecoverAsCircle(const Hash32& digest, ByteView signature) {
  PTG_RUN(Require(signature.size() == 65, "ECRecover: invalid signature length"));
  codec::Bytes32 s{};
  std::copy(signature.begin() + 32, signature.begin() + 64, s.begin());
  PTG_RUN(Require(s <= kHalfOrder, "ECRecover: invalid signature 's' value"));
  PTG_RUN(Require(signature[64] == 27 || signature[64] == 28,
                  "ECRecover: invalid signature 'v' value"));
  const Result<EvmAddress> signer = crypto::Recover(digest, signature);
  PTG_RUN(Require(signer.has_value(), "ECRecover: invalid signature"));
  return *signer;
}

OrRevert<void> Unused(const Frame& f, const EvmAddress& authorizer, const codec::Bytes32& nonce) {
  return Require(f.world.Get({SlotKind::kAuthorization, authorizer, nonce}).IsZero(),
                 "FiatTokenV2: authorization is used or canceled");
}

}  // namespace

void Usdc::DefineAuthorizations() {
  const std::string fields = "(address,address,uint256,uint256,uint256,bytes32,";
  const std::string vrs = "uint8,bytes32,bytes32)";
  Define("DOMAIN_SEPARATOR()", &Usdc::DomainSeparator, kReadGas);
  Define("TRANSFER_WITH_AUTHORIZATION_TYPEHASH()", &Usdc::TransferTypehash, kReadGas);
  Define("RECEIVE_WITH_AUTHORIZATION_TYPEHASH()", &Usdc::ReceiveTypehash, kReadGas);
  Define("CANCEL_AUTHORIZATION_TYPEHASH()", &Usdc::CancelTypehash, kReadGas);
  Define("PERMIT_TYPEHASH()", &Usdc::PermitTypehash, kReadGas);
  Define("authorizationState(address,bytes32)", &Usdc::AuthorizationState, kReadGas);
  Define("nonces(address)", &Usdc::Nonces, kReadGas);
  Define("transferWithAuthorization" + fields + vrs, &Usdc::TransferAuthorized, kAuthorizedGas);
  Define("transferWithAuthorization" + fields + "bytes)", &Usdc::TransferAuthorizedBytes,
         kAuthorizedGas);
  Define("receiveWithAuthorization" + fields + vrs, &Usdc::ReceiveAuthorized, kAuthorizedGas);
  Define("receiveWithAuthorization" + fields + "bytes)", &Usdc::ReceiveAuthorizedBytes,
         kAuthorizedGas);
  Define("cancelAuthorization(address,bytes32," + vrs, &Usdc::CancelAuthorized, kCancelGas);
  Define("cancelAuthorization(address,bytes32,bytes)", &Usdc::CancelAuthorizedBytes, kCancelGas);
  Define("permit(address,address,uint256,uint256," + vrs, &Usdc::PermitVrs, kPermitGas);
  Define("permit(address,address,uint256,uint256,bytes)", &Usdc::PermitBytes, kPermitGas);
}

Returned Usdc::DomainSeparator(Frame&, const Args&) const { return Word(separator_); }
Returned Usdc::TransferTypehash(Frame&, const Args&) const {
  return Word(HashOf(chain::kTransferWithAuthorizationType));
}
Returned Usdc::ReceiveTypehash(Frame&, const Args&) const { return Word(HashOf(kReceiveType)); }
Returned Usdc::CancelTypehash(Frame&, const Args&) const { return Word(HashOf(kCancelType)); }
Returned Usdc::PermitTypehash(Frame&, const Args&) const {
  return Word(HashOf(chain::kPermitType));
}

Returned Usdc::AuthorizationState(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress authorizer, AddressAt(a, 0));
  PTG_TRY(const codec::Bytes32 nonce, a.Word(1));
  return AbiEncoder().Uint(f.world.Get({SlotKind::kAuthorization, authorizer, nonce})).Finish();
}

Returned Usdc::Nonces(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress owner, AddressAt(a, 0));
  return AbiEncoder().Uint(f.world.Get({SlotKind::kPermitNonce, owner})).Finish();
}

Returned Usdc::TransferAuthorized(Frame& f, const Args& a) const {
  PTG_TRY(const chain::TransferAuthorization auth, AuthorizationOf(a));
  PTG_TRY(const crypto::Signature65 signature, SignatureAt(a, 6));
  return Authorized(f, auth, Kind::kTransfer, signature);
}

Returned Usdc::TransferAuthorizedBytes(Frame& f, const Args& a) const {
  PTG_TRY(const chain::TransferAuthorization auth, AuthorizationOf(a));
  PTG_TRY(const ByteView signature, a.Dynamic(6));
  return Authorized(f, auth, Kind::kTransfer, signature);
}

Returned Usdc::ReceiveAuthorized(Frame& f, const Args& a) const {
  PTG_TRY(const chain::TransferAuthorization auth, AuthorizationOf(a));
  PTG_TRY(const crypto::Signature65 signature, SignatureAt(a, 6));
  return Authorized(f, auth, Kind::kReceive, signature);
}

Returned Usdc::ReceiveAuthorizedBytes(Frame& f, const Args& a) const {
  PTG_TRY(const chain::TransferAuthorization auth, AuthorizationOf(a));
  PTG_TRY(const ByteView signature, a.Dynamic(6));
  return Authorized(f, auth, Kind::kReceive, signature);
}

Returned Usdc::Authorized(Frame& f, const chain::TransferAuthorization& auth, Kind kind,
                          ByteView signature) const {
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, auth.from));
  PTG_RUN(NotDenied(f, auth.to));
  if (kind == Kind::kReceive) {
    PTG_RUN(Require(auth.to == f.call.from, "FiatTokenV2: caller must be the payee"));
  }
  const Uint256 now(f.env.timestamp);
  PTG_RUN(Require(now > auth.valid_after, "FiatTokenV2: authorization is not yet valid"));
  PTG_RUN(Require(now < auth.valid_before, "FiatTokenV2: authorization is expired"));
  PTG_RUN(Unused(f, auth.from, auth.nonce));

  Hash32 struct_hash = chain::StructHash(auth);
  if (kind == Kind::kReceive) {
    const Bytes fields = AbiEncoder()
                             .Word(HashOf(kReceiveType))
                             .Address(auth.from.bytes)
                             .Address(auth.to.bytes)
                             .Uint(auth.value)
                             .Uint(auth.valid_after)
                             .Uint(auth.valid_before)
                             .Word(auth.nonce)
                             .Finish();
    struct_hash = crypto::Keccak256(fields);
  }
  const Hash32 digest = chain::TypedDataDigest(separator_, struct_hash);
  PTG_TRY(const EvmAddress signer, RecoverAsCircle(digest, signature));
  PTG_RUN(Require(signer == auth.from, "FiatTokenV2: invalid signature"));

  f.world.Set({SlotKind::kAuthorization, auth.from, auth.nonce}, Uint256(1));
  Emit(f, {chain::AuthorizationUsedTopic(), auth.from.ToWord(), auth.nonce}, {});
  PTG_RUN(Move(f, auth.from, auth.to, auth.value));
  return Bytes();
}

Returned Usdc::CancelAuthorized(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress authorizer, AddressAt(a, 0));
  PTG_TRY(const codec::Bytes32 nonce, a.Word(1));
  PTG_TRY(const crypto::Signature65 signature, SignatureAt(a, 2));
  return Cancel(f, authorizer, nonce, signature);
}

Returned Usdc::CancelAuthorizedBytes(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress authorizer, AddressAt(a, 0));
  PTG_TRY(const codec::Bytes32 nonce, a.Word(1));
  PTG_TRY(const ByteView signature, a.Dynamic(2));
  return Cancel(f, authorizer, nonce, signature);
}

Returned Usdc::Cancel(Frame& f, const EvmAddress& authorizer, const codec::Bytes32& nonce,
                      ByteView signature) const {
  PTG_RUN(NotPaused(f));
  PTG_RUN(Unused(f, authorizer, nonce));
  const Bytes fields =
      AbiEncoder().Word(HashOf(kCancelType)).Address(authorizer.bytes).Word(nonce).Finish();
  const Hash32 digest = chain::TypedDataDigest(separator_, crypto::Keccak256(fields));
  PTG_TRY(const EvmAddress signer, RecoverAsCircle(digest, signature));
  PTG_RUN(Require(signer == authorizer, "FiatTokenV2: invalid signature"));
  f.world.Set({SlotKind::kAuthorization, authorizer, nonce}, Uint256(1));
  static const Hash32 topic = HashOf("AuthorizationCanceled(address,bytes32)");
  Emit(f, {topic, authorizer.ToWord(), nonce}, {});
  return Bytes();
}

Returned Usdc::PermitVrs(Frame& f, const Args& a) const {
  chain::Permit permit;
  PTG_TRY(permit.owner, AddressAt(a, 0));
  PTG_TRY(permit.spender, AddressAt(a, 1));
  PTG_TRY(permit.value, a.Uint(2));
  PTG_TRY(permit.deadline, a.Uint(3));
  PTG_TRY(const crypto::Signature65 signature, SignatureAt(a, 4));
  return Permit(f, permit, signature);
}

Returned Usdc::PermitBytes(Frame& f, const Args& a) const {
  chain::Permit permit;
  PTG_TRY(permit.owner, AddressAt(a, 0));
  PTG_TRY(permit.spender, AddressAt(a, 1));
  PTG_TRY(permit.value, a.Uint(2));
  PTG_TRY(permit.deadline, a.Uint(3));
  PTG_TRY(const ByteView signature, a.Dynamic(4));
  return Permit(f, permit, signature);
}

Returned Usdc::Permit(Frame& f, chain::Permit permit, ByteView signature) const {
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, permit.owner));
  PTG_RUN(NotDenied(f, permit.spender));
  PTG_RUN(Require(permit.deadline >= Uint256(f.env.timestamp), "FiatTokenV2: permit is expired"));
  const Slot nonce{SlotKind::kPermitNonce, permit.owner};
  permit.nonce = f.world.Get(nonce);
  const Hash32 digest = chain::DigestOf(separator_, permit);
  PTG_TRY(const EvmAddress signer, RecoverAsCircle(digest, signature));
  PTG_RUN(Require(signer == permit.owner, "EIP2612: invalid signature"));
  PTG_TRY(const Uint256 next, Add(permit.nonce, Uint256(1)));
  f.world.Set(nonce, next);
  PTG_RUN(SetAllowance(f, permit.owner, permit.spender, permit.value));
  return Bytes();
}

}  // namespace pontage::sandbox
