#include <algorithm>
#include <string>

#include "base/check.h"
#include "chain/evm_typed_data.h"
#include "codec/abi.h"
#include "codec/bytes.h"
#include "testing/fuzz.h"

// What is hashed is what EIP-712 says, put together a second time out of text and ABI words; and a
// digest stands for one authorization on one token of one chain: whoever changes anything changes
// it.
namespace pontage::chain {
namespace {

using codec::AbiEncoder;
using codec::AsBytes;
using codec::Bytes;
using crypto::Hash32;
using crypto::Keccak256;

// Cuts values off the front of the input; zeros behind its end.
class Cutter {
 public:
  explicit Cutter(std::string_view input) : rest_(input) {}
  std::string Text(size_t size) {
    std::string out(rest_.substr(0, size));
    rest_.remove_prefix(out.size());
    return out;
  }
  codec::Bytes32 Word() {
    const std::string text = Text(32);
    codec::Bytes32 word{};
    std::ranges::copy(text, word.begin());
    return word;
  }
  codec::Uint256 Number() { return codec::Uint256::FromWord(Word()); }
  crypto::EvmAddress Address() {
    const std::string text = Text(20);
    crypto::EvmAddress address;
    std::ranges::copy(text, address.bytes.begin());
    return address;
  }
  uint8_t Byte() {
    const std::string text = Text(1);
    return text.empty() ? uint8_t{0} : static_cast<uint8_t>(text[0]);
  }

 private:
  std::string_view rest_;
};

Hash32 HashOf(std::string_view text) { return Keccak256(AsBytes(text)); }

// hashStruct(s) = keccak256(typeHash || encodeData(s)), with the type written by its members.
Hash32 NaiveStruct(const std::string& type, AbiEncoder& members) {
  const Hash32 name = HashOf(type);
  Bytes all(name.begin(), name.end());
  const Bytes data = members.Finish();
  all.insert(all.end(), data.begin(), data.end());
  return Keccak256(all);
}

Hash32 NaiveDomain(const Eip712Domain& d) {
  AbiEncoder members;
  members.Word(HashOf(d.name));
  std::string type = "EIP712Domain(string name,";
  if (d.version) {
    type += "string version,";
    members.Word(HashOf(*d.version));
  }
  members.Uint(d.chain_id).Address(d.verifying_contract.bytes);
  return NaiveStruct(type + "uint256 chainId,address verifyingContract)", members);
}

Hash32 NaiveTransfer(const TransferAuthorization& a) {
  AbiEncoder members;
  members.Address(a.from.bytes).Address(a.to.bytes).Uint(a.value);
  members.Uint(a.valid_after).Uint(a.valid_before).Word(a.nonce);
  return NaiveStruct(std::string(kTransferWithAuthorizationType), members);
}

Hash32 NaivePermit(const Permit& p) {
  AbiEncoder members;
  members.Address(p.owner.bytes).Address(p.spender.bytes);
  members.Uint(p.value).Uint(p.nonce).Uint(p.deadline);
  return NaiveStruct(std::string(kPermitType), members);
}

Hash32 NaiveDigest(const Hash32& domain, const Hash32& message) {
  std::string text = "\x19\x01";
  text.append(codec::AsText(domain)).append(codec::AsText(message));
  return HashOf(text);
}

Eip712Domain CutDomain(Cutter& from) {
  Eip712Domain domain;
  domain.name = from.Text(from.Byte());
  if (const uint8_t size = from.Byte(); size % 2 == 1) domain.version = from.Text(size / 2);
  for (int i = 0; i < 8; ++i) domain.chain_id = domain.chain_id << 8 | from.Byte();
  domain.verifying_contract = from.Address();
  return domain;
}

}  // namespace

FUZZ_TARGET(typed_data) {
  Cutter from(input);
  const uint8_t where = from.Byte();
  const Eip712Domain domain = CutDomain(from);
  const TransferAuthorization transfer{.from = from.Address(),
                                       .to = from.Address(),
                                       .value = from.Number(),
                                       .valid_after = from.Number(),
                                       .valid_before = from.Number(),
                                       .nonce = from.Word()};
  const Permit permit{.owner = transfer.from,
                      .spender = transfer.to,
                      .value = transfer.value,
                      .nonce = transfer.valid_after,
                      .deadline = transfer.valid_before};
  const Hash32 separator = DomainSeparator(domain);
  PTG_CHECK(separator == NaiveDomain(domain));
  PTG_CHECK(StructHash(transfer) == NaiveTransfer(transfer));
  PTG_CHECK(StructHash(permit) == NaivePermit(permit));
  const Hash32 digest = DigestOf(separator, transfer);
  PTG_CHECK(digest == NaiveDigest(NaiveDomain(domain), NaiveTransfer(transfer)));
  PTG_CHECK(DigestOf(separator, permit) == NaiveDigest(NaiveDomain(domain), NaivePermit(permit)));
  PTG_CHECK(DigestOf(separator, permit) != digest);

  // One member is changed, by one bit where it has bits.
  Eip712Domain other = domain;
  TransferAuthorization changed = transfer;
  const auto flip = [where](codec::Uint256& n) {
    codec::Bytes32 word = n.ToBytesBE();
    word[where / 16] ^= 1;
    n = codec::Uint256::FromWord(word);
  };
  switch (where % 10) {
    case 0:
      other.name += 'x';
      break;
    case 1:
      other.version = other.version ? std::nullopt : std::optional<std::string>("");
      break;
    case 2:
      other.chain_id ^= uint64_t{1} << (where / 16);
      break;
    case 3:
      other.verifying_contract.bytes[where / 16] ^= 1;
      break;
    case 4:
      changed.from.bytes[where / 16] ^= 1;
      break;
    case 5:
      changed.to.bytes[where / 16] ^= 1;
      break;
    case 6:
      flip(changed.value);
      break;
    case 7:
      flip(changed.valid_after);
      break;
    case 8:
      flip(changed.valid_before);
      break;
    default:
      changed.nonce[where / 16] ^= 1;
      break;
  }
  PTG_CHECK(DigestOf(DomainSeparator(other), changed) != digest);
}

}  // namespace pontage::chain
