#include "paywall/fields.h"

#include <algorithm>

#include "net/name_set.h"

namespace pontage::paywall {
namespace {

using net::EqualsNoCase;

constexpr net::NameSet kHopByHop("Connection", "Keep-Alive", "Proxy-Connection",
                                 "Proxy-Authenticate", "Proxy-Authorization", "TE",
                                 "Transfer-Encoding", "Upgrade", "Trailer");

constexpr net::NameSet kOurs("Settlement-Overrides", "EXTENSION-RESPONSES", "SIGN-IN-WITH-X");

}  // namespace

bool IsHopByHop(std::string_view name) { return kHopByHop.Has(name); }

bool IsPaymentField(std::string_view name) {
  const auto begins = [name](std::string_view with) {
    return EqualsNoCase(name.substr(0, with.size()), with);
  };
  return begins("PAYMENT-") || begins("X-PAYMENT") || kOurs.Has(name);
}

std::vector<std::string_view> ConnectionFields(const net::Headers& headers) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!EqualsNoCase(headers.at(i).name, "Connection")) continue;
    std::string_view rest = headers.at(i).value;
    while (!rest.empty()) {
      std::string_view one = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
      while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
      while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
      // Each of nginx's answers names this one, which goes no further anyway.
      if (!one.empty() && !EqualsNoCase(one, "Keep-Alive")) names.push_back(one);
    }
  }
  return names;
}

void CleanAnswer(net::Headers& headers) {
  if (headers.size() == 0) return;
  // Views into it: to remove fields moves no text.
  const std::vector<std::string_view> named = ConnectionFields(headers);
  headers.RemoveIf([&named](std::string_view name) {
    const auto same = [name](std::string_view one) { return EqualsNoCase(one, name); };
    return IsHopByHop(name) || IsPaymentField(name) || std::ranges::any_of(named, same);
  });
}

}  // namespace pontage::paywall
