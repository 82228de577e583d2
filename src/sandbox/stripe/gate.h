#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api.h"
#include "sandbox/stripe/double.h"
#include "sandbox/stripe/idempotency.h"

namespace pontage::sandbox::stripe {

// What stands before the operations of the API, in this order: the key, the version, the faults,
// the form, the route, the names of the parameters, the Idempotency-Key.
class Gate {
 public:
  explicit Gate(Account& account);
  // A request for /v1 or /v2.
  StripeAnswer Handle(const StripeRequest& request);

 private:
  Answered<StripeAnswer> Answer(const StripeRequest& request, const std::string& request_id);
  Answered<> CheckRate();
  Answered<codec::Json> Run(const StripeRequest& request, std::string_view path,
                            const FormNode& form);
  const Route* RouteOf(std::string_view method, std::string_view path, std::string& id) const;

  Account& account_;
  Routes routes_;
  KeptAnswers kept_;
  std::deque<UnixMs> recent_;  // requests of the last second; at most rate_limit of them
};

// The query and the body of a request as one form. A body of JSON, which only /_test takes, may be
// one object of plain values.
Answered<FormNode> FormOf(const StripeRequest& request, bool json_too);

}  // namespace pontage::sandbox::stripe
