#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "license/feed.h"

// The feed as it travels from the issuer to gateways that live apart from him: signed, so that
// nobody between them can say or forget anything.
namespace pontage::license {

struct FeedDocument {
  std::string issuer;
  // The lines after `from`, up to `to`; of a snapshot the last one of each license up to `to`.
  int64_t from = 0;
  int64_t to = 0;
  std::string prev_hash;  // of line `from`; "" of 0
  std::string hash;       // of line `to`
  bool snapshot = false;
  UnixMs issued;
  std::string keys;  // the digest of the key set that the issuer publishes; empty: he does not say
  std::vector<FeedEntry> entries;
};

// The typ of its JWS.
inline constexpr std::string_view kFeedType = "ent+jwt";
// Lines of one document; the next one goes on. A line is some 150 bytes.
inline constexpr size_t kMostLines = 10'000;
// A snapshot of more licenses than that is not made: whoever begins reads the lines.
inline constexpr size_t kMostInSnapshot = 100'000;
inline constexpr size_t kMaxFeedBytes = 32 << 20;

codec::Json ToJson(const FeedDocument& document);
// kBadRequest, with the member at fault.
Result<FeedDocument> ReadFeedDocument(const codec::Json& json);

// Whether `next` goes on where `have` ends, every line bound to the one before it; or is a snapshot
// that is not older. kConflict for what would set back, leave out or reorder; kBadRequest for lines
// that are not what their hash says.
Result<> GoesOn(const FeedHead& have, const FeedDocument& next);

}  // namespace pontage::license
