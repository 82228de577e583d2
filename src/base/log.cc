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

void AppendJsonString(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  // A field longer than this is cut: one bad header must not make a line of megabytes.
  constexpr size_t kMaxFieldBytes = 2048;
  const bool cut = text.size() > kMaxFieldBytes;
  if (cut) text = text.substr(0, kMaxFieldBytes);
  out.push_back('"');
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (u < 0x20 || u >= 0x7f) {
      // Bytes above ASCII are written as Latin-1 escapes: the line stays valid JSON whatever came
      // in.
      out.append("\\u00");
      out.push_back(kHex[u >> 4]);
      out.push_back(kHex[u & 15]);
    } else {
      out.push_back(c);
    }
  }
  if (cut) out.append("...");
  out.push_back('"');
}

}  // namespace

std::string FormatLogLine(UnixMs at, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields) {
  std::string line;
  line.reserve(256);
  line.append("{\"time\":\"").append(at.Rfc3339()).append("\",\"level\":\"");
  line.append(kLevelNames[static_cast<size_t>(level)]).append("\",\"event\":");
  AppendJsonString(line, event);
  for (const LogField& field : fields) {
    line.push_back(',');
    AppendJsonString(line, field.key);
    line.push_back(':');
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
  return line;
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  std::string line = FormatLogLine(Clock::System().Now(), level, event, fields);
  if (g_sink != nullptr) {
    g_sink(line);
    return;
  }
  line.push_back('\n');
  // A full or closed standard error must not stop a payment: the line is lost, the work goes on.
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

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
