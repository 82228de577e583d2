#include "sales/stripe_answer.h"

#include <algorithm>
#include <array>

#include "codec/json.h"

namespace pontage::sales {
namespace {

// Longer than any that Stripe sends.
constexpr size_t kMaxMessage = 500;

// Cut at a letter's beginning: half of one is no UTF-8.
std::string_view Head(std::string_view text, size_t most) {
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

bool IsKeyLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '*';
}

// Stripe repeats a wrong key, most of it starred.
std::string WithoutKeys(std::string_view text, const Secret& api_key) {
  if (!api_key.empty() && text.contains(api_key.Reveal())) return "(it repeats the key)";
  constexpr std::array<std::string_view, 3> kSecretKinds = {"sk_", "rk_", "whsec_"};
  std::string out;
  while (!text.empty()) {
    const auto* const word = std::ranges::find_if_not(text, IsKeyLetter);
    const auto size = static_cast<size_t>(word - text.begin());
    if (size == 0) {
      out.push_back(text.front());
      text.remove_prefix(1);
      continue;
    }
    const std::string_view letters = text.substr(0, size);
    const bool secret = std::ranges::any_of(
        kSecretKinds, [letters](std::string_view kind) { return letters.starts_with(kind); });
    out.append(secret ? std::string_view("(a key)") : letters);
    text.remove_prefix(size);
  }
  return out;
}

std::string_view TextIn(const codec::Json* error, std::string_view key) {
  const codec::Json* value = error == nullptr ? nullptr : error->Find(key);
  const std::string* text = value == nullptr ? nullptr : value->AsString();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

Code CodeOf(int status, std::string_view type) {
  // The key was used for other parameters: sent again it would fail again.
  if (type == "idempotency_error") return Code::kConflict;
  switch (status) {
    case 400:
    case 402:
      return Code::kBadRequest;
    case 401:
      return Code::kUnauthorized;
    case 403:
      return Code::kForbidden;
    case 404:
      return Code::kNotFound;
    case 409:
      return Code::kConflict;
    case 429:
      return Code::kRateLimited;
    default:
      return Code::kUpstreamUnreachable;
  }
}

}  // namespace

bool MayRetry(int status, std::optional<std::string_view> should_retry) {
  if (should_retry == "true") return true;
  if (should_retry == "false") return false;
  return status == 409 || status >= 500;
}

Error ReadStripeError(int status, std::string_view body, const Secret& api_key) {
  // A proxy's page is no JSON; the status alone says enough then.
  const Result<codec::Json> json = codec::ParseJson(body);
  const codec::Json* error = json ? json->Find("error") : nullptr;
  const std::string_view type = TextIn(error, "type");
  const std::string_view code = TextIn(error, "code");
  const std::string message = WithoutKeys(TextIn(error, "message"), api_key);
  std::string detail = "Stripe answered " + std::to_string(status);
  if (!message.empty()) detail.append(": ").append(Head(message, kMaxMessage));
  const std::string_view decline = TextIn(error, "decline_code");
  if (!decline.empty()) detail.append(" (").append(Head(decline, kMaxMessage)).append(")");
  std::string pointer = PointerOfParam(Head(TextIn(error, "param"), kMaxMessage));
  std::string reason(Head(code.empty() ? type : code, kMaxMessage));
  return Error(CodeOf(status, type), std::move(detail))
      .At(std::move(pointer))
      .Because(std::move(reason));
}

std::string PointerOfParam(std::string_view param) {
  if (param.empty()) return {};
  std::string name;
  std::string pointer;
  const auto close = [&] {
    if (!name.empty()) pointer = codec::ChildPointer(pointer, name);
    name.clear();
  };
  for (const char c : param) {
    if (c == '[' || c == ']') {
      close();
    } else {
      name.push_back(c);
    }
  }
  close();
  return pointer;
}

Millis PauseBefore(int retry, Millis first, Millis most, Rng& rng) {
  Millis pause = first;
  for (int i = 1; i < retry && pause < most; ++i) pause *= 2;
  pause = std::min(pause, most);
  const auto half = static_cast<uint64_t>(pause.count() / 2);
  const auto chance = static_cast<int64_t>(rng.Next64() % (half + 1));
  return std::max(first, Millis(pause.count() - chance));
}

}  // namespace pontage::sales
