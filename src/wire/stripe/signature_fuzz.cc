#include <string>
#include <vector>

#include "base/check.h"
#include "codec/hex.h"
#include "crypto/hmac.h"
#include "testing/fuzz.h"
#include "wire/stripe/signature.h"

// What is accepted is what a second, simpler reading accepts: one time of digits that is near now,
// and among the items the text that a secret in force gives for that time and these bytes. Input:
// the header, a line feed, the body.
namespace pontage::stripe {
namespace {

constexpr int64_t kNowS = 1'795'000'100;
constexpr std::string_view kSecrets[] = {"whsec_test_secret", "whsec_other"};

std::vector<std::string> Items(std::string_view header) {
  std::vector<std::string> items(1);
  for (const char c : header) {
    if (c == ',') {
      items.emplace_back();
    } else {
      items.back().push_back(c);
    }
  }
  return items;
}

bool Naive(std::string_view header, std::string_view body) {
  if (header.size() > kMaxSignatureHeader) return false;
  const std::vector<std::string> items = Items(header);
  std::vector<std::string> times;
  for (const std::string& item : items) {
    if (item.substr(0, 2) == "t=") times.push_back(item.substr(2));
  }
  if (times.size() != 1 || times[0].empty() || times[0].size() > 12) return false;
  int64_t time_s = 0;
  for (const char c : times[0]) {
    if (c < '0' || c > '9') return false;
    time_s = time_s * 10 + (c - '0');
  }
  if (time_s < kNowS - 300 || time_s > kNowS + 60) return false;
  for (const std::string_view secret : kSecrets) {
    const std::string message = times[0] + "." + std::string(body);
    const std::string right =
        "v1=" + codec::ToHex(crypto::HmacSha256(codec::AsBytes(secret), codec::AsBytes(message)));
    for (const std::string& item : items) {
      if (item == right) return true;
    }
  }
  return false;
}

}  // namespace

FUZZ_TARGET(signature) {
  const size_t end = input.find('\n');
  const std::string_view header = input.substr(0, end);
  std::string body(end == std::string_view::npos ? std::string_view() : input.substr(end + 1));
  std::vector<SigningSecret> secrets;
  for (const std::string_view secret : kSecrets) {
    secrets.push_back({Secret(std::string(secret)), std::nullopt});
  }
  // One that is over opens nothing.
  secrets.push_back({Secret("whsec_old"), UnixMs::FromSeconds(kNowS - 1)});
  const UnixMs now = UnixMs::FromSeconds(kNowS);

  const bool good = VerifySignature(header, body, secrets, now).has_value();
  PTG_CHECK(good == Naive(header, body));
  PTG_CHECK(good == !FindSignatureFault(header, body, secrets, now).has_value());

  const std::string ours = Sign(body, secrets[1].value, now);
  PTG_CHECK(VerifySignature(ours, body, secrets, now).has_value());
  PTG_CHECK(!VerifySignature(Sign(body, secrets[2].value, now), body, secrets, now).has_value());
  body.push_back('x');
  PTG_CHECK(!VerifySignature(ours, body, secrets, now).has_value());
}

}  // namespace pontage::stripe
