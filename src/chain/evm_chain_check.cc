#include <utility>

#include "base/try.h"
#include "chain/evm_rpc.h"
#include "chain/evm_typed_data.h"

namespace pontage::chain {

Task<> CheckEvmChain(EvmView& view, std::vector<EvmAsset> assets, Deadline by) {
  const std::string name = view.chain().Caip2();
  PTG_CO_TRY(const uint64_t number, co_await view.ChainNumber(by));
  if (number != view.chain().number()) {
    co_return Fail(
        Error(Code::kConfig, "the rpc of " + name + " is on chain " + std::to_string(number))
            .Want("a node of chain " + std::to_string(view.chain().number())));
  }
  if (assets.empty()) co_return {};
  std::vector<crypto::EvmAddress> addresses;
  std::vector<Call> calls;
  for (const EvmAsset& asset : assets) {
    addresses.push_back(asset.address);
    Call call;
    call.target = asset.address;
    call.data = CallDomainSeparator();
    calls.push_back(std::move(call));
  }
  PTG_CO_TRY(const std::vector<bool> have, co_await view.HaveCode(std::move(addresses), by));
  PTG_CO_TRY(const std::vector<CallResult> separators, co_await view.Calls(std::move(calls), by));
  for (size_t i = 0; i < assets.size(); ++i) {
    const EvmAsset& asset = assets[i];
    const std::string what = asset.symbol + " " + asset.address.ToChecksum() + " on " + name;
    if (!have[i]) {
      co_return Fail(Error(Code::kConfig, "there is no contract at " + what));
    }
    if (asset.method != TransferMethod::kEip3009) continue;
    Eip712Domain domain;
    domain.name = asset.eip712_name;
    domain.version = asset.eip712_version;
    domain.chain_id = number;
    domain.verifying_contract = asset.address;
    const Result<codec::Bytes32> theirs = ReturnedWord(separators[i].data);
    if (!separators[i].success || !theirs) {
      co_return Fail(
          Error(Code::kConfig, what + " has no DOMAIN_SEPARATOR(): not an EIP-3009 token"));
    }
    if (*theirs != DomainSeparator(domain)) {
      co_return Fail(Error(Code::kConfig, what + " has another EIP-712 domain than name \"" +
                                              asset.eip712_name + "\", version \"" +
                                              asset.eip712_version + "\"")
                         .Want("the name and version that the token itself signs with"));
    }
  }
  co_return {};
}

}  // namespace pontage::chain
