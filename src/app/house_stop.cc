// How a house ends: what runs finishes, what waits is dropped.
#include <algorithm>
#include <list>

#include "app/close_watch.h"
#include "app/house.h"
#include "base/log.h"
#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"

namespace pontage::app {
namespace {

// How often a loop that stops looks whether it may.
constexpr Millis kStopPoll{10};
// Longer than a store that lives takes for all that it has accepted.
constexpr Millis kCloseTimeout{10'000};
// Longer than what ends behind the requests takes, also while a chain says nothing: two questions
// to it, one to the store, and a mail that is on its way.
constexpr Millis kEndTimeout{35'000};

}  // namespace

void OnLoop(Loop& loop, std::move_only_function<void()> fn) {
  std::atomic<bool> done{false};
  loop.Post([&] {
    fn();
    done = true;
    done.notify_one();
  });
  done.wait(false);
}

// One loop's part of stopping. All its listeners close at once, whatever the first of them still
// has to finish.
Task<> House::Impl::DrainLoop(size_t loop, Deadline by) {
  std::list<Fork> drains;
  for (const auto& server : loops[loop].servers) drains.emplace_back(server->Drain(by));
  const auto running = [](const Fork& drain) { return !drain.result(); };
  while (std::ranges::any_of(drains, running)) PTG_CO_RUN(co_await Sleep(kStopPoll));
  // Notes to the ledger that nobody waits for are written before the loop ends.
  for (int tries = 0; tries < 50 && Loop::Current()->spawned() > 4; ++tries) {
    PTG_CO_RUN(co_await Sleep(kStopPoll));
  }
  --serving;
  if (loop != 0) co_return {};
  // What all loops share ends when the last of them has served: a payment may still be settling.
  while (serving > 0) PTG_CO_RUN(co_await Sleep(kStopPoll));
  // Who waits for a question that the store has begun and does not end is not told in between.
  const CloseWatch watch(kEndTimeout);
  if (gateway_role()) PTG_CO_RUN(co_await shared->WriteLicenses(true));
  // What is not given back runs out by itself.
  for (const auto& other : others) (void)co_await other->End();
  if (sweeper) sweeper->Stop();
  co_return co_await chains->Stop();
}

// Whoever is still being answered is broken off: a second drain that waits for nobody.
void House::Impl::BreakOff() {
  for (size_t i = 0; i < runtime.size(); ++i) {
    runtime.loop(i).Post([this, i] {
      for (const auto& server : loops[i].servers) {
        runtime.loop(i).Spawn(server->Drain(Deadline::In(clock, Millis(0))), "drain.now");
      }
    });
  }
}

void House::Stop(const std::function<bool()>& hurry) {
  Impl& h = *impl_;
  if (!h.started) return;
  h.started = false;
  h.ready = false;
  for (const auto& other : h.others) other->Stop();
  const Deadline by = Deadline::In(h.clock, h.config.server.drain_timeout);
  h.serving = h.runtime.size();
  // Every loop drains at once; each says when it is done.
  std::atomic<size_t> open{h.runtime.size()};
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    h.runtime.loop(i).Post([&h, i, by, &open] {
      const auto drain = [](Impl& house, size_t n, Deadline until,
                            std::atomic<size_t>& left) -> Task<> {
        const Result<> drained = co_await house.DrainLoop(n, until);
        if (!drained) {
          Log(LogLevel::kWarn, "server.drain", {{"detail", drained.error().detail()}});
        }
        --left;
        left.notify_one();
        co_return {};
      };
      h.runtime.loop(i).Spawn(drain(h, i, by, open), "drain");
    });
  }
  const CloseWatch watch_all(h.config.server.drain_timeout + kEndTimeout + kCloseTimeout);
  for (size_t n = open; n > 0; n = open) {
    if (!hurry) {
      open.wait(n);
    } else if (hurry()) {
      Log(LogLevel::kWarn, "server.drain", {{"detail", "told again to stop: not waiting"}});
      h.BreakOff();
    }
  }
  for (size_t i = 0; i < h.runtime.size(); ++i) {
    OnLoop(h.runtime.loop(i), [&h, i] {
      if (i == 0) h.metrics_server.reset();
      h.loops[i].servers.clear();
    });
  }
  h.runtime.Stop();
  h.runtime.Join();
  {
    const CloseWatch watch(kCloseTimeout);
    h.store.database.reset();  // once it has written what it has accepted
  }
  // What still waits for something is dropped while all that it refers to is there.
  for (size_t i = 0; i < h.runtime.size(); ++i) h.runtime.loop(i).DropSpawned();
  h.sweeper.reset();
  h.loops.clear();
  Log(LogLevel::kInfo, "server.stopped");
}

}  // namespace pontage::app
