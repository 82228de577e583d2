#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <sys/epoll.h>

#include "io/runtime.h"

// Which sockets of a loop may have something to read or room to write. Private to io/.
//
// Asio's own wait for readiness costs an epoll_ctl and an operation on the heap each time, which
// was near a fifth of what a proxied request cost. So the descriptors of sockets stand in one
// edge-triggered epoll set, once for their lives, and Asio watches that set as if it were one
// descriptor (docs/adr/0009-sockets-in-one-epoll-set.md).
namespace pontage {

// What hears of a descriptor's edges.
class Ready {
 public:
  virtual ~Ready() = default;
  // `events` as epoll gives them. May destroy this or any other that listens.
  virtual void Edge(uint32_t events) = 0;
};

class ReadySet {
 public:
  explicit ReadySet(Loop& loop);
  ~ReadySet();
  ReadySet(const ReadySet&) = delete;
  ReadySet& operator=(const ReadySet&) = delete;

  // From now on `ready` hears of `fd`, until Forget. What is already there is told too. False when
  // the kernel has no room for it.
  bool Add(int fd, Ready& ready);
  // Nothing more is told to `ready`, not even what has already been fetched. Its descriptor is
  // about to be closed.
  void Forget(Ready& ready);

 private:
  struct Watch;
  // As many as one look at the kernel fetches; the rest is there at the next.
  static constexpr size_t kBatch = 128;

  void Arm();
  void Tell();

  int epoll_;
  std::unique_ptr<Watch> watch_;
  std::array<epoll_event, kBatch> batch_{};
  size_t next_ = 0;
  size_t fetched_ = 0;
};

}  // namespace pontage
