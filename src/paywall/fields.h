#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/message.h"

// Which header fields stay on which side of the toll house. Pure.
namespace pontage::paywall {

// Of one connection only (RFC 9110 §7.6.1).
bool IsHopByHop(std::string_view name);
// The fields that Connection names are hop-by-hop too; Keep-Alive, which always is, is left out.
// Views into `headers`.
std::vector<std::string_view> ConnectionFields(const net::Headers& headers);
// Belongs to the conversation between buyer and us: an upstream neither sees nor writes it.
bool IsPaymentField(std::string_view name);
// All values of a list field, as one: a proxy or an upstream may add a line of its own instead of
// appending, and the first line alone is not what was said.
std::string ListOf(const net::Headers& headers, std::string_view name);
// Takes both kinds out of an upstream's answer, or out of its trailers.
void CleanAnswer(net::Headers& headers);

}  // namespace pontage::paywall
