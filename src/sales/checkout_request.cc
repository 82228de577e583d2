#include "sales/checkout_request.h"

namespace pontage::sales {

std::string SuccessUrl(std::string_view public_url) {
  while (public_url.ends_with('/')) public_url.remove_suffix(1);
  return std::string(public_url) + "/billing/success?session_id={CHECKOUT_SESSION_ID}";
}

stripe::Form CheckoutForm(const CheckoutRequest& request) {
  stripe::Form form;
  form.Add("mode", request.subscription ? "subscription" : "payment");
  if (!request.customer.empty()) form.Add("customer", request.customer.str());
  form.Add("client_reference_id", request.tenant.str());
  form.Add("line_items[0][price]", request.price.str()).Add("line_items[0][quantity]", 1);
  form.Add("success_url", request.success_url).Add("cancel_url", request.cancel_url);
  form.AddTo("metadata", "tenant_id", request.tenant.str());
  form.AddTo("metadata", "plan", request.plan);
  const std::string_view made =
      request.subscription ? "subscription_data[metadata]" : "payment_intent_data[metadata]";
  form.AddTo(made, "tenant_id", request.tenant.str()).AddTo(made, "plan", request.plan);
  // A subscription has invoices by itself.
  if (!request.subscription) form.Add("invoice_creation[enabled]", true);
  form.Add("allow_promotion_codes", true);
  if (request.automatic_tax) {
    form.Add("automatic_tax[enabled]", true);
  } else {
    form.Add("billing_address_collection", "required");
  }
  form.Add("tax_id_collection[enabled]", true);
  if (!request.customer.empty()) {
    form.Add("customer_update[address]", "auto").Add("customer_update[name]", "auto");
  } else if (!request.subscription) {
    // In payment mode Stripe would keep a guest, who has no portal and no tax id.
    form.Add("customer_creation", "always");
  }
  if (request.subscription && request.trial_days > 0) {
    form.Add("subscription_data[trial_period_days]", request.trial_days);
  }
  return form;
}

}  // namespace pontage::sales
