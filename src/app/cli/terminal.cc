#include "app/cli/terminal.h"

#include <algorithm>
#include <iostream>
#include <unistd.h>

#include "wire/problem/error_map.h"

namespace pontage::app {
namespace {

// How many columns of a terminal a UTF-8 text takes, near enough: one for each code point.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

int ExitOf(const Error& error) {
  switch (error.code()) {
    case Code::kUsage:
      return kUsageError;
    case Code::kUpstreamUnreachable:
    case Code::kUpstreamTimeout:
    case Code::kUpstreamProtocol:
    case Code::kChainUnreachable:
    case Code::kFacilitatorUnreachable:
    case Code::kConnection:
    case Code::kTimeout:
      return kNoConnection;
    case Code::kUnauthorized:
    case Code::kForbidden:
    case Code::kLicenseInvalid:
    case Code::kLicenseExpired:
    case Code::kLicenseRevoked:
    case Code::kLicenseSuspended:
    case Code::kWrongPlan:
    case Code::kWrongProduct:
      return kRefused;
    case Code::kNotFound:
      return kMissing;
    default:
      return error.code() >= Code::kPaymentRequired ? kNotPaid : kFailed;
  }
}

bool WantsJson(const CommonOptions& common) { return common.json || isatty(STDOUT_FILENO) == 0; }

void PrintLine(std::string_view line) { std::cout << line << '\n' << std::flush; }
void PrintJson(const codec::Json& json) { PrintLine(codec::ToString(json)); }
void Complain(std::string_view line) { std::cerr << line << '\n' << std::flush; }

int FailWith(const Error& error) {
  std::string text = "pontage: " + error.detail();
  if (!error.expected().empty()) text += " (expected " + error.expected() + ")";
  Complain(text);
  return ExitOf(error);
}

int FailWith(const CommonOptions& common, const Error& error) {
  const int exit = FailWith(error);
  if (WantsJson(common)) {
    PrintJson(codec::Json::Object({{"error", problem::ToJson(error)}}));
  }
  return exit;
}

std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::string& cell : header) widths.push_back(Width(cell));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      out += cells[i];
      if (i + 1 < cells.size()) out.append(widths[i] - Width(cells[i]) + 2, ' ');
    }
    out += '\n';
  };
  line(header);
  for (const auto& row : rows) line(row);
  return out;
}

std::optional<Config> LoadConfigOrComplain(const CommonOptions& common,
                                           const ConfigOptions& options) {
  auto config = LoadConfig(common.config, ConfigSources::System(), options);
  if (!config) {
    for (const ConfigFault& fault : config.error()) Complain(fault.Text());
    return std::nullopt;
  }
  for (const std::string& warning : config->warnings) Complain("warning: " + warning);
  return *std::move(config);
}

}  // namespace pontage::app
