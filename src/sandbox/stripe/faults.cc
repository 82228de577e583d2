#include "sandbox/stripe/faults.h"

#include <array>
#include <charconv>

#include "base/try.h"
#include "sandbox/stripe/versions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr int64_t kMany = 1'000'000;
constexpr int64_t kMostDuplicates = 20;  // of each event; the queue has its own bound
constexpr size_t kMostFailures = 100;
constexpr Millis kMostDelay{3'600'000};

// "500" or "500,503,429".
Answered<std::deque<int>> ParseStatuses(std::string_view text) {
  std::deque<int> statuses;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    int status = 0;
    const auto [at, fault] = std::from_chars(text.data(), text.data() + end, status);
    if (fault != std::errc() || at != text.data() + end || status < 400 || status > 599 ||
        statuses.size() == kMostFailures) {
      return Refuse("", "fail_next takes statuses, 400 to 599, with commas between", "fail_next");
    }
    statuses.push_back(status);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return statuses;
}

Answered<> SetCount(const Params& params, std::string_view name, int64_t most, int64_t& count) {
  if (params.Clears(name)) count = 0;
  PTG_TRY(const std::optional<int64_t> value, params.MaybeInt(name, 0, most));
  if (value) count = *value;
  return {};
}

Answered<> SetEvents(const Params& params, Faults& faults) {
  PTG_RUN(SetCount(params, "duplicate", kMostDuplicates, faults.duplicate));
  PTG_RUN(SetCount(params, "drop", kMany, faults.drop));
  int64_t seed = static_cast<int64_t>(faults.shuffle);
  PTG_RUN(SetCount(params, "shuffle", INT64_MAX, seed));
  faults.shuffle = static_cast<uint64_t>(seed);
  PTG_TRY(const std::optional<std::string> delay, params.MaybeText("delay"));
  if (delay || params.Clears("delay")) {
    // A bare number is of milliseconds.
    std::string text = delay.value_or("0");
    if (text.find_first_not_of("0123456789") == std::string::npos) text += "ms";
    const Result<Millis> time = ParseDuration(text);
    if (!time || *time > kMostDelay) {
      return Refuse("", "delay takes a duration up to 1h: 500ms, 2s", "delay");
    }
    faults.delay = *time;
  }
  PTG_TRY(const std::optional<std::string> thin,
          params.MaybeWord("thin", {"0", "false", "1", "true", "both"}));
  if (thin == "both") {
    faults.thin = Faults::Thin::kBoth;
  } else if (thin) {
    faults.thin = *thin == "1" || *thin == "true" ? Faults::Thin::kInstead : Faults::Thin::kOff;
  }
  if (params.Clears("api_version")) faults.api_version.clear();
  PTG_TRY(const std::optional<std::string> version, params.MaybeText("api_version"));
  if (version) {
    const std::optional<std::string> known = VersionOf(*version);
    if (!known) return Refuse("", "Invalid Stripe API version: " + *version, "api_version");
    faults.api_version = *known;
  }
  return {};
}

}  // namespace

std::span<const std::string_view> Faults::ParamNames() {
  static constexpr std::array<std::string_view, 13> kNames = {
      "duplicate",   "shuffle",       "delay",     "drop",          "thin",
      "api_version", "rate_limit",    "fail_next", "keep_failures", "hang",
      "hang_up",     "rotate_secret", "reset"};
  return kNames;
}

Answered<> Faults::Set(const Params& params) {
  PTG_TRY(const std::optional<bool> reset, params.MaybeBool("reset"));
  Faults next = reset.value_or(false) ? Faults() : *this;
  PTG_RUN(SetEvents(params, next));
  PTG_RUN(SetCount(params, "rate_limit", kMany, next.rate_limit));
  PTG_RUN(SetCount(params, "hang", kMany, next.hang));
  PTG_RUN(SetCount(params, "hang_up", kMany, next.hang_up));
  PTG_TRY(const std::optional<bool> keep, params.MaybeBool("keep_failures"));
  if (keep) next.keep_failures = *keep;
  if (params.Clears("fail_next")) next.fail_next.clear();
  PTG_TRY(const std::optional<std::string> statuses, params.MaybeText("fail_next"));
  if (statuses) {
    PTG_TRY(next.fail_next, ParseStatuses(*statuses));
  }
  *this = std::move(next);
  return {};
}

Json Faults::ToJson() const {
  Json failing = Json::Array();
  for (const int status : fail_next) failing.Push(status);
  const char* const thin_words[] = {"0", "1", "both"};
  return Json::Object({{"duplicate", duplicate},
                       {"shuffle", shuffle},
                       {"delay", std::to_string(delay.count()) + "ms"},
                       {"drop", drop},
                       {"thin", thin_words[static_cast<size_t>(thin)]},
                       {"api_version", api_version},
                       {"rate_limit", rate_limit},
                       {"fail_next", std::move(failing)},
                       {"keep_failures", keep_failures},
                       {"hang", hang},
                       {"hang_up", hang_up}});
}

}  // namespace pontage::sandbox::stripe
