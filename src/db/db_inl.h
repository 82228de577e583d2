#pragma once

// The template bodies of db.h.

#include <condition_variable>
#include <mutex>
#include <optional>

namespace pontage::db {

// What has begun before its deadline may end this much after it.
inline constexpr Millis kGrace{1'000};

template <typename F>
auto Database::Run(F body, Deadline by, bool write)
    -> Task<typename std::invoke_result_t<F&, Tx&>::value_type> {
  using T = typename std::invoke_result_t<F&, Tx&>::value_type;
  Completion<T> completion;
  // The result of the body waits here until the commit is known. Shared, because a coroutine that
  // was destroyed must not take it away from the database thread.
  auto result = std::make_shared<std::optional<Result<T>>>();
  auto shared_body = std::make_shared<F>(std::move(body));
  Job job;
  job.by = by;
  job.run = [result, shared_body](Tx& tx) -> Result<> {
    result->emplace((*shared_body)(tx));
    if (!**result) return std::unexpected((*result)->error());
    return {};
  };
  job.done = [result, completion](Result<> committed) {
    if (!committed) {
      completion.Set(std::unexpected(std::move(committed).error()));
    } else {
      completion.Set(std::move(**result));
    }
  };
  Enqueue(std::move(job), write);
  // A server that hangs, or the disk under it, keeps its session's thread; nobody else must hang.
  Error late(Code::kStore, "the database does not answer; what was asked may or may not happen");
  const Deadline patience = by.at() == Deadline::Never().at() ? by : Deadline(by.at() + kGrace);
  co_return co_await completion.Until(patience, std::move(late));
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
