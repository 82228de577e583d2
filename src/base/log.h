#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "base/time.h"

// One JSON object a line on standard error: {"time":…,"level":…,"event":"…",fields}. Event names
// are fixed words with dots ("payment.settled"), listed in docs/reference/logs.md; what varies is
// in the fields. Nothing secret is ever a field: Secret has no way into a LogField, and values of
// fields whose name says credential are replaced.
namespace pontage {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };

struct LogField {
  std::string_view key;
  std::variant<std::string_view, int64_t, bool> value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, int64_t v) : key(k), value(v) {}
  LogField(std::string_view k, int v) : key(k), value(int64_t{v}) {}
  LogField(std::string_view k, unsigned v) : key(k), value(int64_t{v}) {}
  LogField(std::string_view k, size_t v) : key(k), value(static_cast<int64_t>(v)) {}
  LogField(std::string_view k, Millis v) : key(k), value(int64_t{v.count()}) {}
};

// Writes one line at once (a single write(2)), from any thread. Lines below the level are dropped.
// What this thread has gathered goes before it.
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
// For a line a request: gathered with others of this thread when somebody promised to flush them,
// else as Log. A process that is killed loses what was gathered since; one that aborts does not.
void LogGathered(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);
// The promise: from now on `soon` is called whenever this thread gathers its first line, and sees
// to it that FlushLog is called on this thread. Null takes it back (and flushes).
void GatherLog(std::function<void()> soon);
void FlushLog();
void SetLogLevel(LogLevel level);
LogLevel log_level();
// "debug", "info", "warn", "error"; false when it is none of these.
bool ParseLogLevel(std::string_view text, LogLevel& level);
// For tests: lines go to `sink` instead of standard error; nullptr restores. Not thread safe.
void SetLogSink(void (*sink)(std::string_view line));
// The line as Log writes it, without the newline.
std::string FormatLogLine(UnixMs at, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields);

}  // namespace pontage
