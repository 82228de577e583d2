#include "license/fernet.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "base/try.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/hash.h"

namespace pontage::license {
namespace {

using codec::Json;
using codec::JsonReader;

// Version 0x80 and the high bytes of any time of this age, in base64url.
constexpr std::string_view kBegins = "gAAAA";
// Version, time, vector, one block, tag.
constexpr size_t kShortest = 100;
constexpr size_t kMostKeys = 16;
constexpr size_t kMaxName = 256;

std::unexpected<Error> Invalid(std::string detail) {
  return Fail(Error(Code::kLicenseInvalid, std::move(detail))
                  .Want("the license as it was issued, in one piece"));
}

// `digits` of a number at `at`, which goes on behind them.
std::optional<int> Number(std::string_view text, size_t& at, size_t digits) {
  int value = 0;
  if (at + digits > text.size()) return std::nullopt;
  for (size_t i = 0; i < digits; ++i) {
    const char c = text[at + i];
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  at += digits;
  return value;
}

bool Skip(std::string_view text, size_t& at, std::string_view any) {
  if (at >= text.size() || !any.contains(text[at])) return false;
  ++at;
  return true;
}

// Minutes east of Greenwich of what is left of `text`.
std::optional<int> Zone(std::string_view text, size_t at) {
  if (at == text.size() || text.substr(at) == "Z" || text.substr(at) == "z") return 0;
  const int sign = text[at] == '-' ? -1 : 1;
  if (!Skip(text, at, "+-")) return std::nullopt;
  const auto hours = Number(text, at, 2);
  if (!hours || !Skip(text, at, ":")) return std::nullopt;
  const auto minutes = Number(text, at, 2);
  if (!minutes || at != text.size() || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 60 + *minutes);
}

std::string IdText(const Claims& claims) {
  if (claims.generation <= 1) return claims.id;
  return claims.id + '.' + std::to_string(claims.generation);
}

// "lic_….2": the id and the generation.
Result<> ReadId(std::string_view text, Claims& claims) {
  const size_t dot = text.rfind('.');
  claims.generation = 1;
  if (dot != text.npos) {
    const std::string_view number = text.substr(dot + 1);
    const auto [end, fault] =
        std::from_chars(number.data(), number.data() + number.size(), claims.generation);
    if (fault != std::errc() || end != number.data() + number.size() || claims.generation < 2) {
      return Invalid("the license's jti is no id");
    }
    text = text.substr(0, dot);
  }
  if (text.empty() || text.size() > kMaxName) return Invalid("the license's jti is no id");
  claims.id = text;
  return {};
}

Result<std::vector<std::string>> Products(const JsonReader& all) {
  std::vector<std::string> out;
  const Json* product = all.MaybeAny("product");
  if (product != nullptr && product->AsString() != nullptr) {
    out.push_back(*product->AsString());
  } else if (product != nullptr && product->AsArray() != nullptr) {
    for (const Json& one : *product->AsArray()) {
      if (one.AsString() != nullptr) out.push_back(*one.AsString());
    }
    if (out.size() != product->AsArray()->size() || out.size() > kMostProducts) out.clear();
  }
  if (out.empty() || std::ranges::find(out, "") != out.end()) {
    return Fail(all.Bad("product", "no product", "a name"));
  }
  return out;
}

Result<UnixMs> Time(const JsonReader& all, std::string_view key) {
  PTG_TRY(const std::string_view text, all.String(key));
  const Result<UnixMs> time = ParseIsoTime(text);
  if (!time) return Fail(all.Bad(key, "no time", "\"2026-11-22T10:58:00\""));
  return time;
}

// In whole seconds: no more than RFC 3339 asks for.
std::string TimeText(UnixMs at) {
  std::string text = UnixMs::FromSeconds(at.seconds()).Rfc3339();
  if (const size_t dot = text.find('.'); dot != text.npos) text = text.substr(0, dot) + 'Z';
  return text;
}

Result<Claims> ReadPayload(std::string_view payload) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxToken;
  limits.max_depth = 4;
  PTG_TRY(const Json json, codec::ParseJson(payload, limits));
  PTG_TRY(const JsonReader all, JsonReader::Of(json));
  Claims claims;
  PTG_TRY(claims.products, Products(all));
  PTG_TRY(const std::string_view tier, all.String("tier"));
  PTG_TRY(const std::string_view customer, all.String("customer_id"));
  PTG_TRY(claims.issued, Time(all, "issued_at"));
  PTG_TRY(claims.expires, Time(all, "expires_at"));
  PTG_TRY(const auto jti, all.MaybeString("jti"));
  claims.tier = tier;
  claims.customer = customer;
  claims.not_before = claims.issued;
  if (jti) {
    PTG_RUN(ReadId(*jti, claims));
  } else {
    // By what was said under the tag, not by the token's text: that has several spellings
    // elsewhere.
    claims.id = "lic_" + codec::ToHex(crypto::Sha256(codec::AsBytes(payload))).substr(0, 32);
  }
  return claims;
}

}  // namespace

Result<UnixMs> ParseIsoTime(std::string_view text) {
  size_t at = 0;
  const auto bad = [] { return Fail(Code::kBadRequest, "this is no time"); };
  const auto year = Number(text, at, 4);
  if (!year || !Skip(text, at, "-")) return bad();
  const auto month = Number(text, at, 2);
  if (!month || !Skip(text, at, "-")) return bad();
  const auto day = Number(text, at, 2);
  if (!day || !Skip(text, at, "Tt ")) return bad();
  const auto hour = Number(text, at, 2);
  if (!hour || !Skip(text, at, ":")) return bad();
  const auto minute = Number(text, at, 2);
  if (!minute || !Skip(text, at, ":")) return bad();
  const auto second = Number(text, at, 2);
  if (!second) return bad();
  int64_t millis = 0;
  if (Skip(text, at, ".,")) {
    size_t digits = 0;
    for (size_t one = at; Number(text, one, 1); one = at) {
      if (digits++ < 3) millis = millis * 10 + (text[at] - '0');
      ++at;
    }
    if (digits == 0 || digits > 9) return bad();
    for (; digits < 3; ++digits) millis *= 10;
  }
  const auto zone = Zone(text, at);
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!zone || !date.ok() || *hour > 23 || *minute > 59 || *second > 59) return bad();
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t seconds = days * 86'400 + *hour * 3'600LL + (*minute - *zone) * 60LL + *second;
  return UnixMs(UnixMs::FromSeconds(seconds).ms() + millis);
}

std::string FernetPayload(const Claims& claims) {
  Json product;
  if (claims.products.empty()) {
    product = Json(claims.plan);
  } else if (claims.products.size() == 1) {
    product = Json(claims.products.front());
  } else {
    product = Json::Array();
    for (const std::string& one : claims.products) product.Push(one);
  }
  return codec::ToString(Json::Object({{"product", std::move(product)},
                                       {"tier", claims.tier},
                                       {"customer_id", claims.customer},
                                       {"issued_at", TimeText(claims.issued)},
                                       {"expires_at", TimeText(claims.expires)},
                                       {"jti", IdText(claims)}}));
}

Result<FernetKeys> FernetKeys::Parse(const std::vector<Secret>& keys, std::vector<FernetPlan> plans,
                                     std::vector<std::string> others) {
  std::vector<crypto::FernetKey> parsed;
  for (const Secret& text : keys) {
    Result<crypto::FernetKey> key = crypto::FernetKey::Parse(text);
    if (!key || parsed.size() >= kMostKeys) {
      return Fail(Error(Code::kConfig, "license.fernet_keys: number " +
                                           std::to_string(parsed.size() + 1) + " is no Fernet key")
                      .Want("up to 16 keys of 32 bytes in base64url"));
    }
    parsed.push_back(*std::move(key));
  }
  return FernetKeys(std::move(parsed), std::move(plans), std::move(others));
}

bool FernetKeys::LooksLikeOne(std::string_view text) {
  return text.size() >= kShortest && text.size() % 4 == 0 && text.starts_with(kBegins);
}

std::string FernetKeys::Issue(const Claims& claims) const {
  return keys_.front().EncryptAgain(FernetPayload(claims), claims.issued);
}

Result<Claims> FernetKeys::Read(std::string_view token, std::string_view issuer, UnixMs now) const {
  Result<std::string> payload = Fail(Code::kBadRequest, "there is no key to read it with");
  for (const crypto::FernetKey& key : keys_) {
    payload = key.Decrypt(token, now);
    // The fault of a token is its own key's to tell.
    if (payload || key.Made(token)) break;
  }
  if (!payload) return Invalid(payload.error().detail());
  Result<Claims> claims = ReadPayload(*payload);
  if (!claims) {
    const std::string& at = claims.error().pointer();
    return Invalid("the license" + (at.empty() ? "" : "'s " + at) + ": " + claims.error().detail());
  }
  claims->issuer = issuer;
  const auto plan = std::ranges::find_if(plans_, [&claims](const FernetPlan& one) {
    return one.tier == claims->tier && one.named() == claims->products;
  });
  if (plan != plans_.end()) {
    claims->plan = plan->name;
    claims->products = plan->products;
    claims->limits = plan->limits;
    return claims;
  }
  // Of a plan that is not sold any more: it opens its product's routes, but for those that name
  // plans.
  for (const std::string& product : claims->products) {
    if (std::ranges::find(others_, product) == others_.end()) continue;
    return Invalid("licenses for " + product + " have another format");
  }
  return claims;
}

}  // namespace pontage::license
