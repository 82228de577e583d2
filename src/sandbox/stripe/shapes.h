#pragma once

#include "codec/json.h"
#include "sandbox/stripe/store.h"

namespace pontage::sandbox::stripe {

// A new object of that kind with every member that Stripe's has in the version kApiVersion, in the
// values of one that nothing was said about. Whoever makes one sets the rest; id, created and what
// belongs to others first of all.
codec::Json Shape(Kind kind);
codec::Json SubscriptionItemShape();
codec::Json InvoiceLineShape();
codec::Json SessionItemShape();

}  // namespace pontage::sandbox::stripe
