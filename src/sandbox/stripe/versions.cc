#include "sandbox/stripe/versions.h"

#include <algorithm>
#include <utility>

#include "sandbox/stripe/account.h"
#include "sandbox/stripe/fields.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr std::string_view kBasil = "2025-03-31";

constexpr struct {
  std::string_view name;
  std::string_view version;
} kReleases[] = {
    {"acacia", "2024-09-30.acacia"}, {"basil", "2025-03-31.basil"},
    {"clover", "2025-09-30.clover"}, {"dahlia", "2026-03-25.dahlia"},
    {"endive", "2026-10-28.endive"},
};

bool IsDate(std::string_view text) {
  if (text.size() != 10) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 4 || i == 7;
    if (dash ? text[i] != '-' : text[i] < '0' || text[i] > '9') return false;
  }
  return true;
}

void OldSubscription(Json& subscription) {
  int64_t start = 0;
  int64_t end = 0;
  Json items = Member(subscription, "items");
  std::vector<Json> old;
  for (Json item : ItemsOf(items)) {
    start = std::max(start, IntOf(item, "current_period_start"));
    end = std::max(end, IntOf(item, "current_period_end"));
    item.Remove("current_period_start");
    item.Remove("current_period_end");
    old.push_back(std::move(item));
  }
  if (!old.empty()) {
    subscription.Set("current_period_start", start);
    subscription.Set("current_period_end", end);
    subscription.Set("plan", Member(old.front(), "plan"));
    subscription.Set("quantity", Member(old.front(), "quantity"));
    items.Set("data", Json::Array(std::move(old)));
    subscription.Set("items", std::move(items));
  }
  subscription.Set("discount", nullptr);
  subscription.Remove("billing_mode");
}

Json OldLine(const Account& account, Json line) {
  const Json& details = Member(Member(line, "parent"), "subscription_item_details");
  const Json& price = Member(Member(line, "pricing"), "price_details");
  const Json* found = account.store.Find(Kind::kPrice, TextOf(price, "price"));
  line.Set("price", found != nullptr ? *found : Json());
  line.Set("proration", IsTrue(details, "proration"));
  line.Set("subscription", Member(details, "subscription"));
  line.Set("subscription_item", Member(details, "subscription_item"));
  line.Set("type", details.IsNull() ? "invoiceitem" : "subscription");
  line.Set("tax_amounts", Json::Array());
  for (const char* gone : {"parent", "pricing", "taxes"}) line.Remove(gone);
  return line;
}

void OldInvoice(const Account& account, Json& invoice) {
  const Json details = Member(Member(invoice, "parent"), "subscription_details");
  const std::string intent = account.IntentOf(TextOf(invoice, "id"));
  const Json* found = account.store.Find(Kind::kPaymentIntent, intent);
  const bool paid = TextOf(invoice, "status") == "paid";
  invoice.Set("subscription", Member(details, "subscription"));
  invoice.Set("subscription_details", Json::Object({{"metadata", Member(details, "metadata")}}));
  invoice.Set("payment_intent", intent.empty() ? Json() : Json(intent));
  invoice.Set("charge", found != nullptr ? Member(*found, "latest_charge") : Json());
  invoice.Set("paid", paid);
  invoice.Set("paid_out_of_band", false);
  invoice.Set("tax", nullptr);
  invoice.Set("total_tax_amounts", Json::Array());
  invoice.Set("discount", nullptr);
  invoice.Set("quote", nullptr);
  for (const char* gone : {"parent", "total_taxes", "amount_overpaid"}) invoice.Remove(gone);
  Json lines = Member(invoice, "lines");
  std::vector<Json> old;
  for (const Json& line : ItemsOf(lines)) old.push_back(OldLine(account, line));
  lines.Set("data", Json::Array(std::move(old)));
  invoice.Set("lines", std::move(lines));
}

}  // namespace

std::optional<std::string> VersionOf(std::string_view text) {
  for (const auto& release : kReleases) {
    if (text == release.name) return std::string(release.version);
  }
  if (!IsDate(text.substr(0, 10))) return std::nullopt;
  const std::string_view name = text.substr(10);
  if (name.empty()) return std::string(text);
  const bool word =
      name.size() > 1 && name.size() <= 32 && name.front() == '.' &&
      std::ranges::all_of(name.substr(1), [](char c) { return c >= 'a' && c <= 'z'; });
  return word ? std::optional(std::string(text)) : std::nullopt;
}

Json InVersion(const Account& account, Json object, std::string_view version) {
  if (version.substr(0, kBasil.size()) >= kBasil) return object;
  const std::string name = TextOf(object, "object");
  if (name == "subscription") OldSubscription(object);
  if (name == "invoice") OldInvoice(account, object);
  if (name == "charge" || name == "payment_intent") {
    const std::string intent = TextOf(object, name == "charge" ? "payment_intent" : "id");
    const auto found = account.invoice_of_intent.find(intent);
    object.Set("invoice", found != account.invoice_of_intent.end() ? Json(found->second) : Json());
  }
  return object;
}

}  // namespace pontage::sandbox::stripe
