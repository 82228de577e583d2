#include "sandbox/usdc.h"

#include <utility>

#include "base/try.h"

namespace pontage::sandbox {
namespace {

using codec::AbiEncoder;
using codec::Bytes;
using codec::Uint256;
using crypto::EvmAddress;

// Gas of the contract's part of a call, near what the genuine token needs. Fixed for each function:
// what a first write to a slot costs more is in it, so an estimate is never too low.
constexpr uint64_t kReadGas = 2'600;
constexpr uint64_t kMoveGas = 32'000;
constexpr uint64_t kApproveGas = 25'500;

Bytes Text(std::string_view text) { return AbiEncoder().Dynamic(codec::AsBytes(text)).Finish(); }
Bytes Number(const Uint256& n) { return AbiEncoder().Uint(n).Finish(); }
Bytes True() { return AbiEncoder().Bool(true).Finish(); }

OrRevert<EvmAddress> AddressAt(const codec::AbiDecoder& args, size_t index) {
  PTG_TRY(const codec::AddressBytes bytes, args.Address(index));
  return EvmAddress{bytes};
}

// FiatTokenV2_2 keeps the deny flag in the balance's top bit.
Uint256 MaxBalance() {
  codec::Bytes32 word;
  word.fill(0xff);
  word[0] = 0x7f;
  return Uint256::FromWord(word);
}

codec::Bytes32 Topic(std::string_view event) { return crypto::Keccak256(codec::AsBytes(event)); }

}  // namespace

Usdc::Usdc(TokenIdentity identity)
    : identity_(std::move(identity)),
      separator_(chain::DomainSeparator(
          {identity_.name, identity_.version, identity_.chain_id, identity_.address})) {
  DefineViews();
  DefineTransfers();
  DefineAuthorizations();
}

void Usdc::Define(std::string_view signature, Method run, uint64_t gas) {
  methods_[Selector(signature)] = {run, gas};
}

void Usdc::DefineViews() {
  Define("name()", &Usdc::Name, kReadGas);
  Define("symbol()", &Usdc::Symbol, kReadGas);
  Define("version()", &Usdc::Version, kReadGas);
  Define("currency()", &Usdc::Currency, kReadGas);
  Define("decimals()", &Usdc::Decimals, kReadGas);
  Define("totalSupply()", &Usdc::TotalSupply, kReadGas);
  Define("paused()", &Usdc::Paused, kReadGas);
  Define("isBlacklisted(address)", &Usdc::IsDenied, kReadGas);
  Define("balanceOf(address)", &Usdc::Balance, kReadGas);
  Define("allowance(address,address)", &Usdc::Allowance, kReadGas);
}

void Usdc::DefineTransfers() {
  Define("transfer(address,uint256)", &Usdc::Transfer, kMoveGas);
  Define("transferFrom(address,address,uint256)", &Usdc::TransferFrom, kMoveGas + 8'000);
  Define("approve(address,uint256)", &Usdc::Approve, kApproveGas);
  Define("increaseAllowance(address,uint256)", &Usdc::IncreaseAllowance, kApproveGas);
  Define("decreaseAllowance(address,uint256)", &Usdc::DecreaseAllowance, kApproveGas);
  Define("mint(address,uint256)", &Usdc::MintTo, 50'000);
  Define("setBlacklisted(address,bool)", &Usdc::SetDenied, kApproveGas);
  Define("setPaused(bool)", &Usdc::SetPaused, kApproveGas);
}

Returned Usdc::Run(Frame& frame) const {
  const codec::ByteView data = frame.call.data;
  frame.gas += 400;  // Finding the function.
  // No function takes ether, and there is no fallback.
  if (data.size() < 4 || !frame.call.value.IsZero()) return std::unexpected(Revert());
  const uint32_t selector =
      uint32_t{data[0]} << 24 | uint32_t{data[1]} << 16 | uint32_t{data[2]} << 8 | data[3];
  const auto method = methods_.find(selector);
  if (method == methods_.end()) return std::unexpected(Revert());
  frame.gas += method->second.gas;
  return (this->*method->second.run)(frame, Args(data.subspan(4)));
}

Uint256 Usdc::BalanceOf(const World& world, const EvmAddress& owner) {
  return world.Get({SlotKind::kTokenBalance, owner});
}

OrRevert<void> Usdc::Mint(World& world, const EvmAddress& to, const Uint256& value) {
  const Slot supply{SlotKind::kTokenSupply, {}};
  const Result<Uint256> after = Add(world.Get(supply), value);
  // No balance is above the supply, so one bound holds both.
  PTG_RUN(Require(after && *after <= MaxBalance(), "FiatTokenV2_2: Balance exceeds (2^255 - 1)"));
  const Result<Uint256> balance = Add(BalanceOf(world, to), value);
  PTG_RUN(Require(balance.has_value(), "SafeMath: addition overflow"));
  world.Set(supply, *after);
  world.Set({SlotKind::kTokenBalance, to}, *balance);
  return {};
}

OrRevert<void> Usdc::NotPaused(const Frame& f) const {
  return Require(f.world.Get({SlotKind::kPaused, {}}).IsZero(), "Pausable: paused");
}

OrRevert<void> Usdc::NotDenied(const Frame& f, const EvmAddress& who) const {
  return Require(f.world.Get({SlotKind::kDenied, who}).IsZero(),
                 "Blacklistable: account is blacklisted");
}

void Usdc::Emit(Frame& f, std::vector<codec::Bytes32> topics, Bytes data) const {
  chain::EvmLog log;
  log.address = identity_.address;
  log.topics = std::move(topics);
  log.data = std::move(data);
  f.logs.push_back(std::move(log));
}

OrRevert<void> Usdc::Move(Frame& f, const EvmAddress& from, const EvmAddress& to,
                          const Uint256& value) const {
  PTG_RUN(Require(!from.IsZero(), "ERC20: transfer from the zero address"));
  PTG_RUN(Require(!to.IsZero(), "ERC20: transfer to the zero address"));
  const Result<Uint256> left = Sub(BalanceOf(f.world, from), value);
  PTG_RUN(Require(left.has_value(), "ERC20: transfer amount exceeds balance"));
  f.world.Set({SlotKind::kTokenBalance, from}, *left);
  // The supply is below 2^255, so this cannot overflow.
  PTG_TRY(const Uint256 sum, Add(BalanceOf(f.world, to), value));
  f.world.Set({SlotKind::kTokenBalance, to}, sum);
  Emit(f, {chain::TransferTopic(), from.ToWord(), to.ToWord()}, Number(value));
  return {};
}

OrRevert<void> Usdc::SetAllowance(Frame& f, const EvmAddress& owner, const EvmAddress& spender,
                                  const Uint256& value) const {
  PTG_RUN(Require(!owner.IsZero(), "ERC20: approve from the zero address"));
  PTG_RUN(Require(!spender.IsZero(), "ERC20: approve to the zero address"));
  f.world.Set({SlotKind::kAllowance, owner, spender.ToWord()}, value);
  static const codec::Bytes32 topic = Topic("Approval(address,address,uint256)");
  Emit(f, {topic, owner.ToWord(), spender.ToWord()}, Number(value));
  return {};
}

// ------------------------------------------------------------------------------------------ reads

Returned Usdc::Name(Frame&, const Args&) const { return Text(identity_.name); }
Returned Usdc::Symbol(Frame&, const Args&) const { return Text("USDC"); }
Returned Usdc::Version(Frame&, const Args&) const { return Text(identity_.version); }
Returned Usdc::Currency(Frame&, const Args&) const { return Text("USD"); }
Returned Usdc::Decimals(Frame&, const Args&) const { return Number(Uint256(6)); }
Returned Usdc::TotalSupply(Frame& f, const Args&) const {
  return Number(f.world.Get({SlotKind::kTokenSupply, {}}));
}
Returned Usdc::Paused(Frame& f, const Args&) const {
  return Number(f.world.Get({SlotKind::kPaused, {}}));
}
Returned Usdc::IsDenied(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress who, AddressAt(a, 0));
  return Number(f.world.Get({SlotKind::kDenied, who}));
}
Returned Usdc::Balance(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress owner, AddressAt(a, 0));
  return Number(BalanceOf(f.world, owner));
}
Returned Usdc::Allowance(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress owner, AddressAt(a, 0));
  PTG_TRY(const EvmAddress spender, AddressAt(a, 1));
  return Number(f.world.Get({SlotKind::kAllowance, owner, spender.ToWord()}));
}

// ----------------------------------------------------------------------------------------- ERC-20

Returned Usdc::Transfer(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress to, AddressAt(a, 0));
  PTG_TRY(const Uint256 value, a.Uint(1));
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, f.call.from));
  PTG_RUN(NotDenied(f, to));
  PTG_RUN(Move(f, f.call.from, to, value));
  return True();
}

Returned Usdc::TransferFrom(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress from, AddressAt(a, 0));
  PTG_TRY(const EvmAddress to, AddressAt(a, 1));
  PTG_TRY(const Uint256 value, a.Uint(2));
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, f.call.from));
  PTG_RUN(NotDenied(f, from));
  PTG_RUN(NotDenied(f, to));
  const Slot allowance{SlotKind::kAllowance, from, f.call.from.ToWord()};
  const Result<Uint256> left = Sub(f.world.Get(allowance), value);
  PTG_RUN(Require(left.has_value(), "ERC20: transfer amount exceeds allowance"));
  PTG_RUN(Move(f, from, to, value));
  f.world.Set(allowance, *left);  // Without an event, and without an allowance that never ends.
  return True();
}

Returned Usdc::Approve(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress spender, AddressAt(a, 0));
  PTG_TRY(const Uint256 value, a.Uint(1));
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, f.call.from));
  PTG_RUN(NotDenied(f, spender));
  PTG_RUN(SetAllowance(f, f.call.from, spender, value));
  return True();
}

Returned Usdc::IncreaseAllowance(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress spender, AddressAt(a, 0));
  PTG_TRY(const Uint256 more, a.Uint(1));
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, f.call.from));
  PTG_RUN(NotDenied(f, spender));
  const Result<Uint256> sum =
      Add(f.world.Get({SlotKind::kAllowance, f.call.from, spender.ToWord()}), more);
  PTG_RUN(Require(sum.has_value(), "SafeMath: addition overflow"));
  PTG_RUN(SetAllowance(f, f.call.from, spender, *sum));
  return True();
}

Returned Usdc::DecreaseAllowance(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress spender, AddressAt(a, 0));
  PTG_TRY(const Uint256 less, a.Uint(1));
  PTG_RUN(NotPaused(f));
  PTG_RUN(NotDenied(f, f.call.from));
  PTG_RUN(NotDenied(f, spender));
  const Result<Uint256> left =
      Sub(f.world.Get({SlotKind::kAllowance, f.call.from, spender.ToWord()}), less);
  PTG_RUN(Require(left.has_value(), "ERC20: decreased allowance below zero"));
  PTG_RUN(SetAllowance(f, f.call.from, spender, *left));
  return True();
}

// ------------------------------------------------------------------------------------- play money

Returned Usdc::MintTo(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress to, AddressAt(a, 0));
  PTG_TRY(const Uint256 value, a.Uint(1));
  PTG_RUN(NotPaused(f));
  PTG_RUN(Require(!to.IsZero(), "FiatToken: mint to the zero address"));
  PTG_RUN(Mint(f.world, to, value));
  Emit(f, {chain::TransferTopic(), EvmAddress{}.ToWord(), to.ToWord()}, Number(value));
  return True();
}

Returned Usdc::SetDenied(Frame& f, const Args& a) const {
  PTG_TRY(const EvmAddress who, AddressAt(a, 0));
  PTG_TRY(const bool on, a.Bool(1));
  f.world.Set({SlotKind::kDenied, who}, Uint256(on ? 1 : 0));
  return Bytes();
}

Returned Usdc::SetPaused(Frame& f, const Args& a) const {
  PTG_TRY(const bool on, a.Bool(0));
  f.world.Set({SlotKind::kPaused, {}}, Uint256(on ? 1 : 0));
  return Bytes();
}

}  // namespace pontage::sandbox
