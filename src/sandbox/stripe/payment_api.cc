// Payment intents, charges, refunds and disputes as the API shows and makes them.
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/catalog.h"
#include "sandbox/stripe/disputes.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/payments.h"
#include "sandbox/stripe/shapes.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr int64_t kAnswerWithin = int64_t{9} * 86'400;
constexpr int64_t kDisputeFee = 1'500;

// The charge that a refund names, itself or by its payment intent.
Answered<Json*> ChargeOf(Call& call) {
  Account& account = call.account;
  PTG_TRY(const std::optional<std::string> intent_id, call.params.MaybeText("payment_intent"));
  PTG_TRY(const std::optional<std::string> charge_id, call.params.MaybeText("charge"));
  if (!intent_id && !charge_id) {
    return Refuse("parameter_missing",
                  "One of the following params should be provided for this request: "
                  "payment_intent or charge.",
                  "payment_intent");
  }
  std::string id = charge_id.value_or("");
  if (intent_id) {
    const Json* intent = account.store.Find(Kind::kPaymentIntent, *intent_id);
    if (intent == nullptr) return NoSuch("payment_intent", *intent_id, "payment_intent");
    id = TextOf(*intent, "latest_charge");
    if (TextOf(*intent, "status") != "succeeded") {
      return Refuse(
          "",
          "This PaymentIntent (" + *intent_id + ") does not have a successful charge to refund.",
          "payment_intent");
    }
  }
  Json* charge = account.store.Find(Kind::kCharge, id);
  if (charge == nullptr) return NoSuch("charge", id, "charge");
  if (TextOf(*charge, "status") != "succeeded") {
    return Refuse("", "Charge " + id + " has not succeeded.", "charge");
  }
  return charge;
}

Answered<Json> CreateRefund(Call& call) {
  PTG_TRY(Json * charge, ChargeOf(call));
  const std::string id = TextOf(*charge, "id");
  const int64_t left = IntOf(*charge, "amount") - IntOf(*charge, "amount_refunded");
  PTG_TRY(const std::optional<int64_t> amount, call.params.MaybeInt("amount", 1, kMaxAmount));
  PTG_TRY(std::optional<std::string> reason,
          call.params.MaybeWord("reason", {"duplicate", "fraudulent", "requested_by_customer"}));
  PTG_TRY(Json metadata, call.params.Metadata(Json()));
  if (IsTrue(*charge, "disputed")) {
    return Refuse("charge_disputed",
                  "Charge " + id + " has been charged back; cannot issue a refund.");
  }
  if (left == 0) {
    return Refuse("charge_already_refunded", "Charge " + id + " has already been refunded.");
  }
  if (amount.value_or(left) > left) {
    return Refuse("",
                  "Refund amount (" + std::to_string(*amount) +
                      ") is greater than unrefunded amount on charge (" + std::to_string(left) +
                      ")",
                  "amount");
  }
  return AddRefund(call.account, *charge, amount.value_or(left), OrNull(std::move(reason)),
                   std::move(metadata));
}

Answered<Json> UpdateRefund(Call& call) {
  PTG_TRY(Json * refund, Named(call, Kind::kRefund));
  const Json before = *refund;
  PTG_TRY(Json metadata, call.params.Metadata(Member(*refund, "metadata")));
  refund->Set("metadata", std::move(metadata));
  EmitUpdate(call.account, "refund.updated", before, *refund);
  return *refund;
}

// Whoever closes one himself gives in.
Answered<Json> GiveIn(Call& call) {
  PTG_TRY(Json * dispute, Named(call, Kind::kDispute));
  const std::string status = TextOf(*dispute, "status");
  if (status == "won" || status == "lost") {
    return Refuse("", "This dispute is already closed.");
  }
  CloseDispute(call.account, *dispute, false);
  return *dispute;
}

// A list that may be narrowed by the charge and by the payment intent.
template <Kind kKind>
Answered<Json> ListOfCharge(Call& call) {
  PTG_TRY(const std::optional<std::string> charge, call.params.MaybeText("charge"));
  PTG_TRY(const std::optional<std::string> intent, call.params.MaybeText("payment_intent"));
  return ListPage(call, kKind, [&](const Json& object) {
    return (!charge || TextOf(object, "charge") == *charge) &&
           (!intent || TextOf(object, "payment_intent") == *intent);
  });
}

// The same by the customer and by the payment intent.
template <Kind kKind>
Answered<Json> ListOfCustomer(Call& call) {
  PTG_TRY(const std::optional<std::string> customer, call.params.MaybeText("customer"));
  PTG_TRY(const std::optional<std::string> intent, call.params.MaybeText("payment_intent"));
  return ListPage(call, kKind, [&](const Json& object) {
    return (!customer || TextOf(object, "customer") == *customer) &&
           (!intent || TextOf(object, "payment_intent") == *intent);
  });
}

// What the dispute, or its end, does to the balance.
void AddMovement(Account& account, Json& dispute, bool back) {
  const int64_t amount = back ? IntOf(dispute, "amount") : -IntOf(dispute, "amount");
  const int64_t fee = back ? 0 : kDisputeFee;
  Json movement = Json::Object({{"id", NewId("txn_1", kLongId - 1, account.rng)},
                                {"object", "balance_transaction"},
                                {"amount", amount},
                                {"available_on", account.Now()},
                                {"balance_type", "payments"},
                                {"created", account.Now()},
                                {"currency", Member(dispute, "currency")},
                                {"description", nullptr},
                                {"exchange_rate", nullptr},
                                {"fee", fee},
                                {"fee_details", Json::Array()},
                                {"net", amount - fee},
                                {"reporting_category", back ? "dispute_reversal" : "dispute"},
                                {"source", Member(dispute, "id")},
                                {"status", "available"},
                                {"type", "adjustment"}});
  dispute.Find("balance_transactions")->Push(std::move(movement));
}

}  // namespace

Json& OpenDispute(Account& account, Json& charge, const std::string& reason) {
  Json shape = Shape(Kind::kDispute);
  shape.Set("id", NewId("du_1", kLongId - 1, account.rng));
  shape.Set("amount", Member(charge, "amount"));
  shape.Set("charge", Member(charge, "id"));
  shape.Set("created", account.Now());
  shape.Set("currency", Member(charge, "currency"));
  shape.Find("evidence_details")->Set("due_by", account.Now() + kAnswerWithin);
  shape.Set("payment_intent", Member(charge, "payment_intent"));
  shape.Set("reason", reason);
  Json& dispute = account.store.Add(Kind::kDispute, std::move(shape));
  charge.Set("disputed", true);
  AddMovement(account, dispute, false);
  Emit(account, "charge.dispute.created", dispute);
  Emit(account, "charge.dispute.funds_withdrawn", dispute);
  return dispute;
}

void CloseDispute(Account& account, Json& dispute, bool won) {
  dispute.Set("status", won ? "won" : "lost");
  dispute.Find("evidence_details")->Set("due_by", nullptr);
  if (won) AddMovement(account, dispute, true);
  Emit(account, "charge.dispute.closed", dispute);
  if (won) Emit(account, "charge.dispute.funds_reinstated", dispute);
}

void AddPaymentRoutes(Routes& routes) {
  routes.push_back({"GET", "/v1/payment_intents", &ListOfCustomer<Kind::kPaymentIntent>,
                    ListParams({"customer"})});
  routes.push_back(
      {"GET", "/v1/payment_intents/:id", &Retrieve<Kind::kPaymentIntent>, {"expand.*"}});
  routes.push_back(
      {"GET", "/v1/payment_methods/:id", &Retrieve<Kind::kPaymentMethod>, {"expand.*"}});
  routes.push_back({"GET", "/v1/charges", &ListOfCustomer<Kind::kCharge>,
                    ListParams({"customer", "payment_intent"})});
  routes.push_back({"GET", "/v1/charges/:id", &Retrieve<Kind::kCharge>, {"expand.*"}});
  routes.push_back({"POST",
                    "/v1/refunds",
                    &CreateRefund,
                    {"payment_intent", "charge", "amount", "reason", "metadata.*", "expand.*"}});
  routes.push_back({"GET", "/v1/refunds", &ListOfCharge<Kind::kRefund>,
                    ListParams({"charge", "payment_intent"})});
  routes.push_back({"GET", "/v1/refunds/:id", &Retrieve<Kind::kRefund>, {"expand.*"}});
  routes.push_back({"POST", "/v1/refunds/:id", &UpdateRefund, {"metadata.*", "expand.*"}});
  routes.push_back({"GET", "/v1/disputes", &ListOfCharge<Kind::kDispute>,
                    ListParams({"charge", "payment_intent"})});
  routes.push_back({"POST", "/v1/disputes/:id/close", &GiveIn, {"expand.*"}});
  routes.push_back({"GET", "/v1/disputes/:id", &Retrieve<Kind::kDispute>, {"expand.*"}});
}

}  // namespace pontage::sandbox::stripe
