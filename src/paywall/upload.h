#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "ledger/reservation.h"
#include "net/message.h"

namespace pontage::paywall {

// The body of a paid request on its way to the upstream, whose first part was read already. It
// remembers what the buyer did: an upstream that breaks off while it waits for him, or because he
// did, has not failed.
class Upload final : public net::BodySource {
 public:
  // `ended`: `first` is everything, and `rest` has only the trailers. `rest` must outlive this.
  Upload(std::string first, bool ended, net::BodySource& rest)
      : first_(std::move(first)), rest_(rest), ended_(ended) {}

  Task<std::string_view> Read(Deadline by) override;
  std::optional<uint64_t> length() const override;
  bool empty() const override { return first_.empty() && (ended_ ? !trailing() : rest_.empty()); }
  const net::Headers& trailers() const override { return rest_.trailers(); }

  // The buyer broke it off, or let whoever reads it wait when the reading ended.
  bool buyer_failed() const { return failed_ || waiting_; }

 private:
  bool trailing() const { return rest_.trailers().size() > 0; }

  std::string first_;
  net::BodySource& rest_;
  bool ended_;
  bool given_ = false;
  bool failed_ = false;
  bool waiting_ = false;  // stays so when the reading is given up
};

// The first part of a request's body, and a body that begins with it.
struct Captured {
  std::string first{};
  bool whole = false;  // that was everything
  std::unique_ptr<Upload> body{};
};
// Reads the body to its end, or until there is more than `max` bytes of it. Errors: the body's.
Task<Captured> Capture(net::BodySource& body, size_t max, Deadline by);

// SHA-256 over what makes two requests the same one: method, canonical resource, the fields that
// change what is asked for (Content-Type, Content-Encoding, Range, If-Range), body and trailers. Of
// a body that was not captured whole it is no request's: what was not seen cannot be compared.
ledger::Digest RequestDigest(std::string_view method, std::string_view resource,
                             const net::Headers& headers, const Captured& captured);

}  // namespace pontage::paywall
