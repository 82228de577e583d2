#include "scheme/registry.h"

#include <string>

namespace pontage::scheme {

Result<SchemeId> ParseScheme(std::string_view text) {
  if (text == "exact") return SchemeId::kExact;
  return Fail(Error(Code::kPaymentScheme,
                    "the scheme \"" + std::string(text.substr(0, 64)) + "\" is not spoken here")
                  .Want("\"exact\""));
}

std::string_view NameOf(SchemeId id) {
  switch (id) {
    case SchemeId::kExact:
      return "exact";
  }
  return "";
}

}  // namespace pontage::scheme
