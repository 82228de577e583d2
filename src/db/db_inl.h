#pragma once

// The template bodies of db.h.

#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/try.h"
#include "db/body_gate.h"

namespace pontage::db {

// What has begun before its deadline may end this much after it.
inline constexpr Millis kGrace{1'000};

template <typename F>
auto Database::Run(F body, Deadline by, bool write, std::move_only_function<Ask()> ahead)
    -> Task<typename std::invoke_result_t<F&, Tx&>::value_type> {
  using T = typename std::invoke_result_t<F&, Tx&>::value_type;
  Completion<T> completion;
  // Shared, because a coroutine that was destroyed must not take it away from the database thread.
  struct Work {
    explicit Work(F b) : body(std::move(b)) {}
    F body;
    std::optional<Result<T>> result;  // waits here until the commit is known
    BodyGate gate;
  };
  auto work = std::make_shared<Work>(std::move(body));
  const BodyGate::Owner owner(work->gate);
  Job job;
  job.by = by;
  job.ahead = std::move(ahead);
  job.run = [work](Tx& tx) -> Result<> {
    const BodyGate::Pass pass(work->gate);
    if (!pass) return Fail(Code::kStore, "nobody waits for it any more");
    work->result.emplace(work->body(tx));
    if (!*work->result) return std::unexpected(work->result->error());
    return {};
  };
  job.done = [work, completion](Result<> committed) {
    if (!committed) {
      completion.Set(std::unexpected(std::move(committed).error()));
    } else {
      completion.Set(std::move(*work->result));
    }
  };
  Enqueue(std::move(job), write);
  // A server that hangs, or the disk under it, keeps its session's thread; nobody else must hang.
  Error late(Code::kStore, "the database does not answer; what was asked may or may not happen");
  const Deadline patience = by.at() == Deadline::Never().at() ? by : Deadline(by.at() + kGrace);
  Result<T> answer = co_await completion.Until(patience, std::move(late));
  if (!answer) {
    const Completion<void> ended;
    if (!work->gate.Close(ended)) PTG_CO_RUN(co_await ended);
  }
  co_return answer;
}

template <typename F>
auto Database::RunNow(F body, bool write) -> std::invoke_result_t<F&, Tx&> {
  using R = std::invoke_result_t<F&, Tx&>;
  std::mutex mutex;
  std::condition_variable ready;
  std::optional<R> result;
  bool finished = false;
  Job job;
  job.blocking = true;
  job.run = [&](Tx& tx) -> Result<> {
    result.emplace(body(tx));
    if (!*result) return std::unexpected(result->error());
    return {};
  };
  job.done = [&](Result<> committed) {
    const std::lock_guard lock(mutex);
    if (!committed) result.emplace(std::unexpected(std::move(committed).error()));
    finished = true;
    ready.notify_one();
  };
  Enqueue(std::move(job), write);
  std::unique_lock lock(mutex);
  ready.wait(lock, [&] { return finished; });
  return std::move(*result);
}

}  // namespace pontage::db
