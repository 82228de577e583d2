#pragma once

#include <array>
#include <cstdint>

#include "base/error.h"
#include "base/rng.h"
#include "base/secret.h"
#include "codec/bytes.h"

namespace pontage::crypto {

using Ed25519PublicKey = std::array<uint8_t, 32>;
using Ed25519Signature = std::array<uint8_t, 64>;

// A signing key of RFC 8032. The seed and the expanded key stay in a Secret.
class Ed25519Key {
 public:
  // The 32-byte seed of RFC 8032 §5.1.5. Fails with kConfig on any other length.
  static Result<Ed25519Key> FromSeed(const Secret& seed);
  static Ed25519Key Generate(Rng& rng);

  const Ed25519PublicKey& public_key() const { return public_key_; }
  Ed25519Signature Sign(codec::ByteView message) const;

 private:
  Ed25519Key(Secret key, const Ed25519PublicKey& pub) : key_(std::move(key)), public_key_(pub) {}
  Secret key_;  // libsodium's 64 bytes: seed, then public key.
  Ed25519PublicKey public_key_;
};

// False for a wrong signature and for a malformed or small-order key.
bool VerifyEd25519(const Ed25519PublicKey& key, codec::ByteView message,
                   const Ed25519Signature& signature);

}  // namespace pontage::crypto
