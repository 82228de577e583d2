#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "base/secret.h"
#include "base/time.h"

// What an answer of Stripe's API means. Pure.
namespace pontage::sales {

// Whether the same call, under the same key, is worth another try: after 409 (a lock, or the first
// try is still running) and 5xx; what `Stripe-Should-Retry` says goes before that. A 429 is tried
// again only when it says so.
bool MayRetry(int status, std::optional<std::string_view> should_retry);

// The error of an answer that is not 2xx. By the status: 400 and 402 kBadRequest, 401
// kUnauthorized, 403 kForbidden, 404 kNotFound, 409 (and a used Idempotency-Key with other
// parameters) kConflict, 429 kRateLimited, all others kUpstreamUnreachable. reason() is Stripe's
// code ("resource_missing", "card_declined"…), else its type; pointer() is its param
// ("line_items[0][price]" as
// "/line_items/0/price"); detail() is its message, for an operator: it names objects of the
// account. A key that the message repeats is struck out.
Error ReadStripeError(int status, std::string_view body, const Secret& api_key);

// "a[0][b]" as "/a/0/b".
std::string PointerOfParam(std::string_view param);

// How long to wait before try `retry` (1 is the first after a failure): twice as long each time,
// from `first` up to `most`, of which the last half is by chance; never less than `first`.
Millis PauseBefore(int retry, Millis first, Millis most, Rng& rng);

}  // namespace pontage::sales
