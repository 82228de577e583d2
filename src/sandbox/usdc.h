#pragma once

#include <map>
#include <string>
#include <string_view>

#include "chain/evm_typed_data.h"
#include "sandbox/machine.h"

namespace pontage::sandbox {

// What the token calls itself, as EIP-712 and ERC-20 see it.
struct TokenIdentity {
  crypto::EvmAddress address;
  std::string name;
  std::string version;
  uint64_t chain_id = 0;
};

// Circle's FiatTokenV2_2 as x402 meets it: ERC-20, EIP-3009 and EIP-2612 with its order of checks,
// its revert texts and its events, because facilitators read their reasons out of those texts. What
// differs: minting, the deny list and pausing are open to all, since all money here is play money.
class Usdc final : public Contract {
 public:
  explicit Usdc(TokenIdentity identity);

  Returned Run(Frame& frame) const override;

  const TokenIdentity& identity() const { return identity_; }
  const crypto::Hash32& domain_separator() const { return separator_; }

  // Direct access to the books, for funding and for tests.
  static codec::Uint256 BalanceOf(const World& world, const crypto::EvmAddress& owner);
  // Fails, changing nothing, when the owner or the supply would pass 2^255 - 1.
  static OrRevert<void> Mint(World& world, const crypto::EvmAddress& to,
                             const codec::Uint256& value);

 private:
  using Args = codec::AbiDecoder;
  using Method = Returned (Usdc::*)(Frame&, const Args&) const;
  struct Entry {
    Method run;
    uint64_t gas;
  };
  void Define(std::string_view signature, Method run, uint64_t gas);
  void DefineViews();
  void DefineTransfers();
  void DefineAuthorizations();

  // usdc.cc: reading, ERC-20 and the play-money controls.
  Returned Name(Frame& f, const Args& a) const;
  Returned Symbol(Frame& f, const Args& a) const;
  Returned Version(Frame& f, const Args& a) const;
  Returned Currency(Frame& f, const Args& a) const;
  Returned Decimals(Frame& f, const Args& a) const;
  Returned TotalSupply(Frame& f, const Args& a) const;
  Returned Paused(Frame& f, const Args& a) const;
  Returned IsDenied(Frame& f, const Args& a) const;
  Returned Balance(Frame& f, const Args& a) const;
  Returned Allowance(Frame& f, const Args& a) const;
  Returned Transfer(Frame& f, const Args& a) const;
  Returned TransferFrom(Frame& f, const Args& a) const;
  Returned Approve(Frame& f, const Args& a) const;
  Returned IncreaseAllowance(Frame& f, const Args& a) const;
  Returned DecreaseAllowance(Frame& f, const Args& a) const;
  Returned MintTo(Frame& f, const Args& a) const;
  Returned SetDenied(Frame& f, const Args& a) const;
  Returned SetPaused(Frame& f, const Args& a) const;

  // usdc_authorization.cc: EIP-3009 and EIP-2612.
  Returned DomainSeparator(Frame& f, const Args& a) const;
  Returned TransferTypehash(Frame& f, const Args& a) const;
  Returned ReceiveTypehash(Frame& f, const Args& a) const;
  Returned CancelTypehash(Frame& f, const Args& a) const;
  Returned PermitTypehash(Frame& f, const Args& a) const;
  Returned AuthorizationState(Frame& f, const Args& a) const;
  Returned Nonces(Frame& f, const Args& a) const;
  Returned TransferAuthorized(Frame& f, const Args& a) const;
  Returned TransferAuthorizedBytes(Frame& f, const Args& a) const;
  Returned ReceiveAuthorized(Frame& f, const Args& a) const;
  Returned ReceiveAuthorizedBytes(Frame& f, const Args& a) const;
  Returned CancelAuthorized(Frame& f, const Args& a) const;
  Returned CancelAuthorizedBytes(Frame& f, const Args& a) const;
  Returned PermitVrs(Frame& f, const Args& a) const;
  Returned PermitBytes(Frame& f, const Args& a) const;

  enum class Kind : uint8_t { kTransfer, kReceive };
  Returned Authorized(Frame& f, const chain::TransferAuthorization& auth, Kind kind,
                      codec::ByteView signature) const;
  Returned Cancel(Frame& f, const crypto::EvmAddress& authorizer, const codec::Bytes32& nonce,
                  codec::ByteView signature) const;
  Returned Permit(Frame& f, chain::Permit permit, codec::ByteView signature) const;

  OrRevert<void> NotPaused(const Frame& f) const;
  OrRevert<void> NotDenied(const Frame& f, const crypto::EvmAddress& who) const;
  OrRevert<void> Move(Frame& f, const crypto::EvmAddress& from, const crypto::EvmAddress& to,
                      const codec::Uint256& value) const;
  OrRevert<void> SetAllowance(Frame& f, const crypto::EvmAddress& owner,
                              const crypto::EvmAddress& spender, const codec::Uint256& value) const;
  void Emit(Frame& f, std::vector<codec::Bytes32> topics, codec::Bytes data) const;

  TokenIdentity identity_;
  crypto::Hash32 separator_;
  std::map<uint32_t, Entry> methods_;
};

}  // namespace pontage::sandbox
