#include "crypto/secp256k1.h"

#include <algorithm>
#include <cstring>
#include <secp256k1.h>
#include <secp256k1_recovery.h>

#include "base/check.h"
#include "base/try.h"
#include "codec/hex.h"

namespace pontage::crypto {
namespace {

// The order of the curve, and half of it rounded down: the greatest low s (EIP-2).
constexpr Hash32 kOrder = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                           0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48,
                           0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
constexpr Hash32 kHalfOrder = {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                               0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4,
                               0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0};

// One for the process, shared by all threads and never written again after it was randomised (which
// blinds the secret multiplications against timing).
const secp256k1_context* Context() {
  static const secp256k1_context* shared = [] {
    secp256k1_context* ctx =
        secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
    PTG_CHECK(ctx != nullptr);
    uint8_t seed[32];
    Rng::System().Fill(seed);
    PTG_CHECK(secp256k1_context_randomize(ctx, seed) == 1);
    return ctx;
  }();
  return shared;
}

EvmAddress AddressOf(const secp256k1_pubkey& key) {
  uint8_t point[65];
  size_t length = sizeof point;
  PTG_CHECK(secp256k1_ec_pubkey_serialize(Context(), point, &length, &key,
                                          SECP256K1_EC_UNCOMPRESSED) == 1);
  const Hash32 hash = Keccak256(codec::ByteView(point).subspan(1));
  EvmAddress address;
  std::ranges::copy(hash.begin() + 12, hash.end(), address.bytes.begin());
  return address;
}

const uint8_t* KeyBytes(const Secret& key) {
  return reinterpret_cast<const uint8_t*>(key.Reveal().data());
}

std::unexpected<Error> BadForm(std::string why) {
  return Fail(Error(Code::kPaymentSignatureForm, std::move(why))
                  .Want("65 bytes: r, s in the lower half of the curve's order, v 27 or 28"));
}

// Whether the 32 bytes are between 1 and `most`.
bool Within(codec::ByteView number, const Hash32& most) {
  const bool zero = std::ranges::all_of(number, [](uint8_t b) { return b == 0; });
  return !zero && std::memcmp(number.data(), most.data(), most.size()) <= 0;
}

Hash32 OrderLessOne() {
  Hash32 n = kOrder;
  --n.back();
  return n;
}

}  // namespace

Result<PrivateKey> PrivateKey::FromBytes(Secret key) {
  secp256k1_pubkey pub;
  if (key.Reveal().size() != 32 ||
      secp256k1_ec_pubkey_create(Context(), &pub, KeyBytes(key)) != 1) {
    return Fail(Error(Code::kConfig, "not a private key of secp256k1")
                    .Want("0x and 64 hex digits, not zero and below the order of the curve"));
  }
  return PrivateKey(std::move(key), AddressOf(pub));
}

Result<PrivateKey> PrivateKey::FromHex(std::string_view text) {
  if (text.starts_with("0x")) text.remove_prefix(2);
  std::string bytes(32, '\0');
  const std::span<uint8_t> out(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  if (!codec::HexInto(text, out)) bytes.clear();
  return FromBytes(Secret(std::move(bytes)));
}

PrivateKey PrivateKey::Generate(Rng& rng) {
  for (;;) {  // One in 2^128 is out of range.
    std::string bytes(32, '\0');
    rng.Fill({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    if (Result<PrivateKey> key = FromBytes(Secret(std::move(bytes)))) return *std::move(key);
  }
}

Signature65 PrivateKey::SignRecoverable(const Hash32& digest) const {
  secp256k1_ecdsa_recoverable_signature signature;
  // Fails only for a key out of range, which FromBytes refused. Gives a low s.
  PTG_CHECK(secp256k1_ecdsa_sign_recoverable(Context(), &signature, digest.data(), KeyBytes(key_),
                                             nullptr, nullptr) == 1);
  Signature65 out{};
  int recovery = 0;
  secp256k1_ecdsa_recoverable_signature_serialize_compact(Context(), out.data(), &recovery,
                                                          &signature);
  PTG_CHECK(recovery == 0 || recovery == 1);  // 2 and 3 need an r above the order: one in 2^127.
  out[64] = static_cast<uint8_t>(27 + recovery);
  return out;
}

Secret PrivateKey::ToHex() const { return Secret(codec::Hex0x(codec::AsBytes(key_.Reveal()))); }

Result<EvmAddress> Recover(const Hash32& digest, codec::ByteView signature) {
  if (signature.size() == 64) {
    return BadForm("a compact signature of 64 bytes (EIP-2098) is not accepted");
  }
  if (signature.size() != 65) {
    return BadForm("a signature of " + std::to_string(signature.size()) + " bytes");
  }
  static const Hash32 kMost = OrderLessOne();
  const codec::ByteView r = signature.first(32);
  const codec::ByteView s = signature.subspan(32, 32);
  if (!Within(r, kMost)) return BadForm("the signature's r is out of range");
  if (!Within(s, kMost)) return BadForm("the signature's s is out of range");
  if (!Within(s, kHalfOrder)) {
    return BadForm("the signature's s is in the upper half, where each one could be forged");
  }
  const uint8_t v = signature[64];
  if (v > 1 && v != 27 && v != 28) {
    return BadForm("the signature's v is " + std::to_string(v));
  }
  secp256k1_ecdsa_recoverable_signature parsed;
  secp256k1_pubkey key;
  if (secp256k1_ecdsa_recoverable_signature_parse_compact(Context(), &parsed, signature.data(),
                                                          v >= 27 ? v - 27 : v) != 1 ||
      secp256k1_ecdsa_recover(Context(), &key, &parsed, digest.data()) != 1) {
    return Fail(Code::kPaymentSignature, "no key could have made this signature");
  }
  return AddressOf(key);
}

}  // namespace pontage::crypto
