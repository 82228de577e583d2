#include "paywall/fields.h"

#include <algorithm>
#include <array>

namespace pontage::paywall {
namespace {

using net::EqualsNoCase;

constexpr std::array<std::string_view, 9> kHopByHop = {"Connection",
                                                       "Keep-Alive",
                                                       "Proxy-Connection",
                                                       "Proxy-Authenticate",
                                                       "Proxy-Authorization",
                                                       "TE",
                                                       "Transfer-Encoding",
                                                       "Upgrade",
                                                       "Trailer"};

constexpr std::array<std::string_view, 3> kOurs = {"Settlement-Overrides", "EXTENSION-RESPONSES",
                                                   "SIGN-IN-WITH-X"};

template <size_t N>
bool OneOf(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::ranges::any_of(list,
                             [name](std::string_view one) { return EqualsNoCase(one, name); });
}

}  // namespace

bool IsHopByHop(std::string_view name) { return OneOf(kHopByHop, name); }

bool IsPaymentField(std::string_view name) {
  const auto begins = [name](std::string_view with) {
    return EqualsNoCase(name.substr(0, with.size()), with);
  };
  return begins("PAYMENT-") || begins("X-PAYMENT") || OneOf(kOurs, name);
}

std::vector<std::string> ConnectionFields(const net::Headers& headers) {
  std::vector<std::string> names;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!EqualsNoCase(headers.at(i).name, "Connection")) continue;
    std::string_view rest = headers.at(i).value;
    while (!rest.empty()) {
      std::string_view one = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
      while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
      while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
      if (!one.empty()) names.emplace_back(one);
    }
  }
  return names;
}

void CleanAnswer(net::Headers& headers) {
  const std::vector<std::string> named = ConnectionFields(headers);
  headers.RemoveIf([&named](std::string_view name) {
    const auto same = [name](const std::string& one) { return EqualsNoCase(one, name); };
    return IsHopByHop(name) || IsPaymentField(name) || std::ranges::any_of(named, same);
  });
}

}  // namespace pontage::paywall
