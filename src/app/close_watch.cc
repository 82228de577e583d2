#include "app/close_watch.h"

#include <unistd.h>

#include "base/log.h"
#include "base/thread_name.h"

namespace pontage::app {

CloseWatch::CloseWatch(Millis most)
    : thread_([this, most] {
        NameThread("close watch");
        std::unique_lock lock(mutex_);
        if (wake_.wait_for(lock, most, [this] { return closed_; })) return;
        Log(LogLevel::kError, "server.store_hangs",
            {{"detail",
              "the store does not answer; what was not written is found at the next start"}});
        _exit(1);
      }) {}

CloseWatch::~CloseWatch() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

}  // namespace pontage::app
