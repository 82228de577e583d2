// Reads a license's claims as they come, without a tree of what it says: this is done while
// somebody waits, for every license that is new.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/try.h"
#include "codec/json_visit.h"
#include "license/claims.h"

namespace pontage::license {
namespace {

using codec::Json;

constexpr size_t kMaxName = 256;
constexpr size_t kMaxDepth = 6;
// How much of a wrong value an error repeats.
constexpr size_t kMaxShown = 32;

// In the order of where they stand: up to kLic at the top, from kMonthly on in the limits.
enum class Claim : uint8_t {
  kOther,
  kIssuer,
  kAudience,
  kCustomer,
  kId,
  kIssued,
  kNotBefore,
  kExpires,
  kLic,
  kProduct,
  kPlan,
  kTier,
  kLimits,
  kSubscription,
  kGeneration,
  kMonthly,
  kRpm,
};

enum class Form : uint8_t { kName, kText, kTime, kInt, kObject, kNames };

// Names are compared as numbers; longer ones than ours are all the same, and none of them.
constexpr uint64_t Packed(std::string_view name) {
  uint64_t packed = 0;
  if (name.size() > sizeof packed) return packed;
  for (const char c : name) packed = packed << 8 | static_cast<uint8_t>(c);
  return packed;
}

struct Known {
  std::string_view name;
  Claim claim;
  Form form;
  bool required = false;
  uint64_t packed = Packed(name);
};

constexpr std::array kTop = {
    Known{"iss", Claim::kIssuer, Form::kName, true},
    Known{"aud", Claim::kAudience, Form::kNames, true},
    Known{"sub", Claim::kCustomer, Form::kName, true},
    Known{"jti", Claim::kId, Form::kName, true},
    Known{"iat", Claim::kIssued, Form::kTime, true},
    Known{"nbf", Claim::kNotBefore, Form::kTime, true},
    Known{"exp", Claim::kExpires, Form::kTime, true},
    Known{"lic", Claim::kLic, Form::kObject, true},
};
constexpr std::array kLic = {
    Known{"product", Claim::kProduct, Form::kNames}, Known{"plan", Claim::kPlan, Form::kName, true},
    Known{"tier", Claim::kTier, Form::kText},        Known{"limits", Claim::kLimits, Form::kObject},
    Known{"sub", Claim::kSubscription, Form::kText}, Known{"gen", Claim::kGeneration, Form::kInt},
};
constexpr std::array kLimits = {
    Known{"monthly", Claim::kMonthly, Form::kInt},
    Known{"rpm", Claim::kRpm, Form::kInt},
};

constexpr uint32_t BitOf(Claim claim) { return 1U << static_cast<uint32_t>(claim); }

class ClaimsVisitor : public codec::JsonVisitor {
 public:
  bool Name(std::string_view name) override {
    known_ = nullptr;
    foreign_ = foreign_ || passed_over_ > 0;
    if (passed_over_ > 0) return true;
    const std::span<const Known> all = Here();
    const uint64_t packed = Packed(name);
    const auto found = std::ranges::find_if(all, [&](const Known& known) {
      return known.packed == packed && known.name.size() == name.size();
    });
    foreign_ = foreign_ || found == all.end();
    if (found == all.end()) return true;
    known_ = &*found;
    if ((named_ & BitOf(known_->claim)) != 0) return Refuse(*known_, "appears twice", "once");
    named_ |= BitOf(known_->claim);
    return true;
  }

  bool Open(Json::Kind kind) override {
    const bool inside = place_ == Place::kAudience || (place_ != Place::kNowhere && !known_);
    if (passed_over_ > 0 || inside) {
      ++passed_over_;
      return true;
    }
    const bool object = kind == Json::Kind::kObject;
    if (place_ == Place::kNowhere) {
      place_ = Place::kTop;
      return object || Refuse("", "is an array, not an object", "an object");
    }
    if (place_ == Place::kProducts) return Refuse(*known_, "a product without a name", "names");
    if (known_->form != (object ? Form::kObject : Form::kNames)) return RefuseKind(kind);
    given_ |= BitOf(known_->claim);
    place_ = InsideOf(known_->claim);
    return true;
  }

  bool Close() override {
    if (passed_over_ > 0) {
      --passed_over_;
    } else if (place_ == Place::kTop) {
      place_ = Place::kNowhere;
    } else {
      place_ = place_ == Place::kLic || place_ == Place::kAudience ? Place::kTop : Place::kLic;
    }
    return true;
  }

  bool Value(Json::Kind kind, std::string_view text) override {
    if (passed_over_ > 0) return true;
    const bool string = kind == Json::Kind::kString;
    switch (place_) {
      case Place::kNowhere:
        return Refuse("", "is " + std::string(codec::NameOf(kind)) + ", not an object",
                      "an object");
      case Place::kAudience:
        for_us_ = for_us_ || (string && text == kAudience);
        return true;
      case Place::kProducts:
        return AddProduct(string ? text : "");
      default:
        break;
    }
    if (known_ == nullptr || kind == Json::Kind::kNull) return true;
    given_ |= BitOf(known_->claim);
    switch (known_->form) {
      case Form::kObject:
        return RefuseKind(kind);
      case Form::kNames:
        return string ? TakeOne(text) : RefuseKind(kind);
      case Form::kName:
      case Form::kText:
        return string ? TakeText(text) : RefuseKind(kind);
      case Form::kTime:
      case Form::kInt:
        return kind == Json::Kind::kNumber ? TakeNumber(text) : RefuseKind(kind);
    }
    return true;
  }

  bool foreign() const { return foreign_; }

  // Once all of it was read; what was refused on the way is in refusal().
  Result<Claims> Take() {
    for (const std::span<const Known> all :
         {std::span<const Known>(kTop), std::span<const Known>(kLic)}) {
      for (const Known& known : all) {
        if (!known.required || (given_ & BitOf(known.claim)) != 0) continue;
        Refuse(known, std::string(known.name) + " is missing", std::string(WantOf(known)));
        return std::unexpected(std::move(*refusal_));
      }
    }
    if (!for_us_) {
      Refuse("/aud", "a token for somebody else", "\"gw\"");
      return std::unexpected(std::move(*refusal_));
    }
    return std::move(claims_);
  }
  const std::optional<Error>& refusal() const { return refusal_; }

 private:
  enum class Place : uint8_t { kNowhere, kTop, kLic, kLimits, kAudience, kProducts };

  static Place InsideOf(Claim claim) {
    switch (claim) {
      case Claim::kLic:
        return Place::kLic;
      case Claim::kLimits:
        return Place::kLimits;
      case Claim::kAudience:
        return Place::kAudience;
      default:
        return Place::kProducts;
    }
  }
  static std::string_view WantOf(const Known& known) {
    switch (known.form) {
      case Form::kName:
      case Form::kText:
        return "a string";
      case Form::kTime:
      case Form::kInt:
        return "a whole number";
      case Form::kObject:
        return "an object";
      case Form::kNames:
        return known.claim == Claim::kAudience ? "\"gw\"" : "a name or up to 64 names";
    }
    return "";
  }
  // What is known where we are.
  std::span<const Known> Here() const {
    switch (place_) {
      case Place::kTop:
        return kTop;
      case Place::kLic:
        return kLic;
      case Place::kLimits:
        return kLimits;
      default:
        return {};
    }
  }

  bool Refuse(std::string pointer, std::string detail, std::string want) {
    refusal_ =
        Error(Code::kBadRequest, std::move(detail)).At(std::move(pointer)).Want(std::move(want));
    return false;
  }
  bool Refuse(const Known& known, std::string detail, std::string want) {
    std::string pointer = known.claim <= Claim::kLic      ? "/"
                          : known.claim < Claim::kMonthly ? "/lic/"
                                                          : "/lic/limits/";
    return Refuse(pointer.append(known.name), std::move(detail), std::move(want));
  }
  bool RefuseKind(Json::Kind kind) {
    const std::string want(WantOf(*known_));
    return Refuse(
        *known_,
        std::string(known_->name) + " is " + std::string(codec::NameOf(kind)) + ", not " + want,
        want);
  }

  bool AddProduct(std::string_view name) {
    if (name.empty()) return Refuse(*known_, "a product without a name", "names");
    if (claims_.products.size() == kMostProducts) {
      return Refuse(*known_, "no list of products", "a name or up to 64 names");
    }
    claims_.products.emplace_back(name);
    return true;
  }

  // RFC 7519 §4.1.3: one name or a list of them; so it is for products.
  bool TakeOne(std::string_view text) {
    if (known_->claim == Claim::kProduct) return AddProduct(text);
    for_us_ = text == kAudience;
    return true;
  }

  bool TakeText(std::string_view text) {
    if (known_->form == Form::kName && (text.empty() || text.size() > kMaxName)) {
      return Refuse(*known_, "a name of this length", "1 to 256 characters");
    }
    TextOf(known_->claim) = text;
    return true;
  }
  std::string& TextOf(Claim claim) {
    switch (claim) {
      case Claim::kIssuer:
        return claims_.issuer;
      case Claim::kCustomer:
        return claims_.customer;
      case Claim::kId:
        return claims_.id;
      case Claim::kPlan:
        return claims_.plan;
      case Claim::kTier:
        return claims_.tier;
      default:
        return claims_.subscription;
    }
  }

  bool TakeNumber(std::string_view digits) {
    int64_t n = 0;
    const char* const end = digits.data() + digits.size();
    const auto [at, fault] = std::from_chars(digits.data(), end, n);
    if (fault != std::errc() || at != end) {
      return Refuse(*known_,
                    std::string(known_->name) + " is " + std::string(digits.substr(0, kMaxShown)),
                    "a whole number");
    }
    if (known_->form == Form::kTime && n < 0) {
      return Refuse(*known_, "a time before 1970", "seconds since 1970");
    }
    switch (known_->claim) {
      case Claim::kIssued:
        claims_.issued = UnixMs::FromSeconds(n);
        break;
      case Claim::kNotBefore:
        claims_.not_before = UnixMs::FromSeconds(n);
        break;
      case Claim::kExpires:
        claims_.expires = UnixMs::FromSeconds(n);
        break;
      case Claim::kMonthly:
        claims_.limits.monthly = std::max<int64_t>(0, n);
        break;
      case Claim::kRpm:
        claims_.limits.rpm = std::max<int64_t>(0, n);
        break;
      default:
        claims_.generation = n;
    }
    return true;
  }

  Claims claims_;
  bool for_us_ = false;
  std::optional<Error> refusal_;
  uint32_t named_ = 0;
  uint32_t given_ = 0;  // of those, what was not null
  Place place_ = Place::kNowhere;
  bool foreign_ = false;          // there are members that are none of ours
  size_t passed_over_ = 0;        // so deep in something that is not known
  const Known* known_ = nullptr;  // whose value comes next
};

}  // namespace

Result<Claims> ReadClaims(std::string_view text) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxToken;
  limits.max_depth = kMaxDepth;
  ClaimsVisitor visitor;
  const Result<> read = codec::VisitJson(text, limits, visitor);
  if (visitor.refusal()) return Fail(*visitor.refusal());
  PTG_RUN(read);
  // Our own tokens have no others; of these somebody else's parser may believe another one of two.
  if (visitor.foreign()) PTG_RUN(codec::ParseJson(text, limits));
  return visitor.Take();
}

}  // namespace pontage::license
