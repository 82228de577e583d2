#include "sales/stripe_forms.h"

namespace pontage::sales {

using stripe::Form;

Form CustomerForm(const NewCustomer& customer) {
  Form form;
  form.Add("email", customer.email);
  if (!customer.name.empty()) form.Add("name", customer.name);
  form.AddTo("metadata", "tenant_id", customer.tenant.str());
  return form;
}

Form PortalForm(const PortalRequest& request) {
  Form form;
  form.Add("customer", request.customer.str()).Add("return_url", request.return_url);
  if (!request.configuration.empty()) form.Add("configuration", request.configuration.str());
  if (request.flow.empty()) return form;
  form.Add("flow_data[type]", request.flow);
  if (!request.subscription.empty()) {
    form.Add("flow_data[" + request.flow + "][subscription]", request.subscription.str());
  }
  return form;
}

Form CancelAtPeriodEndForm(bool cancel) {
  Form form;
  form.Add("cancel_at_period_end", cancel);
  return form;
}

Form ChangePriceForm(const stripe::SubscriptionItemId& item, const stripe::PriceId& price) {
  Form form;
  form.Add("items[0][id]", item.str()).Add("items[0][price]", price.str());
  form.Add("proration_behavior", "always_invoice");
  return form;
}

Form RefundForm(const RefundRequest& request) {
  Form form;
  form.Add("payment_intent", request.payment_intent.str());
  if (request.amount) form.Add("amount", request.amount->count());
  form.Add("reason", request.reason);
  form.AddTo("metadata", "actor", request.actor);
  if (!request.id.empty()) form.AddTo("metadata", kRefundKey, request.id);
  return form;
}

Form EventForm(const EventQuery& query) {
  Form form;
  form.Add("created[gte]", query.since.seconds());
  form.AddList("types", query.types);
  if (query.undelivered) form.Add("delivery_success", false);
  return form;
}

Form ProductForm(const NewProduct& product) {
  Form form;
  form.Add("name", product.name);
  form.AddTo("metadata", kPlanKey, product.plan).AddTo("metadata", kMadeByKey, kMadeBy);
  return form;
}

Form PriceForm(const NewPrice& price) {
  Form form;
  form.Add("product", price.product.str()).Add("currency", "usd");
  form.Add("unit_amount", price.cents.count());
  if (!price.interval.empty()) form.Add("recurring[interval]", price.interval);
  form.Add("lookup_key", price.plan).Add("transfer_lookup_key", true);
  form.AddTo("metadata", kPlanKey, price.plan).AddTo("metadata", kMadeByKey, kMadeBy);
  return form;
}

Form WebhookEndpointForm(const NewWebhookEndpoint& endpoint) {
  Form form;
  form.Add("url", endpoint.url);
  form.AddList("enabled_events", endpoint.events);
  form.Add("api_version", endpoint.api_version);
  return form;
}

Form EndpointEventsForm(const std::vector<std::string>& events) {
  Form form;
  form.AddList("enabled_events", events);
  return form;
}

namespace {

void AddOffers(Form& form, const PortalSetup& setup) {
  form.Add("features[subscription_update][enabled]", !setup.products.empty());
  if (!setup.products.empty()) {
    form.AddList("features[subscription_update][default_allowed_updates]", {"price"});
    form.Add("features[subscription_update][proration_behavior]", "always_invoice");
  }
  for (size_t i = 0; i < setup.products.size(); ++i) {
    const std::string name = "features[subscription_update][products][" + std::to_string(i) + "]";
    const auto& [product, prices] = setup.products[i];
    form.Add(name + "[product]", product.str());
    std::vector<std::string> ids;
    for (const stripe::PriceId& price : prices) ids.push_back(price.str());
    form.AddList(name + "[prices]", ids);
  }
  form.AddTo("metadata", kMadeByKey, kMadeBy).AddTo("metadata", kOffersKey, setup.offers);
}

}  // namespace

Form PortalConfigurationForm(const PortalSetup& setup) {
  Form form;
  form.Add("default_return_url", setup.return_url);
  form.Add("features[customer_update][enabled]", true);
  // Not the address: what is sold and mailed goes by it, and the portal asks nobody whether it is
  // his.
  form.AddList("features[customer_update][allowed_updates]", {"name", "address", "tax_id"});
  form.Add("features[invoice_history][enabled]", true);
  form.Add("features[payment_method_update][enabled]", true);
  form.Add("features[subscription_cancel][enabled]", true);
  form.Add("features[subscription_cancel][mode]", "at_period_end");
  AddOffers(form, setup);
  return form;
}

Form PortalOffersForm(const PortalSetup& setup) {
  Form form;
  AddOffers(form, setup);
  return form;
}

}  // namespace pontage::sales
