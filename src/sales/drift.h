#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"
#include "license/license_store.h"
#include "sales/setup.h"

// Where our books and Stripe's have differed: what a reconciliation found, and the books of these
// findings, as functions inside a transaction. Nothing here asks Stripe.
namespace pontage::sales {

enum class DriftClass : uint8_t {
  kEventMissed,          // an event that no delivery brought; it is in the inbox now
  kPurchaseUnknown,      // Stripe has it and we lacked it
  kPurchaseStale,        // we had it as it was once
  kPurchaseNotAtStripe,  // we have it and Stripe does not; left as it is, for people
  kLicenseMissing,       // paid for, and there was no license
  kLicenseOrphan,        // a license whose purchase we did not know
  kLicenseUnmailed,      // nobody was sent it
  kRefundMissed,         // money went back, or a dispute stands, and the license did not say so
  kUnreadable,           // Stripe has it in a shape that cannot be read; for people
  kCount_,
};
// "event_missed": the spelling of reports, metrics and logs.
std::string_view ToString(DriftClass drift);

struct Drift {
  DriftClass kind = DriftClass::kPurchaseStale;
  std::string what;  // the purchase, event or license
  std::string detail;
  bool healed = false;
};

// kEvents: what was never delivered. kRows: our rows that nobody has looked at for too long. kWalk:
// everything, both ways.
enum class LoopKind : uint8_t { kEvents, kRows, kWalk };
inline constexpr std::array kLoops = {LoopKind::kEvents, LoopKind::kRows, LoopKind::kWalk};
std::string_view ToString(LoopKind loop);
Millis EveryOf(LoopKind loop);

// What one run of a loop has found.
struct LoopReport {
  LoopKind loop = LoopKind::kEvents;
  UnixMs began;
  UnixMs ended;
  int64_t looked_at = 0;  // events, rows, or objects at Stripe
  std::array<int64_t, static_cast<size_t>(DriftClass::kCount_)> counts{};
  int64_t healed = 0;
  std::vector<Drift> drift;  // the first kMostShown of them
  std::vector<PriceDifference> prices;
  // Why it did not look at everything; none: it did.
  std::optional<Error> fault;

  static constexpr size_t kMostShown = 1'000;
  void Add(Drift one);
  int64_t total() const;
};
codec::Json ToJson(const LoopReport& report);

// A loop as the books have it.
struct LoopState {
  LoopKind loop = LoopKind::kEvents;
  UnixMs due;
  UnixMs ended;         // 0: never
  int64_t drifted = 0;  // runs in a row that have found something: two are an alarm
  codec::Json report;   // ToJson of the last; null: none yet
};
inline constexpr int64_t kAlarmAfter = 2;
// Every loop that a process of this store has ever begun.
Result<std::vector<LoopState>> ReadLoops(db::Tx& tx);

// What the last run of each loop has found, as one: an object whose "drift" counts what differed,
// with "healed", "classes", "alarm" (whether a loop has found something twice in a row), "prices",
// "loops" as ToJson, and "recent" of the last weeks. None: nothing was compared yet.
struct LastReport {
  UnixMs at;  // of the youngest
  codec::Json report;
};
Result<std::optional<LastReport>> ReadLastReport(db::Tx& tx);

struct KnownDrift {
  std::string kind;  // as ToString(DriftClass)
  std::string what;
  std::string detail;
  bool healed = false;
  int64_t times = 0;
  UnixMs first;
  UnixMs last;
};
// The latest, at most `limit`.
Result<std::vector<KnownDrift>> RecentDrift(db::Tx& tx, size_t limit);

// Begins a loop that is due at `due` or before, for `owner`, until `now` + `lease`. False: it is
// not, or another process is at it. A loop that nobody has ever begun is due at `first`.
struct LoopTerms {
  UnixMs now;
  UnixMs due;
  UnixMs first;
  Millis lease{0};
};
Result<bool> BeginLoop(db::Tx& tx, LoopKind loop, const std::string& owner, const LoopTerms& terms);
Result<> KeepLoop(db::Tx& tx, LoopKind loop, const std::string& owner, UnixMs until);
// Writes down what a run has found, whoever made it; it is due again as EveryOf says, or within
// the hour where it did not look at everything. How many times in a row something was found.
Result<int64_t> EndLoop(db::Tx& tx, const LoopReport& report);
// Forgets what was found so long ago.
Result<> ForgetDrift(db::Tx& tx, UnixMs before);

// Until where events are taken in; 0: from the first that Stripe still has.
Result<UnixMs> ReadWatermark(db::Tx& tx);
// Never goes back.
Result<> SetWatermark(db::Tx& tx, UnixMs at);

// What our books say of one purchase, to tell whether a look at Stripe has changed anything.
struct Picture {
  bool known = false;  // it has been fetched at least once
  std::string customer;
  std::string status;
  std::string plan;
  UnixMs paid_through;
  UnixMs period_end;
  UnixMs cancel_at;
  struct OfLicense {
    std::string origin;
    std::string plan;
    license::Status status = license::Status::kActive;
    UnixMs expires;
    bool revoked_by_payment = false;
    friend bool operator==(const OfLicense&, const OfLicense&) = default;
  };
  std::vector<OfLicense> licenses;  // by origin
  friend bool operator==(const Picture&, const Picture&) = default;

  const OfLicense* Find(std::string_view origin) const;
};
// A license whose time has come reads as expired, whether or not somebody wrote that down.
Result<Picture> PictureOf(db::Tx& tx, const std::string& purchase, UnixMs now);
// In what the second differs from the first; none: in nothing.
std::optional<DriftClass> DifferenceOf(const Picture& before, const Picture& after);

// Ids after `after`, in order, at most `limit`, of:
// purchases that are due: not over, and their period has passed or nobody has looked for a day;
Result<std::vector<std::string>> DuePurchases(db::Tx& tx, const std::string& after, UnixMs now,
                                              size_t limit);
// subscriptions that were known before `before` and are not over;
Result<std::vector<std::string>> OpenSubscriptions(db::Tx& tx, const std::string& after,
                                                   UnixMs before, size_t limit);
// purchases of a term that runs and has no license;
Result<std::vector<std::string>> TermsWithoutLicense(db::Tx& tx, const std::string& after,
                                                     UnixMs now, size_t limit);
// purchases that licenses name and that we do not have.
Result<std::vector<std::string>> UnknownOrigins(db::Tx& tx, const std::string& after, size_t limit);
// Licenses in force that were bought and never mailed, by id.
Result<std::vector<license::License>> UnmailedLicenses(db::Tx& tx, const std::string& after,
                                                       UnixMs now, size_t limit);

}  // namespace pontage::sales
