#include "license/license_store.h"

#include <algorithm>

#include "base/try.h"
#include "codec/json.h"
#include "codec/text.h"

namespace pontage::license {
namespace {

using codec::Json;

#define PTG_LICENSE_COLUMNS                                                                    \
  "id, origin, customer, email, plan, products, tier, monthly, rpm, subscription, generation," \
  " status, revoked_by, reason, paid_through_ms, expires_ms, issued_ms, signed_until_ms,"      \
  " created_ms, updated_ms, extended_ms, old_until_ms, price, extended_end_ms"

constexpr db::Statement kInsert{
    "license.insert",
    "INSERT INTO license (" PTG_LICENSE_COLUMNS
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,"
    " $19, $20, $21, $22, $23, $24) ON CONFLICT (origin) DO NOTHING"};
constexpr db::Statement kById{"license.by_id",
                              "SELECT " PTG_LICENSE_COLUMNS " FROM license WHERE id = $1"};
constexpr db::Statement kByOrigin{"license.by_origin",
                                  "SELECT " PTG_LICENSE_COLUMNS " FROM license WHERE origin = $1"};
constexpr db::Statement kList{"license.list",
                              "SELECT " PTG_LICENSE_COLUMNS
                              " FROM license WHERE ($1 = '' OR customer = $1)"
                              " AND ($2 = '' OR email = $2) AND ($3 = '' OR subscription = $3)"
                              " AND ($6 = '' OR created_ms < $5 OR (created_ms = $5 AND id < $6))"
                              " ORDER BY created_ms DESC, id DESC LIMIT $4"};
// With the words of the index, which has only these.
constexpr db::Statement kOfSubscription{
    "license.of_subscription",
    "SELECT " PTG_LICENSE_COLUMNS
    " FROM license WHERE subscription = $1 AND subscription <> '' ORDER BY created_ms, id LIMIT"
    " $2"};
#define PTG_HAD_PLAN                                                                       \
  " AND (plan = $1 OR EXISTS (SELECT 1 FROM license_had AS h WHERE h.license = license.id" \
  " AND h.plan = $1)) AND ($4 = '' OR subscription <> $4)"
// Each half has its index.
constexpr db::Statement kEverHad{
    "license.ever_had",
    "SELECT id FROM license WHERE customer = $2 AND customer <> ''" PTG_HAD_PLAN
    " UNION ALL SELECT id FROM license WHERE email = $3 AND email <> ''" PTG_HAD_PLAN " LIMIT 1"};
#undef PTG_HAD_PLAN
constexpr db::Statement kHad{"license.had",
                             "INSERT INTO license_had (license, plan) VALUES ($1, $2) ON CONFLICT "
                             "(license, plan) DO NOTHING"};
constexpr db::Statement kIssuedBefore{
    "license.issued_before",
    "SELECT " PTG_LICENSE_COLUMNS
    " FROM license WHERE issued_ms < $1 AND expires_ms > $2 AND status <> 'revoked'"
    " AND status <> 'expired' ORDER BY issued_ms, id LIMIT $3"};
// Takes the row's lock where two may write at a time (PostgreSQL); both engines know it.
constexpr db::Statement kHoldById{"license.hold",
                                  "UPDATE license SET updated_ms = updated_ms WHERE id = $1"};
constexpr db::Statement kHoldByOrigin{
    "license.hold_by_origin", "UPDATE license SET updated_ms = updated_ms WHERE origin = $1"};
constexpr db::Statement kMove{"license.move", "UPDATE license SET origin = $2 WHERE id = $1"};
constexpr db::Statement kUpdate{
    "license.update",
    "UPDATE license SET customer = $2, email = $3, plan = $4, products = $5, tier = $6,"
    " monthly = $7, rpm = $8, subscription = $9, generation = $10, status = $11, revoked_by = $12,"
    " reason = $13, paid_through_ms = $14, expires_ms = $15, issued_ms = $16, signed_until_ms = "
    "$17,"
    " updated_ms = $18, old_until_ms = $20, price = $21,"
    " extended_end_ms = CASE WHEN $19 > extended_ms THEN $22 ELSE extended_end_ms END,"
    " extended_ms = CASE WHEN $19 > extended_ms THEN $19 ELSE extended_ms END"
    " WHERE id = $1 AND (revoked_by <> 'operator' OR $12 = 'operator')"};
constexpr db::Statement kAppend{
    "license_feed.append",
    "INSERT INTO license_feed (seq, license, status, expires_ms, plan, generation, at_ms, hash,"
    " old_until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (seq) DO NOTHING"};
std::string ProductsText(const std::vector<std::string>& products) {
  Json list = Json::Array();
  for (const std::string& product : products) list.Push(product);
  return codec::ToString(list);
}

std::vector<std::string> ReadProducts(const std::string& text) {
  std::vector<std::string> out;
  const Result<Json> list = codec::ParseJson(text);
  if (!list || list->AsArray() == nullptr) return out;
  for (const Json& one : *list->AsArray()) {
    if (one.AsString() != nullptr) out.push_back(*one.AsString());
  }
  return out;
}

License FromRow(const db::Row& row) {
  License out;
  out.id = row.Text(0);
  out.origin = row.Text(1);
  out.customer = row.Text(2);
  out.email = row.Text(3);
  out.plan = row.Text(4);
  out.products = ReadProducts(row.Text(5));
  out.tier = row.Text(6);
  out.limits = {.monthly = row.Int(7), .rpm = row.Int(8)};
  out.subscription = row.Text(9);
  out.generation = row.Int(10);
  // A word of a newer version than this one is no reason to open anything.
  out.status = ParseStatus(row.Text(11)).value_or(Status::kSuspended);
  out.revoked_by = row.Text(12);
  out.reason = row.Text(13);
  out.paid_through = UnixMs(row.Int(14));
  out.expires = UnixMs(row.Int(15));
  out.issued = UnixMs(row.Int(16));
  out.signed_until = UnixMs(row.Int(17));
  out.created = UnixMs(row.Int(18));
  out.updated = UnixMs(row.Int(19));
  out.extended = UnixMs(row.Int(20));
  out.old_until = UnixMs(row.Int(21));
  out.price = row.Text(22);
  out.extended_end = UnixMs(row.Int(23));
  return out;
}

// Of two that append at once the second waits for the first, finds the number taken and takes the
// next. kConflict when so many others came in between that it gave up.
Result<> AppendToFeed(db::Tx& tx, const License& license, UnixMs now) {
  constexpr int kTries = 16;
  for (int i = 0; i < kTries; ++i) {
    PTG_TRY(const FeedHead head, ReadFeedHead(tx));
    FeedEntry entry{
        .seq = head.seq + 1, .license = license.id, .word = WordOf(license), .hash = {}};
    entry.hash = FeedHash(head.hash, entry);
    PTG_TRY(const db::Rows added,
            tx.Run(kAppend, entry.seq, entry.license, std::string(ToString(entry.word.status)),
                   entry.word.expires.ms(), entry.word.plan, entry.word.generation, now.ms(),
                   entry.hash, entry.word.old_until.ms()));
    if (added.changed > 0) return {};
  }
  return Fail(Code::kConflict, "too many write to the feed at once");
}

}  // namespace

Status StatusAt(const License& license, UnixMs now) {
  return Opens(license.status) && now >= license.expires ? Status::kExpired : license.status;
}

Json ToJson(const License& l, UnixMs now) {
  Json products = Json::Array();
  for (const std::string& product : l.products) products.Push(product);
  Json json = Json::Object({{"id", l.id},
                            {"status", ToString(StatusAt(l, now))},
                            {"plan", l.plan},
                            {"product", std::move(products)},
                            {"tier", l.tier},
                            {"customer", l.customer},
                            {"email", l.email},
                            {"subscription", l.subscription},
                            {"generation", l.generation},
                            {"paid_through", l.paid_through.Rfc3339()},
                            {"expires_at", l.expires.Rfc3339()},
                            {"issued_at", l.issued.Rfc3339()}});
  if (l.old_until > now) json.Set("old_until", l.old_until.Rfc3339());
  if (l.extended > UnixMs()) json.Set("extended_until", l.extended.Rfc3339());
  if (!l.revoked_by.empty()) json.Set("revoked_by", l.revoked_by);
  if (!l.reason.empty()) json.Set("reason", l.reason);
  return json;
}

std::string AuditText(const License& l) {
  return codec::ToString(Json::Object({{"status", ToString(l.status)},
                                       {"plan", l.plan},
                                       {"expires_at", l.expires.Rfc3339()},
                                       {"generation", l.generation}}));
}

Result<Millis> ParseOverlap(std::string_view text) {
  if (text.empty()) return Millis(0);
  const Result<Millis> overlap = ParseDuration(text);
  if (overlap && *overlap >= Millis(0) && *overlap <= kMostOverlap) return overlap;
  return Fail(Error(Code::kBadRequest, "this is no overlap of an old text with its new one")
                  .At("/overlap")
                  .Want("\"24h\", up to \"720h\""));
}

Entitlement WordOf(const License& license) {
  return {.status = license.status,
          .expires = license.expires,
          .generation = license.generation,
          .plan = license.plan,
          .old_until = license.old_until};
}

void Replace(License& license, UnixMs now, Millis overlap) {
  ++license.generation;
  license.issued = UnixMs::FromSeconds(now.seconds());
  license.signed_until = UnixMs::FromSeconds(license.expires.seconds());
  const UnixMs until = UnixMs::FromSeconds((now + overlap).seconds());
  license.old_until = overlap > Millis(0) ? until : UnixMs();
}

bool IsReplaced(const License& license, int64_t generation, UnixMs now) {
  if (generation >= license.generation) return false;
  return generation + 1 < license.generation || now >= license.old_until;
}

Claims ClaimsOf(const License& license, std::string_view issuer) {
  Claims claims;
  claims.id = license.id;
  claims.issuer = issuer;
  claims.customer = license.customer;
  claims.plan = license.plan;
  claims.products = license.products;
  claims.tier = license.tier;
  claims.limits = license.limits;
  claims.subscription = license.subscription;
  claims.generation = license.generation;
  claims.issued = license.issued;
  claims.not_before = license.issued;
  claims.expires = license.signed_until;
  return claims;
}

Result<bool> InsertLicense(db::Tx& tx, const License& l, UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kInsert, l.id, l.origin, l.customer, l.email, l.plan, ProductsText(l.products),
                 l.tier, l.limits.monthly, l.limits.rpm, l.subscription, l.generation,
                 std::string(ToString(l.status)), l.revoked_by, l.reason, l.paid_through.ms(),
                 l.expires.ms(), l.issued.ms(), l.signed_until.ms(), now.ms(), now.ms(),
                 l.extended.ms(), l.old_until.ms(), l.price, l.extended_end.ms()));
  if (rows.changed == 0) return false;
  // What its own token says needs no line: a million licenses as they were issued cost no gateway
  // anything.
  if (l.status != Status::kActive || l.expires != l.signed_until) {
    PTG_RUN(AppendToFeed(tx, l, now));
  }
  return true;
}

Result<std::optional<License>> FindLicense(db::Tx& tx, std::string_view id) {
  PTG_TRY(const db::Rows rows, tx.Run(kById, std::string(id)));
  if (rows.empty()) return std::optional<License>();
  return std::optional(FromRow(rows.front()));
}

Result<> MoveLicense(db::Tx& tx, const std::string& id, const std::string& origin) {
  PTG_RUN(tx.Run(kMove, id, origin));
  return {};
}

Result<std::optional<License>> FindLicenseByOrigin(db::Tx& tx, std::string_view origin) {
  PTG_TRY(const db::Rows rows, tx.Run(kByOrigin, std::string(origin)));
  if (rows.empty()) return std::optional<License>();
  return std::optional(FromRow(rows.front()));
}

Result<std::optional<License>> FindLicenseToWrite(db::Tx& tx, std::string_view id) {
  PTG_RUN(tx.Run(kHoldById, std::string(id)));
  return FindLicense(tx, id);
}

Result<std::optional<License>> FindLicenseByOriginToWrite(db::Tx& tx, std::string_view origin) {
  PTG_RUN(tx.Run(kHoldByOrigin, std::string(origin)));
  return FindLicenseByOrigin(tx, origin);
}

Result<std::vector<License>> ListLicensesOf(db::Tx& tx, const std::string& subscription,
                                            size_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kOfSubscription, subscription, static_cast<int64_t>(limit)));
  std::vector<License> out;
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  return out;
}

Result<bool> EverHad(db::Tx& tx, const std::string& plan, const std::string& customer,
                     const std::string& email, const std::string& besides) {
  PTG_TRY(const db::Rows rows, tx.Run(kEverHad, plan, customer, email, besides));
  return !rows.empty();
}

Result<std::vector<License>> ListLiveIssuedBefore(db::Tx& tx, UnixMs before, UnixMs now,
                                                  size_t limit) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kIssuedBefore, before.ms(), now.ms(), static_cast<int64_t>(limit)));
  std::vector<License> out;
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  return out;
}

Result<std::vector<License>> ListLicenses(db::Tx& tx, const LicenseFilter& filter) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kList, filter.customer, filter.email, filter.subscription,
                 static_cast<int64_t>(filter.limit), filter.before_created.ms(), filter.before_id));
  std::vector<License> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) out.push_back(FromRow(row));
  return out;
}

Result<bool> UpdateLicense(db::Tx& tx, const License& l, UnixMs now) {
  PTG_TRY(const std::optional<License> before, FindLicense(tx, l.id));
  if (!before) return Fail(Code::kNotFound, "there is no license " + l.id);
  PTG_TRY(const db::Rows rows,
          tx.Run(kUpdate, l.id, l.customer, l.email, l.plan, ProductsText(l.products), l.tier,
                 l.limits.monthly, l.limits.rpm, l.subscription, l.generation,
                 std::string(ToString(l.status)), l.revoked_by, l.reason, l.paid_through.ms(),
                 l.expires.ms(), l.issued.ms(), l.signed_until.ms(), now.ms(), l.extended.ms(),
                 l.old_until.ms(), l.price, l.extended_end.ms()));
  if (rows.changed == 0) return false;
  if (before->plan != l.plan) PTG_RUN(tx.Run(kHad, l.id, before->plan));
  if (WordOf(*before) != WordOf(l)) PTG_RUN(AppendToFeed(tx, l, now));
  return true;
}

std::string NormalEmail(std::string_view email) { return codec::AsciiLower(codec::Trimmed(email)); }

}  // namespace pontage::license
