#include "wire/stripe/signature.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "codec/hex.h"
#include "crypto/hmac.h"

namespace pontage::stripe {
namespace {

constexpr std::string_view kTime = "t=";
constexpr std::string_view kScheme = "v1=";

// Calls `each` with every item of a list that is parted by commas.
template <typename F>
void ForEachItem(std::string_view list, F each) {
  while (true) {
    const size_t comma = list.find(',');
    each(list.substr(0, comma));
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// The one time of a header, as it is written and thus signed. None when it is missing, doubled, or
// anything but digits: whoever reads it another way must not come to another verdict.
std::optional<std::string_view> TimeOf(std::string_view header) {
  std::string_view text;
  size_t count = 0;
  ForEachItem(header, [&](std::string_view item) {
    if (!item.starts_with(kTime)) return;
    ++count;
    text = item.substr(kTime.size());
  });
  constexpr size_t kMostDigits = 12;
  const bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (count != 1 || text.empty() || text.size() > kMostDigits || !digits) return std::nullopt;
  return text;
}

bool IsBlank(const Secret& secret) {
  return std::ranges::all_of(secret.Reveal(),
                             [](char c) { return c == ' ' || (c >= 9 && c <= 13); });
}

crypto::Hash32 TagOf(const Secret& secret, std::string_view time, std::string_view body) {
  std::string message;
  message.reserve(time.size() + 1 + body.size());
  message.append(time).append(".").append(body);
  return crypto::HmacSha256(codec::AsBytes(secret.Reveal()), codec::AsBytes(message));
}

// Small letters only, as Stripe writes them.
std::optional<crypto::Hash32> ReadTag(std::string_view hex) {
  crypto::Hash32 tag{};
  const bool capital = std::ranges::any_of(hex, [](char c) { return c >= 'A' && c <= 'F'; });
  if (capital || !codec::HexInto(hex, tag)) return std::nullopt;
  return tag;
}

}  // namespace

std::string_view ToText(SignatureFault fault) {
  switch (fault) {
    case SignatureFault::kMalformed:
      return "malformed";
    case SignatureFault::kStale:
      return "stale";
    case SignatureFault::kEarly:
      return "early";
    case SignatureFault::kNoSecret:
      return "no_secret";
    case SignatureFault::kMismatch:
      return "mismatch";
  }
  return "unknown";
}

std::optional<SignatureFault> FindSignatureFault(std::string_view header, std::string_view body,
                                                 std::span<const SigningSecret> secrets,
                                                 UnixMs now) {
  if (header.size() > kMaxSignatureHeader) return SignatureFault::kMalformed;
  const std::optional<std::string_view> time = TimeOf(header);
  if (!time) return SignatureFault::kMalformed;
  int64_t sent_s = 0;
  std::from_chars(time->data(), time->data() + time->size(), sent_s);
  // In whole seconds, as it is signed.
  const int64_t age_s = now.seconds() - sent_s;
  if (age_s > kSignatureAge.count() / 1000) return SignatureFault::kStale;
  if (-age_s > kSignatureAhead.count() / 1000) return SignatureFault::kEarly;

  std::vector<crypto::Hash32> tags;
  for (const SigningSecret& secret : secrets) {
    if (IsBlank(secret.value) || (secret.not_after && now > *secret.not_after)) continue;
    tags.push_back(TagOf(secret.value, *time, body));
  }
  if (tags.empty()) return SignatureFault::kNoSecret;
  bool matches = false;
  ForEachItem(header, [&](std::string_view item) {
    if (!item.starts_with(kScheme)) return;
    const std::optional<crypto::Hash32> given = ReadTag(item.substr(kScheme.size()));
    if (!given) return;
    for (const crypto::Hash32& tag : tags) matches |= crypto::TagsEqual(tag, *given);
  });
  if (!matches) return SignatureFault::kMismatch;
  return std::nullopt;
}

Result<> VerifySignature(std::string_view header, std::string_view body,
                         std::span<const SigningSecret> secrets, UnixMs now) {
  if (!FindSignatureFault(header, body, secrets, now)) return {};
  return Fail(Code::kBadRequest, "the signature of this delivery is not good");
}

std::string Sign(std::string_view body, const Secret& secret, UnixMs at) {
  const std::string time = std::to_string(at.seconds());
  return "t=" + time + ",v1=" + codec::ToHex(TagOf(secret, time, body));
}

}  // namespace pontage::stripe
