#include "store.h"

#include "base/try.h"

namespace pontage::sim {

void Store::Enqueue(Job job, bool write) {
  auto waiting = std::make_shared<Waiting>();
  waiting->job = std::move(job);
  waiting->write = write;
  if (Loop::Current() == nullptr) {
    // Before there is a world: migrations.
    waiting->job.done(Ask(*waiting));
    return;
  }
  Millis there = dice_.Between(Millis(0), Millis(4));
  if (dice_.Chance(weather_.store_hangs)) there += dice_.Between(Millis(1'000), Millis(12'000));
  // One writer: what was handed over first is written first.
  const SteadyMs now = loop_.clock().Steady();
  if (write) {
    last_write_ = std::max(last_write_, now + there);
    there = last_write_ - now;
  }
  const Millis back = dice_.Between(Millis(0), Millis(4));
  loop_.Spawn(Serve(std::move(waiting), there, back), "sim.store");
}

Task<> Store::Serve(std::shared_ptr<Waiting> waiting, Millis there, Millis back) {
  PTG_CO_RUN(co_await Sleep(there));
  Job& job = waiting->job;
  if (job.by.Passed(loop_.clock())) {
    job.done(Fail(Code::kStore, "the database had no time for it"));
    co_return {};
  }
  if (dice_.Chance(weather_.store_refuses)) {
    job.done(Fail(Code::kStore, "the database is away"));
    co_return {};
  }
  Result<> result = Ask(*waiting);
  PTG_CO_RUN(co_await Sleep(back));
  if (dice_.Chance(weather_.store_unknown)) {
    result = Fail(Code::kStore, "the connection broke in the middle");
  }
  job.done(std::move(result));
  co_return {};
}

Result<> Store::Ask(Waiting& waiting) {
  PTG_RUN(server_.Begin(waiting.write));
  Result<> result = waiting.job.run(server_);
  if (!result) {
    server_.Rollback();
    return result;
  }
  return server_.Commit();
}

}  // namespace pontage::sim
