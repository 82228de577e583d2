#include "sandbox/stripe/account.h"

namespace pontage::sandbox::stripe {

std::string Account::IntentOf(std::string_view invoice) const {
  const auto book = invoices.find(invoice);
  return book == invoices.end() ? std::string() : book->second.intent;
}

}  // namespace pontage::sandbox::stripe
