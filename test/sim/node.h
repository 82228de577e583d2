#pragma once

#include <memory>
#include <optional>
#include <string>

#include "chain_link.h"
#include "ledger/ledger.h"
#include "paywall/exchange.h"
#include "paywall/sweeper.h"
#include "rail/x402_rail.h"
#include "sale.h"
#include "settle/local_facilitator.h"
#include "settle/signers.h"
#include "settle/submitter.h"
#include "store.h"
#include "time.h"

namespace pontage::sim {

// What all nodes stand on and none of them owns: it outlives their crashes.
struct Ground {
  WorldClock clock;
  Loop loop{clock, Loop::Drive::kByHand};
  Dice dice;
  Weather weather;
  chain::AssetRegistry assets = chain::AssetRegistry::WithDefaults();
  testing::FakeEvmChain chain;
  std::vector<codec::Bytes> late;  // transactions still on their way
  std::unique_ptr<db::Connection> server;
  std::vector<catalog::Route> routes;
  uint8_t signers = 1;  // keys that send
  Upstream upstream;
  std::string violation;  // the first thing that must never happen, and happened

  explicit Ground(uint64_t seed);
  void Forbid(bool happened, std::string what);
};

// One process of ours: the production pipeline on a loop that is driven by hand. Destroying it is
// kill -9: nothing of it runs any more, and what it had written stays.
class Node {
 public:
  // `alone`: it has the store for itself and so knows that whoever lived before is dead.
  Node(Ground& ground, int number, bool alone);
  ~Node();

  Loop& loop() { return loop_; }
  NodeClock& clock() { return clock_; }
  bool ready() const { return ready_; }
  void Serve(std::shared_ptr<Request> request);

 private:
  Task<> Begin(bool alone);
  Task<> ServeOne(std::shared_ptr<Request> request);

  Ground& ground_;
  NodeClock clock_;
  Loop loop_;
  SeededRng rng_;
  Store store_;
  ChainLink link_;
  obs::Registry metrics_;
  std::vector<std::unique_ptr<settle::Submitter>> keys_;
  std::unique_ptr<settle::Signers> signers_;
  std::unique_ptr<settle::LocalFacilitator> facilitator_;
  std::shared_ptr<const rail::RailSet> rails_;
  std::unique_ptr<ledger::Ledger> ledger_;
  std::unique_ptr<paywall::Exchange> exchange_;
  std::unique_ptr<paywall::Sweeper> sweeper_;
  bool ready_ = false;
};

}  // namespace pontage::sim
