#include "io/runtime.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/log.h"
#include "base/shelves.h"
#include "base/thread_name.h"
#include "io/ready_set.h"
#include "io/turn.h"

namespace pontage {
namespace {
thread_local Loop* t_current = nullptr;
// Handlers that are run before the end of a turn that somebody waits for.
constexpr size_t kBetween = 64;
}  // namespace

void DeadlineNode::Unlink() {
  if (prev_ == nullptr) return;
  prev_->next_ = next_;
  next_->prev_ = prev_;
  prev_ = next_ = nullptr;
}

// A spawned coroutine: starts at once, destroys its own frame when it ends, and hangs in the loop's
// list until then, so that the loop can destroy what is left.
struct Loop::Root {
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;
  struct promise_type {
    Impl* impl = nullptr;
    promise_type* prev = nullptr;
    promise_type* next = nullptr;

    Root get_return_object() { return Root{Handle::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() noexcept {
      CheckFailed(__FILE__, __LINE__, "exception in a spawned coroutine");
    }
    ~promise_type();
  };
  Handle handle;

  static Root Run(Task<> task, std::string_view what) {
    const Result<> result = co_await task;
    if (!result) {
      Log(LogLevel::kDebug, "task.failed", {{"task", what}, {"detail", result.error().detail()}});
    }
  }
};

struct Loop::Impl {
  struct Sentinel final : DeadlineNode {
    void Expire() override {}
  };

  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
      context.get_executor()};
  boost::asio::steady_timer sweep{context};
  uint64_t sweeps = 0;
  std::unique_ptr<ReadySet> sockets;
  Sentinel watched;
  Root::promise_type* roots = nullptr;
  size_t root_count = 0;
  bool stopped = false;
};

Loop::Root::promise_type::~promise_type() {
  if (impl == nullptr) return;
  if (prev != nullptr) {
    prev->next = next;
  } else {
    impl->roots = next;
  }
  if (next != nullptr) next->prev = prev;
  --impl->root_count;
}

Loop::Loop(const Clock& clock, Drive drive)
    : clock_(clock), drive_(drive), impl_(std::make_unique<Impl>()) {
  impl_->watched.prev_ = impl_->watched.next_ = &impl_->watched;
  if (drive != Drive::kByTime) return;
  impl_->sockets = std::make_unique<ReadySet>(*this);
  Sweep();
}

void Loop::DropSpawned() {
  Loop* const before = std::exchange(t_current, this);
  while (impl_->roots != nullptr) {
    Root::Handle::from_promise(*impl_->roots).destroy();
  }
  t_current = before;
}

Loop::~Loop() {
  DropSpawned();
  Loop* const before = std::exchange(t_current, this);
  // Handlers still queued are destroyed, not run; sockets that they hold find no set any more.
  impl_->sockets.reset();
  impl_.reset();
  t_current = before == this ? nullptr : before;
}

Loop* Loop::Current() { return t_current; }

boost::asio::io_context& Loop::context() { return impl_->context; }

ReadySet* Loop::sockets() const { return impl_ == nullptr ? nullptr : impl_->sockets.get(); }

void Loop::Run() {
  const bool go_on = true;
  RunWhile(go_on);
}

void Loop::RunWhile(const bool& go_on) {
  Loop* const before = std::exchange(t_current, this);
  // One write for the lines of all requests that one look at the sockets has finished: at the end
  // of each turn.
  GatherLog([] {});
  const auto turn = [this] {
    if (!TurnNode::NextWanted()) return impl_->context.run_one() > 0;
    // All that is ready, or whatever was posted would wait for a part of the arithmetic each.
    for (size_t i = 0; i < kBetween && impl_->context.poll_one() > 0; ++i) {
    }
    return true;
  };
  do {
    TurnNode::EndTurn();
    FlushLog();
  } while (go_on && !impl_->stopped && turn());
  GatherLog(nullptr);
  t_current = before;
}

void Loop::Stop() {
  Post([this] { impl_->stopped = true; });
}

void Loop::Post(std::move_only_function<void()> fn) {
  boost::asio::post(impl_->context, std::move(fn));
}

void Loop::Spawn(Task<> task, std::string_view what) {
  const Root root = Root::Run(std::move(task), what);
  Root::promise_type& promise = root.handle.promise();
  promise.impl = impl_.get();
  promise.next = impl_->roots;
  if (impl_->roots != nullptr) impl_->roots->prev = &promise;
  impl_->roots = &promise;
  ++impl_->root_count;
  // Before Run nobody has said whose thread this is, and the first steps may ask.
  Loop* const before = std::exchange(t_current, this);
  root.handle.resume();
  t_current = before;
}

size_t Loop::spawned() const { return impl_->root_count; }

void Loop::Watch(DeadlineNode& node, Deadline at) {
  node.Unlink();
  if (at.at() == Deadline::Never().at()) return;
  node.at_ = at.at();
  DeadlineNode& head = impl_->watched;
  node.next_ = &head;
  node.prev_ = head.prev_;
  head.prev_->next_ = &node;
  head.prev_ = &node;
}

void Loop::Sweep() {
  impl_->sweep.expires_after(kSweep);
  impl_->sweep.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    ExpireDue();
    if (++impl_->sweeps % kTrimEvery == 0) TrimShelves();
    Sweep();
  });
}

size_t Loop::ExpireDue() {
  const SteadyMs now = clock_.Steady();
  DeadlineNode& head = impl_->watched;
  // What has passed is moved to a list of its own first: Expire may watch and unlink others.
  Impl::Sentinel due;
  due.prev_ = due.next_ = &due;
  for (DeadlineNode* node = head.next_; node != &head;) {
    DeadlineNode* const next = node->next_;
    if (node->at_ <= now) {
      node->Unlink();
      node->next_ = &due;
      node->prev_ = due.prev_;
      due.prev_->next_ = node;
      due.prev_ = node;
    }
    node = next;
  }
  size_t expired = 0;
  for (; due.next_ != &due; ++expired) {
    DeadlineNode* const node = due.next_;
    node->Unlink();
    node->Expire();
  }
  return expired;
}

size_t Loop::Poll() {
  PTG_CHECK(drive_ == Drive::kByHand);
  Loop* const before = std::exchange(t_current, this);
  size_t steps = 0;
  for (size_t some = 1; some > 0; steps += some) {
    some = impl_->context.poll() + ExpireDue();
    some += TurnNode::EndTurn();
  }
  t_current = before;
  return steps;
}

std::optional<SteadyMs> Loop::NextDue() const {
  PTG_CHECK(drive_ == Drive::kByHand);
  std::optional<SteadyMs> next;
  for (const DeadlineNode* node = impl_->watched.next_; node != &impl_->watched;
       node = node->next_) {
    if (!next || node->at_ < *next) next = node->at_;
  }
  return next;
}

Runtime::Runtime(size_t threads, const Clock& clock) {
  PTG_CHECK(threads > 0);
  for (size_t i = 0; i < threads; ++i) loops_.push_back(std::make_unique<Loop>(clock));
}

Runtime::~Runtime() {
  Stop();
  Join();
}

void Runtime::Start() {
  for (size_t i = 0; i < loops_.size(); ++i) {
    threads_.emplace_back([loop = loops_[i].get(), i] {
      NameThread("loop " + std::to_string(i));
      loop->Run();
    });
  }
}

void Runtime::Stop() {
  for (auto& loop : loops_) loop->Stop();
}

void Runtime::Join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace pontage
