// Signs payments for the load tests, a line each: Node takes some 50 times as long for one, and
// would be what is measured.
//   load_sign payers COUNT                             their addresses
//   load_sign settle COUNT PAYERS PAY_TO SERIAL        bodies of /verify and /settle
//   load_sign header COUNT PAYERS PAY_TO SERIAL RESOURCE   values of PAYMENT-SIGNATURE
// SERIAL sets the nonces of one call apart from those of another. Payments are of 1,000 units of
// Base Sepolia's USDC and good for five minutes.
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/time.h"
#include "chain/registry.h"
#include "crypto/hash.h"
#include "testing/sign_payment.h"

namespace pontage {
namespace {

constexpr int64_t kSeconds = 300;
constexpr uint64_t kAmount = 1'000;

uint64_t Number(std::string_view text) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  PTG_CHECK(error == std::errc() && end == text.data() + text.size());
  return n;
}

crypto::PrivateKey Payer(uint64_t n) {
  const crypto::Hash32 seed = crypto::Keccak256(codec::AsBytes("load payer " + std::to_string(n)));
  return *crypto::PrivateKey::FromHex(codec::Hex0x(seed));
}

// Signs for one payee, payers taking turns.
class Till {
 public:
  Till(uint64_t payers, std::string_view pay_to, std::string serial) : serial_(std::move(serial)) {
    const chain::AssetRegistry assets = chain::AssetRegistry::WithDefaults();
    const chain::EvmAsset& usdc = *assets.DefaultOf(chain::ChainId::Evm(84532));
    domain_.name = usdc.eip712_name;
    domain_.version = usdc.eip712_version;
    domain_.chain_id = 84532;
    domain_.verifying_contract = usdc.address;
    for (uint64_t i = 0; i < payers; ++i) payers_.push_back(Payer(i));
    auth_.to = *crypto::EvmAddress::Parse(pay_to);
    auth_.value = codec::Uint256(kAmount);
    const int64_t end = Clock::System().Now().seconds() + kSeconds;
    auth_.valid_before = codec::Uint256(static_cast<uint64_t>(end));
    offer_.scheme = "exact";
    offer_.network = "eip155:84532";
    offer_.amount = codec::Uint256(kAmount);
    offer_.asset = usdc.address.ToChecksum();
    offer_.pay_to = auth_.to.ToChecksum();
    offer_.max_timeout_s = kSeconds;
    offer_.extra =
        codec::Json::Object({{"name", usdc.eip712_name}, {"version", usdc.eip712_version}});
  }

  const x402::Requirements& offer() const { return offer_; }
  codec::Json Next() {
    const crypto::PrivateKey& payer = payers_[made_ % payers_.size()];
    auth_.from = payer.address();
    auth_.nonce = crypto::Keccak256(codec::AsBytes(serial_ + " " + std::to_string(made_++)));
    return testing::SignedPayment(payer, domain_, offer_, auth_);
  }

 private:
  std::string serial_;
  chain::Eip712Domain domain_;
  std::vector<crypto::PrivateKey> payers_;
  chain::TransferAuthorization auth_;
  x402::Requirements offer_;
  uint64_t made_ = 0;
};

int Run(const std::vector<std::string>& args) {
  const auto line = [](const std::string& text) { std::puts(text.c_str()); };
  if (args.size() == 2 && args[0] == "payers") {
    for (uint64_t i = 0; i < Number(args[1]); ++i) line(Payer(i).address().ToChecksum());
    return 0;
  }
  const bool header = args.size() == 6 && args[0] == "header";
  if (!header && !(args.size() == 5 && args[0] == "settle")) return 2;
  Till till(Number(args[2]), args[3], args[4]);
  for (uint64_t i = Number(args[1]); i > 0; --i) {
    codec::Json payment = till.Next();
    if (header) {
      payment.Set("resource", codec::Json::Object({{"url", args[5]}}));
      line(x402::EncodeHeader(payment));
      continue;
    }
    codec::Json body = codec::Json::Object({{"x402Version", 2}});
    body.Set("paymentPayload", std::move(payment));
    body.Set("paymentRequirements", till.offer().ToJson());
    line(codec::ToString(body));
  }
  return 0;
}

}  // namespace
}  // namespace pontage

int main(int argc, char** argv) {
  return pontage::Run(std::vector<std::string>(argv + 1, argv + argc));
}
