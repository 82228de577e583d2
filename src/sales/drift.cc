#include "sales/drift.h"

#include <algorithm>
#include <numeric>

#include "base/try.h"
#include "codec/json.h"

namespace pontage::sales {
namespace {

using codec::Json;
using license::License;

constexpr Millis kDay{86'400'000};
constexpr Millis kHour{3'600'000};

constexpr db::Statement kKnow{
    "reconcile_loop.know",
    "INSERT INTO reconcile_loop (loop, watermark_ms, lease, lease_until_ms, due_ms, ended_ms,"
    " drifted, report) VALUES ($1, 0, '', 0, $2, 0, 0, '') ON CONFLICT (loop) DO NOTHING"};
constexpr db::Statement kBegin{"reconcile_loop.begin",
                               "UPDATE reconcile_loop SET lease = $2, lease_until_ms = $4"
                               " WHERE loop = $1 AND due_ms <= $5 AND lease_until_ms <= $3"};
constexpr db::Statement kKeep{
    "reconcile_loop.keep",
    "UPDATE reconcile_loop SET lease_until_ms = $3 WHERE loop = $1 AND lease = $2"};
constexpr db::Statement kEnd{
    "reconcile_loop.end",
    "UPDATE reconcile_loop SET lease = '', lease_until_ms = 0, ended_ms = $2, due_ms = $3,"
    " drifted = CASE WHEN $4 > 0 THEN drifted + 1 WHEN $5 = 0 THEN drifted ELSE 0 END,"
    " report = $6 WHERE loop = $1"};
constexpr db::Statement kLoopRows{
    "reconcile_loop.all",
    "SELECT loop, due_ms, ended_ms, drifted, report FROM reconcile_loop ORDER BY loop"};
constexpr db::Statement kWatermark{"reconcile_loop.watermark",
                                   "SELECT watermark_ms FROM reconcile_loop WHERE loop = 'events'"};
constexpr db::Statement kMoveWatermark{
    "reconcile_loop.move_watermark",
    "UPDATE reconcile_loop SET watermark_ms = $1 WHERE loop = 'events' AND watermark_ms < $1"};
constexpr db::Statement kNote{
    "drift.note",
    "INSERT INTO drift (class, what, detail, healed, times, first_ms, last_ms)"
    " VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT (class, what) DO UPDATE SET detail = $3,"
    " healed = $4, times = drift.times + 1, last_ms = $5"};
constexpr db::Statement kRecent{
    "drift.recent",
    "SELECT class, what, detail, healed, times, first_ms, last_ms FROM drift"
    " ORDER BY last_ms DESC, class, what LIMIT $1"};
constexpr db::Statement kForget{"drift.forget", "DELETE FROM drift WHERE last_ms < $1"};

constexpr db::Statement kPicture{
    "purchase.picture",
    "SELECT customer, status, plan, paid_through_ms, period_end_ms, cancel_at_ms, fetched_ms"
    " FROM purchase WHERE id = $1"};
// What can still become something else. A term has the status of its payment and no period.
constexpr db::Statement kDue{
    "purchase.due",
    "SELECT id FROM purchase WHERE id > $1 AND fetched_ms > 0 AND fetched_ms <= $3"
    " AND ((id LIKE 'sub_%' AND status NOT IN ('canceled', 'incomplete_expired')"
    "  AND (period_end_ms <= $2 OR fetched_ms <= $4))"
    " OR (id LIKE 'cs_%' AND fetched_ms <= $4 AND (paid_through_ms > $2 OR"
    "  (paid_through_ms = 0 AND created_ms > $5)))) ORDER BY id LIMIT $6"};
constexpr db::Statement kOpen{
    "purchase.open",
    "SELECT id FROM purchase WHERE id > $1 AND id LIKE 'sub_%' AND fetched_ms > 0"
    " AND created_ms < $2 AND status NOT IN ('canceled', 'incomplete_expired')"
    " ORDER BY id LIMIT $3"};
constexpr db::Statement kTerms{
    "purchase.terms",
    "SELECT p.id FROM purchase p WHERE p.id > $1 AND p.id LIKE 'cs_%' AND p.paid_through_ms > $2"
    " AND p.plan <> '' AND NOT EXISTS"
    " (SELECT 1 FROM license l WHERE l.origin = 'session:' || p.id) ORDER BY p.id LIMIT $3"};
constexpr db::Statement kOrphans{
    "license.orphans",
    "SELECT DISTINCT o.purchase FROM (SELECT CASE WHEN origin LIKE 'session:%'"
    " THEN substr(origin, 9) ELSE subscription END AS purchase FROM license"
    " WHERE origin LIKE 'session:%' OR subscription <> '') o"
    " WHERE o.purchase > $1 AND NOT EXISTS"
    " (SELECT 1 FROM purchase p WHERE p.id = o.purchase AND p.fetched_ms > 0)"
    " ORDER BY o.purchase LIMIT $2"};
constexpr db::Statement kUnmailed{
    "license.unmailed",
    "SELECT l.id FROM license l WHERE l.id > $1 AND l.email <> ''"
    " AND (l.origin LIKE 'sub:%' OR l.origin LIKE 'session:%')"
    " AND l.status IN ('active', 'past_due') AND l.expires_ms > $2 AND NOT EXISTS"
    " (SELECT 1 FROM mail_outbox m WHERE m.license = l.id AND m.kind IN ('license', 'reissue'))"
    " ORDER BY l.id LIMIT $3"};

Result<std::vector<std::string>> Ids(Result<db::Rows> rows) {
  if (!rows) return Fail(rows.error());
  std::vector<std::string> ids;
  for (const db::Row& row : *rows) ids.push_back(row.Text(0));
  return ids;
}

std::optional<LoopKind> LoopOf(std::string_view name) {
  for (const LoopKind loop : kLoops) {
    if (ToString(loop) == name) return loop;
  }
  return std::nullopt;
}

int64_t IntIn(const Json& json, std::string_view key) {
  const Json* found = json.Find(key);
  return found == nullptr ? 0 : found->AsInt64().value_or(0);
}

Picture::OfLicense OfLicenseAt(const License& l, UnixMs now) {
  return {.origin = l.origin,
          .plan = l.plan,
          .status = license::StatusAt(l, now),
          .expires = l.expires,
          .revoked_by_payment = l.revoked_by == "payment"};
}

bool MoneyWentBack(const Picture& before, const Picture& after) {
  return std::ranges::any_of(after.licenses, [&before](const Picture::OfLicense& now) {
    const Picture::OfLicense* was = before.Find(now.origin);
    return was != nullptr && now.revoked_by_payment && !was->revoked_by_payment;
  });
}

}  // namespace

std::string_view ToString(DriftClass drift) {
  constexpr std::array<std::string_view, static_cast<size_t>(DriftClass::kCount_)> kNames = {
      "event_missed",           "purchase_unknown", "purchase_stale",
      "purchase_not_at_stripe", "license_missing",  "license_orphan",
      "license_unmailed",       "refund_missed",    "unreadable"};
  return kNames.at(static_cast<size_t>(drift));
}

std::string_view ToString(LoopKind loop) {
  constexpr std::array<std::string_view, kLoops.size()> kNames = {"events", "rows", "walk"};
  return kNames.at(static_cast<size_t>(loop));
}

Millis EveryOf(LoopKind loop) {
  constexpr std::array<Millis, kLoops.size()> kEvery = {Millis(300'000), kHour, kDay};
  return kEvery.at(static_cast<size_t>(loop));
}

void LoopReport::Add(Drift one) {
  ++counts.at(static_cast<size_t>(one.kind));
  if (one.healed) ++healed;
  if (drift.size() < kMostShown) drift.push_back(std::move(one));
}

int64_t LoopReport::total() const {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

Json ToJson(const LoopReport& report) {
  Json classes = Json::Object();
  for (size_t i = 0; i < report.counts.size(); ++i) {
    classes.Set(std::string(ToString(static_cast<DriftClass>(i))), report.counts.at(i));
  }
  Json found = Json::Array();
  for (const Drift& one : report.drift) {
    found.Push(Json::Object({{"class", ToString(one.kind)},
                             {"what", one.what},
                             {"detail", one.detail},
                             {"healed", one.healed}}));
  }
  Json json = Json::Object({{"loop", ToString(report.loop)},
                            {"complete", !report.fault.has_value()},
                            {"began_at", report.began.Rfc3339()},
                            {"ended_at", report.ended.Rfc3339()},
                            {"looked_at", report.looked_at},
                            {"drift", report.total()},
                            {"healed", report.healed},
                            {"classes", std::move(classes)},
                            {"found", std::move(found)}});
  if (report.fault) json.Set("fault", report.fault->detail());
  if (report.loop == LoopKind::kWalk) {
    Json prices = Json::Array();
    for (const PriceDifference& one : report.prices) {
      prices.Push(Json::Object({{"plan", one.plan}, {"ours", one.ours}, {"stripe", one.stripes}}));
    }
    json.Set("prices", std::move(prices));
  }
  return json;
}

Result<std::vector<LoopState>> ReadLoops(db::Tx& tx) {
  PTG_TRY(const db::Rows rows, tx.Run(kLoopRows));
  std::vector<LoopState> out;
  for (const db::Row& row : rows) {
    const std::optional<LoopKind> loop = LoopOf(row.Text(0));
    if (!loop) continue;
    codec::JsonLimits limits;
    limits.max_bytes = row.Text(4).size() + 1;
    Result<Json> report = codec::ParseJson(row.Text(4), limits);
    out.push_back({.loop = *loop,
                   .due = UnixMs(row.Int(1)),
                   .ended = UnixMs(row.Int(2)),
                   .drifted = row.Int(3),
                   .report = report ? *std::move(report) : Json()});
  }
  return out;
}

Result<std::optional<LastReport>> ReadLastReport(db::Tx& tx) {
  constexpr size_t kShown = 100;
  PTG_TRY(const std::vector<LoopState> loops, ReadLoops(tx));
  PTG_TRY(const std::vector<KnownDrift> known, RecentDrift(tx, kShown));
  LastReport last;
  bool alarm = false;
  int64_t drift = 0;
  int64_t healed = 0;
  std::array<int64_t, static_cast<size_t>(DriftClass::kCount_)> counts{};
  Json prices = Json::Array();
  Json shown = Json::Array();
  for (const LoopState& one : loops) {
    if (!one.report.IsObject()) continue;
    last.at = std::max(last.at, one.ended);
    alarm = alarm || one.drifted >= kAlarmAfter;
    drift += IntIn(one.report, "drift");
    healed += IntIn(one.report, "healed");
    const Json* classes = one.report.Find("classes");
    for (size_t i = 0; classes != nullptr && i < counts.size(); ++i) {
      counts.at(i) += IntIn(*classes, ToString(static_cast<DriftClass>(i)));
    }
    if (const Json* own = one.report.Find("prices")) prices = *own;
    shown.Push(one.report);
  }
  if (last.at == UnixMs()) return std::optional<LastReport>();
  Json classes = Json::Object();
  for (size_t i = 0; i < counts.size(); ++i) {
    classes.Set(std::string(ToString(static_cast<DriftClass>(i))), counts.at(i));
  }
  Json recent = Json::Array();
  for (const KnownDrift& one : known) {
    recent.Push(Json::Object({{"class", one.kind},
                              {"what", one.what},
                              {"detail", one.detail},
                              {"healed", one.healed},
                              {"times", one.times},
                              {"first_at", one.first.Rfc3339()},
                              {"last_at", one.last.Rfc3339()}}));
  }
  last.report = Json::Object({{"drift", drift},
                              {"healed", healed},
                              {"alarm", alarm},
                              {"classes", std::move(classes)},
                              {"prices", std::move(prices)},
                              {"loops", std::move(shown)},
                              {"recent", std::move(recent)}});
  return std::optional(std::move(last));
}

Result<std::vector<KnownDrift>> RecentDrift(db::Tx& tx, size_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kRecent, static_cast<int64_t>(limit)));
  std::vector<KnownDrift> out;
  for (const db::Row& row : rows) {
    out.push_back({.kind = row.Text(0),
                   .what = row.Text(1),
                   .detail = row.Text(2),
                   .healed = row.Int(3) != 0,
                   .times = row.Int(4),
                   .first = UnixMs(row.Int(5)),
                   .last = UnixMs(row.Int(6))});
  }
  return out;
}

Result<bool> BeginLoop(db::Tx& tx, LoopKind loop, const std::string& owner,
                       const LoopTerms& terms) {
  const std::string name(ToString(loop));
  PTG_RUN(tx.Run(kKnow, name, terms.first.ms()));
  PTG_TRY(const db::Rows rows, tx.Run(kBegin, name, owner, terms.now.ms(),
                                      (terms.now + terms.lease).ms(), terms.due.ms()));
  return rows.changed > 0;
}

Result<> KeepLoop(db::Tx& tx, LoopKind loop, const std::string& owner, UnixMs until) {
  PTG_RUN(tx.Run(kKeep, std::string(ToString(loop)), owner, until.ms()));
  return {};
}

Result<int64_t> EndLoop(db::Tx& tx, const LoopReport& report) {
  const std::string name(ToString(report.loop));
  const Millis every = EveryOf(report.loop);
  const UnixMs due = report.began + (report.fault ? std::min(every, kHour) : every);
  PTG_RUN(tx.Run(kKnow, name, due.ms()));
  PTG_RUN(tx.Run(kEnd, name, report.ended.ms(), due.ms(), report.total(),
                 int64_t{report.fault ? 0 : 1}, codec::ToString(ToJson(report))));
  for (const Drift& one : report.drift) {
    PTG_RUN(tx.Run(kNote, std::string(ToString(one.kind)), one.what, one.detail,
                   int64_t{one.healed ? 1 : 0}, report.ended.ms()));
  }
  PTG_TRY(const std::vector<LoopState> loops, ReadLoops(tx));
  for (const LoopState& one : loops) {
    if (one.loop == report.loop) return one.drifted;
  }
  return 0;
}

Result<> ForgetDrift(db::Tx& tx, UnixMs before) {
  PTG_RUN(tx.Run(kForget, before.ms()));
  return {};
}

Result<UnixMs> ReadWatermark(db::Tx& tx) {
  PTG_TRY(const db::Rows rows, tx.Run(kWatermark));
  return rows.empty() ? UnixMs() : UnixMs(rows.front().Int(0));
}

Result<> SetWatermark(db::Tx& tx, UnixMs at) {
  PTG_RUN(tx.Run(kKnow, std::string(ToString(LoopKind::kEvents)), int64_t{0}));
  PTG_RUN(tx.Run(kMoveWatermark, at.ms()));
  return {};
}

const Picture::OfLicense* Picture::Find(std::string_view origin) const {
  const auto at = std::ranges::find(licenses, origin, &OfLicense::origin);
  return at == licenses.end() ? nullptr : &*at;
}

Result<Picture> PictureOf(db::Tx& tx, const std::string& purchase, UnixMs now) {
  Picture picture;
  PTG_TRY(const db::Rows rows, tx.Run(kPicture, purchase));
  if (!rows.empty() && rows.front().Int(6) > 0) {
    const db::Row& row = rows.front();
    picture.known = true;
    picture.customer = row.Text(0);
    picture.status = row.Text(1);
    picture.plan = row.Text(2);
    picture.paid_through = UnixMs(row.Int(3));
    picture.period_end = UnixMs(row.Int(4));
    picture.cancel_at = UnixMs(row.Int(5));
  }
  if (purchase.starts_with("cs_")) {
    PTG_TRY(const std::optional<License> one,
            license::FindLicenseByOrigin(tx, "session:" + purchase));
    if (one) picture.licenses.push_back(OfLicenseAt(*one, now));
    return picture;
  }
  PTG_TRY(const std::vector<License> all, license::ListLicenses(tx, {.subscription = purchase}));
  for (const License& one : all) picture.licenses.push_back(OfLicenseAt(one, now));
  std::ranges::sort(picture.licenses, {}, &Picture::OfLicense::origin);
  return picture;
}

std::optional<DriftClass> DifferenceOf(const Picture& before, const Picture& after) {
  if (before == after) return std::nullopt;
  if (!before.known) {
    return before.licenses.empty() ? DriftClass::kPurchaseUnknown : DriftClass::kLicenseOrphan;
  }
  if (after.licenses.size() > before.licenses.size()) return DriftClass::kLicenseMissing;
  if (MoneyWentBack(before, after)) return DriftClass::kRefundMissed;
  return DriftClass::kPurchaseStale;
}

Result<std::vector<std::string>> DuePurchases(db::Tx& tx, const std::string& after, UnixMs now,
                                              size_t limit) {
  // One whose renewal Stripe has not begun yet is not asked about over and over.
  constexpr Millis kRest{60'000};
  constexpr Millis kDelayed = kDay * 30;  // a payment that takes longer will not come
  return Ids(tx.Run(kDue, after, now.ms(), (now - kRest).ms(), (now - kDay).ms(),
                    (now - kDelayed).ms(), static_cast<int64_t>(limit)));
}

Result<std::vector<std::string>> OpenSubscriptions(db::Tx& tx, const std::string& after,
                                                   UnixMs before, size_t limit) {
  return Ids(tx.Run(kOpen, after, before.ms(), static_cast<int64_t>(limit)));
}

Result<std::vector<std::string>> TermsWithoutLicense(db::Tx& tx, const std::string& after,
                                                     UnixMs now, size_t limit) {
  return Ids(tx.Run(kTerms, after, now.ms(), static_cast<int64_t>(limit)));
}

Result<std::vector<std::string>> UnknownOrigins(db::Tx& tx, const std::string& after,
                                                size_t limit) {
  return Ids(tx.Run(kOrphans, after, static_cast<int64_t>(limit)));
}

Result<std::vector<License>> UnmailedLicenses(db::Tx& tx, const std::string& after, UnixMs now,
                                              size_t limit) {
  PTG_TRY(const std::vector<std::string> ids,
          Ids(tx.Run(kUnmailed, after, now.ms(), static_cast<int64_t>(limit))));
  std::vector<License> out;
  for (const std::string& id : ids) {
    PTG_TRY(std::optional<License> one, license::FindLicense(tx, id));
    if (one) out.push_back(*std::move(one));
  }
  return out;
}

}  // namespace pontage::sales
