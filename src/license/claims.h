#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"

namespace pontage::license {

// What a plan allows its license; 0: without bound.
struct Limits {
  int64_t monthly = 0;  // calls in a calendar month (UTC)
  int64_t rpm = 0;      // calls in a minute

  friend bool operator==(const Limits&, const Limits&) = default;
};

// What a license says of itself. No mail address and no name: it travels in headers, through other
// people's logs.
struct Claims {
  std::string id;  // "lic_…", by which it is revoked and extended; never by its text
  std::string issuer;
  std::string customer;  // Stripe's "cus_…", or what the operator wrote
  std::string plan;
  std::vector<std::string> products;  // opens these alone; none: every route that names the plan
  std::string tier;
  Limits limits;
  std::string subscription;  // "sub_…"; empty: none
  int64_t generation = 1;    // a reissued license has a higher one, and the older end
  UnixMs issued;
  UnixMs not_before;
  UnixMs expires;

  friend bool operator==(const Claims&, const Claims&) = default;
};

// A license is some 350 characters; a header line that is longer than this was no license of ours.
inline constexpr size_t kMaxToken = 4096;
inline constexpr size_t kMostProducts = 64;
// What an operator may call a customer: gateways refuse a name that is longer than they need.
inline constexpr size_t kMostCustomer = 200;
// One line of 1 to kMostCustomer characters that are not all blanks.
bool IsCustomer(std::string_view name);
// The typ of a license in JWT form, and whom it is for.
inline constexpr std::string_view kLicenseType = "lic+jwt";
inline constexpr std::string_view kAudience = "gw";

// The claims of a JWT (RFC 7519): iss, aud, sub, jti, iat, nbf, exp, and ours under "lic". Times in
// whole seconds; the token's exp is `expires` rounded down.
codec::Json ToJson(const Claims& claims);
// What ToJson gave, as text. Members that are not known are passed over. kBadRequest, naming the
// claim, for one that is missing, there twice or of the wrong form, and for another audience;
// without a name for what is no JSON.
Result<Claims> ReadClaims(std::string_view text);

// The id that a license in JWT form names, to look it up: whether the license is good is not asked.
// Empty for a text that is none.
std::string IdNamedBy(std::string_view token);

}  // namespace pontage::license
