// The parts of a block that are computed from the rest of it.
#include <algorithm>
#include <array>

#include "codec/rlp.h"
#include "sandbox/block_chain.h"

namespace pontage::sandbox {
namespace {

using codec::ByteView;
using codec::RlpItem;
using crypto::Hash32;

void AddTo(Bloom& bloom, ByteView value) {
  const Hash32 h = crypto::Keccak256(value);
  for (const size_t i : {size_t{0}, size_t{2}, size_t{4}}) {
    const size_t bit = (size_t{h[i]} << 8 | h[i + 1]) % 2048;
    bloom[255 - bit / 8] = static_cast<uint8_t>(bloom[255 - bit / 8] | 1 << bit % 8);
  }
}

void AddTo(Bloom& bloom, const std::vector<chain::EvmLog>& logs) {
  for (const chain::EvmLog& log : logs) {
    AddTo(bloom, log.address.bytes);
    for (const codec::Bytes32& topic : log.topics) AddTo(bloom, topic);
  }
}

// keccak256(rlp("")): the root of an empty trie.
Hash32 EmptyRoot() { return crypto::Keccak256(codec::EncodeRlp(RlpItem::Octets({}))); }
// keccak256(rlp([])): no uncles.
Hash32 NoUncles() { return crypto::Keccak256(codec::EncodeRlp(RlpItem::List({}))); }

// Something that changes with the block and with `what`.
Hash32 Root(const Block& block, std::string_view what) {
  Hash32 root = crypto::Keccak256({codec::AsBytes(what), block.parent});
  for (const MinedTransaction& mined : block.transactions) {
    root = crypto::Keccak256({root, mined.tx.hash()});
  }
  return root;
}

}  // namespace

Bloom BloomOf(const std::vector<chain::EvmLog>& logs) {
  Bloom bloom{};
  AddTo(bloom, logs);
  return bloom;
}

Bloom BloomOf(const Block& block) {
  Bloom bloom{};
  for (const MinedTransaction& mined : block.transactions) AddTo(bloom, mined.logs);
  return bloom;
}

Header HeaderOf(const Block& block) {
  Header header;
  const bool empty = block.transactions.empty();
  header.state_root = Root(block, "state");
  header.transactions_root = empty ? EmptyRoot() : Root(block, "transactions");
  header.receipts_root = empty ? EmptyRoot() : Root(block, "receipts");
  header.bloom = BloomOf(block);

  const Hash32 zero{};
  const std::array<uint8_t, 20> miner{};
  const std::array<uint8_t, 8> nonce{};
  const codec::Bytes rlp =
      codec::EncodeRlp(RlpItem::List({RlpItem::Octets(block.parent),
                                      RlpItem::Octets(NoUncles()),
                                      RlpItem::Octets(miner),
                                      RlpItem::Octets(header.state_root),
                                      RlpItem::Octets(header.transactions_root),
                                      RlpItem::Octets(header.receipts_root),
                                      RlpItem::Octets(header.bloom),
                                      RlpItem::Uint(uint64_t{0}),
                                      RlpItem::Uint(block.number),
                                      RlpItem::Uint(kBlockGasLimit),
                                      RlpItem::Uint(block.gas_used),
                                      RlpItem::Uint(block.timestamp),
                                      RlpItem::Octets({}),
                                      RlpItem::Octets(zero),
                                      RlpItem::Octets(nonce),
                                      RlpItem::Uint(kBaseFee),
                                      RlpItem::Octets(EmptyRoot()),
                                      RlpItem::Uint(uint64_t{0}),
                                      RlpItem::Uint(uint64_t{0}),
                                      RlpItem::Octets(zero),
                                      RlpItem::Octets(crypto::Sha256({ByteView{}}))}));
  header.hash = crypto::Keccak256(rlp);
  header.size = rlp.size();
  for (const MinedTransaction& mined : block.transactions) {
    header.size += mined.tx.signed_tx.raw.size();
  }
  return header;
}

}  // namespace pontage::sandbox
