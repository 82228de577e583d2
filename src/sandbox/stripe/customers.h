#pragma once

#include <string>

#include "codec/json.h"
#include "sandbox/stripe/account.h"

namespace pontage::sandbox::stripe {

// A new customer with what `fields` sets; customer.created.
codec::Json& AddCustomer(Account& account, const codec::Json& fields);

// Deletes him: his subscriptions end, and of him stays {id, object, deleted}.
codec::Json DeleteCustomer(Account& account, codec::Json& customer);

}  // namespace pontage::sandbox::stripe
