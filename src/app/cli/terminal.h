#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"
#include "base/error.h"
#include "codec/json.h"

namespace pontage::app {

// What a command ends with; part of the public surface.
enum Exit : int {
  kDone = 0,
  kFailed = 1,
  kUsageError = 2,
  kNoConnection = 3,
  kRefused = 4,
  kMissing = 5,
  kNotPaid = 6,
  kDryRun = 10,
};
int ExitOf(const Error& error);

// What every command takes.
struct CommonOptions {
  std::string config = "pontage.toml";
  bool config_given = false;
  bool json = false;  // also when standard output is no terminal
};

// Tables on a terminal, JSON when piped or asked for.
bool WantsJson(const CommonOptions& common);

// Standard output, a line each.
void PrintLine(std::string_view line);
void PrintJson(const codec::Json& json);
// Standard error.
void Complain(std::string_view line);
// Standard error in words. Gives ExitOf.
int FailWith(const Error& error);
// Standard error in words; with `json` also {"error": {…}} on standard output. Gives ExitOf.
int FailWith(const CommonOptions& common, const Error& error);

// Columns padded to their widest cell, the header in front, two spaces between.
std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows);

// The configuration, its warnings on standard error; or its faults there, one a line, and nothing.
std::optional<Config> LoadConfigOrComplain(const CommonOptions& common,
                                           const ConfigOptions& options = {});

}  // namespace pontage::app
