#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "crypto/jwt.h"
#include "license/claims.h"
#include "license/feed_document.h"

namespace pontage::license {

// A token that was found good, and until when its key is: what it says needs no second look before.
struct Verified {
  Claims claims;
  UnixMs key_until;
};

// What is checked of a license without asking anybody: public keys and an issuer. Immutable.
class Verifier {
 public:
  Verifier(std::string issuer, std::vector<crypto::Jwk> keys)
      : issuer_(std::move(issuer)), keys_(std::move(keys)) {}

  // What a token says once its signature, its issuer and its form are right; its times and what it
  // opens are for Decide. A key past its not_after counts as none. kLicenseInvalid otherwise, in
  // words for whoever presents it; never with the token.
  Result<Verified> Read(std::string_view token, UnixMs now) const;

  // A document of the feed, signed by this issuer; whether it goes on is for GoesOn.
  // kLicenseInvalid otherwise.
  Result<FeedDocument> ReadFeed(std::string_view token, UnixMs now) const;

  const std::string& issuer() const { return issuer_; }

  // Whether `text` could be a license of ours at all: two dots in it. A model key, or a key of
  // somebody else's, has none, and is told so instead of "the signature is wrong".
  static bool LooksLikeOne(std::string_view text);

 private:
  struct Signed {
    std::string payload;
    UnixMs key_until;
  };
  Result<Signed> Check(std::string_view token, size_t max_bytes, std::string_view typ,
                       UnixMs now) const;

  std::string issuer_;
  std::vector<crypto::Jwk> keys_;
};

}  // namespace pontage::license
