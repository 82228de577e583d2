#include "sandbox/stripe/store.h"

#include <utility>

#include "base/check.h"
#include "sandbox/stripe/fields.h"

namespace pontage::sandbox::stripe {
namespace {

struct KindRow {
  std::string_view object;
  std::string_view path;
};
constexpr std::array<KindRow, static_cast<size_t>(Kind::kCount)> kRows = {{
    {"customer", "/v1/customers"},
    {"product", "/v1/products"},
    {"price", "/v1/prices"},
    {"payment_method", "/v1/payment_methods"},
    {"checkout.session", "/v1/checkout/sessions"},
    {"subscription", "/v1/subscriptions"},
    {"invoice", "/v1/invoices"},
    {"invoice_payment", "/v1/invoice_payments"},
    {"payment_intent", "/v1/payment_intents"},
    {"charge", "/v1/charges"},
    {"refund", "/v1/refunds"},
    {"dispute", "/v1/disputes"},
    {"billing_portal.configuration", "/v1/billing_portal/configurations"},
    {"billing_portal.session", "/v1/billing_portal/sessions"},
    {"webhook_endpoint", "/v1/webhook_endpoints"},
}};

}  // namespace

std::string_view ObjectName(Kind kind) { return kRows[static_cast<size_t>(kind)].object; }
std::string_view PathOf(Kind kind) { return kRows[static_cast<size_t>(kind)].path; }

codec::Json& Store::Add(Kind kind, codec::Json object) {
  std::string id = TextOf(object, "id");
  const auto [at, added] = objects_.try_emplace(id, Entry{kind, std::move(object)});
  PTG_CHECK(added);
  order_[static_cast<size_t>(kind)].push_back(std::move(id));
  return at->second.object;
}

const codec::Json* Store::Find(Kind kind, std::string_view id) const {
  const auto found = objects_.find(id);
  if (found == objects_.end() || found->second.kind != kind) return nullptr;
  return &found->second.object;
}

codec::Json* Store::Find(Kind kind, std::string_view id) {
  return const_cast<codec::Json*>(std::as_const(*this).Find(kind, id));
}

const codec::Json* Store::FindAny(std::string_view id) const {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second.object;
}

void Store::Remove(Kind kind, std::string_view id) {
  const auto found = objects_.find(id);
  if (found == objects_.end() || found->second.kind != kind) return;
  std::erase(order_[static_cast<size_t>(kind)], id);
  objects_.erase(found);
}

}  // namespace pontage::sandbox::stripe
