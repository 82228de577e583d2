#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"
#include "codec/json.h"
#include "crypto/ed25519.h"

// Signed JSON: JWS in compact form (RFC 7515 §3.1) with Ed25519 (RFC 8037) and nothing else, and
// the keys it is checked with as a JWK set (RFC 7517).
namespace pontage::crypto {

// A public key by its name.
struct Jwk {
  std::string kid;
  Ed25519PublicKey key{};
  // Until when its owner said that it stays in the set; none: he did not say.
  std::optional<UnixMs> not_after;

  friend bool operator==(const Jwk&, const Jwk&) = default;
};

// RFC 7638 §3, base64url: what our keys are called.
std::string Thumbprint(const Ed25519PublicKey& key);

// A set of more keys is no set of ours: one signs, and a few are on their way in or out.
inline constexpr size_t kMostJwks = 64;
inline constexpr size_t kMaxJwksBytes = 64 << 10;

// The Ed25519 keys for signing of a set, in its order; others are passed over (RFC 7517 §5).
// kBadRequest, with the member at fault, for what is no set, two keys of one name, or a key that
// is not 32 bytes.
Result<std::vector<Jwk>> ParseJwks(std::string_view text);
// The set with these keys; `not_after` as the member "exp" in seconds.
codec::Json JwksOf(std::span<const Jwk> keys);

// The seed in a PKCS #8 file (RFC 8410 §7), as `openssl genpkey -algorithm ed25519` and
// `pontage init` write it. kConfig for anything else; the error never repeats the text.
Result<Ed25519Key> ParsePrivatePem(const Secret& pem);
// The file of a 32-byte seed.
Secret PrivatePem(const Secret& seed);

// `payload` signed: a compact JWS whose header has alg, kid (the key's thumbprint) and `typ`.
std::string SignJws(const Ed25519Key& key, std::string_view typ, std::string_view payload);

// A compact JWS, taken apart and not yet believed. Views look into the token.
struct Jws {
  std::string kid;
  std::string typ;  // empty: none
  std::string payload;
  std::string_view signed_part;
  Ed25519Signature signature{};
};

// Strict: three parts in canonical base64url (so that a token has one spelling), a header without
// doubled members and with no more than it may say. alg is EdDSA or Ed25519 (RFC 9864); there is a
// kid; no crit, b64, jku, jwk, x5u, x5c or zip. kBadRequest otherwise, in words fit for whoever
// sent it.
Result<Jws> ReadJws(std::string_view token, size_t max_bytes);

// How a token begins that SignJws makes of `typ` with the key called `kid`: the header and its dot.
std::string JwsHead(std::string_view kid, std::string_view typ);
// The rest of a token that begins with a JwsHead of `head` characters, as ReadJws would read it:
// who finds that beginning knows what its header says, and kid and typ are left empty.
Result<Jws> ReadJwsBehind(std::string_view token, size_t head);

inline bool IsSignedBy(const Jws& jws, const Ed25519PublicKey& key) {
  return VerifyEd25519(key, codec::AsBytes(jws.signed_part), jws.signature);
}

}  // namespace pontage::crypto
