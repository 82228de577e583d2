#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>

namespace pontage {

// A value that must not reach a log, an error, a metric or a core dump: it cannot be printed or
// compared by accident, and its memory is wiped when it dies. Copies are made by name (Clone).
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string bytes) : bytes_(std::move(bytes)) {}
  ~Secret();
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  Secret Clone() const { return Secret(bytes_); }
  bool empty() const { return bytes_.empty(); }
  // Constant time in the content; the length is not secret.
  bool Matches(std::string_view presented) const;
  // The only way out. Reviewers grep for it.
  std::string_view Reveal() const { return bytes_; }
  friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

 private:
  std::string bytes_;
};

}  // namespace pontage
