#include "license/feed.h"

#include "codec/hex.h"
#include "codec/json.h"
#include "crypto/hash.h"

namespace pontage::license {

std::string FeedHash(std::string_view before, const FeedEntry& entry) {
  using codec::Json;
  const Json line = Json::Array(
      {Json(before), Json(entry.seq), Json(entry.license), Json(ToString(entry.word.status)),
       Json(entry.word.expires.seconds()), Json(entry.word.plan), Json(entry.word.generation)});
  const crypto::Hash32 digest = crypto::Sha256(codec::AsBytes(codec::ToString(line)));
  return codec::ToHex(digest);
}

}  // namespace pontage::license
