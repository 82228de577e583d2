#pragma once
// A license, whoever signs it, and a line of the feed, for the tests of this folder.

#include <memory>
#include <string>
#include <vector>

#include "crypto/jwt.h"
#include "license/feed.h"
#include "license/issuer.h"
#include "license/verifier.h"

namespace pontage::license {

inline constexpr UnixMs kNow(1'795'000'000'000);
inline constexpr Millis kDay{86'400'000};
inline const std::string kId = "lic_0123456789abcdef0123456789abcdef";

inline Claims Sample() {
  Claims c;
  c.id = kId;
  c.issuer = "https://api.example.com";
  c.customer = "cus_1";
  c.plan = "pro";
  c.products = {"yield"};
  c.tier = "professional";
  c.limits = {.monthly = 100'000, .rpm = 600};
  c.subscription = "sub_1";
  c.generation = 2;
  c.issued = kNow;
  c.not_before = kNow;
  c.expires = kNow + 33 * kDay;
  return c;
}

struct Keys {
  Keys() : rng(1), issuer(crypto::Ed25519Key::Generate(rng)) {}
  crypto::Jwk jwk() const {
    return {.kid = crypto::Thumbprint(issuer.public_key()),
            .key = issuer.public_key(),
            .not_after = std::nullopt};
  }
  std::shared_ptr<const Verifier> verifier() const {
    return std::make_shared<const Verifier>("https://api.example.com",
                                            std::vector<crypto::Jwk>{jwk()});
  }
  SeededRng rng;
  Issuer issuer;
};

inline FeedEntry Line(int64_t seq, const std::string& id, Status status) {
  FeedEntry entry{.seq = seq,
                  .license = id,
                  .word = {.status = status, .expires = kNow, .generation = 3, .plan = "pro"},
                  .hash = "h" + std::to_string(seq)};
  return entry;
}

}  // namespace pontage::license
