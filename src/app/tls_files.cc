#include "app/tls_files.h"

#include <sys/stat.h>

#include "base/log.h"

namespace pontage::app {
namespace {

// Whoever renews by hand wants to hear of it a fortnight before.
constexpr Millis kSoon{14 * 86'400'000LL};

std::unexpected<ConfigFault> Fault(const Config& config, int line, std::string key,
                                   const Error& error) {
  return std::unexpected(ConfigFault{.file = config.file,
                                     .line = line,
                                     .key = std::move(key),
                                     .found = error.detail(),
                                     .expected = error.expected()});
}

}  // namespace

std::expected<std::shared_ptr<const net::TlsServerContext>, ConfigFault> LoadTls(
    const Config& config) {
  if (!config.server.tls) return nullptr;
  const TlsConfig& tls = *config.server.tls;
  auto loaded = net::TlsServerContext::Load(tls.cert, tls.key);
  if (loaded) return *std::move(loaded);
  const bool cert = loaded.error().pointer() == "/cert";
  return Fault(config, cert ? tls.cert_line : tls.key_line,
               cert ? "server.tls.cert" : "server.tls.key", loaded.error());
}

std::expected<std::shared_ptr<const net::TlsClientContext>, ConfigFault> LoadAuthorities(
    const Config& config, const UpstreamConfig& upstream) {
  if (upstream.ca.empty()) return nullptr;
  auto loaded = net::TlsClientContext::WithAuthorities(upstream.ca);
  if (loaded) return *std::move(loaded);
  return Fault(config, upstream.ca_line, "upstream.ca", loaded.error());
}

std::vector<ConfigFault> CheckTlsFiles(const Config& config) {
  std::vector<ConfigFault> faults;
  if (auto tls = LoadTls(config); !tls) faults.push_back(std::move(tls).error());
  for (const UpstreamConfig& upstream : config.upstreams) {
    auto authorities = LoadAuthorities(config, upstream);
    if (!authorities) faults.push_back(std::move(authorities).error());
  }
  return faults;
}

void WarnOfTls(const TlsConfig& tls, const net::TlsServerContext& loaded, UnixMs now) {
  if (loaded.not_after() < now + kSoon) {
    Log(LogLevel::kWarn, "tls.certificate_ends",
        {{"file", tls.cert}, {"not_after", loaded.not_after().Rfc3339()}});
  }
  struct stat s{};
  if (::stat(tls.key.c_str(), &s) == 0 && (s.st_mode & S_IROTH) != 0) {
    Log(LogLevel::kWarn, "tls.key_exposed",
        {{"file", tls.key}, {"detail", "everybody on this machine may read it"}});
  }
}

}  // namespace pontage::app
