#include "license/feed_document.h"

#include "base/try.h"

namespace pontage::license {
namespace {

using codec::Json;
using codec::JsonReader;

Json LineOf(const FeedEntry& entry) {
  Json line = Json::Object({{"seq", entry.seq},
                            {"lic", entry.license},
                            {"st", StatusWord(entry)},
                            {"exp", entry.word.expires.seconds()},
                            {"plan", entry.word.plan},
                            {"gen", entry.word.generation}});
  if (entry.word.old_until > UnixMs()) line.Set("old", entry.word.old_until.seconds());
  return line;
}

Result<FeedEntry> ReadLine(const JsonReader& r) {
  FeedEntry entry;
  PTG_TRY(entry.seq, r.Int("seq"));
  PTG_TRY(const std::string_view license, r.String("lic"));
  PTG_TRY(const std::string_view status, r.String("st"));
  PTG_TRY(const int64_t expires, r.Int("exp"));
  PTG_TRY(const std::string_view plan, r.String("plan"));
  PTG_TRY(entry.word.generation, r.Int("gen"));
  PTG_TRY(const std::optional<int64_t> old_until, r.MaybeInt("old"));
  entry.word.old_until = UnixMs::FromSeconds(old_until.value_or(0));
  SetStatusWord(entry, status);
  entry.license = license;
  entry.word.expires = UnixMs::FromSeconds(expires);
  entry.word.plan = plan;
  return entry;
}

}  // namespace

Json ToJson(const FeedDocument& document) {
  Json entries = Json::Array();
  for (const FeedEntry& entry : document.entries) entries.Push(LineOf(entry));
  Json json = Json::Object({{"iss", document.issuer},
                            {"iat", document.issued.seconds()},
                            {"from", document.from},
                            {"to", document.to},
                            {"prev_hash", document.prev_hash},
                            {"hash", document.hash}});
  if (!document.keys.empty()) json.Set("keys", document.keys);
  if (document.snapshot) json.Set("snapshot", true);
  json.Set("entries", std::move(entries));
  return json;
}

Result<FeedDocument> ReadFeedDocument(const Json& json) {
  PTG_TRY(const JsonReader r, JsonReader::Of(json));
  FeedDocument document;
  PTG_TRY(const std::string_view issuer, r.String("iss"));
  PTG_TRY(const int64_t issued, r.Int("iat"));
  PTG_TRY(document.from, r.Int("from"));
  PTG_TRY(document.to, r.Int("to"));
  PTG_TRY(const std::string_view prev, r.String("prev_hash"));
  PTG_TRY(const std::string_view hash, r.String("hash"));
  PTG_TRY(const std::optional<bool> snapshot, r.MaybeBool("snapshot"));
  PTG_TRY(const auto keys, r.MaybeString("keys"));
  document.keys = keys.value_or("");
  PTG_TRY(const std::vector<JsonReader> lines, r.Objects("entries", kMostInSnapshot));
  document.issuer = issuer;
  document.issued = UnixMs::FromSeconds(issued);
  document.prev_hash = prev;
  document.hash = hash;
  document.snapshot = snapshot.value_or(false);
  document.entries.reserve(lines.size());
  for (const JsonReader& line : lines) {
    PTG_TRY(FeedEntry entry, ReadLine(line));
    document.entries.push_back(std::move(entry));
  }
  return document;
}

Result<> GoesOn(const FeedHead& have, const FeedDocument& next) {
  if (next.snapshot) {
    if (next.to < have.seq || (next.to == have.seq && next.hash != have.hash)) {
      return Fail(Code::kConflict, "the snapshot is older than what is known");
    }
    int64_t last = 0;
    for (const FeedEntry& entry : next.entries) {
      if (entry.seq <= last || entry.seq > next.to) {
        return Fail(Code::kConflict, "the snapshot's lines are not in order");
      }
      last = entry.seq;
    }
    return {};
  }
  if (next.from != have.seq || next.prev_hash != have.hash) {
    return Fail(Code::kConflict, "the feed does not go on where it ended");
  }
  std::string hash = have.hash;
  int64_t seq = have.seq;
  for (const FeedEntry& entry : next.entries) {
    if (entry.seq != seq + 1) return Fail(Code::kConflict, "a line of the feed is missing");
    seq = entry.seq;
    hash = FeedHash(hash, entry);
  }
  if (seq != next.to || hash != next.hash) {
    return Fail(Code::kBadRequest, "the feed's lines are not what its hash says");
  }
  return {};
}

}  // namespace pontage::license
