#include "sales/mail/mail_outbox.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "base/try.h"
#include "codec/json.h"

namespace pontage::mail {
namespace {

using codec::Json;
using codec::JsonReader;

#define PTG_MAIL_OPEN "state IN ('queued', 'sending', 'parked')"
#define PTG_MAIL_HELD " RETURNING id, kind, dedup_key, license, payload, attempts, doubts, batch"
// A sender that died may have sent it.
#define PTG_MAIL_TAKE                                                                         \
  "UPDATE mail_outbox SET attempts = attempts + 1,"                                           \
  " doubts = CASE WHEN state = 'sending' THEN doubts + 1 ELSE doubts END, state = 'sending'," \
  " lease_until_ms = $2, next_ms = $2, updated_ms = $1"                                       \
  " WHERE " PTG_MAIL_OPEN " AND next_ms <= $1"

constexpr db::Statement kEnqueue{
    "mail.enqueue",
    "INSERT INTO mail_outbox (id, kind, dedup_key, license, recipient, payload, state, attempts,"
    " doubts, next_ms, lease_until_ms, batch, provider, provider_id, last_error, created_ms,"
    " updated_ms, generation)"
    " VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, 0, $7, 0, '', '', '', '', $7, $7, $8)"
    " ON CONFLICT (dedup_key) DO NOTHING"};
constexpr db::Statement kHasDue{
    "mail.has_due", "SELECT 1 FROM mail_outbox WHERE " PTG_MAIL_OPEN " AND next_ms <= $1 LIMIT 1"};
// Of a batch whose end is not known every mail stays, or its key would come with other ones.
constexpr db::Statement kCloseSuppressed{
    "mail.close_suppressed",
    "UPDATE mail_outbox SET state = 'suppressed', payload = '', updated_ms = $1,"
    " last_error = 'the address is suppressed'"
    " WHERE " PTG_MAIL_OPEN
    " AND next_ms <= $1 AND (batch = '' OR batch = '-')"
    " AND recipient IN (SELECT address FROM mail_suppressed)"};
// A text that opens nothing any more is sent to nobody: a newer one has its own mail, and what the
// operator has revoked is not "your license". Who had his money back hears what he bought.
constexpr db::Statement kCloseReplaced{
    "mail.close_replaced",
    "UPDATE mail_outbox SET state = 'dead', updated_ms = $1,"
    " last_error = 'the license in it was replaced or revoked'"
    " WHERE " PTG_MAIL_OPEN
    " AND next_ms <= $1 AND (batch = '' OR batch = '-') AND generation > 0"
    " AND EXISTS (SELECT 1 FROM license AS l WHERE l.id = mail_outbox.license"
    " AND ((l.generation > mail_outbox.generation AND l.old_until_ms <= $1)"
    " OR l.revoked_by = 'operator'))"};
// The conditions stand twice: a row that another node took between the two is left to it.
constexpr db::Statement kTakeSingles{
    "mail.take_singles",
    PTG_MAIL_TAKE " AND id IN (SELECT id FROM mail_outbox WHERE " PTG_MAIL_OPEN
                  " AND next_ms <= $1 AND (batch = '' OR batch = '-')"
                  " AND kind <> $4 ORDER BY next_ms, id LIMIT $3)" PTG_MAIL_HELD};
constexpr db::Statement kTakeKind{"mail.take_kind", PTG_MAIL_TAKE
                                  " AND id IN (SELECT id FROM mail_outbox WHERE " PTG_MAIL_OPEN
                                  " AND next_ms <= $1 AND batch = '' AND kind = $4 AND attempts < "
                                  "$5 ORDER BY next_ms, id LIMIT $3)" PTG_MAIL_HELD};
// All of one: they were marked together, so they are due together.
constexpr db::Statement kTakeBatch{
    "mail.take_batch",
    PTG_MAIL_TAKE " AND batch = (SELECT batch FROM mail_outbox WHERE " PTG_MAIL_OPEN
                  " AND next_ms <= $1 AND batch <> '' AND batch <> '-' ORDER BY next_ms, id LIMIT "
                  "1)" PTG_MAIL_HELD};
constexpr db::Statement kKeep{"mail.keep",
                              "UPDATE mail_outbox SET lease_until_ms = $3, next_ms = $3"
                              " WHERE id = $1 AND state = 'sending' AND attempts = $2"};
constexpr db::Statement kJoin{"mail.join", "UPDATE mail_outbox SET batch = $2 WHERE id = $1"};
constexpr db::Statement kSent{
    "mail.sent",
    "UPDATE mail_outbox SET state = 'sent', payload = '', provider = $2, provider_id = $3,"
    " last_error = '', updated_ms = $4"
    " WHERE id = $1 AND state <> 'sent' AND state <> 'bounced'"};
constexpr db::Statement kLater{
    "mail.later",
    "UPDATE mail_outbox SET state = $3, next_ms = $4, doubts = $5, batch = $6, provider = $7,"
    " last_error = $8, updated_ms = $9 WHERE id = $1 AND state = 'sending' AND attempts = $2"};
constexpr db::Statement kDead{
    "mail.dead",
    "UPDATE mail_outbox SET state = 'dead', provider = $3, last_error = $4, updated_ms = $5"
    " WHERE id = $1 AND state = 'sending' AND attempts = $2"};
constexpr db::Statement kBounced{
    "mail.bounced",
    "UPDATE mail_outbox SET state = 'bounced', last_error = $2, updated_ms = $3"
    " WHERE provider_id = $1 AND provider_id <> '' AND state = 'sent'"};
// A bounce that was told of before its mail stood in the books as sent: the address is one that
// mails are not sent to, so this one came back as well.
constexpr db::Statement kOvertaken{
    "mail.overtaken",
    "UPDATE mail_outbox SET state = 'bounced', last_error ="
    " (SELECT reason FROM mail_suppressed WHERE address = mail_outbox.recipient)"
    " WHERE id = $1 AND state = 'sent'"
    " AND EXISTS (SELECT 1 FROM mail_suppressed WHERE address = mail_outbox.recipient)"};
constexpr db::Statement kSuppress{
    "mail.suppress",
    "INSERT INTO mail_suppressed (address, reason, at_ms) VALUES ($1, $2, $3)"
    " ON CONFLICT (address) DO NOTHING"};
constexpr db::Statement kSuppressed{"mail.suppressed",
                                    "SELECT reason FROM mail_suppressed WHERE address = $1"};
constexpr db::Statement kUnsuppress{"mail.unsuppress",
                                    "DELETE FROM mail_suppressed WHERE address = $1"};
constexpr db::Statement kList{
    "mail.list",
    "SELECT id, kind, dedup_key, license, recipient, state, attempts, next_ms, provider,"
    " provider_id, last_error, created_ms, updated_ms FROM mail_outbox"
    " WHERE ($1 = '' OR state = $1) AND ($2 = '' OR license = $2)"
    " ORDER BY created_ms DESC, id DESC LIMIT $3"};
constexpr db::Statement kAgain{
    "mail.again",
    "UPDATE mail_outbox SET state = 'queued', attempts = 0, doubts = 0, batch = '', next_ms = $2,"
    " updated_ms = $2 WHERE id = $1 AND state = 'dead'"};
constexpr db::Statement kCountOpen{"mail.count_open",
                                   "SELECT state, COUNT(*), MIN(created_ms) FROM mail_outbox"
                                   " WHERE " PTG_MAIL_OPEN " GROUP BY state"};
constexpr db::Statement kCountDead{"mail.count_dead",
                                   "SELECT COUNT(*) FROM mail_outbox WHERE state = 'dead'"};
#undef PTG_MAIL_OPEN
#undef PTG_MAIL_HELD
#undef PTG_MAIL_TAKE

// Mails that leave for everybody at once; the others are waited for by one person each.
constexpr Kind kBulk = Kind::kKeyRotation;
// One that was tried more often goes alone: while a batch is together none of it may be given up.
constexpr int64_t kYoung = 10;

std::string ToText(const Mail& mail) {
  return codec::ToString(Json::Object({{"from", mail.from},
                                       {"to", mail.to},
                                       {"subject", mail.subject},
                                       {"text", mail.text},
                                       {"html", mail.html}}));
}

Result<Mail> ReadMail(std::string_view kind, const std::string& dedup_key,
                      const std::string& payload) {
  // Escapes may make it six times as long.
  constexpr size_t kMostPayload = 6 * (kMaxText + kMaxHtml) + (16 << 10);
  PTG_TRY(const Json json, codec::ParseJson(payload, {.max_bytes = kMostPayload}));
  PTG_TRY(const JsonReader r, JsonReader::Of(json));
  Mail mail;
  PTG_TRY(mail.from, r.String("from"));
  PTG_TRY(mail.to, r.String("to"));
  PTG_TRY(mail.subject, r.String("subject"));
  PTG_TRY(mail.text, r.String("text"));
  PTG_TRY(mail.html, r.String("html"));
  mail.dedup_key = dedup_key;
  const std::optional<Kind> known = KindOf(kind);
  if (!known) return Fail(Code::kInternal, "a kind of mail that this version does not know");
  mail.kind = *known;
  PTG_RUN(Check(mail));
  return mail;
}

struct Taken {
  std::vector<HeldMail> held;
  size_t unreadable = 0;
};
// What cannot be read any more is closed: nobody could send it.
Result<Taken> Read(db::Tx& tx, const db::Rows& rows, UnixMs now) {
  Taken taken;
  for (const db::Row& row : rows) {
    HeldMail one;
    one.id = row.Text(0);
    one.license = row.Text(3);
    one.attempts = row.Int(5);
    one.doubts = row.Int(6);
    one.batch = row.Text(7);
    Result<Mail> mail = ReadMail(row.Text(1), row.Text(2), row.Text(4));
    if (mail) {
      one.mail = *std::move(mail);
      taken.held.push_back(std::move(one));
    } else {
      PTG_RUN(MarkDead(tx, one, "", "cannot be read: " + mail.error().detail(), now));
      ++taken.unreadable;
    }
  }
  // RETURNING has no order, and a batch needs one.
  std::ranges::sort(taken.held, {}, &HeldMail::id);
  return taken;
}

// Those of `claim` that may share a call, with more of their kind, under a new key.
Result<> Gather(db::Tx& tx, Claim& claim, UnixMs now, Millis lease, const ClaimLimits& limits) {
  const auto may = [](const HeldMail& one) {
    return one.mail.kind == kBulk && one.batch.empty() && one.attempts <= kYoung;
  };
  const auto others = std::ranges::partition(claim.singles, std::not_fn(may));
  if (others.empty()) return {};
  std::vector<HeldMail> some(std::make_move_iterator(others.begin()),
                             std::make_move_iterator(others.end()));
  claim.singles.erase(others.begin(), others.end());
  std::ranges::sort(claim.singles, {}, &HeldMail::id);
  if (some.size() < limits.together) {
    const auto more = static_cast<int64_t>(limits.together - some.size());
    PTG_TRY(const db::Rows rows, tx.Run(kTakeKind, now.ms(), (now + lease).ms(), more,
                                        std::string(NameOf(kBulk)), kYoung));
    PTG_TRY(Taken taken, Read(tx, rows, now));
    claim.unreadable += taken.unreadable;
    std::ranges::move(taken.held, std::back_inserter(some));
    std::ranges::sort(some, {}, &HeldMail::id);
  }
  if (some.size() == 1) {
    claim.singles.push_back(std::move(some.front()));
    return {};
  }
  // Never used before: each claim counts up the attempts of its first.
  claim.batch = "batch:" + some.front().id + ":" + std::to_string(some.front().attempts);
  for (HeldMail& one : some) {
    one.batch = claim.batch;
    PTG_RUN(tx.Run(kJoin, one.id, claim.batch));
  }
  claim.together = std::move(some);
  return {};
}

}  // namespace

Result<bool> Enqueue(db::Tx& tx, const std::string& id, const Mail& mail, std::string_view license,
                     UnixMs now) {
  PTG_RUN(Check(mail));
  PTG_TRY(const db::Rows rows,
          tx.Run(kEnqueue, id, std::string(NameOf(mail.kind)), mail.dedup_key, std::string(license),
                 AddressKey(mail.to), ToText(mail), now.ms(), mail.generation));
  return rows.changed > 0;
}

Result<bool> HasDue(db::Tx& tx, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kHasDue, now.ms()));
  return !rows.empty();
}

Result<Claim> TakeDue(db::Tx& tx, UnixMs now, Millis lease, const ClaimLimits& limits) {
  Claim claim;
  PTG_TRY(const db::Rows closed, tx.Run(kCloseSuppressed, now.ms()));
  claim.suppressed = static_cast<size_t>(closed.changed);
  PTG_TRY(const db::Rows replaced, tx.Run(kCloseReplaced, now.ms()));
  claim.replaced = static_cast<size_t>(replaced.changed);
  const int64_t until = (now + lease).ms();
  if (limits.bulk) {
    PTG_TRY(const db::Rows batch, tx.Run(kTakeBatch, now.ms(), until));
    PTG_TRY(Taken together, Read(tx, batch, now));
    claim.unreadable = together.unreadable;
    claim.together = std::move(together.held);
    if (!claim.together.empty()) claim.batch = claim.together.front().batch;
  }
  const std::string but(limits.bulk ? "" : NameOf(kBulk));
  PTG_TRY(const db::Rows rows,
          tx.Run(kTakeSingles, now.ms(), until, static_cast<int64_t>(limits.singles), but));
  PTG_TRY(Taken singles, Read(tx, rows, now));
  claim.unreadable += singles.unreadable;
  claim.singles = std::move(singles.held);
  if (claim.together.empty() && limits.together > 1) {
    PTG_RUN(Gather(tx, claim, now, lease, limits));
  }
  return claim;
}

Result<> KeepMail(db::Tx& tx, const std::string& id, int64_t attempts, UnixMs until) {
  PTG_RUN(tx.Run(kKeep, id, attempts, until.ms()));
  return {};
}

Result<bool> MarkSent(db::Tx& tx, const std::string& id, std::string_view provider,
                      std::string_view provider_id, UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kSent, id, std::string(provider), std::string(provider_id), now.ms()));
  if (rows.changed > 0) PTG_RUN(tx.Run(kOvertaken, id));
  return rows.changed > 0;
}

Result<bool> MarkLater(db::Tx& tx, const HeldMail& held, const Later& later, UnixMs now) {
  PTG_TRY(
      const db::Rows rows,
      tx.Run(kLater, held.id, held.attempts, std::string(later.parked ? "parked" : "queued"),
             later.next.ms(), later.doubts, later.batch, later.provider, later.error, now.ms()));
  return rows.changed > 0;
}

Result<bool> MarkDead(db::Tx& tx, const HeldMail& held, std::string_view provider,
                      std::string_view error, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kDead, held.id, held.attempts, std::string(provider),
                                      std::string(error), now.ms()));
  return rows.changed > 0;
}

Result<bool> MarkBounced(db::Tx& tx, std::string_view provider_id, std::string_view why,
                         UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kBounced, std::string(provider_id), std::string(why), now.ms()));
  return rows.changed > 0;
}

Result<bool> Suppress(db::Tx& tx, std::string_view address, std::string_view reason, UnixMs now) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kSuppress, AddressKey(address), std::string(reason), now.ms()));
  return rows.changed > 0;
}

Result<std::optional<std::string>> SuppressedFor(db::Tx& tx, std::string_view address) {
  PTG_TRY(const db::Rows rows, tx.Run(kSuppressed, AddressKey(address)));
  if (rows.empty()) return std::optional<std::string>();
  return std::optional(rows.front().Text(0));
}

Result<bool> Unsuppress(db::Tx& tx, std::string_view address) {
  PTG_TRY(const db::Rows rows, tx.Run(kUnsuppress, AddressKey(address)));
  return rows.changed > 0;
}

Result<std::vector<OutboxRow>> ListMails(db::Tx& tx, const OutboxFilter& filter) {
  PTG_TRY(const db::Rows rows,
          tx.Run(kList, filter.state, filter.license, static_cast<int64_t>(filter.limit)));
  std::vector<OutboxRow> list;
  list.reserve(rows.size());
  for (const db::Row& row : rows) {
    list.push_back({.id = row.Text(0),
                    .kind = row.Text(1),
                    .dedup_key = row.Text(2),
                    .license = row.Text(3),
                    .recipient = row.Text(4),
                    .state = row.Text(5),
                    .attempts = row.Int(6),
                    .next = UnixMs(row.Int(7)),
                    .provider = row.Text(8),
                    .provider_id = row.Text(9),
                    .last_error = row.Text(10),
                    .created = UnixMs(row.Int(11)),
                    .updated = UnixMs(row.Int(12))});
  }
  return list;
}

Result<bool> SendAgain(db::Tx& tx, const std::string& id, UnixMs now) {
  PTG_TRY(const db::Rows rows, tx.Run(kAgain, id, now.ms()));
  return rows.changed > 0;
}

Result<OutboxTotals> CountMails(db::Tx& tx) {
  OutboxTotals totals;
  PTG_TRY(const db::Rows open, tx.Run(kCountOpen));
  for (const db::Row& row : open) {
    totals.open += row.Int(1);
    if (row.Text(0) == "parked") totals.parked = row.Int(1);
    const UnixMs oldest(row.Int(2));
    totals.oldest = totals.oldest ? std::min(*totals.oldest, oldest) : oldest;
  }
  PTG_TRY(const db::Rows dead, tx.Run(kCountDead));
  totals.dead = dead.front().Int(0);
  return totals;
}

}  // namespace pontage::mail
