#include "sales/claim.h"

#include <array>
#include <cstdint>

#include "base/try.h"
#include "codec/base64url.h"
#include "codec/bytes.h"
#include "codec/hex.h"
#include "crypto/hash.h"

namespace pontage::sales {
namespace {

constexpr std::string_view kPrefix = "clm_";
constexpr size_t kMaxToken = 64;
// A session's page can be opened for as long as somebody keeps its address.
constexpr Millis kSessionTerm{3650 * 86'400'000LL};

constexpr db::Statement kForget{"license_claim.forget",
                                "DELETE FROM license_claim WHERE expires_ms <= $1"};
constexpr db::Statement kOffer{
    "license_claim.offer",
    "INSERT INTO license_claim (digest, license, claimed_ms, expires_ms, generation)"
    " VALUES ($1, $2, 0, $3, $4)"};
constexpr db::Statement kTake{
    "license_claim.take",
    "UPDATE license_claim SET claimed_ms = $2 WHERE digest = $1 AND claimed_ms = 0"
    " AND expires_ms > $2 AND generation >="
    " COALESCE((SELECT l.generation FROM license AS l WHERE l.id = license_claim.license), 0)"};
constexpr db::Statement kOf{"license_claim.of",
                            "SELECT license FROM license_claim WHERE digest = $1"};
constexpr db::Statement kTakePage{
    "license_claim.take_page",
    "INSERT INTO license_claim (digest, license, claimed_ms, expires_ms) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (digest) DO NOTHING"};

std::string DigestOf(std::string_view text) {
  return codec::ToHex(crypto::Sha256(codec::AsBytes(text)));
}

}  // namespace

Error ClaimGone() {
  return Error(Code::kNotFound,
               "this link shows nothing: it was used, is too old, or another text replaced its")
      .Want("another one, from /billing/resend");
}

Result<std::string> OfferClaim(db::Tx& tx, const license::License& license, UnixMs now, Rng& rng) {
  PTG_RUN(tx.Run(kForget, now.ms()));
  std::array<uint8_t, 32> bytes{};
  rng.Fill(bytes);
  const std::string token = std::string(kPrefix) + codec::EncodeBase64Url(bytes);
  PTG_RUN(tx.Run(kOffer, DigestOf(token), license.id, (now + kClaimTerm).ms(), license.generation));
  return token;
}

Result<mail::LicenseGiven> GiveByMail(db::Tx& tx, const Shop& shop, const license::License& license,
                                      std::string text, UnixMs now, Rng& rng) {
  mail::LicenseGiven given{.to = license.email,
                           .license = std::move(text),
                           .license_id = license.id,
                           .generation = license.generation,
                           .plan = license.plan,
                           .expires_at = license.expires,
                           .renews = !license.subscription.empty()};
  if (shop.claim_links) {
    PTG_TRY(const std::string token, OfferClaim(tx, license, now, rng));
    given.license.clear();
    given.claim_url = shop.public_url + "/billing/claim?token=" + token;
  }
  return given;
}

Result<std::string> TakeClaim(db::Tx& tx, std::string_view token, UnixMs now) {
  if (!token.starts_with(kPrefix) || token.size() > kMaxToken) return Fail(ClaimGone());
  const std::string digest = DigestOf(token);
  PTG_TRY(const db::Rows taken, tx.Run(kTake, digest, now.ms()));
  if (taken.changed == 0) return Fail(ClaimGone());
  PTG_TRY(const db::Rows rows, tx.Run(kOf, digest));
  if (rows.empty()) return Fail(ClaimGone());
  return rows.front().Text(0);
}

Result<> TakeClaimOfSession(db::Tx& tx, std::string_view session, std::string_view license,
                            UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kTakePage, DigestOf("session:" + std::string(session)),
                                      std::string(license), now.ms(), (now + kSessionTerm).ms()));
  if (rows.changed == 0) return Fail(ClaimGone());
  return {};
}

}  // namespace pontage::sales
