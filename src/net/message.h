#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/shelves.h"
#include "base/time.h"
#include "io/task.h"

// What HTTP messages are, whatever carried them (HTTP/1.1 now, HTTP/2 behind the same types).
namespace pontage::net {

// Names and values in the order they came. Names compare without case. The text lies in one buffer
// and is addressed by offset, so a head costs two allocations and may be moved freely. A view that
// Get gave is good until the next change.
class Headers {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  size_t size() const { return slots_.size(); }
  Field at(size_t i) const {
    const Slot& slot = slots_[i];
    return {{text_.data() + slot.name_at, slot.name_size},
            {text_.data() + slot.value_at, slot.value_size}};
  }
  // The first value of that name.
  std::optional<std::string_view> Get(std::string_view name) const;
  size_t Count(std::string_view name) const;
  bool Has(std::string_view name) const { return Get(name).has_value(); }
  void Add(std::string_view name, std::string_view value);
  // Removes every field of that name; how many there were.
  size_t Remove(std::string_view name);
  // Removes every field whose name `dislikes` (name to bool) in one pass.
  template <typename Predicate>
  size_t RemoveIf(Predicate dislikes) {
    return std::erase_if(slots_, [&](const Slot& slot) {
      return dislikes(std::string_view(text_).substr(slot.name_at, slot.name_size));
    });
  }
  // Remove, then Add.
  void Set(std::string_view name, std::string_view value);

 private:
  struct Slot {
    uint32_t name_at, name_size, value_at, value_size;
  };
  std::basic_string<char, std::char_traits<char>, Shelved<char>> text_;
  std::vector<Slot, Shelved<Slot>> slots_;
};

// ASCII, without regard to case.
bool SameTextNoCase(std::string_view a, std::string_view b);  // of texts of one size
inline bool EqualsNoCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && SameTextNoCase(a, b);
}

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
