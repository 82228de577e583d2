#pragma once

#include <expected>
#include <memory>
#include <vector>

#include "app/config.h"
#include "net/tls.h"
#include "net/tls_server.h"

// The PEM files that a configuration names, read and judged.
namespace pontage::app {

// The listeners' certificate and key; null when there is no [server.tls].
std::expected<std::shared_ptr<const net::TlsServerContext>, ConfigFault> LoadTls(
    const Config& config);

// Whom to believe about `upstream`; null when it names no authorities.
std::expected<std::shared_ptr<const net::TlsClientContext>, ConfigFault> LoadAuthorities(
    const Config& config, const UpstreamConfig& upstream);

// All that is wrong with any of them.
std::vector<ConfigFault> CheckTlsFiles(const Config& config);

// To the log: a certificate that ends soon or has ended, a key that others may read.
void WarnOfTls(const TlsConfig& tls, const net::TlsServerContext& loaded, UnixMs now);

}  // namespace pontage::app
