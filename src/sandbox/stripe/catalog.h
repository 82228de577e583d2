#pragma once

#include <string>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/params.h"

namespace pontage::sandbox::stripe {

// The largest amount Stripe charges at once, and the largest quantity: their product fits.
inline constexpr int64_t kMaxAmount = 99'999'999;
inline constexpr int64_t kMaxQuantity = 1'000'000;

// A price out of price_data[…] or of the body of POST /v1/prices, its product made too when
// product_data says so. `inlined`: it belongs to one session and is not for sale otherwise.
Answered<codec::Json*> AddPrice(Account& account, const Params& params, bool inlined);

}  // namespace pontage::sandbox::stripe
