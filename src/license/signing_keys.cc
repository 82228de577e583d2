#include "license/signing_keys.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/try.h"
#include "codec/base64url.h"
#include "codec/hex.h"
#include "crypto/hash.h"

namespace pontage::license {
namespace {

using codec::Json;

constexpr Millis kDay{86'400'000};
// A renewal may be told to a gateway before the later end of its key is.
constexpr Millis kMargin = 7 * kDay;
constexpr Millis kRevokedNamed = 365 * kDay;
// Before an end is moved again: who pays by the month would have it written with every payment.
constexpr Millis kStep = kDay;
constexpr size_t kMostRevocations = 64;
constexpr size_t kMaxRevocation = 2'048;

constexpr db::Statement kAll{
    "signing_key.all",
    "SELECT kid, public_key, created_ms, signs_from_ms, not_after_ms, revocation, revoked_ms"
    " FROM signing_key ORDER BY signs_from_ms, kid"};
constexpr db::Statement kInsert{
    "signing_key.insert",
    "INSERT INTO signing_key (kid, public_key, created_ms, signs_from_ms, not_after_ms,"
    " revocation, revoked_ms) VALUES ($1, $2, $3, $4, NULL, '', NULL)"};
constexpr db::Statement kRevoke{
    "signing_key.revoke",
    "UPDATE signing_key SET revocation = $2, revoked_ms = $3, not_after_ms = $3 WHERE kid = $1"
    " AND revocation = ''"};
constexpr db::Statement kAnnounce{"signing_key.announce",
                                  "UPDATE signing_key SET not_after_ms = $2 WHERE kid = $1"
                                  " AND (not_after_ms IS NULL OR not_after_ms < $2)"
                                  " AND revocation = ''"};
// Of what was issued before a time and may still open something.
constexpr db::Statement kLongest{
    "signing_key.longest",
    "SELECT COALESCE(MAX(CASE WHEN expires_ms > signed_until_ms THEN expires_ms"
    " ELSE signed_until_ms END), 0) FROM license WHERE issued_ms <= $1 AND status <> 'revoked'"};
constexpr db::Statement kKnown{
    "issuer_key.all",
    "SELECT kid, public_key, not_after_ms, revoked FROM issuer_key WHERE issuer = $1 ORDER BY kid"};
constexpr db::Statement kKeep{
    "issuer_key.keep",
    "INSERT INTO issuer_key (issuer, kid, public_key, not_after_ms, revoked)"
    " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (issuer, kid) DO UPDATE SET"
    " public_key = excluded.public_key, not_after_ms = excluded.not_after_ms,"
    " revoked = excluded.revoked"};
constexpr db::Statement kForget{"issuer_key.forget",
                                "DELETE FROM issuer_key WHERE issuer = $1 AND kid = $2"};

std::string TextOf(const crypto::Ed25519PublicKey& key) {
  return codec::EncodeBase64Url(codec::AsText(key));
}

Result<crypto::Ed25519PublicKey> KeyOf(const std::string& text) {
  const Result<std::string> bytes = codec::DecodeBase64Url(text);
  crypto::Ed25519PublicKey key{};
  if (!bytes || bytes->size() != key.size()) return Fail(Code::kStore, "a key that is none");
  std::memcpy(key.data(), bytes->data(), key.size());
  return key;
}

std::optional<UnixMs> MaybeTime(const db::Row& row, size_t i) {
  return row.IsNull(i) ? std::nullopt : std::optional(UnixMs(row.Int(i)));
}

db::Value ValueOf(const std::optional<UnixMs>& time) {
  return time ? db::Value(time->ms()) : db::Value();
}

// The key that the word is against, if it is a good one of a key that `have` knows.
std::optional<std::string> RevokedBy(const std::string& text, std::span<const KnownKey> have,
                                     std::string_view issuer) {
  const Result<crypto::Jws> jws = crypto::ReadJws(text, kMaxRevocation);
  if (!jws || jws->typ != kRevocationType) return std::nullopt;
  const auto known = std::ranges::find(have, jws->kid, [](const KnownKey& k) { return k.jwk.kid; });
  if (known == have.end() || !crypto::IsSignedBy(*jws, known->jwk.key)) return std::nullopt;
  const Result<Json> said = codec::ParseJson(jws->payload);
  if (!said) return std::nullopt;
  const Json* kid = said->Find("kid");
  const Json* iss = said->Find("iss");
  if (kid == nullptr || kid->AsString() == nullptr || *kid->AsString() != jws->kid) {
    return std::nullopt;
  }
  if (iss == nullptr || iss->AsString() == nullptr || *iss->AsString() != issuer) {
    return std::nullopt;
  }
  return jws->kid;
}

}  // namespace

std::string_view ToString(KeyState state) {
  constexpr std::array<std::string_view, 4> kWords = {"staged", "signing", "verify-only",
                                                      "retired"};
  return kWords[static_cast<size_t>(state)];
}

std::optional<UnixMs> ReplacedAt(std::span<const SigningKey> all, const SigningKey& one) {
  std::optional<UnixMs> at = one.revoked_at;
  for (const SigningKey& other : all) {
    if (other.kid == one.kid || other.signs_from <= one.signs_from) continue;
    // One that became known to others before its time never took anybody's place.
    if (other.revoked_at && *other.revoked_at <= other.signs_from) continue;
    if (!at || other.signs_from < *at) at = other.signs_from;
  }
  return at;
}

KeyState StateOf(std::span<const SigningKey> all, const SigningKey& one, UnixMs now) {
  if (!one.revocation.empty() || (one.not_after && now >= *one.not_after)) {
    return KeyState::kRetired;
  }
  if (now < one.signs_from) return KeyState::kStaged;
  const std::optional<UnixMs> replaced = ReplacedAt(all, one);
  return replaced && now >= *replaced ? KeyState::kVerifyOnly : KeyState::kSigning;
}

const SigningKey* SignerOf(std::span<const SigningKey> all, UnixMs now) {
  const auto signs = [&](const SigningKey& k) {
    return StateOf(all, k, now) == KeyState::kSigning;
  };
  const auto found = std::ranges::find_if(all, signs);
  return found == all.end() ? nullptr : &*found;
}

Result<std::vector<SigningKey>> ReadSigningKeys(db::Tx& tx) {
  PTG_TRY(const db::Rows rows, tx.Run(kAll));
  std::vector<SigningKey> out;
  for (const db::Row& row : rows) {
    SigningKey key;
    key.kid = row.Text(0);
    PTG_TRY(key.key, KeyOf(row.Text(1)));
    key.created = UnixMs(row.Int(2));
    key.signs_from = UnixMs(row.Int(3));
    key.not_after = MaybeTime(row, 4);
    key.revocation = row.Text(5);
    key.revoked_at = MaybeTime(row, 6);
    out.push_back(std::move(key));
  }
  return out;
}

Result<> InsertSigningKey(db::Tx& tx, const SigningKey& key) {
  PTG_RUN(tx.Run(kInsert, key.kid, TextOf(key.key), key.created.ms(), key.signs_from.ms()));
  return {};
}

Result<> RevokeSigningKey(db::Tx& tx, const std::string& kid, std::string_view revocation,
                          UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kRevoke, kid, std::string(revocation), now.ms()));
  if (rows.changed == 0) return Fail(Code::kConflict, "there is no key " + kid + " to revoke");
  return {};
}

Result<> AnnounceEnds(db::Tx& tx, UnixMs now) {
  PTG_TRY(const std::vector<SigningKey> all, ReadSigningKeys(tx));
  for (const SigningKey& key : all) {
    if (StateOf(all, key, now) != KeyState::kVerifyOnly) continue;
    const UnixMs replaced = ReplacedAt(all, key).value_or(now);
    // Who had begun to issue under it at that second.
    PTG_TRY(const db::Rows rows, tx.Run(kLongest, (replaced + Millis(60'000)).ms()));
    const UnixMs longest(rows.front().Int(0));
    const UnixMs needed = (key.not_after ? longest : std::max(longest, now)) + kMargin;
    if (key.not_after && needed < *key.not_after + kStep) continue;
    PTG_RUN(tx.Run(kAnnounce, key.kid, needed.ms()));
  }
  return {};
}

KeyDocument DocumentOf(std::span<const SigningKey> all, UnixMs now) {
  KeyDocument document;
  for (const SigningKey& key : all) {
    if (!key.revocation.empty()) {
      if (now < key.revoked_at.value_or(now) + kRevokedNamed) {
        document.revocations.push_back(key.revocation);
      }
      continue;
    }
    if (StateOf(all, key, now) == KeyState::kRetired) continue;
    document.keys.push_back({.kid = key.kid, .key = key.key, .not_after = key.not_after});
  }
  return document;
}

Json ToJson(const KeyDocument& document) {
  Json json = crypto::JwksOf(document.keys);
  if (document.revocations.empty()) return json;
  Json revoked = Json::Array();
  for (const std::string& word : document.revocations) revoked.Push(word);
  json.Set("revoked", std::move(revoked));
  return json;
}

Result<KeyDocument> ReadKeyDocument(std::string_view text) {
  KeyDocument document;
  PTG_TRY(document.keys, crypto::ParseJwks(text));
  codec::JsonLimits limits;
  limits.max_bytes = crypto::kMaxJwksBytes;
  PTG_TRY(const Json json, codec::ParseJson(text, limits));
  const Json* revoked = json.Find("revoked");
  if (revoked == nullptr) return document;
  const std::vector<Json>* list = revoked->AsArray();
  if (list == nullptr || list->size() > kMostRevocations) {
    return Fail(Error(Code::kBadRequest, "no list of words against keys").At("/revoked"));
  }
  for (const Json& one : *list) {
    if (one.AsString() != nullptr) document.revocations.push_back(*one.AsString());
  }
  return document;
}

std::string DigestOf(const KeyDocument& document) {
  const std::string text = codec::ToString(ToJson(document));
  return codec::ToHex(crypto::Sha256(codec::AsBytes(text))).substr(0, 32);
}

std::string RevocationText(std::string_view issuer, std::string_view kid, UnixMs now) {
  return codec::ToString(Json::Object({{"iss", issuer}, {"kid", kid}, {"iat", now.seconds()}}));
}

Result<std::vector<KnownKey>> TakeOver(std::vector<KnownKey> have, const KeyDocument& next,
                                       std::string_view issuer, UnixMs now) {
  for (const std::string& word : next.revocations) {
    const std::optional<std::string> kid = RevokedBy(word, have, issuer);
    if (!kid) continue;
    for (KnownKey& known : have) known.revoked = known.revoked || known.jwk.kid == *kid;
  }
  std::vector<KnownKey> out;
  for (const KnownKey& known : have) {
    const auto said = std::ranges::find(next.keys, known.jwk.kid, &crypto::Jwk::kid);
    KnownKey kept = known;
    if (said == next.keys.end()) {
      const bool over = known.jwk.not_after && now >= *known.jwk.not_after;
      if (!known.revoked && !over) {
        return Fail(Code::kConflict, "the set drops the key " + known.jwk.kid +
                                         " before the time that was announced for it");
      }
      if (!known.revoked) continue;
    } else if (said->key != known.jwk.key) {
      return Fail(Code::kConflict, "the set gives the name " + known.jwk.kid + " to another key");
    } else if (said->not_after && (!kept.jwk.not_after || *kept.jwk.not_after < *said->not_after)) {
      kept.jwk.not_after = said->not_after;
    }
    out.push_back(std::move(kept));
  }
  for (const crypto::Jwk& jwk : next.keys) {
    const auto same = [&jwk](const KnownKey& k) { return k.jwk.kid == jwk.kid; };
    if (std::ranges::none_of(out, same)) out.push_back({.jwk = jwk, .revoked = false});
  }
  return out;
}

std::vector<crypto::Jwk> Believed(std::span<const KnownKey> keys) {
  std::vector<crypto::Jwk> out;
  for (const KnownKey& known : keys) {
    if (!known.revoked) out.push_back(known.jwk);
  }
  return out;
}

Result<std::vector<KnownKey>> ReadKnownKeys(db::Tx& tx, const std::string& issuer) {
  PTG_TRY(const db::Rows rows, tx.Run(kKnown, issuer));
  std::vector<KnownKey> out;
  for (const db::Row& row : rows) {
    KnownKey known;
    known.jwk.kid = row.Text(0);
    PTG_TRY(known.jwk.key, KeyOf(row.Text(1)));
    known.jwk.not_after = MaybeTime(row, 2);
    known.revoked = row.Bool(3);
    out.push_back(std::move(known));
  }
  return out;
}

Result<> WriteKnownKeys(db::Tx& tx, const std::string& issuer, std::span<const KnownKey> keys) {
  PTG_TRY(const std::vector<KnownKey> before, ReadKnownKeys(tx, issuer));
  for (const KnownKey& known : before) {
    const auto same = [&known](const KnownKey& k) { return k.jwk.kid == known.jwk.kid; };
    if (std::ranges::any_of(keys, same)) continue;
    PTG_RUN(tx.Run(kForget, issuer, known.jwk.kid));
  }
  for (const KnownKey& known : keys) {
    PTG_RUN(tx.Run(kKeep, issuer, known.jwk.kid, TextOf(known.jwk.key),
                   ValueOf(known.jwk.not_after), known.revoked));
  }
  return {};
}

}  // namespace pontage::license
