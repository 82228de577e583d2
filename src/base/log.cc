#include "base/log.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <limits>
#include <poll.h>
#include <unistd.h>

namespace pontage {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
void (*g_sink)(std::string_view) = nullptr;

constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warn", "error"};

// A field of such a name never shows its value, whoever wrote the call.
bool NamesCredential(std::string_view key) {
  constexpr std::array<std::string_view, 7> kWords = {
      "authorization", "signature", "api_key", "private_key", "secret", "license", "password"};
  constexpr uint32_t kSizes = [&kWords] {
    uint32_t sizes = 0;
    for (const std::string_view word : kWords) sizes |= 1U << word.size();
    return sizes;
  }();
  if (key.size() >= 32 || (kSizes >> key.size() & 1) == 0) return false;
  return std::ranges::find(kWords, key) != kWords.end();
}

// Stands in a JSON string as it is.
constexpr auto kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x7f; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

// The same of eight bytes at once: none of them needs another look.
constexpr size_t kStep = sizeof(uint64_t);
bool ArePlain(uint64_t bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  const auto any_zero = [](uint64_t x) { return (x - kOnes) & ~x; };
  const uint64_t below_space = (bytes - kOnes * 0x20) & ~bytes;
  const uint64_t odd = below_space | any_zero(bytes ^ (kOnes * '"')) |
                       any_zero(bytes ^ (kOnes * '\\')) | any_zero(bytes ^ (kOnes * 0x7f)) | bytes;
  return (odd & (kOnes * 0x80)) == 0;
}

char* Put(char* at, std::string_view text) { return std::copy_n(text.data(), text.size(), at); }

char* PutJsonByte(char* at, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto u = static_cast<unsigned char>(c);
  if (kPlain[u]) {
    *at++ = c;
  } else if (u == '"' || u == '\\') {
    *at++ = '\\';
    *at++ = c;
  } else {
    // Bytes above ASCII are written as Latin-1 escapes: the line stays valid JSON whatever came
    // in.
    at = Put(at, "\\u00");
    *at++ = kHex[u >> 4];
    *at++ = kHex[u & 15];
  }
  return at;
}

// A field longer than this is cut: one bad header must not make a line of megabytes.
constexpr size_t kMaxFieldBytes = 2048;
// What a byte of a field may become.
constexpr size_t kMostPerByte = 6;

// May write over kStep bytes behind its end.
char* PutJsonString(char* at, std::string_view text) {
  const bool cut = text.size() > kMaxFieldBytes;
  if (cut) text = text.substr(0, kMaxFieldBytes);
  *at++ = '"';
  for (; text.size() >= kStep; text.remove_prefix(kStep)) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, text.data(), kStep);
    if (ArePlain(bytes)) {
      std::memcpy(at, &bytes, kStep);
      at += kStep;
    } else {
      for (const char c : text.substr(0, kStep)) at = PutJsonByte(at, c);
    }
  }
  for (const char c : text) at = PutJsonByte(at, c);
  if (cut) at = Put(at, "...");
  *at++ = '"';
  return at;
}

// Of a second all lines begin alike.
char* PutTime(char* at, UnixMs time) {
  constexpr size_t kToSeconds = std::string_view("2026-11-21T10:58:00.").size();
  struct Second {
    int64_t seconds = INT64_MIN;
    std::array<char, kToSeconds> text{};
  };
  static constinit thread_local Second last;
  if (time.seconds() != last.seconds) {
    std::ranges::copy(std::string_view(time.Rfc3339()).substr(0, kToSeconds), last.text.begin());
    last.seconds = time.seconds();
  }
  at = Put(at, {last.text.data(), last.text.size()});
  const auto ms = static_cast<unsigned>(time.ms() - time.seconds() * 1000);
  *at++ = static_cast<char>('0' + ms / 100);
  *at++ = static_cast<char>('0' + ms / 10 % 10);
  *at++ = static_cast<char>('0' + ms % 10);
  *at++ = 'Z';
  return at;
}

char* PutLogLine(char* at, UnixMs time, LogLevel level, std::string_view event,
                 std::initializer_list<LogField> fields) {
  at = PutTime(Put(at, "{\"time\":\""), time);
  // Events and keys are words of ours: nothing in them needs escaping.
  at = Put(Put(at, "\",\"level\":\""), kLevelNames[static_cast<size_t>(level)]);
  at = Put(Put(at, "\",\"event\":\""), event);
  *at++ = '"';
  for (const LogField& field : fields) {
    at = Put(Put(Put(at, ",\""), field.key), "\":");
    if (NamesCredential(field.key)) {
      at = Put(at, "\"[redacted]\"");
    } else if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      at = PutJsonString(at, *text);
    } else if (const auto* number = std::get_if<int64_t>(&field.value)) {
      at = std::to_chars(at, at + std::numeric_limits<int64_t>::digits10 + 2, *number).ptr;
    } else {
      at = Put(at, std::get<bool>(field.value) ? "true" : "false");
    }
  }
  *at++ = '}';
  return at;
}

void AppendLogLine(std::string& line, UnixMs at, LogLevel level, std::string_view event,
                   std::initializer_list<LogField> fields) {
  // Beside texts: the words and marks above, a number, what stands for a credential.
  constexpr size_t kFrame = 96;
  constexpr size_t kField = 32;
  size_t most = kFrame + event.size() + kStep;
  for (const LogField& field : fields) {
    const auto* text = std::get_if<std::string_view>(&field.value);
    const size_t size = text == nullptr ? 0 : std::min(text->size(), kMaxFieldBytes);
    most += kField + field.key.size() + kMostPerByte * size;
  }
  const size_t before = line.size();
  line.resize_and_overwrite(before + most, [&](char* data, size_t) {
    return static_cast<size_t>(PutLogLine(data + before, at, level, event, fields) - data);
  });
}

}  // namespace

std::string FormatLogLine(UnixMs at, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields) {
  std::string line;
  AppendLogLine(line, at, level, event, fields);
  return line;
}

namespace {

// A full or closed standard error must not stop a payment: the lines are lost, the work goes on. (A
// pipe that has room takes a page at once.)
void WriteOut(std::string_view lines) {
  pollfd out{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, lines.data(), lines.size());
}

// A pipe takes so much in one piece: more would let lines of other threads in between.
constexpr size_t kMaxGathered = 4096;

struct Gathered {
  ~Gathered() { Flush(); }
  void Flush() {
    if (lines.empty()) return;
    WriteOut(lines);
    lines.clear();
  }
  std::string lines;
  std::function<void()> soon;
};
thread_local Gathered t_gathered;

}  // namespace

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  std::string line = FormatLogLine(Clock::System().Now(), level, event, fields);
  if (g_sink != nullptr) {
    g_sink(line);
    return;
  }
  line.push_back('\n');
  t_gathered.Flush();
  WriteOut(line);
}

void LogGathered(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (g_sink != nullptr || !t_gathered.soon) return Log(level, event, fields);
  if (level < g_level.load(std::memory_order_relaxed)) return;
  std::string& lines = t_gathered.lines;
  const bool first = lines.empty();
  const size_t before = lines.size();
  AppendLogLine(lines, Clock::System().Now(), level, event, fields);
  lines.push_back('\n');
  if (lines.size() > kMaxGathered) {
    WriteOut(std::string_view(lines).substr(0, before));
    lines.erase(0, before);
  }
  if (first) t_gathered.soon();
}

void GatherLog(std::function<void()> soon) {
  t_gathered.Flush();
  t_gathered.soon = std::move(soon);
}

void FlushLog() { t_gathered.Flush(); }

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }

bool ParseLogLevel(std::string_view text, LogLevel& level) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == text) {
      level = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

void SetLogSink(void (*sink)(std::string_view)) { g_sink = sink; }

}  // namespace pontage
