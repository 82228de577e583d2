#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "crypto/jwt.h"
#include "license/claims.h"
#include "license/feed_document.h"
#include "license/fernet.h"
#include "license/key_ring.h"

namespace pontage::license {

// A token that was found good, and until when its key is: what it says needs no second look before.
struct Verified {
  Claims claims;
  UnixMs key_until;
};

// What is checked of a license without asking anybody: public keys and an issuer. Its keys are
// those that the ring has at the time; safe to use from every loop.
class Verifier {
 public:
  // `fernet` null: that format is none of ours.
  Verifier(std::string issuer, std::shared_ptr<const KeyRing> ring,
           std::shared_ptr<const FernetKeys> fernet = nullptr)
      : issuer_(std::move(issuer)), ring_(std::move(ring)), fernet_(std::move(fernet)) {}
  Verifier(std::string issuer, std::vector<crypto::Jwk> keys)
      : Verifier(std::move(issuer), std::make_shared<const KeyRing>(std::move(keys))) {}

  // What a token says once its signature, its issuer and its form are right; its times and what it
  // opens are for Decide. A key past its not_after counts as none. kLicenseInvalid otherwise, in
  // words for whoever presents it; never with the token.
  Result<Verified> Read(std::string_view token, UnixMs now) const;

  // A document of the feed, signed by this issuer; whether it goes on is for GoesOn.
  // kLicenseInvalid otherwise.
  Result<FeedDocument> ReadFeed(std::string_view token, UnixMs now) const;

  const std::string& issuer() const { return issuer_; }
  // What was found good under another version is to be looked at again.
  uint64_t version() const { return ring_->version(); }
  // Whether all that `token` lacks is a key that is not known here: the issuer may have a new one.
  bool LacksKeyOf(std::string_view token) const;

  // Whether `text` could be a license of ours at all: two dots in it, or how Fernet begins. A model
  // key, or a key of somebody else's, has none, and is told so instead of "the signature is wrong".
  static bool LooksLikeOne(std::string_view text);

 private:
  struct Signed {
    std::string payload;
    UnixMs key_until;
  };
  Result<Signed> Check(std::string_view token, size_t max_bytes, std::string_view typ,
                       UnixMs now) const;

  std::string issuer_;
  std::shared_ptr<const KeyRing> ring_;
  std::shared_ptr<const FernetKeys> fernet_;
};

}  // namespace pontage::license
