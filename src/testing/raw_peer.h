#pragma once

#include <string>
#include <string_view>

#include "base/try.h"
#include "io/socket.h"
#include "io/timer.h"

namespace pontage::testing {

// The other side of a connection as a test writes it: bytes, exactly as given.
class RawPeer {
 public:
  explicit RawPeer(Loop& loop) : loop_(loop) {}
  RawPeer(Loop& loop, Socket socket) : loop_(loop), socket_(std::move(socket)) {}

  Task<> Connect(uint16_t port) {
    PTG_CO_TRY(socket_, co_await pontage::Connect(loop_, "127.0.0.1", port, Soon()));
    co_return {};
  }
  Task<> Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
      PTG_CO_TRY(const size_t count, co_await socket_.WriteSome({&piece, 1}, Soon()));
      bytes.remove_prefix(count);
    }
    co_return {};
  }
  // Everything up to the end of the stream; a reset is kConnection.
  Task<std::string> ReadToEnd() {
    while (true) {
      PTG_CO_TRY(const bool more, co_await ReadMore());
      if (!more) co_return std::exchange(seen_, {});
    }
  }
  // Everything up to and with the first `mark` that comes; what follows stays for the next call.
  Task<std::string> ReadUntil(std::string_view mark) {
    size_t at = std::string::npos;
    while ((at = seen_.find(mark)) == std::string::npos) {
      PTG_CO_TRY(const bool more, co_await ReadMore());
      if (!more) co_return Fail(Code::kConnection, "ended before the mark, after: " + seen_);
    }
    std::string text = seen_.substr(0, at + mark.size());
    seen_.erase(0, at + mark.size());
    co_return text;
  }
  // Exactly so many bytes.
  Task<std::string> ReadCount(size_t count) {
    while (seen_.size() < count) {
      PTG_CO_TRY(const bool more, co_await ReadMore());
      if (!more) co_return Fail(Code::kConnection, "ended within what was awaited");
    }
    std::string text = seen_.substr(0, count);
    seen_.erase(0, count);
    co_return text;
  }
  // Nothing comes for `time`.
  Task<bool> Silent(Millis time) {
    const size_t before = seen_.size();
    const Deadline by = Deadline::In(loop_.clock(), time);
    const auto more = co_await socket_.Readable(by);
    co_return !more && seen_.size() == before;
  }
  Socket& socket() { return socket_; }

 private:
  Deadline Soon() const { return Deadline::In(loop_.clock(), 10s); }
  Task<bool> ReadMore() {
    char buffer[4096];
    PTG_CO_TRY(const size_t count, co_await socket_.Read(buffer, Soon()));
    seen_.append(buffer, count);
    co_return count > 0;
  }

  Loop& loop_;
  Socket socket_;
  std::string seen_;
};

}  // namespace pontage::testing
