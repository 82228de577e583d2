// What the read models look like as JSON, and what of an event may be shown.
#include <algorithm>
#include <array>
#include <utility>

#include "console/queries.h"

namespace pontage::console {
namespace {

using codec::Json;

// "" of what never was.
std::string TimeText(UnixMs at) { return at > UnixMs() ? at.Rfc3339() : std::string(); }

Json Parsed(const std::string& text) {
  codec::JsonLimits limits;
  limits.max_bytes = 1 << 20;
  auto json = codec::ParseJson(text, limits);
  return json ? *std::move(json) : Json(nullptr);
}

// Members whose text is a person's, or opens something.
constexpr std::array<std::string_view, 32> kPersonal = {"name",
                                                        "email",
                                                        "phone",
                                                        "line1",
                                                        "line2",
                                                        "city",
                                                        "state",
                                                        "postal_code",
                                                        "description",
                                                        "receipt_email",
                                                        "customer_email",
                                                        "customer_name",
                                                        "customer_phone",
                                                        "ip",
                                                        "ip_address",
                                                        "fingerprint",
                                                        "client_secret",
                                                        "secret",
                                                        "url",
                                                        "receipt_url",
                                                        "hosted_invoice_url",
                                                        "invoice_pdf",
                                                        "last4",
                                                        "value",
                                                        "number",
                                                        "statement_descriptor",
                                                        "footer",
                                                        "nickname",
                                                        "feedback",
                                                        "comment",
                                                        "account_name",
                                                        "receipt_number"};

bool IsWord(std::string_view text) {
  return text.size() <= 40 && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                  c == '-';
         });
}

// "evt_…", "cus_…": a kind, and what is no word of any language.
bool IsId(std::string_view text) {
  const size_t line = text.find('_');
  if (line == text.npos || line < 2 || line > 8 || text.size() > 80) return false;
  const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
  if (!std::ranges::all_of(text.substr(0, line), small) || text.contains("_secret_")) return false;
  return std::ranges::all_of(text.substr(line), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

Json Shown(std::string_view key, const Json& value) {
  if (const auto* members = value.AsObject()) {
    Json out = Json::Object();
    for (const codec::JsonMember& member : *members) {
      out.Set(member.key, Shown(member.key, member.value));
    }
    return out;
  }
  if (const auto* items = value.AsArray()) {
    Json out = Json::Array();
    for (const Json& item : *items) out.Push(Shown(key, item));
    return out;
  }
  const std::string* text = value.AsString();
  if (text == nullptr || text->empty()) return value;
  const bool personal = std::ranges::find(kPersonal, key) != kPersonal.end();
  if (!personal && (IsWord(*text) || IsId(*text))) return value;
  return Json("[redacted]");
}

}  // namespace

Json Redacted(const Json& event) { return Shown("", event); }

Json ToJson(const license::Customer& c) {
  return Json::Object({{"id", c.id},
                       {"email", c.email},
                       {"licenses", c.licenses},
                       {"license", c.license},
                       {"plan", c.plan},
                       {"status", c.licenses > 0 ? license::ToString(c.status) : ""},
                       {"expires_at", TimeText(c.expires)},
                       {"since", TimeText(c.since)}});
}

Json ToJson(const license::PurchaseRow& p) {
  return Json::Object({{"id", p.id},
                       {"customer", p.customer},
                       {"email", p.email},
                       {"status", p.status},
                       {"plan", p.plan},
                       {"paid_through", TimeText(p.paid_through)},
                       {"period_end", TimeText(p.period_end)},
                       {"cancel_at", TimeText(p.cancel_at)},
                       {"invoice_url", p.invoice_url},
                       {"alarm", p.alarm},
                       {"fetched", TimeText(p.fetched)},
                       {"created", TimeText(p.created)}});
}

Json ToJson(const license::InvoiceRow& i) {
  return Json::Object({{"id", i.id},
                       {"purchase", i.purchase},
                       {"customer", i.customer},
                       {"number", i.number},
                       {"status", i.status},
                       {"currency", i.currency},
                       {"due", i.due},
                       {"paid", i.paid},
                       {"url", i.url},
                       {"created", TimeText(i.created)}});
}

Json ToJson(const license::EventRow& e) {
  return Json::Object({{"id", e.id},
                       {"type", e.type},
                       {"object", e.object_id},
                       {"kind", e.object_kind},
                       {"api_version", e.api_version},
                       {"source", e.source},
                       {"state", e.state},
                       {"attempts", e.attempts},
                       {"next", e.state == "new" ? TimeText(e.next) : ""},
                       {"last_error", e.last_error},
                       {"created", TimeText(e.created)},
                       {"received", TimeText(e.received)},
                       {"done", TimeText(e.done)}});
}

Json ToJson(const license::MailRow& m) {
  return Json::Object({{"id", m.id},
                       {"kind", m.kind},
                       {"license", m.license},
                       {"recipient", m.recipient},
                       {"state", m.state},
                       {"attempts", m.attempts},
                       {"next", TimeText(m.next)},
                       {"provider", m.provider},
                       {"last_error", m.last_error},
                       {"suppressed", m.suppressed},
                       {"created", TimeText(m.created)},
                       {"updated", TimeText(m.updated)}});
}

Json ToJson(const PaymentRow& p) {
  return Json::Object({{"rail", p.rail},
                       {"id", p.id},
                       {"at", TimeText(p.at)},
                       {"state", p.state},
                       {"payer", p.payer},
                       {"amount", p.amount},
                       {"what", p.what},
                       {"delivery", p.delivery},
                       {"network", p.network},
                       {"reference", p.reference},
                       {"url", p.url}});
}

Json ToJson(const ledger::AuditRow& r) {
  return Json::Object({{"seq", r.seq},
                       {"at", TimeText(r.at)},
                       {"actor", r.entry.actor},
                       {"verb", r.entry.verb},
                       {"subject", r.entry.subject},
                       {"before", Parsed(r.entry.before)},
                       {"after", Parsed(r.entry.after)},
                       {"reason", r.entry.reason},
                       {"request_id", r.entry.request_id},
                       {"prev_hash", r.prev_hash},
                       {"hash", r.hash}});
}

Json ToJson(const ledger::Command& c) {
  Json json = Json::Object({{"id", c.id},
                            {"verb", c.verb},
                            {"subject", c.subject},
                            {"state", ledger::ToString(c.state)},
                            {"actor", c.actor},
                            {"request_id", c.request_id},
                            {"attempts", c.attempts},
                            {"last_error", c.last_error},
                            {"created", TimeText(c.created)},
                            {"updated", TimeText(c.updated)}});
  if (!c.payload.empty()) json.Set("asked", Parsed(c.payload));
  if (!c.outcome.empty()) json.Set("outcome", Parsed(c.outcome));
  return json;
}

}  // namespace pontage::console
