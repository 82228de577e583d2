#include "base/log.h"

#include <array>
#include <atomic>
#include <unistd.h>

namespace pontage {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
void (*g_sink)(std::string_view) = nullptr;

constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warn", "error"};

// A field of such a name never shows its value, whoever wrote the call.
bool NamesCredential(std::string_view key) {
  for (const std::string_view word :
       {"authorization", "signature", "api_key", "private_key", "secret", "license", "password"}) {
    if (key == word) return true;
  }
  return false;
}

// Stands in a JSON string as it is.
constexpr auto kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x7f; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

void AppendJsonString(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  // A field longer than this is cut: one bad header must not make a line of megabytes.
  constexpr size_t kMaxFieldBytes = 2048;
  const bool cut = text.size() > kMaxFieldBytes;
  if (cut) text = text.substr(0, kMaxFieldBytes);
  out.push_back('"');
  while (!text.empty()) {
    size_t plain = 0;
    while (plain < text.size() && kPlain[static_cast<unsigned char>(text[plain])]) ++plain;
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto u = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    if (u == '"' || u == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(u));
    } else {
      // Bytes above ASCII are written as Latin-1 escapes: the line stays valid JSON whatever came
      // in.
      out.append("\\u00");
      out.push_back(kHex[u >> 4]);
      out.push_back(kHex[u & 15]);
    }
  }
  if (cut) out.append("...");
  out.push_back('"');
}

void AppendLogLine(std::string& line, UnixMs at, LogLevel level, std::string_view event,
                   std::initializer_list<LogField> fields) {
  line.append("{\"time\":\"").append(at.Rfc3339()).append("\",\"level\":\"");
  // Events and keys are words of ours: nothing in them needs escaping.
  line.append(kLevelNames[static_cast<size_t>(level)]).append("\",\"event\":\"").append(event);
  line.push_back('"');
  for (const LogField& field : fields) {
    line.append(",\"").append(field.key).append("\":");
    if (NamesCredential(field.key)) {
      line.append("\"[redacted]\"");
    } else if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      AppendJsonString(line, *text);
    } else if (const auto* number = std::get_if<int64_t>(&field.value)) {
      line.append(std::to_string(*number));
    } else {
      line.append(std::get<bool>(field.value) ? "true" : "false");
    }
  }
  line.push_back('}');
}

}  // namespace

std::string FormatLogLine(UnixMs at, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields) {
  std::string line;
  line.reserve(256);
  AppendLogLine(line, at, level, event, fields);
  return line;
}

namespace {

// A full or closed standard error must not stop a payment: the lines are lost, the work goes on.
void WriteOut(std::string_view lines) {
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
