#include "console/html.h"

#include <array>
#include <charconv>
#include <chrono>

#include "codec/text.h"
#include "wire/stripe/values.h"

namespace pontage::console {
namespace {

constexpr int64_t kMinute = 60'000;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;

// RFC 3986 §2.3: all else is escaped, the slash too.
bool Unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

void AppendEncoded(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (const char c : text) {
    if (Unreserved(c)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
}

// "3 days", "1 hour".
std::string Count(int64_t n, std::string_view unit) {
  std::string text = std::to_string(n) + ' ' + std::string(unit);
  if (n != 1 && unit != "min") text += 's';
  return text;
}

}  // namespace

Html& Html::operator<<(Text text) {
  std::string clean;
  clean.reserve(text.value.size());
  for (const char c : text.value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 ? byte != 0x7F : (c == '\n' || c == '\t')) clean += c;
  }
  text_ += codec::EscapeHtml(codec::AsUtf8(clean));
  return *this;
}

Html& Html::operator<<(int64_t number) {
  text_ += std::to_string(number);
  return *this;
}

std::string Url(std::initializer_list<std::string_view> segments,
                std::initializer_list<std::pair<std::string_view, std::string_view>> query) {
  std::string url;
  for (const std::string_view segment : segments) {
    url += '/';
    AppendEncoded(url, segment);
  }
  char sign = '?';
  for (const auto& [name, value] : query) {
    if (value.empty()) continue;
    url += sign;
    AppendEncoded(url, name);
    url += '=';
    AppendEncoded(url, value);
    sign = '&';
  }
  return url;
}

Html Badge(Tone tone, std::string_view word) {
  Html html;
  html << "<span class=\"b ";
  switch (tone) {
    case Tone::kGood:
      html << "ok";
      break;
    case Tone::kWait:
      html << "wait";
      break;
    case Tone::kBad:
      html << "bad";
      break;
    case Tone::kQuiet:
      html << "dim";
      break;
  }
  html << "\">" << Text(word) << "</span>";
  return html;
}

std::string Distance(UnixMs at, UnixMs now) {
  const bool past = at <= now;
  const int64_t ms = past ? (now - at).count() : (at - now).count();
  if (ms < kMinute) return past ? "just now" : "in a moment";
  std::string text;
  if (ms < kHour) {
    text = Count(ms / kMinute, "min");
  } else if (ms < 2 * kDay) {
    text = Count(ms / kHour, "hour");
  } else {
    text = Count(ms / kDay, "day");
  }
  return past ? text + " ago" : "in " + text;
}

std::string Moment(UnixMs at) {
  if (at.ms() == 0) return "–";
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::string text = at.Rfc3339();  // 2026-11-22T10:58:00…
  const std::string_view all = text;
  size_t month = 0;
  std::from_chars(all.data() + 5, all.data() + 7, month);
  if (all.size() < 17 || month < 1 || month > 12) return text;
  std::string out(all.substr(8, 2));
  if (out.front() == '0') out.erase(0, 1);
  out += ' ';
  out += kMonths[month - 1];
  out += ' ';
  out += all.substr(0, 4);
  out += ", ";
  out += all.substr(11, 5);
  return out + " UTC";
}

Html When(UnixMs at, UnixMs now) {
  Html html;
  if (at.ms() == 0) return html << "–";
  html << "<time datetime=\"" << Text(at.Rfc3339()) << "\">" << Text(Distance(at, now))
       << " <small>" << Text(Moment(at)) << "</small></time>";
  return html;
}

std::string Amount(int64_t minor, std::string_view currency) {
  return stripe::AmountText(stripe::MinorUnits(minor), currency);
}

}  // namespace pontage::console
