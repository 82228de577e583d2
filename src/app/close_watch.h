#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/time.h"

namespace pontage::app {

// Ends the process with 1 when it lives longer than `most`: a part of the end that waits for the
// store. A database thread waits for its server, and one that says nothing, though its connection
// stands, is waited for without end. What was not written the next start finds again, as after a
// crash.
class CloseWatch {
 public:
  explicit CloseWatch(Millis most);
  ~CloseWatch();
  CloseWatch(const CloseWatch&) = delete;
  CloseWatch& operator=(const CloseWatch&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace pontage::app
