#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "base/secret.h"
#include "codec/bytes.h"
#include "crypto/evm_address.h"
#include "crypto/hash.h"

namespace pontage::crypto {

// r (32) || s (32) || v (1), as EIP-3009 payloads carry it.
using Signature65 = std::array<uint8_t, 65>;

// A signing key of an EVM account. The key stays in a Secret and leaves it only inside the
// signing call. Safe to use from any thread once made.
class PrivateKey {
 public:
  // "0x" (or nothing) and 64 hex digits, not zero and below the order of the curve. The error
  // never repeats what it was given.
  static Result<PrivateKey> FromHex(std::string_view text);
  static PrivateKey Generate(Rng& rng);

  const EvmAddress& address() const { return address_; }
  PrivateKey Clone() const { return PrivateKey(key_.Clone(), address_); }

  // Deterministic (RFC 6979), low s, v 27 or 28.
  Signature65 SignRecoverable(const Hash32& digest) const;
  // "0x" and 64 digits, to hand a key to a child process or to write it to a file of mode 0600.
  Secret ToHex() const;

 private:
  PrivateKey(Secret key, EvmAddress address) : key_(std::move(key)), address_(address) {}
  static Result<PrivateKey> FromBytes(Secret key);
  Secret key_;  // 32 bytes.
  EvmAddress address_;
};

// Who signed `digest`. Strict, because whatever a token contract would refuse must be refused here
// and each payment has one spelling: exactly 65 bytes, r and s in range, s in the lower half
// (EIP-2), v one of 0, 1, 27, 28. Fails with kPaymentSignatureForm, a text for each reason; with
// kPaymentSignature when no key fits. About 35 us: do the cheap checks first.
Result<EvmAddress> Recover(const Hash32& digest, codec::ByteView signature);

}  // namespace pontage::crypto
