#pragma once

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
// Takes both kinds out of an upstream's answer, or out of its trailers.
void CleanAnswer(net::Headers& headers);

}  // namespace pontage::paywall
