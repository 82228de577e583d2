#include "io/ready_set.h"

#include <cerrno>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/check.h"

namespace pontage {

struct ReadySet::Watch {
  Watch(Loop& loop, int epoll) : descriptor(loop.context().get_executor(), epoll) {}
  boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type> descriptor;
};

ReadySet::ReadySet(Loop& loop) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  PTG_CHECK(epoll_ >= 0);
  watch_ = std::make_unique<Watch>(loop, epoll_);
  Arm();
}

ReadySet::~ReadySet() = default;

bool ReadySet::Add(int fd, Ready& ready) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &ready;
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void ReadySet::Forget(Ready& ready) {
  for (size_t i = next_; i < fetched_; ++i) {
    if (batch_[i].data.ptr == &ready) batch_[i].data.ptr = nullptr;
  }
}

void ReadySet::Arm() {
  const auto kind = boost::asio::posix::descriptor_base::wait_read;
  watch_->descriptor.async_wait(kind, [this](const boost::system::error_code& error) {
    if (error) return;
    Tell();
    Arm();
  });
}

void ReadySet::Tell() {
  const int count = ::epoll_wait(epoll_, batch_.data(), static_cast<int>(kBatch), 0);
  if (count < 0) return;  // interrupted: Arm finds what is there
  fetched_ = static_cast<size_t>(count);
  for (next_ = 0; next_ < fetched_;) {
    const epoll_event event = batch_[next_++];
    if (event.data.ptr != nullptr) static_cast<Ready*>(event.data.ptr)->Edge(event.events);
  }
  next_ = fetched_ = 0;
}

}  // namespace pontage
