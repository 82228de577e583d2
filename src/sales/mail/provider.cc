#include "sales/mail/provider.h"

#include <algorithm>
#include <array>

#include "codec/text.h"

namespace pontage::mail {

std::string_view NameOf(Outcome outcome) {
  constexpr std::array<std::string_view, 5> kNames = {"sent", "retry", "park", "dead", "alarm"};
  return kNames[static_cast<size_t>(outcome)];
}

std::string Said(std::string_view text) {
  return codec::AsLine(codec::AsUtf8(text.substr(0, kMaxSaid)));
}

Task<Provider::Together> Provider::SendTogether(const std::vector<Mail>&, const std::string&,
                                                Deadline) {
  Together none;
  none.attempt.why = "takes one mail at a time";
  co_return none;
}

}  // namespace pontage::mail
