#pragma once

#include <cstdint>

#include "base/rng.h"
#include "base/time.h"

namespace pontage::sim {

// Every choice of a simulated run comes from one seed.
class Dice {
 public:
  explicit Dice(uint64_t seed) : rng_(seed) {}
  uint64_t Below(uint64_t n) { return rng_.Next64() % n; }
  // `permille` times in a thousand.
  bool Chance(int permille) { return Below(1000) < static_cast<uint64_t>(permille); }
  Millis Between(Millis least, Millis most) {
    const auto span = static_cast<uint64_t>((most - least).count()) + 1;
    return least + Millis(static_cast<int64_t>(Below(span)));
  }

 private:
  SeededRng rng_;
};

// How often things go wrong, in thousandths. All at zero once the run heals.
struct Weather {
  int request_lost = 0;    // a call to the chain does not arrive
  int reply_lost = 0;      // it does, and its answer is lost
  int duplicated = 0;      // a transaction is handed over twice
  int shuffled = 0;        // transactions arrive in another order
  int behind = 0;          // a node has not seen the latest block
  int store_refuses = 0;   // the database does not take it
  int store_unknown = 0;   // it does, and the confirmation is lost
  int store_hangs = 0;     // seconds instead of milliseconds
  int chain_stalls = 0;    // no block for half a minute
  int fee_spikes = 0;      // what was paid a minute ago is not enough for a block, each block
  int token_eats = 0;      // an authorization is taken and nothing moves
  int upstream_fails = 0;  // unreachable, 500, or broken in the body
  int client_breaks = 0;   // the buyer's connection, somewhere in the answer
  int reorgs = 0;          // the chain throws its last blocks out, each block
  int crashes = 0;         // of a node, each second
  int clock_jumps = 0;     // of a node's wall clock, each second
};

}  // namespace pontage::sim
