#pragma once

#include <deque>

#include "db/pool.h"
#include "dice.h"

namespace pontage::sim {

// One node's way to the database that all nodes share: one session, asked on the node's own loop,
// so that nothing runs by itself. What waits when the node dies was never asked; what was answered
// and not heard, was.
class Store final : public db::Database {
 public:
  Store(db::Connection& server, Loop& loop, Dice& dice, const Weather& weather)
      : server_(server), loop_(loop), dice_(dice), weather_(weather) {}

  std::string_view engine() const override { return "sqlite"; }
  Stats stats() const override { return {}; }

 protected:
  void Enqueue(Job job, bool write) override;

 private:
  struct Waiting {
    Job job;
    bool write = false;
  };
  Task<> Serve(std::shared_ptr<Waiting> waiting, Millis there, Millis back);
  Result<> Ask(Waiting& waiting);

  db::Connection& server_;
  Loop& loop_;
  Dice& dice_;
  const Weather& weather_;
  SteadyMs last_write_;
};

}  // namespace pontage::sim
