#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "crypto/jwt.h"
#include "db/db.h"

// Which key signs licenses when, and which ones are still believed: staged (published, so that
// every gateway knows it before it is needed), signing, verify-only until the longest end of what
// it signed, retired. Public halves and times; private ones are files that only the issuer has.
namespace pontage::license {

struct SigningKey {
  std::string kid;
  crypto::Ed25519PublicKey key{};
  UnixMs created;
  UnixMs signs_from;
  std::optional<UnixMs> not_after = std::nullopt;  // announced; only ever moved further off
  std::string revocation{};  // its own signed word against itself; empty: none
  std::optional<UnixMs> revoked_at = std::nullopt;
};

enum class KeyState : uint8_t { kStaged, kSigning, kVerifyOnly, kRetired };
std::string_view ToString(KeyState state);
// By the times of all of them: nobody has to be there when one comes.
KeyState StateOf(std::span<const SigningKey> all, const SigningKey& one, UnixMs now);
// The one that signs; nullptr: none does.
const SigningKey* SignerOf(std::span<const SigningKey> all, UnixMs now);
// When a later one takes the place of `one`; none: nothing is planned.
std::optional<UnixMs> ReplacedAt(std::span<const SigningKey> all, const SigningKey& one);

// The issuer's books.
Result<std::vector<SigningKey>> ReadSigningKeys(db::Tx& tx);
// Adds one. kConflict when its name is there.
Result<> InsertSigningKey(db::Tx& tx, const SigningKey& key);
// Ends one at `now`, with its own word for it.
Result<> RevokeSigningKey(db::Tx& tx, const std::string& kid, std::string_view revocation,
                          UnixMs now);
// Announces until when keys that no longer sign are good: a week longer than the last license that
// was issued under them, renewals and all. For somebody who comes by again and again.
Result<> AnnounceEnds(db::Tx& tx, UnixMs now);

// What the issuer publishes: a JWK set, with the words against keys that became known to others as
// its member "revoked".
struct KeyDocument {
  std::vector<crypto::Jwk> keys;
  std::vector<std::string> revocations;

  friend bool operator==(const KeyDocument&, const KeyDocument&) = default;
};
// Those of `all` that are believed now. Revoked ones stay named for a year: a gateway may have been
// away.
KeyDocument DocumentOf(std::span<const SigningKey> all, UnixMs now);
codec::Json ToJson(const KeyDocument& document);
Result<KeyDocument> ReadKeyDocument(std::string_view text);
// Tells one document from another, in hex.
std::string DigestOf(const KeyDocument& document);

// A key's word against itself: a JWS of this typ over its issuer, its own name and a time, signed
// by itself. So it needs no other key, and nobody but who has the key can say it.
inline constexpr std::string_view kRevocationType = "keyrev+jwt";
std::string RevocationText(std::string_view issuer, std::string_view kid, UnixMs now);

// What a gateway has of an issuer's keys.
struct KnownKey {
  crypto::Jwk jwk;
  bool revoked = false;

  friend bool operator==(const KnownKey&, const KnownKey&) = default;
};
// `have`, and what a document says beyond it. kConflict for one that drops a key before the time
// that was announced for it and without the key's own word, or gives a name to another key; nothing
// of it counts then. A time that was announced is never moved nearer.
Result<std::vector<KnownKey>> TakeOver(std::vector<KnownKey> have, const KeyDocument& next,
                                       std::string_view issuer, UnixMs now);
// Those that are believed.
std::vector<crypto::Jwk> Believed(std::span<const KnownKey> keys);

Result<std::vector<KnownKey>> ReadKnownKeys(db::Tx& tx, const std::string& issuer);
Result<> WriteKnownKeys(db::Tx& tx, const std::string& issuer, std::span<const KnownKey> keys);

}  // namespace pontage::license
