#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"

// Stripe-Signature: "t=<unix seconds>,v1=<hex>[,v1=<hex>…]", where v1 is HMAC-SHA-256 over
// "<t>.<body>" with the whole text of the secret, "whsec_" included, as its key. (Standard Webhooks
// shares the prefix and decodes what follows; this does not.)
namespace pontage::stripe {

// A signing secret of an endpoint. While one is rolled Stripe signs with both for up to a day.
struct SigningSecret {
  Secret value;
  std::optional<UnixMs> not_after;  // none: until it is taken out of the configuration
};

// How old and how early a delivery may be by our clock. Stripe's own clients take 300 s and do not
// look ahead; a time in the future would let a captured delivery be replayed for as long.
inline constexpr Millis kSignatureAge{300'000};
inline constexpr Millis kSignatureAhead{60'000};
// Two signatures and a v0 are some 250 bytes.
inline constexpr size_t kMaxSignatureHeader = 2048;

// Why a delivery is not believed: for the log. Whoever sent it is told that it is not.
enum class SignatureFault : uint8_t {
  kMalformed,  // no header, too long a one, or no time in it
  kStale,      // older than kSignatureAge
  kEarly,      // further ahead than kSignatureAhead
  kNoSecret,   // none of ours is in force
  kMismatch,   // no v1 is a secret's of ours over this time and body
};
std::string_view ToText(SignatureFault fault);

// Nothing when `header` signs exactly these bytes, now, with one of `secrets`. `body` is what came
// over the wire, before anybody read it. A blank secret is none.
std::optional<SignatureFault> FindSignatureFault(std::string_view header, std::string_view body,
                                                 std::span<const SigningSecret> secrets,
                                                 UnixMs now);
// The same as an error: kBadRequest, in the same words for every fault.
Result<> VerifySignature(std::string_view header, std::string_view body,
                         std::span<const SigningSecret> secrets, UnixMs now);

// The header for `body` sent at `at`: what a double of Stripe sends, and tests.
std::string Sign(std::string_view body, const Secret& secret, UnixMs at);

}  // namespace pontage::stripe
