#include "base/check.h"
#include "codec/json.h"
#include "sandbox/dev_chain.h"
#include "testing/fuzz.h"

namespace {
class StoppedClock final : public pontage::Clock {
 public:
  pontage::UnixMs Now() const override { return pontage::UnixMs(1'800'000'000'000); }
  pontage::SteadyMs Steady() const override { return pontage::SteadyMs(0); }
};
}  // namespace

// Whatever is sent, the answer is JSON or nothing, and the chain still counts its own money: the
// dollars of somebody who signs nothing never get fewer.
FUZZ_TARGET(sandbox_rpc) {
  using pontage::sandbox::DevChain;
  static const StoppedClock clock;
  static DevChain chain({}, clock);
  const std::string answer = chain.HandleRpc(input);
  if (!answer.empty()) {
    PTG_CHECK(pontage::codec::ParseJson(answer, {.max_bytes = 1 << 30}).has_value());
  }
  PTG_CHECK(chain.HandleRpc(R"({"jsonrpc":"2.0","id":1,"method":"eth_chainId"})") ==
            R"({"jsonrpc":"2.0","id":1,"result":"0x14a34"})");
  const auto poor = chain.BalanceOf(pontage::sandbox::IdentityOf("poor").address);
  PTG_CHECK(poor >= pontage::codec::Uint256(10'000));
}
