#include "base/check.h"
#include "testing/fuzz.h"
#include "wire/stripe/event.h"
#include "wire/stripe/objects.h"

namespace pontage::stripe {

// Whatever Stripe, or somebody with its secret, sends: an event that is read has what it is taken
// once by; and no object of an account stops the reader.
FUZZ_TARGET(stripe_event) {
  codec::JsonLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_depth = 64;
  const auto json = codec::ParseJson(input, limits);
  if (!json) return;
  const auto reader = codec::JsonReader::Of(*json);
  if (!reader) return;
  if (const auto event = ReadEvent(*reader)) {
    PTG_CHECK(!event->id.empty() && !event->once_key().empty() && !event->type.empty());
    PTG_CHECK(!event->type.starts_with("v1."));
    PTG_CHECK(event->created >= UnixMs());
    if (const auto object = codec::JsonReader::Of(event->object)) {
      (void)ReadSubscription(*object);
      (void)ReadInvoice(*object);
      (void)ReadCheckoutSession(*object);
      (void)ReadRefund(*object);
      (void)ReadDispute(*object);
      (void)ReadCharge(*object);
      (void)ReadCustomer(*object);
    }
  }
  (void)ReadSubscription(*reader);
  (void)ReadInvoice(*reader);
  (void)ReadCheckoutSession(*reader);
  (void)ReadRefund(*reader);
  (void)ReadPrice(*reader);
  (void)ReadWebhookEndpoint(*reader);
}

}  // namespace pontage::stripe
