#include "sandbox/stripe/customers.h"

#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/shapes.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

std::vector<std::string_view> FieldParams() {
  return {"email",      "name",      "description", "phone",
          "metadata.*", "address.*", "tax_exempt",  "invoice_settings.default_payment_method",
          "expand.*"};
}

// Sets on `customer` what the request names.
Answered<> SetFields(Call& call, Json& customer) {
  for (const char* key : {"email", "name", "description", "phone"}) {
    PTG_TRY(std::optional<std::string> text, call.params.MaybeText(key));
    if (text || call.params.Clears(key)) customer.Set(key, OrNull(std::move(text)));
  }
  const std::string email = TextOf(customer, "email");
  if (!email.empty() && email.find('@') == std::string::npos) {
    return Refuse("email_invalid", "Invalid email address: " + email, "email");
  }
  PTG_TRY(Json metadata, call.params.Metadata(Member(customer, "metadata")));
  customer.Set("metadata", std::move(metadata));
  PTG_TRY(const std::optional<std::string> exempt,
          call.params.MaybeWord("tax_exempt", {"none", "exempt", "reverse"}));
  if (exempt) customer.Set("tax_exempt", *exempt);
  if (call.params.Has("address")) {
    Json address = Json::Object();
    for (const char* key : {"city", "country", "line1", "line2", "postal_code", "state"}) {
      PTG_TRY(std::optional<std::string> text,
              call.params.MaybeText("address." + std::string(key)));
      address.Set(key, OrNull(std::move(text)));
    }
    customer.Set("address", std::move(address));
  }
  constexpr std::string_view kMethod = "invoice_settings.default_payment_method";
  PTG_TRY(const std::optional<std::string> method, call.params.MaybeText(kMethod));
  if (method) {
    if (call.account.store.Find(Kind::kPaymentMethod, *method) == nullptr) {
      return NoSuch("PaymentMethod", *method, call.params.NameOf(kMethod));
    }
    customer.Find("invoice_settings")->Set("default_payment_method", *method);
  }
  return {};
}

Answered<Json> Create(Call& call) {
  Json fields = Shape(Kind::kCustomer);
  PTG_RUN(SetFields(call, fields));
  return AddCustomer(call.account, fields);
}

Answered<Json*> Living(Call& call) {
  PTG_TRY(Json * customer, Named(call, Kind::kCustomer));
  if (IsTrue(*customer, "deleted")) return NoSuch("customer", call.id);
  return customer;
}

Answered<Json> Update(Call& call) {
  PTG_TRY(Json * customer, Living(call));
  Json after = *customer;
  PTG_RUN(SetFields(call, after));
  const Json before = std::exchange(*customer, std::move(after));
  EmitUpdate(call.account, "customer.updated", before, *customer);
  return *customer;
}

Answered<Json> Delete(Call& call) {
  PTG_TRY(Json * customer, Living(call));
  return DeleteCustomer(call.account, *customer);
}

Answered<Json> List(Call& call) {
  PTG_TRY(const std::optional<std::string> email, call.params.MaybeText("email"));
  return ListPage(call, Kind::kCustomer, [&](const Json& customer) {
    // As Stripe, it tells cases apart here.
    return !IsTrue(customer, "deleted") && (!email || TextOf(customer, "email") == *email);
  });
}

}  // namespace

Json& AddCustomer(Account& account, const Json& fields) {
  Json customer = Shape(Kind::kCustomer);
  for (const codec::JsonMember& member : *fields.AsObject()) {
    customer.Set(member.key, member.value);
  }
  customer.Set("id", NewId("cus_", kShortId, account.rng));
  customer.Set("created", account.Now());
  customer.Set("invoice_prefix", NewId("", 8, account.rng));
  Json& added = account.store.Add(Kind::kCustomer, std::move(customer));
  Emit(account, "customer.created", added);
  return added;
}

Json DeleteCustomer(Account& account, Json& customer) {
  const std::string id = TextOf(customer, "id");
  for (const std::string& other : account.store.ids(Kind::kSubscription)) {
    Json* subscription = account.store.Find(Kind::kSubscription, other);
    if (TextOf(*subscription, "customer") == id && !IsOver(*subscription)) {
      Cancel(account, *subscription, "cancellation_requested");
    }
  }
  Emit(account, "customer.deleted", customer);
  customer = Json::Object({{"id", id}, {"object", "customer"}, {"deleted", true}});
  return customer;
}

void AddCustomerRoutes(Routes& routes) {
  routes.push_back({"POST", "/v1/customers", &Create, FieldParams()});
  routes.push_back({"GET", "/v1/customers", &List, ListParams({"email"})});
  routes.push_back({"GET", "/v1/customers/:id", &Retrieve<Kind::kCustomer>, {"expand.*"}});
  routes.push_back({"POST", "/v1/customers/:id", &Update, FieldParams()});
  routes.push_back({"DELETE", "/v1/customers/:id", &Delete, {}});
}

}  // namespace pontage::sandbox::stripe
