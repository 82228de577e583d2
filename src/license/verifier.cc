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

std::vector<KeyRing::Named>::const_iterator Find(const std::vector<KeyRing::Named>& keys,
                                                 std::string_view kid) {
  return std::ranges::find_if(keys,
                              [kid](const KeyRing::Named& named) { return named.jwk.kid == kid; });
}

}  // namespace

bool Verifier::LooksLikeOne(std::string_view text) {
  return std::ranges::count(text, '.') == 2 || FernetKeys::LooksLikeOne(text);
}

Result<Verifier::Signed> Verifier::Check(std::string_view token, size_t max_bytes,
                                         std::string_view typ, UnixMs now) const {
  if (token.size() > max_bytes) return Invalid("the token is too long");
  const KeyRing::Keys keys = ring_->keys();
  // Most begin as their key's owner lets them begin.
  auto key = typ != kLicenseType
                 ? keys->end()
                 : std::ranges::find_if(*keys, [token](const KeyRing::Named& named) {
                     return token.starts_with(named.license_head);
                   });
  const bool begins_so = key != keys->end();
  Result<crypto::Jws> jws = begins_so ? crypto::ReadJwsBehind(token, key->license_head.size())
                                      : crypto::ReadJws(token, max_bytes);
  if (!jws) return Invalid(jws.error().detail());
  if (!begins_so) {
    if (jws->typ != typ) return Invalid("the token is no license");
    key = Find(*keys, jws->kid);
  }
  if (key == keys->end()) return Invalid("the license is signed with a key that is not known here");
  const crypto::Jwk& jwk = key->jwk;
  if (jwk.not_after && now >= *jwk.not_after) {
    return Invalid("the license is signed with a key that is no longer good");
  }
  // Before anything of it is read: what was not signed says nothing.
  if (!crypto::IsSignedBy(*jws, jwk.key)) return Invalid("the license's signature is wrong");
  return Signed{.payload = std::move(jws->payload), .key_until = jwk.not_after.value_or(kForEver)};
}

bool Verifier::LacksKeyOf(std::string_view token) const {
  const Result<crypto::Jws> jws = crypto::ReadJws(token, kMaxToken);
  if (!jws || jws->typ != kLicenseType) return false;
  const KeyRing::Keys keys = ring_->keys();
  return Find(*keys, jws->kid) == keys->end();
}

Result<Verified> Verifier::Read(std::string_view token, UnixMs now) const {
  if (fernet_ && FernetKeys::LooksLikeOne(token)) {
    PTG_TRY(Claims claims, fernet_->Read(token, issuer_, now));
    return Verified{.claims = std::move(claims), .key_until = kForEver};
  }
  PTG_TRY(const Signed checked, Check(token, kMaxToken, kLicenseType, now));
  Result<Claims> claims = ReadClaims(checked.payload);
  if (!claims) {
    const Error& error = claims.error();
    return Invalid(error.pointer().empty()
                       ? "the license's content is no JSON object"
                       : "the license's " + error.pointer() + ": " + error.detail());
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
