#pragma once

#include <memory>
#include <string>
#include <vector>

#include "node.h"

namespace pontage::sim {

struct Plan {
  uint64_t seed = 1;
  int nodes = 1;
  uint8_t signers = 1;
  bool multicall = false;  // payments may share a transaction
  int payments = 24;
  Millis trouble{60'000};  // how long things go wrong; then they heal
  Weather weather;
};
// A plan for each seed: which kinds of trouble, how much, how many nodes.
Plan PlanOf(uint64_t seed);

// Buyers, nodes, a chain, an upstream and one clock on one thread. The same seed gives the same
// run.
class World {
 public:
  explicit World(Plan plan);
  ~World();

  // Lives through the plan, heals, and holds the books against chain, upstream and buyers. Empty,
  // or the first thing that is wrong.
  std::string Run();

  struct Figures {
    int served = 0, settled = 0, lapsed = 0, refused = 0, crashes = 0, shown_again = 0,
        redeemed = 0, reorgs = 0, undone = 0, lost = 0;
  };
  const Figures& figures() const { return figures_; }
  // What every buyer was told, and when.
  std::string Story() const;

 private:
  struct Payment {
    int version = 2;
    size_t route = 0;
    chain::TransferAuthorization auth;
    std::string value;
    int goods = 0;           // whole answers
    int running = 0;         // requests of his that are open
    int disturbed = 0;       // times our crash or his own break cut an answer short
    int crashes_before = 0;  // of the world when he began
    bool invited = false;    // he was told to sign another one
    bool failed = false;     // or that it could not be settled
    bool closed = false;     // he is done
    int mined_ok = 0;        // transactions that moved it
    int mined_bad = 0;       // of ours that were reverted over it
    std::string heard;       // what he was told, in order
  };

  void Step();
  Task<> Weathering();
  Task<> Mining();
  Task<> Postman();
  Task<> Buy(size_t index);
  Task<> ShowOnce(size_t index, bool extra);
  void Judge(size_t index, const Request& request);
  void Crash(size_t node);
  Payment Sign(size_t index);
  void Audit();
  void AuditRow(size_t index, const std::vector<db::Row>& rows, int64_t allowed);
  void AuditReorgs();
  bool LostOnChain(const codec::Bytes32& once_key);

  Plan plan_;
  Ground ground_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Payment> payments_;
  std::vector<size_t> doomed_;  // nodes that die at the end of this step
  int next_node_ = 0;
  bool healed_ = false;
  Figures figures_;
};

}  // namespace pontage::sim
