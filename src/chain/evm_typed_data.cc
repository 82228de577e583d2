#include "chain/evm_typed_data.h"

#include "codec/bytes.h"

namespace pontage::chain {
namespace {

using codec::AsBytes;
using crypto::Hash32;
using crypto::Keccak256;

}  // namespace

Hash32 DomainSeparator(const Eip712Domain& domain) {
  static const Hash32 kWithVersion = Keccak256(AsBytes(
      "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"));
  static const Hash32 kWithout =
      Keccak256(AsBytes("EIP712Domain(string name,uint256 chainId,address verifyingContract)"));
  crypto::Keccak hash;
  hash.Update(domain.version ? kWithVersion : kWithout);
  hash.Update(Keccak256(AsBytes(domain.name)));
  if (domain.version) hash.Update(Keccak256(AsBytes(*domain.version)));
  hash.Update(codec::Uint256(domain.chain_id).ToBytesBE());
  hash.Update(domain.verifying_contract.ToWord());
  return hash.Finish();
}

Hash32 StructHash(const TransferAuthorization& a) {
  static const Hash32 kType = Keccak256(AsBytes(kTransferWithAuthorizationType));
  return Keccak256({kType, a.from.ToWord(), a.to.ToWord(), a.value.ToBytesBE(),
                    a.valid_after.ToBytesBE(), a.valid_before.ToBytesBE(), a.nonce});
}

Hash32 StructHash(const Permit& p) {
  static const Hash32 kType = Keccak256(AsBytes(kPermitType));
  return Keccak256({kType, p.owner.ToWord(), p.spender.ToWord(), p.value.ToBytesBE(),
                    p.nonce.ToBytesBE(), p.deadline.ToBytesBE()});
}

Hash32 TypedDataDigest(const Hash32& separator, const Hash32& struct_hash) {
  constexpr uint8_t kPrefix[] = {0x19, 0x01};
  return Keccak256({kPrefix, separator, struct_hash});
}

}  // namespace pontage::chain
