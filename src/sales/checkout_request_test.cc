#include "sales/checkout_request.h"

#include <gtest/gtest.h>

namespace pontage::sales {
namespace {

CheckoutRequest Pro() {
  CheckoutRequest request;
  request.price = stripe::PriceId("price_1");
  request.plan = "pro";
  request.tenant = TenantId("t_1");
  request.customer = stripe::CustomerId("cus_1");
  request.success_url = "https://h/ok?sid={CHECKOUT_SESSION_ID}";
  request.cancel_url = "https://h/no";
  return request;
}

// Field for field what Stripe's own client sent for this purchase.
TEST(CheckoutRequestTest, ASubscriptionIsAskedForAsCaptured) {
  CheckoutRequest request = Pro();
  request.trial_days = 7;
  EXPECT_EQ(CheckoutForm(request).Encode(),
            "mode=subscription&customer=cus_1&client_reference_id=t_1"
            "&line_items[0][price]=price_1&line_items[0][quantity]=1"
            "&success_url=https%3A%2F%2Fh%2Fok%3Fsid%3D%7BCHECKOUT_SESSION_ID%7D"
            "&cancel_url=https%3A%2F%2Fh%2Fno"
            "&metadata[tenant_id]=t_1&metadata[plan]=pro"
            "&subscription_data[metadata][tenant_id]=t_1&subscription_data[metadata][plan]=pro"
            "&allow_promotion_codes=true&automatic_tax[enabled]=true"
            "&tax_id_collection[enabled]=true"
            "&customer_update[address]=auto&customer_update[name]=auto"
            "&subscription_data[trial_period_days]=7");
}

TEST(CheckoutRequestTest, AOneOffHasAnInvoiceAndNothingOfASubscription) {
  CheckoutRequest request = Pro();
  request.subscription = false;
  request.trial_days = 7;  // of nothing
  EXPECT_EQ(CheckoutForm(request).Encode(),
            "mode=payment&customer=cus_1&client_reference_id=t_1"
            "&line_items[0][price]=price_1&line_items[0][quantity]=1"
            "&success_url=https%3A%2F%2Fh%2Fok%3Fsid%3D%7BCHECKOUT_SESSION_ID%7D"
            "&cancel_url=https%3A%2F%2Fh%2Fno"
            "&metadata[tenant_id]=t_1&metadata[plan]=pro"
            "&payment_intent_data[metadata][tenant_id]=t_1&payment_intent_data[metadata][plan]=pro"
            "&invoice_creation[enabled]=true"
            "&allow_promotion_codes=true&automatic_tax[enabled]=true"
            "&tax_id_collection[enabled]=true"
            "&customer_update[address]=auto&customer_update[name]=auto");
}

// Stripe refuses customer_update without a customer, and keeps a guest where it need not make one.
TEST(CheckoutRequestTest, WithoutACustomerThePageMakesOne) {
  CheckoutRequest request = Pro();
  request.customer = {};
  const std::string subscription = CheckoutForm(request).Encode();
  EXPECT_FALSE(subscription.contains("customer"));
  EXPECT_FALSE(subscription.contains("trial"));
  request.subscription = false;
  const std::string payment = CheckoutForm(request).Encode();
  EXPECT_TRUE(payment.ends_with("&tax_id_collection[enabled]=true&customer_creation=always"));
  EXPECT_FALSE(payment.contains("customer="));
  EXPECT_FALSE(payment.contains("customer_update"));
}

TEST(CheckoutRequestTest, TheAddressIsAskedForWhereNoTaxAsksForIt) {
  CheckoutRequest request = Pro();
  request.automatic_tax = false;
  const std::string form = CheckoutForm(request).Encode();
  EXPECT_TRUE(form.contains("&billing_address_collection=required&"));
  EXPECT_FALSE(form.contains("automatic_tax"));
}

TEST(CheckoutRequestTest, StripeComesBackToOurPage) {
  for (const std::string_view url : {"https://h", "https://h/", "https://h//"}) {
    EXPECT_EQ(SuccessUrl(url), "https://h/billing/success?session_id={CHECKOUT_SESSION_ID}");
  }
}

}  // namespace
}  // namespace pontage::sales
