#pragma once

#include "sandbox/stripe/account.h"

namespace pontage::sandbox::stripe {

// The portal configuration that an account has from its first look at the settings: the one that
// sessions use which name none.
void AddDefaultPortal(Account& account);

}  // namespace pontage::sandbox::stripe
