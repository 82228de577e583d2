#include "base/check.h"
#include "crypto/fernet.h"
#include "testing/fuzz.h"

namespace pontage::crypto {

// What was changed is refused, whatever was changed; and what is written is read. The input is a
// message, and below a token of the key in the specification.
FUZZ_TARGET(fernet) {
  static const FernetKey key =
      FernetKey::Parse(Secret(std::string("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="))).value();
  const UnixMs now = UnixMs::FromSeconds(499'162'800);
  if (const auto message = key.Decrypt(input, now)) {
    // Somebody with the key wrote it, and there is one spelling of it.
    PTG_CHECK(!message->empty());
    std::string other(input);
    other.back() = other.back() == 'A' ? 'B' : 'A';
    PTG_CHECK(!key.Decrypt(other, now));
    PTG_CHECK(!key.Decrypt(std::string(input) + "\n", now));
  }
  if (input.empty() || input.size() > 2048) return;
  const std::string token = key.EncryptWith(input, now, std::string_view("0123456789abcdef"));
  const auto back = key.Decrypt(token, now);
  PTG_CHECK(back && *back == input);
}

}  // namespace pontage::crypto
