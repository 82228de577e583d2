#pragma once

#include <string>

#include "deal/deal.h"
#include "net/message.h"
#include "paywall/reply.h"

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

// Text for an HTML element or a quoted attribute.
std::string EscapeHtml(std::string_view text);

}  // namespace pontage::paywall
