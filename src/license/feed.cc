#include "license/feed.h"

#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/hash.h"

namespace pontage::license {

std::string_view StatusWord(const FeedEntry& entry) {
  return entry.status.empty() ? ToString(entry.word.status) : std::string_view(entry.status);
}

void SetStatusWord(FeedEntry& entry, std::string_view word) {
  const std::optional<Status> known = ParseStatus(word);
  entry.word.status = known.value_or(Status::kSuspended);
  entry.status = known ? std::string() : std::string(word);
}

std::string FeedHash(std::string_view before, const FeedEntry& entry) {
  using codec::Json;
  Json line = Json::Array({Json(before), Json(entry.seq), Json(entry.license),
                           Json(StatusWord(entry)), Json(entry.word.expires.seconds()),
                           Json(entry.word.plan), Json(entry.word.generation)});
  // Lines without are what they always were.
  if (entry.word.old_until > UnixMs()) line.Push(entry.word.old_until.seconds());
  const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(codec::ToString(line)));
  return codec::ToHex(digest);
}

}  // namespace pontage::license
