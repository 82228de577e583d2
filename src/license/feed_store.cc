// The feed in the store: the issuer's lines, and a gateway's copy of somebody else's.
#include <utility>

#include "base/try.h"
#include "license/license_store.h"

namespace pontage::license {
namespace {

constexpr db::Statement kLastLine{"license_feed.last",
                                  "SELECT seq, hash FROM license_feed ORDER BY seq DESC LIMIT 1"};
constexpr db::Statement kRead{"license_feed.read",
                              "SELECT seq, license, status, expires_ms, plan, generation, hash, "
                              "old_until_ms FROM license_feed"
                              " WHERE seq > $1 ORDER BY seq LIMIT $2"};

// The last line of each license: what all before it come to.
constexpr db::Statement kSnapshot{
    "license_feed.snapshot",
    "SELECT seq, license, status, expires_ms, plan, generation, hash, old_until_ms"
    " FROM license_feed AS f"
    " WHERE seq <= $1 AND seq ="
    " (SELECT MAX(seq) FROM license_feed AS g WHERE g.license = f.license AND g.seq <= $1)"
    " ORDER BY seq LIMIT $2"};
constexpr db::Statement kHashOf{"license_feed.hash",
                                "SELECT hash FROM license_feed WHERE seq = $1"};

constexpr db::Statement kCopyHeads{"entitlement.heads",
                                   "SELECT issuer, seq, hash, as_of_ms FROM entitlement_head"};
constexpr db::Statement kLeaveOthers{"entitlement.leave_others",
                                     "DELETE FROM entitlement_head WHERE issuer <> $1"};
constexpr db::Statement kForgetHead{"entitlement.forget_head",
                                    "DELETE FROM entitlement_head WHERE issuer = $1"};
constexpr db::Statement kForgetWords{"entitlement.forget_words", "DELETE FROM entitlement"};
constexpr db::Statement kBegin{"entitlement.begin",
                               "INSERT INTO entitlement_head (issuer, seq, hash, as_of_ms)"
                               " VALUES ($1, 0, '', 0) ON CONFLICT (issuer) DO NOTHING"};
constexpr db::Statement kAdvance{"entitlement.advance",
                                 "UPDATE entitlement_head SET seq = $3, hash = $4, as_of_ms = $5"
                                 " WHERE issuer = $1 AND seq = $2"};
constexpr db::Statement kWord{
    "entitlement.word",
    "INSERT INTO entitlement (license, seq, status, expires_ms, plan, generation, old_until_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (license) DO UPDATE SET seq = excluded.seq,"
    " status = excluded.status, expires_ms = excluded.expires_ms, plan = excluded.plan,"
    " generation = excluded.generation, old_until_ms = excluded.old_until_ms"};
constexpr db::Statement kCopied{
    "entitlement.read",
    "SELECT seq, license, status, expires_ms, plan, generation, '', old_until_ms FROM entitlement"
    " WHERE seq > $1 ORDER BY seq LIMIT $2"};

std::vector<FeedEntry> EntriesOf(const db::Rows& rows) {
  std::vector<FeedEntry> out;
  out.reserve(rows.size());
  for (const db::Row& row : rows) {
    FeedEntry entry{.seq = row.Int(0),
                    .license = row.Text(1),
                    .word = {.expires = UnixMs(row.Int(3)),
                             .generation = row.Int(5),
                             .plan = row.Text(4),
                             .old_until = UnixMs(row.Int(7))},
                    .hash = row.Text(6)};
    SetStatusWord(entry, row.Text(2));
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

Result<FeedHead> ReadFeedHead(db::Tx& tx) {
  PTG_TRY(const db::Rows rows, tx.Run(kLastLine));
  if (rows.empty()) return FeedHead{};
  return FeedHead{.seq = rows.front().Int(0), .hash = rows.front().Text(1)};
}

Result<std::vector<FeedEntry>> ReadFeed(db::Tx& tx, int64_t since, size_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kRead, since, static_cast<int64_t>(limit)));
  return EntriesOf(rows);
}

Result<FeedDocument> ReadFeedDocument(db::Tx& tx, int64_t since) {
  FeedDocument document;
  PTG_TRY(const FeedHead head, ReadFeedHead(tx));
  document.from = since;
  if (since == 0 && head.seq > 0) {
    PTG_TRY(const db::Rows rows,
            tx.Run(kSnapshot, head.seq, static_cast<int64_t>(kMostInSnapshot) + 1));
    if (rows.size() <= kMostInSnapshot) {
      document.snapshot = true;
      document.entries = EntriesOf(rows);
      document.to = head.seq;
      document.hash = head.hash;
      return document;
    }
  }
  if (since > 0) {
    PTG_TRY(const db::Rows rows, tx.Run(kHashOf, since));
    if (rows.empty()) {
      return Fail(Error(Code::kConflict, "the feed has no line " + std::to_string(since))
                      .At("/since")
                      .Want("at most " + std::to_string(head.seq)));
    }
    document.prev_hash = rows.front().Text(0);
  }
  PTG_TRY(document.entries, ReadFeed(tx, since, kMostLines));
  document.to = document.entries.empty() ? since : document.entries.back().seq;
  document.hash = document.entries.empty() ? document.prev_hash : document.entries.back().hash;
  return document;
}

Result<FeedCopy> ReadFeedCopy(db::Tx& tx, const std::string& issuer) {
  PTG_TRY(const db::Rows rows, tx.Run(kCopyHeads));
  FeedCopy copy;
  for (const db::Row& row : rows) {
    if (row.Text(0) != issuer) {
      copy.others = true;
      continue;
    }
    copy.begun = true;
    copy.head = {.seq = row.Int(1), .hash = row.Text(2)};
    copy.as_of = UnixMs(row.Int(3));
  }
  // Which words are whose is not known: it begins anew.
  if (copy.others) copy.head = {};
  return copy;
}

Result<> WriteFeedCopy(db::Tx& tx, const FeedHead& have, const FeedDocument& next) {
  // Each issuer counts his lines from 1: beside those of another nobody could say which are new.
  PTG_TRY(const db::Rows others, tx.Run(kLeaveOthers, next.issuer));
  if (others.changed > 0) {
    PTG_RUN(tx.Run(kForgetWords));
    PTG_RUN(tx.Run(kForgetHead, next.issuer));
  }
  PTG_RUN(tx.Run(kBegin, next.issuer));
  PTG_TRY(const db::Rows moved,
          tx.Run(kAdvance, next.issuer, have.seq, next.to, next.hash, next.issued.ms()));
  if (moved.changed == 0) return Fail(Code::kConflict, "another process has come further");
  for (const FeedEntry& entry : next.entries) {
    PTG_RUN(tx.Run(kWord, entry.license, entry.seq, std::string(StatusWord(entry)),
                   entry.word.expires.ms(), entry.word.plan, entry.word.generation,
                   entry.word.old_until.ms()));
  }
  return {};
}

Result<std::vector<FeedEntry>> ReadCopiedWords(db::Tx& tx, int64_t since, size_t limit) {
  PTG_TRY(const db::Rows rows, tx.Run(kCopied, since, static_cast<int64_t>(limit)));
  return EntriesOf(rows);
}

}  // namespace pontage::license
