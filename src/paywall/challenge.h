#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "deal/deal.h"
#include "net/message.h"
#include "obs/metrics.h"
#include "paywall/reply.h"
#include "rail/rail_set.h"

namespace pontage::paywall {

// What is wrong with a license, as opposed to a payment.
inline bool IsLicenseFault(Code code) {
  return code >= Code::kLicenseInvalid && code <= Code::kQuotaExceeded;
}

// A finished refusal: what the rails offer, in the form this caller understands.
struct Refusal {
  int status = 402;
  std::string content_type;
  std::string body;
  HeaderList headers;
};

// Browsers (Accept has text/html and User-Agent has Mozilla, as the official servers tell them) get
// a page, everybody else one JSON object of problem members and the members the rails added; the
// headers are the same. 402, but for a license: the 401 or 403 of its fault, with the same offer.
// Pure.
Refusal MakeRefusal(const deal::Quote& quote, const Error& why, deal::Challenge challenge,
                    bool browser);
bool IsBrowser(const net::Headers& headers);

// A 402 as it goes out, time and again.
struct Offered {
  net::Headers fields;  // all of its own
  std::string body;
  obs::Counter* counter = nullptr;  // of its route, for whoever counts it
};

// What those without a payment were told lately, by resource: between two price lists it is the
// same each time, and making it took two fifths of such a request. Belongs to one loop.
class RefusalCache {
 public:
  // MakeRefusal for a caller that is no browser; `why` is asked only when it has to be made.
  std::shared_ptr<Offered> Of(const rail::RailSet& rails, const deal::Quote& quote,
                              const std::function<Error()>& why);
  size_t size() const { return kept_.size(); }

  // Resources under a price are often many ("/quotes/*") and asked for again at once, when the
  // payment comes; a few hundred kilobytes for each loop.
  static constexpr size_t kKept = 256;
  // An address longer than that is not worth a place.
  static constexpr size_t kKey = 1024;

 private:
  uint64_t rails_id_ = 0;
  std::unordered_map<std::string, std::shared_ptr<Offered>> kept_;
};

}  // namespace pontage::paywall
