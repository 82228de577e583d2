#include "sandbox/machine.h"

#include <utility>

namespace pontage::sandbox {
namespace {

constexpr uint32_t kErrorSelector = 0x08c379a0;  // Error(string)

}  // namespace

uint32_t Selector(std::string_view signature) {
  const crypto::Hash32 h = crypto::Keccak256(codec::AsBytes(signature));
  return uint32_t{h[0]} << 24 | uint32_t{h[1]} << 16 | uint32_t{h[2]} << 8 | h[3];
}

Revert::Revert(std::string_view reason)
    : data(codec::AbiEncoder().Dynamic(codec::AsBytes(reason)).Finish(kErrorSelector)) {}

std::string ReasonOf(codec::ByteView revert_data) {
  const codec::Bytes head = codec::AbiEncoder().Finish(kErrorSelector);
  if (revert_data.size() < 4 || !std::equal(head.begin(), head.end(), revert_data.begin())) {
    return "";
  }
  const codec::AbiDecoder decoder(revert_data.subspan(4));
  const Result<codec::ByteView> text = decoder.Dynamic(0);
  return text ? std::string(codec::AsText(*text)) : "";
}

void Machine::Place(const crypto::EvmAddress& at, const Contract& contract) {
  contracts_.emplace_back(at, &contract);
}

const Contract* Machine::Find(const crypto::EvmAddress& at) const {
  for (const auto& [address, contract] : contracts_) {
    if (address == at) return contract;
  }
  return nullptr;
}

CallOutcome Machine::Run(const Call& call, const BlockEnv& env, int depth) const {
  CallOutcome out;
  if (depth > kMaxCallDepth) return out;
  const World::Mark mark = world_.mark();
  if (!call.value.IsZero()) {
    const Slot from{SlotKind::kWei, call.from};
    const Slot to{SlotKind::kWei, call.to};
    const Result<codec::Uint256> left = Sub(world_.Get(from), call.value);
    if (!left) return out;
    world_.Set(from, *left);
    const Result<codec::Uint256> sum = Add(world_.Get(to), call.value);
    if (!sum) {
      world_.RevertTo(mark);
      return out;
    }
    world_.Set(to, *sum);
  }
  const Contract* contract = Find(call.to);
  if (!contract) {
    out.ok = true;
    return out;
  }
  Frame frame{world_, env, call, out.logs, out.gas, depth};
  Returned returned = contract->Run(frame);
  out.out_of_gas = out.gas > call.gas;
  out.ok = returned.has_value() && !out.out_of_gas;
  if (out.ok) {
    out.data = std::move(*returned);
    return out;
  }
  if (out.out_of_gas) {
    out.gas = call.gas;
  } else {
    out.data = std::move(returned.error().data);
  }
  out.logs.clear();
  world_.RevertTo(mark);
  return out;
}

}  // namespace pontage::sandbox
