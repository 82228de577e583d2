#pragma once

#include <string>

#include "app/config.h"

namespace pontage::app {

// `license.issuer`, else the public URL, else "pontage": the same for who issues and who verifies.
inline std::string IssuerName(const Config& config) {
  if (!config.license.issuer.empty()) return config.license.issuer;
  return config.server.public_url.empty() ? "pontage" : config.server.public_url;
}

}  // namespace pontage::app
