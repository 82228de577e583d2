#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "license/decision.h"

// The entitlement feed: every word of the issuer on a license that its token does not say, in one
// order, each line bound to all before it.
namespace pontage::license {

// One line of the feed.
struct FeedEntry {
  int64_t seq = 0;
  std::string license;
  Entitlement word;
  std::string hash;  // of the line and the hash before it, in hex
  // The issuer's word for the status where it is none of ours: one of a newer version. It opens
  // nothing here, and stays as he said it, since hashes are made of it.
  std::string status{};
};
std::string_view StatusWord(const FeedEntry& entry);
void SetStatusWord(FeedEntry& entry, std::string_view word);
// What binds a line to the one before it: SHA-256 over both, in hex. The first has "" before it.
std::string FeedHash(std::string_view before, const FeedEntry& entry);

// Where a feed ends: 0 and "" while it has no line.
struct FeedHead {
  int64_t seq = 0;
  std::string hash;
};

}  // namespace pontage::license
