#include "sales/buyers.h"

#include <utility>
#include <vector>

#include "base/id.h"
#include "base/try.h"
#include "codec/bytes.h"
#include "codec/hex.h"
#include "crypto/hash.h"
#include "license/license_store.h"

namespace pontage::sales {
namespace {

constexpr db::Statement kFind{"buyer.find", "SELECT customer FROM buyer WHERE email = $1"};
// Of two who replace the same one the first is kept.
constexpr db::Statement kKeep{
    "buyer.keep",
    "INSERT INTO buyer (email, customer, created_ms) VALUES ($1, $2, $3)"
    " ON CONFLICT (email) DO UPDATE SET customer = $2, created_ms = $3 WHERE buyer.customer = $4"};

Result<std::string> Find(db::Tx& tx, const std::string& email) {
  PTG_TRY(const db::Rows rows, tx.Run(kFind, email));
  return rows.empty() ? std::string() : rows.front().Text(0);
}

std::string DigestOf(const std::string& text) {
  return codec::ToHex(crypto::Sha256(codec::AsBytes(text)));
}

bool Has(const stripe::Customer& customer, const std::string& email) {
  return !customer.deleted && license::NormalEmail(customer.email) == email;
}

}  // namespace

Task<bool> Buyers::IsStill(const std::string& customer, const std::string& email, Deadline by) {
  const stripe::CustomerId id(customer);
  const Result<stripe::Customer> there = co_await stripe_.RetrieveCustomer(id, by);
  if (there) co_return Has(*there, email);
  if (there.error().code() == Code::kNotFound) co_return false;
  co_return Fail(there.error());
}

Task<std::string> Buyers::FindOrMake(const std::string& email, const std::string& gone,
                                     Deadline by) {
  PTG_CO_TRY(const std::vector<stripe::Customer> there, co_await stripe_.FindCustomers(email, by));
  for (const stripe::Customer& one : there) {
    if (Has(one, email) && one.id.str() != gone) co_return one.id.str();
  }
  NewCustomer wanted;
  wanted.email = email;
  wanted.tenant = TenantId(DigestOf(email).substr(0, 32));
  // The same key for everybody who asks for this address: of two at once Stripe makes one. In the
  // place of one that is gone another key, or Stripe would give the same again.
  const std::string key = "cus:" + DigestOf(gone.empty() ? email : email + " " + gone);
  PTG_CO_TRY(const stripe::Customer made,
             co_await stripe_.CreateCustomer(std::move(wanted), key, by));
  co_return made.id.str();
}

Task<stripe::CustomerId> Buyers::CustomerOf(std::string email, Deadline by) {
  const auto find = [email](db::Tx& tx) { return Find(tx, email); };
  PTG_CO_TRY(const std::string known, co_await database_.Read(find, by));
  if (!known.empty()) {
    PTG_CO_TRY(const bool still, co_await IsStill(known, email, by));
    if (still) co_return stripe::CustomerId(known);
  }
  PTG_CO_TRY(const std::string customer, co_await FindOrMake(email, known, by));
  const int64_t now = clock_.Now().ms();
  const auto keep = [email, customer, known, now](db::Tx& tx) -> Result<std::string> {
    PTG_RUN(tx.Run(kKeep, email, customer, now, known));
    return Find(tx, email);
  };
  PTG_CO_TRY(std::string kept, co_await database_.Write(keep, by));
  co_return stripe::CustomerId(std::move(kept));
}

}  // namespace pontage::sales
