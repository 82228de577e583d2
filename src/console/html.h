#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"

// How the console's pages are put together. What a customer calls himself cannot become markup: the
// only texts that go into a page as they are were literals when we were compiled, all else is
// escaped on its way.
namespace pontage::console {

// Markup of our own. A string that is made at run time does not convert into one.
class Markup {
 public:
  template <size_t N>
  // NOLINTNEXTLINE(google-explicit-constructor): literals are what it is for
  consteval Markup(const char (&literal)[N]) : text_(literal, N - 1) {}
  constexpr std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

// Somebody's text, for an element's content or an attribute in double quotes.
struct Text {
  explicit Text(std::string_view t) : value(t) {}
  std::string_view value;
};

// A piece of a page.
class Html {
 public:
  Html& operator<<(Markup markup) {
    text_ += markup.text();
    return *this;
  }
  // Escaped; what is not UTF-8 becomes question marks, and control characters go.
  Html& operator<<(Text text);
  Html& operator<<(int64_t number);
  Html& operator<<(const Html& piece) {
    text_ += piece.text_;
    return *this;
  }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  std::string Take() && { return std::move(text_); }

 private:
  std::string text_;
};

// "/admin/customers/a%2Fb?q=x%26y": a path of ours, each segment and each value percent-encoded;
// parameters without a value are left out.
std::string Url(std::initializer_list<std::string_view> segments,
                std::initializer_list<std::pair<std::string_view, std::string_view>> query = {});

// What a state means to who looks at it. Its word always stands beside the color.
enum class Tone : uint8_t { kGood, kWait, kBad, kQuiet };
Html Badge(Tone tone, std::string_view word);

// "just now", "5 min ago", "in 3 days", against `now`.
std::string Distance(UnixMs at, UnixMs now);
// "22 Nov 2026, 10:58 UTC"; "–" for zero, which our tables have for "never".
std::string Moment(UnixMs at);
// Both, in a <time>.
Html When(UnixMs at, UnixMs now);

// 2900, "usd" → "$29.00"; 500, "jpy" → "¥500"; other currencies with their code: "29.00 CHF".
std::string Amount(int64_t minor, std::string_view currency);

}  // namespace pontage::console
