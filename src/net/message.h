#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/shelves.h"
#include "base/time.h"
#include "io/task.h"

// What HTTP messages are, whatever carried them (HTTP/1.1 now, HTTP/2 behind the same types).
namespace pontage::net {

// ASCII, without regard to case.
bool SameTextNoCase(std::string_view a, std::string_view b);  // of texts of one size
inline bool EqualsNoCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  if (a.empty()) return true;
  // Case is one bit: most texts that differ do so in the others of their first letter.
  return ((a.front() ^ b.front()) & ~0x20) == 0 && SameTextNoCase(a, b);
}

// Names and values in the order they came. Names compare without case. The text lies in one buffer
// as HTTP/1 writes it, a line for each field, so that a head that is sent on is copied by whole
// runs of lines; it is addressed by offset, so a head costs two allocations and may be moved
// freely. A view that Get gave is good until the next change.
class Headers {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  Headers() = default;
  Headers(const Headers& other);
  Headers(Headers&& other) noexcept
      : text_(std::exchange(other.text_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        room_(std::exchange(other.room_, 0)),
        slots_(std::move(other.slots_)) {}
  Headers& operator=(Headers other) noexcept {
    std::swap(text_, other.text_);
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
    slots_.swap(other.slots_);
    return *this;
  }
  ~Headers() {
    if (text_ != nullptr) GiveShelved(text_, room_);
  }

  size_t size() const { return slots_.size(); }
  Field at(size_t i) const {
    const Slot& slot = slots_[i];
    const char* const name = text_ + slot.at;
    return {{name, slot.name_size}, {name + slot.name_size + kColon, slot.value_size}};
  }
  // "name: value\r\n". Of two that were added one after the other the lines touch.
  std::string_view line(size_t i) const {
    const Slot& slot = slots_[i];
    return {text_ + slot.at, slot.name_size + kColon + slot.value_size + kEnd};
  }
  // Its name is a token and its value a field value (net/http1.h), as whoever added it has found:
  // whoever writes it need not look again.
  bool judged(size_t i) const { return slots_[i].judged; }
  // The first value of that name.
  std::optional<std::string_view> Get(std::string_view name) const;
  size_t Count(std::string_view name) const;
  // All values of a list field, as one: a proxy or an upstream may add a line of its own instead of
  // appending, and the first line alone is not what was said.
  std::string List(std::string_view name) const;
  bool Has(std::string_view name) const { return Get(name).has_value(); }
  // The texts may be views into this very object.
  void Add(std::string_view name, std::string_view value) { Append(name, value, false); }
  // For a name and a value that are judged.
  void AddJudged(std::string_view name, std::string_view value) { Append(name, value, true); }
  // A field of another head, judged if it was there.
  void AddFrom(const Headers& other, size_t i) {
    const Field field = other.at(i);
    Append(field.name, field.value, other.judged(i));
  }
  // Removes every field of that name; how many there were.
  size_t Remove(std::string_view name);
  // Removes every field whose name `dislikes` (name to bool) in one pass.
  template <typename Predicate>
  size_t RemoveIf(Predicate dislikes) {
    return std::erase_if(slots_, [&](const Slot& slot) {
      return dislikes(std::string_view(text_ + slot.at, slot.name_size));
    });
  }
  // Remove, then Add.
  void Set(std::string_view name, std::string_view value);

 private:
  static constexpr size_t kColon = 2;  // ": "
  static constexpr size_t kEnd = 2;    // CRLF
  struct Slot {
    uint32_t at, name_size, value_size;
    bool judged;
  };
  void Append(std::string_view name, std::string_view value, bool judged);

  // Not a string: nothing of it is set before it is written, nor ended after it.
  char* text_ = nullptr;
  size_t size_ = 0;
  size_t room_ = 0;
  std::vector<Slot, Shelved<Slot>> slots_;
};

struct RequestHead {
  std::string method;
  // As it was sent: origin form ("/v1/x?y=1"), "*" for OPTIONS. Absolute form is split: its
  // authority replaces Host, its path stands here.
  std::string target;
  Headers headers;
  int minor_version = 1;
  // Filled in by the server, not part of the wire.
  std::string peer_address;  // textual IP of the TCP peer
  uint16_t peer_port = 0;
  bool tls = false;
};

struct ResponseHead {
  int status = 0;
  std::string reason;
  Headers headers;
  int minor_version = 1;
};

// The body of a message on its way in. Not thread safe; belongs to one loop.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // The next bytes, at least one, good until the next call; empty at the end of the body. kTimeout,
  // kConnection (the peer went away in the middle) or kBadRequest (broken chunking) otherwise, and
  // then every further call fails the same way.
  virtual Task<std::string_view> Read(Deadline by) = 0;
  // What Read would give at once, if that is known without waiting for anything: one frame less.
  // Nothing: only Read knows.
  virtual std::optional<std::string_view> Ready() { return std::nullopt; }
  // The size when it was announced; nothing for chunked bodies and those that end with the
  // connection.
  virtual std::optional<uint64_t> length() const = 0;
  // True when there is certainly nothing to read.
  virtual bool empty() const = 0;
  // After the end: the trailer fields.
  virtual const Headers& trailers() const = 0;
};

// Everything that is left, up to `max` bytes; kBodyTooLarge beyond.
Task<std::string> ReadAll(BodySource& body, size_t max, Deadline by);

// A body out of memory.
class StringBody final : public BodySource {
 public:
  explicit StringBody(std::string bytes) : bytes_(std::move(bytes)) {}
  Task<std::string_view> Read(Deadline by) override;
  std::optional<uint64_t> length() const override { return bytes_.size(); }
  bool empty() const override { return bytes_.empty(); }
  const Headers& trailers() const override { return trailers_; }

 private:
  std::string bytes_;
  bool read_ = false;
  Headers trailers_;
};

}  // namespace pontage::net
