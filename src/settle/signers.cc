#include "settle/signers.h"

#include <utility>

#include "base/check.h"

namespace pontage::settle {
namespace {

constexpr Millis kStoreTimeout{10'000};

}  // namespace

Signers::Signers(std::vector<Submitter*> keys, db::Database& database, const Clock& clock)
    : keys_(std::move(keys)), database_(database), clock_(clock) {
  PTG_CHECK(!keys_.empty());
}

Task<Submitter::Sent> Signers::Submit(Submitter::Job job, Deadline by) {
  const size_t first = turn_.fetch_add(1, std::memory_order_relaxed) % keys_.size();
  Submitter* least = keys_[first];
  for (size_t i = 1; i < keys_.size(); ++i) {
    Submitter* other = keys_[(first + i) % keys_.size()];
    if (other->load() < least->load()) least = other;
  }
  return least->Submit(std::move(job), by);
}

Task<Submitter::Sent> Signers::Await(crypto::Hash32 hash, Deadline by) {
  const auto find = [&hash](db::Tx& tx) { return FindOutgoing(tx, hash); };
  Result<std::optional<FoundOutgoing>> found =
      co_await database_.Read(find, Sooner(by, Deadline::In(clock_, kStoreTimeout)));
  Submitter* of = keys_.front();
  Outgoing tx;
  tx.versions.push_back({hash, {}});
  if (found && *found) {
    for (Submitter* key : keys_) {
      if (key->address().ToLower() == (*found)->signer) of = key;
    }
    tx = std::move((*found)->tx);
  }
  co_return co_await of->Watch(std::move(tx), hash, by);
}

std::vector<crypto::EvmAddress> Signers::addresses() const {
  std::vector<crypto::EvmAddress> all;
  for (const Submitter* key : keys_) all.push_back(key->address());
  return all;
}

}  // namespace pontage::settle
