#include "sales/purchase.h"

#include <algorithm>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "ledger/audit.h"
#include "sales/claim.h"
#include "sales/commands.h"
#include "sales/mail/mail_outbox.h"
#include "sales/mail/message.h"

namespace pontage::sales {
namespace {

using license::License;
using license::Status;

constexpr size_t kMostItems = 20;  // that Stripe lets a subscription have

constexpr db::Statement kLease{
    "purchase.lease",
    "INSERT INTO purchase (id, customer, email, status, plan, paid_through_ms, period_end_ms,"
    " cancel_at_ms, invoice_url, invoice_pdf, alarm, lease, lease_until_ms, fetched_ms, created_ms)"
    " VALUES ($1, '', '', '', '', 0, 0, 0, '', '', '', $2, $4, 0, $3)"
    " ON CONFLICT (id) DO UPDATE SET lease = $2, lease_until_ms = $4"
    " WHERE purchase.lease_until_ms <= $3 OR purchase.lease = $2"};
constexpr db::Statement kKeep{"purchase.keep",
                              "UPDATE purchase SET lease_until_ms = $3"
                              " WHERE id = $1 AND lease = $2"};
constexpr db::Statement kRelease{
    "purchase.release",
    "UPDATE purchase SET lease = '', lease_until_ms = 0 WHERE id = $1 AND lease = $2"};
constexpr db::Statement kSave{
    "purchase.save",
    "UPDATE purchase SET customer = $2, email = $3, status = $4, plan = $5, paid_through_ms = $6,"
    " period_end_ms = $7, cancel_at_ms = $8, invoice_url = $9, invoice_pdf = $10, alarm = $11,"
    " fetched_ms = $12 WHERE id = $1"};
constexpr db::Statement kFind{
    "purchase.find",
    "SELECT id, customer, email, plan, status, paid_through_ms, period_end_ms, invoice_url,"
    " invoice_pdf, alarm, fetched_ms, cancel_at_ms FROM purchase WHERE id = $1"};
constexpr db::Statement kLink{"purchase_payment.add",
                              "INSERT INTO purchase_payment (payment_intent, purchase, disputed)"
                              " VALUES ($1, $2, 0) ON CONFLICT (payment_intent) DO NOTHING"};
constexpr db::Statement kInvoice{
    "invoice.save",
    "INSERT INTO invoice (id, purchase, customer, number, status, currency, due, paid, url,"
    " created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET"
    " customer = excluded.customer, number = excluded.number, status = excluded.status,"
    " due = excluded.due, paid = excluded.paid, url = excluded.url WHERE invoice.status <>"
    " excluded.status OR invoice.due <> excluded.due OR invoice.paid <> excluded.paid"
    " OR invoice.url <> excluded.url OR invoice.customer <> excluded.customer"};
constexpr db::Statement kDispute{
    "purchase_payment.dispute",
    "INSERT INTO purchase_payment (payment_intent, purchase, disputed) VALUES ($1, $2, 1)"
    " ON CONFLICT (payment_intent) DO UPDATE SET disputed = 1"};
constexpr db::Statement kDisputed{
    "purchase_payment.disputed",
    "SELECT payment_intent FROM purchase_payment WHERE purchase = $1 AND disputed = 1"
    " ORDER BY payment_intent LIMIT 20"};
constexpr db::Statement kOfPayment{
    "purchase_payment.find", "SELECT purchase FROM purchase_payment WHERE payment_intent = $1"};
constexpr db::Statement kOfCustomer{
    "purchase.of_customer", "SELECT id FROM purchase WHERE customer = $1 ORDER BY id LIMIT 100"};

// Another subscription of the same buyer's that opens something now. Without an address each
// checkout makes another customer of him.
constexpr db::Statement kTwin{
    "purchase.twin",
    "SELECT subscription, plan FROM license WHERE (customer = $1 OR (email = $2 AND email <> ''))"
    " AND subscription <> '' AND subscription <> $3 AND status IN ('active', 'past_due')"
    " AND expires_ms > $4 ORDER BY subscription LIMIT 1"};

// Two tabs, two purchases: nobody wants to pay for the same thing twice, and only a person can say.
Result<> TellOfTwin(db::Tx& tx, const License& license, Fulfilled& done, UnixMs now) {
  if (license.customer.empty() || license.subscription.empty()) return {};
  if (!license::Opens(license.status)) return {};
  PTG_TRY(const db::Rows rows,
          tx.Run(kTwin, license.customer, license.email, license.subscription, now.ms()));
  if (rows.empty()) return {};
  const std::string& other = rows.front().Text(1);
  const std::string what =
      other == license.plan ? license.plan + " twice" : license.plan + " and for " + other;
  done.alarms.push_back({"duplicate", license.customer + " pays for " + what + ": by " +
                                          license.subscription + " and by " +
                                          rows.front().Text(0)});
  return {};
}

// Of a subscription: Stripe charges nothing for it any more.
bool IsOver(std::string_view status) {
  return status == "canceled" || status == "incomplete_expired";
}

// Whoever has paid meanwhile, by the next card or a bank's second question, is not to pay again.
bool IsOpen(const FailedInvoice& failed, const PurchaseFacts& facts) {
  const auto row = std::ranges::find(facts.invoices, failed.id, &license::InvoiceRow::id);
  return row == facts.invoices.end() || (row->status != "paid" && row->status != "void");
}

// Stripe takes addresses that no mail of ours can be sent to: only a person finds another way.
void TellOfAddress(const License& license, Fulfilled& done) {
  if (license.email.empty() || mail::CheckMailbox(license.email)) return;
  done.alarms.push_back(
      {"unmailable", license.id + ": no mail can be sent to its buyer's address"});
}

// Who named no address before he paid may have had his trial: only a person can say.
Result<> TellOfTrial(db::Tx& tx, const License& license, const PurchaseFacts& facts,
                     Fulfilled& done) {
  if (facts.status != "trialing" || license.subscription.empty()) return {};
  PTG_TRY(const bool had, license::EverHad(tx, license.plan, license.customer, license.email,
                                           license.subscription));
  if (!had) return {};
  done.alarms.push_back({"trial", license.customer + " had a license for " + license.plan +
                                      " before the trial of " + license.subscription});
  return {};
}

UnixMs WholeSeconds(UnixMs at) { return UnixMs::FromSeconds(at.seconds()); }

// Until when it opens something; `now` where it does not.
UnixMs PassesUntil(const License& license, UnixMs now) {
  return license::Opens(license.status) ? license.expires : now;
}

// Nobody loses a license because nobody can write to his address.
Result<> UnlessUnmailable(const Result<bool>& enqueued, const License& license) {
  if (enqueued) return {};
  if (enqueued.error().code() != Code::kBadRequest) return Fail(enqueued.error());
  Log(LogLevel::kWarn, "sales.unmailable",
      {{"license_id", license.id}, {"pointer", enqueued.error().pointer()}});
  return {};
}

Result<> Save(db::Tx& tx, const PurchaseFacts& facts, const Fulfilled& done, UnixMs now) {
  UnixMs paid_through;
  std::string plan;
  for (const SoldItem& item : facts.items) {
    paid_through = std::max(paid_through, item.facts.paid_through.value_or(UnixMs()));
    if (!item.plan.empty()) plan = item.plan;
  }
  // Of what was sold once: as it was sold.
  for (const License& one : done.licenses) {
    if (one.subscription.empty()) paid_through = one.paid_through;
  }
  std::string alarm;
  for (const Alarm& one : done.alarms) alarm += (alarm.empty() ? "" : "; ") + one.text;
  PTG_RUN(tx.Run(kSave, facts.id, facts.customer, facts.email, facts.status, plan,
                 paid_through.ms(), facts.period_end.ms(), facts.cancel_at.ms(), facts.invoice_url,
                 facts.invoice_pdf, alarm, now.ms()));
  for (const std::string& payment : facts.payments) PTG_RUN(tx.Run(kLink, payment, facts.id));
  for (const license::InvoiceRow& i : facts.invoices) {
    PTG_RUN(tx.Run(kInvoice, i.id, facts.id, facts.customer, i.number, i.status, i.currency, i.due,
                   i.paid, i.url, i.created.ms()));
  }
  return NoteRefunds(tx, facts.refunds, now);
}

}  // namespace

std::string Fulfilment::TextOf(const License& license) const {
  return sign_(license::ClaimsOf(license, shop_.issuer));
}

Result<bool> Fulfilment::EnqueueLicense(db::Tx& tx, const License& license,
                                        std::string_view invoice_url, std::string_view invoice_pdf,
                                        std::string_view occasion) const {
  mail::LicenseLetter letter;
  PTG_TRY(letter.given, GiveByMail(tx, shop_, license, TextOf(license), clock_.Now(), rng_));
  letter.invoice_url = invoice_url;
  letter.invoice_pdf = invoice_pdf;
  letter.occasion = occasion;
  return mail::Enqueue(tx, NewIdText("mail", clock_, rng_),
                       mail::WriteLicense(shop_.seller, letter), license.id, clock_.Now());
}

Result<License> Fulfilment::Issue(db::Tx& tx, const PurchaseFacts& facts, const SoldItem& item,
                                  const Access& access) const {
  const SoldPlan& plan = *shop_.Find(item.plan);
  const UnixMs now = clock_.Now();
  License l;
  l.id = NewIdText("lic", clock_, rng_);
  l.origin = item.origin;
  l.customer = facts.customer;
  l.email = license::NormalEmail(facts.email);
  l.plan = plan.name;
  l.products = plan.products;
  l.tier = plan.tier;
  l.limits = plan.limits;
  l.subscription = facts.subscription;
  l.price = item.price;
  l.status = *access.status;
  l.paid_through = WholeSeconds(item.facts.paid_through.value_or(now));
  l.expires = WholeSeconds(access.expires_at.value_or(now));
  l.issued = WholeSeconds(now);
  l.signed_until = l.expires;
  PTG_TRY(const bool made, license::InsertLicense(tx, l, now));
  if (!made) return Fail(Code::kConflict, "the license of " + item.origin + " is there already");
  if (!l.email.empty()) {
    const Result<bool> enqueued = EnqueueLicense(tx, l, facts.invoice_url, facts.invoice_pdf, "");
    PTG_RUN(UnlessUnmailable(enqueued, l));
  }
  PTG_RUN(TellAudit(tx, nullptr, l));
  return l;
}

Result<> Fulfilment::TellRenewed(db::Tx& tx, const License& license,
                                 const PurchaseFacts& facts) const {
  if (!shop_.receipts || license.email.empty()) return {};
  if (facts.invoice_url.empty() && facts.invoice_pdf.empty()) return {};
  const mail::Mail mail = mail::WriteReceipt(shop_.seller, {.to = license.email,
                                                            .license_id = license.id,
                                                            .plan = license.plan,
                                                            .purchase = facts.id,
                                                            .paid_through = license.paid_through,
                                                            .expires_at = license.expires,
                                                            .invoice_url = facts.invoice_url,
                                                            .invoice_pdf = facts.invoice_pdf});
  const Result<bool> enqueued =
      mail::Enqueue(tx, NewIdText("mail", clock_, rng_), mail, license.id, clock_.Now());
  return UnlessUnmailable(enqueued, license);
}

Result<> Fulfilment::TellAudit(db::Tx& tx, const License* before, const License& after) const {
  const std::string was = before == nullptr ? "" : license::AuditText(*before);
  std::string is = license::AuditText(after);
  if (was == is) return {};
  ledger::AuditEntry entry;
  entry.actor = "stripe";
  entry.verb = before == nullptr ? "license.issued" : "license.changed";
  entry.subject = after.id;
  entry.before = was;
  entry.after = std::move(is);
  PTG_RUN(ledger::AppendAudit(tx, std::move(entry), clock_.Now()));
  return {};
}

Result<> Fulfilment::TellFailed(db::Tx& tx, const License& license,
                                const FailedInvoice& failed) const {
  // No payment brings back what was revoked.
  if (license.email.empty() || license.status == Status::kRevoked) return {};
  const mail::Mail mail =
      mail::WritePaymentFailed(shop_.seller, {.to = license.email,
                                              .license_id = license.id,
                                              .plan = license.plan,
                                              .invoice = failed.id,
                                              .amount = failed.amount,
                                              .pay_url = failed.pay_url,
                                              .access_until = PassesUntil(license, clock_.Now()),
                                              .now = clock_.Now(),
                                              .day = 0});
  const Result<bool> enqueued =
      mail::Enqueue(tx, NewIdText("mail", clock_, rng_), mail, license.id, clock_.Now());
  return UnlessUnmailable(enqueued, license);
}

Result<> Fulfilment::TellEnded(db::Tx& tx, const License& license,
                               const PurchaseFacts& facts) const {
  if (license.email.empty() || facts.subscription.empty()) return {};
  const UnixMs now = clock_.Now();
  const bool there =
      std::ranges::find(facts.items, license.origin, &SoldItem::origin) != facts.items.end();
  const mail::Mail mail =
      mail::WriteCancelled(shop_.seller, {.to = license.email,
                                          .license_id = license.id,
                                          .plan = license.plan,
                                          .ends_at = PassesUntil(license, now),
                                          .now = now,
                                          .removed = !there && !IsOver(facts.status)});
  const Result<bool> enqueued =
      mail::Enqueue(tx, NewIdText("mail", clock_, rng_), mail, license.id, now);
  return UnlessUnmailable(enqueued, license);
}

Result<std::optional<License>> Fulfilment::ApplyItem(db::Tx& tx, const PurchaseFacts& facts,
                                                     const SoldItem& item, bool just_ended,
                                                     Fulfilled& done) const {
  PTG_TRY(std::optional<License> have, license::FindLicenseByOriginToWrite(tx, item.origin));
  const SoldPlan* plan = item.plan.empty() ? nullptr : shop_.Find(item.plan);
  if (plan == nullptr) {
    done.alarms.push_back({"no_plan", item.origin + " has a price of no plan"});
    if (!have) return std::optional<License>();
  }
  const UnixMs now = clock_.Now();
  AccessFacts known = item.facts;
  if (have) {
    known.last = have->status;
    known.operator_revoked = have->revoked_by == "operator";
    if (have->extended > UnixMs()) {
      known.extended = have->extended;
      known.extended_end = have->extended_end;
    }
    // What was sold once was sold for the days that its plan had then.
    if (have->subscription.empty() && known.paid_through) known.paid_through = have->paid_through;
  }
  const Access access = DecideAccess(known, now);
  if (access.alarm) {
    done.alarms.push_back({"not_understood", item.origin + ": " + facts.status});
  }
  const bool goes_on = !facts.subscription.empty() && !IsOver(facts.status);
  const std::string charged = facts.subscription + " goes on being charged for";
  if (known.operator_revoked && goes_on) {
    done.alarms.push_back({"revoked", have->id + " was revoked, and " + charged});
  }
  if (have && known.disputed && goes_on) {
    done.alarms.push_back({"disputed", have->id + " is shut by a dispute, and " + charged});
  }
  if (!have) {
    if (!access.opens()) return std::optional<License>();
    PTG_TRY(License made, Issue(tx, facts, item, access));
    return std::optional(std::move(made));
  }
  License next = *have;
  if (access.status) next.status = *access.status;
  // A price of no plan opens nothing, whatever it cost; but what was sold at a price stays what it
  // was when the plan is sold at another one.
  if (plan == nullptr && (item.price.empty() || item.price != have->price)) {
    next.status = Status::kSuspended;
  }
  next.revoked_by = next.status == Status::kRevoked
                        ? (have->revoked_by.empty() ? "payment" : have->revoked_by)
                        : "";
  if (known.paid_through) next.paid_through = WholeSeconds(*known.paid_through);
  if (access.expires_at) next.expires = WholeSeconds(*access.expires_at);
  if (!facts.customer.empty()) next.customer = facts.customer;
  if (!facts.email.empty()) next.email = license::NormalEmail(facts.email);
  if (plan != nullptr) next.price = item.price;
  if (plan != nullptr && next.plan != plan->name) {
    next.plan = plan->name;
    next.products = plan->products;
    next.tier = plan->tier;
    next.limits = plan->limits;
  }
  PTG_TRY(const bool changed, license::UpdateLicense(tx, next, now));
  if (just_ended) PTG_RUN(TellEnded(tx, next, facts));
  if (!changed) return have;
  const bool renewed = !facts.subscription.empty() && next.status == Status::kActive &&
                       next.paid_through > have->paid_through;
  if (renewed) PTG_RUN(TellRenewed(tx, next, facts));
  PTG_RUN(TellAudit(tx, &*have, next));
  return std::optional(std::move(next));
}

Result<Fulfilled> Fulfilment::Apply(db::Tx& tx, const PurchaseFacts& facts,
                                    const std::optional<FailedInvoice>& failed) const {
  Fulfilled done;
  done.invoice_url = facts.invoice_url;
  done.invoice_pdf = facts.invoice_pdf;
  PTG_TRY(const std::optional<Purchase> before, FindPurchase(tx, facts.id));
  // What is told is the subscription's end, now or to come: a license whose payment is late may be
  // over before, while Stripe goes on trying to be paid.
  const bool over = IsOver(facts.status);
  const bool just_over = over && before && !IsOver(before->status);
  const bool to_end =
      !over && facts.cancel_at > UnixMs() && before && before->cancel_at == UnixMs();
  const bool tell_failed = failed && IsOpen(*failed, facts);
  if (!facts.subscription.empty() && !facts.items.empty()) PTG_RUN(Follow(tx, facts, done));
  for (const SoldItem& item : facts.items) {
    PTG_TRY(std::optional<License> one, ApplyItem(tx, facts, item, just_over || to_end, done));
    if (!one) continue;
    if (tell_failed) PTG_RUN(TellFailed(tx, *one, *failed));
    TellOfAddress(*one, done);
    PTG_RUN(TellOfTwin(tx, *one, done, clock_.Now()));
    PTG_RUN(TellOfTrial(tx, *one, facts, done));
    done.licenses.push_back(*std::move(one));
  }
  PTG_RUN(Save(tx, facts, done, clock_.Now()));
  return done;
}

Result<bool> LeasePurchase(db::Tx& tx, const std::string& id, const std::string& owner, UnixMs now,
                           Millis lease) {
  PTG_TRY(const db::Rows rows, tx.Run(kLease, id, owner, now.ms(), (now + lease).ms()));
  return rows.changed > 0;
}

Result<bool> KeepPurchase(db::Tx& tx, const std::string& id, const std::string& owner,
                          UnixMs until) {
  PTG_TRY(const db::Rows rows, tx.Run(kKeep, id, owner, until.ms()));
  return rows.changed > 0;
}

Result<> ReleasePurchase(db::Tx& tx, const std::string& id, const std::string& owner) {
  PTG_RUN(tx.Run(kRelease, id, owner));
  return {};
}

Result<std::optional<Purchase>> FindPurchase(db::Tx& tx, const std::string& id) {
  PTG_TRY(const db::Rows rows, tx.Run(kFind, id));
  if (rows.empty()) return std::optional<Purchase>();
  const db::Row& row = rows.front();
  return std::optional(Purchase{.id = row.Text(0),
                                .customer = row.Text(1),
                                .email = row.Text(2),
                                .plan = row.Text(3),
                                .status = row.Text(4),
                                .paid_through = UnixMs(row.Int(5)),
                                .period_end = UnixMs(row.Int(6)),
                                .cancel_at = UnixMs(row.Int(11)),
                                .invoice_url = row.Text(7),
                                .invoice_pdf = row.Text(8),
                                .alarm = row.Text(9),
                                .fetched = UnixMs(row.Int(10))});
}

Result<Fulfilled> FindFulfilled(db::Tx& tx, const std::string& id, UnixMs since) {
  PTG_TRY(const std::optional<Purchase> purchase, FindPurchase(tx, id));
  if (!purchase || purchase->fetched < since) return Fulfilled{};
  Fulfilled done;
  done.invoice_url = purchase->invoice_url;
  done.invoice_pdf = purchase->invoice_pdf;
  if (id.starts_with("sub_")) {
    PTG_TRY(done.licenses, license::ListLicensesOf(tx, id, kMostItems));
    return done;
  }
  PTG_TRY(const std::optional<License> one, license::FindLicenseByOrigin(tx, "session:" + id));
  if (one) done.licenses.push_back(*one);
  return done;
}

Result<std::string> PurchaseOfPayment(db::Tx& tx, const std::string& payment_intent) {
  PTG_TRY(const db::Rows rows, tx.Run(kOfPayment, payment_intent));
  return rows.empty() ? std::string() : rows.front().Text(0);
}

Result<> NoteDispute(db::Tx& tx, const std::string& payment_intent, const std::string& purchase) {
  PTG_RUN(tx.Run(kDispute, payment_intent, purchase));
  return {};
}

Result<std::vector<std::string>> DisputedPayments(db::Tx& tx, const std::string& purchase) {
  PTG_TRY(const db::Rows rows, tx.Run(kDisputed, purchase));
  std::vector<std::string> out;
  for (const db::Row& row : rows) out.push_back(row.Text(0));
  return out;
}

Result<std::vector<std::string>> PurchasesOfCustomer(db::Tx& tx, const std::string& customer) {
  PTG_TRY(const db::Rows rows, tx.Run(kOfCustomer, customer));
  std::vector<std::string> out;
  for (const db::Row& row : rows) out.push_back(row.Text(0));
  return out;
}

}  // namespace pontage::sales
