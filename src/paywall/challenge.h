#pragma once

#include <string>
#include <unordered_map>

#include "deal/deal.h"
#include "net/message.h"
#include "paywall/reply.h"
#include "rail/rail_set.h"

namespace pontage::paywall {

// A finished 402: what the rails offer, in the form this caller understands.
struct Refusal {
  std::string content_type;
  std::string body;
  HeaderList headers;
};

// Browsers (Accept has text/html and User-Agent has Mozilla, as the official servers tell them) get
// a page, everybody else one JSON object of problem members and the members the rails added; the
// headers are the same. Pure.
Refusal MakeRefusal(const deal::Quote& quote, const Error& why, deal::Challenge challenge,
                    bool browser);
bool IsBrowser(const net::Headers& headers);

// What those without a payment were told lately, by resource: between two price lists it is the
// same each time, and making it took two fifths of such a request. Belongs to one loop.
class RefusalCache {
 public:
  // MakeRefusal for a caller that is no browser. Good until the next call.
  const Refusal& Of(const rail::RailSet& rails, const deal::Quote& quote, const Error& why);
  size_t size() const { return kept_.size(); }

  // Resources under a price are often many ("/quotes/*") and asked for again at once, when the
  // payment comes; a few hundred kilobytes for each loop.
  static constexpr size_t kKept = 256;
  // An address longer than that is not worth a place.
  static constexpr size_t kKey = 1024;

 private:
  uint64_t rails_id_ = 0;
  std::unordered_map<std::string, Refusal> kept_;
  Refusal once_;
};

// Text for an HTML element or a quoted attribute.
std::string EscapeHtml(std::string_view text);

}  // namespace pontage::paywall
