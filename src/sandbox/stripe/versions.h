#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "codec/json.h"

namespace pontage::sandbox::stripe {

struct Account;

// Whose shapes every answer has.
inline constexpr std::string_view kApiVersion = "2026-10-28.endive";

// "2026-10-28.endive", "2020-08-27", or the name of a release, for its first version; nothing when
// `text` is none of these.
std::optional<std::string> VersionOf(std::string_view text);

// `object` as an event of that version shows it. Before basil (2025-03-31) the period stood on the
// subscription, and an invoice named its subscription, payment and charge itself; nothing of that
// is in later versions, where the items and `parent` say it.
codec::Json InVersion(const Account& account, codec::Json object, std::string_view version);

}  // namespace pontage::sandbox::stripe
