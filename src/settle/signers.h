#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/time.h"
#include "db/db.h"
#include "settle/submitter.h"

namespace pontage::settle {

// The keys of one chain, each with nonces and a queue of its own. A payment goes to the one with
// the least to do. Safe to use from every loop.
class Signers {
 public:
  // At least one, all of one chain; they and `database` outlive it.
  Signers(std::vector<Submitter*> keys, db::Database& database, const Clock& clock);

  // Submitter::Submit and Submitter::Await, of whichever key has it.
  Task<Submitter::Sent> Submit(Submitter::Job job, Deadline by);
  Task<Submitter::Sent> Await(crypto::Hash32 hash, Deadline by);

  // Of one of them: whoever sends a transfer makes no difference to it.
  const crypto::EvmAddress& address() const { return keys_.front()->address(); }
  std::vector<crypto::EvmAddress> addresses() const;

 private:
  std::vector<Submitter*> keys_;
  db::Database& database_;
  const Clock& clock_;
  std::atomic<size_t> turn_{0};  // where the next look begins, so that equals take turns
};

}  // namespace pontage::settle
