#include "wire/stripe/event.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "wire/stripe/read.h"

namespace pontage::stripe {
namespace {

using codec::Json;
using codec::JsonReader;
using read::FlagAt;
using read::IdAt;
using read::TextAt;

constexpr std::string_view kThinPrefix = "v1.";
// Stripe's own have some thirty characters and are never to have more than this. No index of a
// store takes thousands.
constexpr size_t kMostId = 255;

Result<EventId> OwnId(const JsonReader& r) {
  PTG_TRY(EventId id, IdAt<EventId>(r, "id"));
  if (id.str().size() <= kMostId) return id;
  return Fail(r.Bad("id", "id is too long", "at most 255 characters"));
}

// Takes fixed forms off the front of a text; once something was not there, nothing is.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  int Digits(size_t count) {
    int number = 0;
    if (rest_.size() < count) return Stop();
    const char* const end = rest_.data() + count;
    if (*rest_.data() == '-') return Stop();
    const auto [at, fault] = std::from_chars(rest_.data(), end, number);
    if (fault != std::errc() || at != end) return Stop();
    rest_.remove_prefix(count);
    return number;
  }
  // The first of `any` that is next.
  char One(std::string_view any) {
    if (rest_.empty() || !any.contains(rest_.front())) {
      Stop();
      return 0;
    }
    const char found = rest_.front();
    rest_.remove_prefix(1);
    return found;
  }
  // ".123456" as milliseconds; 0 when there is no dot.
  int Fraction() {
    if (rest_.empty() || rest_.front() != '.') return 0;
    rest_.remove_prefix(1);
    int millis = 0;
    int weight = 100;
    bool any = false;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      millis += (rest_.front() - '0') * weight;
      weight /= 10;
      any = true;
      rest_.remove_prefix(1);
    }
    return any ? millis : Stop();
  }
  bool good() const { return good_; }
  bool at_end() const { return rest_.empty(); }

 private:
  int Stop() {
    good_ = false;
    rest_ = {};
    return 0;
  }
  std::string_view rest_;
  bool good_ = true;
};

Result<Event> ReadThin(const JsonReader& r) {
  Event event;
  event.thin = true;
  PTG_TRY(event.id, OwnId(r));
  PTG_TRY(const std::string_view type, r.String("type"));
  event.type = type.starts_with(kThinPrefix) ? type.substr(kThinPrefix.size()) : type;
  PTG_TRY(const std::optional<std::string_view> created, r.MaybeString("created"));
  if (created) {
    const std::optional<UnixMs> at = ParseRfc3339(*created);
    if (!at) return Fail(r.Bad("created", "created is no time", "2026-11-21T10:58:00.123Z"));
    event.created = *at;
  }
  PTG_TRY(event.livemode, FlagAt(r, "livemode"));
  PTG_TRY(const std::optional<JsonReader> related, r.MaybeObject("related_object"));
  if (related) {
    PTG_TRY(event.object_kind, TextAt(*related, "type"));
    PTG_TRY(event.object_id, TextAt(*related, "id"));
  }
  PTG_TRY(std::string twin, TextAt(r, "snapshot_event"));
  event.twin = EventId(std::move(twin));
  return event;
}

Result<Event> ReadSnapshot(const JsonReader& r) {
  Event event;
  PTG_TRY(event.id, OwnId(r));
  PTG_TRY(event.type, r.String("type"));
  PTG_TRY(const std::optional<int64_t> created, r.MaybeInt("created"));
  event.created = UnixMs::FromSeconds(created.value_or(0));
  PTG_TRY(event.api_version, TextAt(r, "api_version"));
  PTG_TRY(event.livemode, FlagAt(r, "livemode"));
  PTG_TRY(const std::optional<int64_t> pending, r.MaybeInt("pending_webhooks"));
  event.pending = pending.value_or(0);
  // It only says that it is time to look: an event that does not say at what is one all the same.
  PTG_TRY(const std::optional<JsonReader> data, r.MaybeObject("data"));
  if (!data) return event;
  if (const Json* previous = data->MaybeAny("previous_attributes")) event.previous = *previous;
  PTG_TRY(const std::optional<JsonReader> object, data->MaybeObject("object"));
  if (!object) return event;
  // An upcoming invoice has no id, and other things to come may have none either.
  PTG_TRY(event.object_kind, TextAt(*object, "object"));
  PTG_TRY(event.object_id, TextAt(*object, "id"));
  event.object = object->json();
  return event;
}

}  // namespace

Result<Event> ReadEvent(const JsonReader& r) {
  PTG_TRY(const std::string_view kind, r.String("object"));
  if (kind == "event") return ReadSnapshot(r);
  if (kind == "v2.core.event") return ReadThin(r);
  return Fail(r.Bad("object", "is no event", "event or v2.core.event"));
}

std::optional<UnixMs> ParseRfc3339(std::string_view text) {
  using std::chrono::day, std::chrono::month, std::chrono::year;
  Scanner scan(text);
  const int y = scan.Digits(4);
  scan.One("-");
  const int m = scan.Digits(2);
  scan.One("-");
  const int d = scan.Digits(2);
  scan.One("Tt ");
  const int hours = scan.Digits(2);
  scan.One(":");
  const int minutes = scan.Digits(2);
  scan.One(":");
  const int seconds = scan.Digits(2);
  const int millis = scan.Fraction();
  const char zone = scan.One("Zz+-");
  int offset_minutes = 0;
  if (zone == '+' || zone == '-') {
    const int ahead_hours = scan.Digits(2);
    scan.One(":");
    const int ahead_minutes = scan.Digits(2);
    if (ahead_hours > 23 || ahead_minutes > 59) return std::nullopt;
    offset_minutes = (ahead_hours * 60 + ahead_minutes) * (zone == '+' ? 1 : -1);
  }
  const std::chrono::year_month_day date(year(y), month(static_cast<unsigned>(m)),
                                         day(static_cast<unsigned>(d)));
  // A leap second counts as the second before it.
  if (!scan.good() || !scan.at_end() || !date.ok() || hours > 23 || minutes > 59 || seconds > 60) {
    return std::nullopt;
  }
  const std::chrono::sys_days days(date);
  const int64_t in_day = hours * 3600 + (minutes - offset_minutes) * 60 + std::min(seconds, 59);
  const int64_t day_s = int64_t{days.time_since_epoch().count()} * 86'400;
  return UnixMs((day_s + in_day) * 1000 + millis);
}

}  // namespace pontage::stripe
