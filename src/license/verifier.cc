#include "license/verifier.h"

#include <algorithm>
#include <cstdint>

#include "base/try.h"

namespace pontage::license {
namespace {

constexpr UnixMs kForEver(INT64_MAX);

std::unexpected<Error> Invalid(std::string detail) {
  return Fail(Error(Code::kLicenseInvalid, std::move(detail))
                  .Want("the license as it was issued, in one piece"));
}

}  // namespace

bool Verifier::LooksLikeOne(std::string_view text) {
  return std::ranges::count(text, '.') == 2 || FernetKeys::LooksLikeOne(text);
}

Result<Verifier::Signed> Verifier::Check(std::string_view token, size_t max_bytes,
                                         std::string_view typ, UnixMs now) const {
  Result<crypto::Jws> jws = crypto::ReadJws(token, max_bytes);
  if (!jws) return Invalid(jws.error().detail());
  if (jws->typ != typ) return Invalid("the token is no license");
  const KeyRing::Keys keys = ring_->keys();
  const auto key = std::ranges::find(*keys, jws->kid, &crypto::Jwk::kid);
  if (key == keys->end()) return Invalid("the license is signed with a key that is not known here");
  if (key->not_after && now >= *key->not_after) {
    return Invalid("the license is signed with a key that is no longer good");
  }
  // Before anything of it is read: what was not signed says nothing.
  if (!crypto::IsSignedBy(*jws, key->key)) return Invalid("the license's signature is wrong");
  return Signed{.payload = std::move(jws->payload), .key_until = key->not_after.value_or(kForEver)};
}

bool Verifier::LacksKeyOf(std::string_view token) const {
  const Result<crypto::Jws> jws = crypto::ReadJws(token, kMaxToken);
  if (!jws || jws->typ != kLicenseType) return false;
  const KeyRing::Keys keys = ring_->keys();
  return std::ranges::find(*keys, jws->kid, &crypto::Jwk::kid) == keys->end();
}

Result<Verified> Verifier::Read(std::string_view token, UnixMs now) const {
  if (fernet_ && FernetKeys::LooksLikeOne(token)) {
    PTG_TRY(Claims claims, fernet_->Read(token, issuer_, now));
    return Verified{.claims = std::move(claims), .key_until = kForEver};
  }
  PTG_TRY(const Signed checked, Check(token, kMaxToken, kLicenseType, now));
  codec::JsonLimits limits;
  limits.max_bytes = kMaxToken;
  limits.max_depth = 6;
  const Result<codec::Json> json = codec::ParseJson(checked.payload, limits);
  if (!json) return Invalid("the license's content is no JSON");
  Result<Claims> claims = ReadClaims(*json);
  if (!claims) {
    return Invalid("the license's " + claims.error().pointer() + ": " + claims.error().detail());
  }
  if (claims->issuer != issuer_) return Invalid("the license was issued by somebody else");
  return Verified{.claims = *std::move(claims), .key_until = checked.key_until};
}

Result<FeedDocument> Verifier::ReadFeed(std::string_view token, UnixMs now) const {
  PTG_TRY(const Signed checked, Check(token, kMaxFeedBytes, kFeedType, now));
  codec::JsonLimits limits;
  limits.max_bytes = kMaxFeedBytes;
  limits.max_depth = 6;
  limits.fault = Code::kLicenseInvalid;
  PTG_TRY(const codec::Json json, codec::ParseJson(checked.payload, limits));
  PTG_TRY(FeedDocument document, ReadFeedDocument(json));
  if (document.issuer != issuer_) return Invalid("the feed is somebody else's");
  return document;
}

}  // namespace pontage::license
