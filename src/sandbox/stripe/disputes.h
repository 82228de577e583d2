#pragma once

#include <string>

#include "codec/json.h"
#include "sandbox/stripe/account.h"

namespace pontage::sandbox::stripe {

// The bank takes a charge back: the money goes, and a dispute wants an answer.
codec::Json& OpenDispute(Account& account, codec::Json& charge, const std::string& reason);
// It ends; won, the money comes back.
void CloseDispute(Account& account, codec::Json& dispute, bool won);

}  // namespace pontage::sandbox::stripe
