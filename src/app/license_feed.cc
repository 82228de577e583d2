#include "app/license_feed.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/try.h"
#include "codec/gzip.h"
#include "io/timer.h"
#include "license/license_store.h"

namespace pontage::app {
namespace {

// How often a store is asked: a revocation bites within seconds.
constexpr Millis kEvery{1'000};
// After an issuer who could not be asked, or was not believed.
constexpr Millis kAgain{2'000};
constexpr Millis kStoreTimeout{10'000};
constexpr int64_t kWaitSeconds = 25;
constexpr Millis kAskTimeout{35'000};

struct News {
  bool from_start = false;
  bool among_others = false;  // of a copy: another issuer's words are among them
  std::vector<license::FeedEntry> entries;
};

Result<News> ReadOwn(db::Tx& tx, int64_t seq, const std::string& hash) {
  PTG_TRY(const license::FeedHead head, license::ReadFeedHead(tx));
  News news;
  if (head.seq == seq && head.hash == hash) return news;
  news.from_start = seq > 0 && head.seq <= seq;
  PTG_TRY(news.entries, license::ReadFeed(tx, news.from_start ? 0 : seq, license::kMostLines));
  return news;
}

// Numbers of lines say something among those of one issuer only: when another's are gone, it is
// read from its start.
Result<News> ReadCopied(db::Tx& tx, const std::string& issuer, int64_t seq, bool among_others) {
  PTG_TRY(const license::FeedCopy copy, license::ReadFeedCopy(tx, issuer));
  News news;
  news.among_others = among_others;
  if (!copy.begun) return news;
  news.among_others = copy.others;
  news.from_start = among_others && !copy.others;
  PTG_TRY(news.entries,
          license::ReadCopiedWords(tx, news.from_start ? 0 : seq, license::kMostLines));
  return news;
}

}  // namespace

LicenseFeed::LicenseFeed(db::Database& database, const Clock& clock, obs::Registry& metrics,
                         std::unique_ptr<Remote> remote)
    : database_(database),
      clock_(clock),
      age_(metrics.GaugeOf("pontage_license_feed_age_seconds",
                           "How long ago the issuer of licenses was heard; -1: never.")),
      remote_(std::move(remote)) {
  if (remote_) age_.Set(-1);
}

void LicenseFeed::SayAge() {
  const std::optional<Millis> age = heard_.Age(clock_.Now());
  age_.Set(age ? age->count() / 1'000 : -1);
}

Task<license::FeedCopy> LicenseFeed::ReadCopy() {
  const std::string issuer = remote_->verifier->issuer();
  const auto read = [issuer](db::Tx& tx) { return license::ReadFeedCopy(tx, issuer); };
  const Deadline by = Deadline::In(clock_, kStoreTimeout);
  PTG_CO_TRY(license::FeedCopy have, co_await database_.Read(read, by));
  // Nobody was heard in the future: a release before this one took the issuer's word for it.
  if (have.as_of <= clock_.Now()) heard_.Heard(have.as_of);
  co_return have;
}

Task<> LicenseFeed::Begin() {
  PTG_CO_RUN(co_await Read());
  if (remote_) PTG_CO_RUN(co_await ReadCopy());
  SayAge();
  co_return {};
}

Task<bool> LicenseFeed::Read() {
  bool any = false;
  while (true) {
    const int64_t seq = words_->seq();
    const std::string hash = words_->hash();
    const bool own = remote_ == nullptr;
    const std::string issuer = own ? "" : remote_->verifier->issuer();
    const bool among_others = among_others_;
    const auto read = [seq, hash, own, issuer, among_others](db::Tx& tx) {
      return own ? ReadOwn(tx, seq, hash) : ReadCopied(tx, issuer, seq, among_others);
    };
    const Deadline by = Deadline::In(clock_, kStoreTimeout);
    PTG_CO_TRY(const News news, co_await database_.Read(read, by));
    if (own) heard_.Heard(clock_.Now());
    among_others_ = news.among_others;
    if (!news.from_start && news.entries.empty()) co_return any;
    if (news.from_start) words_ = std::make_shared<const license::Entitlements>();
    words_ = words_->With(news.entries, clock_.Now());
    any = true;
    if (news.entries.size() < license::kMostLines) co_return true;
  }
}

Task<> LicenseFeed::Pull() {
  PTG_CO_TRY(const license::FeedCopy have, co_await ReadCopy());
  net::RequestHead head;
  head.method = "GET";
  head.target = remote_->url.path + (remote_->url.path.contains('?') ? "&" : "?") +
                "since=" + std::to_string(have.head.seq) + "&wait=" + std::to_string(kWaitSeconds);
  head.headers.Add("Accept", "application/jose");
  head.headers.Add("Accept-Encoding", "gzip");
  std::string none;
  const Deadline by = Deadline::In(clock_, kAskTimeout);
  PTG_CO_TRY(net::Client::Whole answer,
             co_await remote_->client->Fetch(remote_->url, std::move(head), std::move(none),
                                             license::kMaxFeedBytes, by));
  if (answer.head.status != 200) {
    co_return Fail(Code::kUpstreamProtocol,
                   "the issuer answered " + std::to_string(answer.head.status));
  }
  if (answer.head.headers.Get("Content-Encoding") == "gzip") {
    PTG_CO_TRY(answer.body, codec::Gunzip(answer.body, license::kMaxFeedBytes));
  }
  Result<license::FeedDocument> read = remote_->verifier->ReadFeed(answer.body, clock_.Now());
  if (!read) {
    // It may be signed with a key that is new.
    const Result<bool> learned = co_await remote_->keys.Learn(LicenseKeys::Asker::kIssuer);
    if (learned && *learned) read = remote_->verifier->ReadFeed(answer.body, clock_.Now());
  }
  PTG_CO_TRY(license::FeedDocument next, std::move(read));
  // By a clock of his that is ahead he would be fresh for as long as it is.
  next.issued = std::min(next.issued, clock_.Now());
  remote_->keys.Heard(next.keys);
  PTG_CO_RUN(license::GoesOn(have.head, next));
  const license::FeedHead from = have.head;
  const auto write = [&from, &next](db::Tx& tx) { return license::WriteFeedCopy(tx, from, next); };
  const Deadline write_by = Deadline::In(clock_, kStoreTimeout);
  PTG_CO_RUN(co_await database_.Write(write, write_by));
  heard_.Heard(next.issued);
  co_return {};
}

Task<> LicenseFeed::Follow(std::function<void()> changed) {
  bool wait = remote_ == nullptr;
  while (true) {
    if (wait) PTG_CO_RUN(co_await Sleep(remote_ ? kAgain : kEvery));
    if (remote_) {
      const Result<> asked = co_await Pull();
      if (!asked) {
        Log(LogLevel::kWarn, "licenses.issuer_not_heard", {{"detail", asked.error().detail()}});
      }
    }
    const Result<bool> news = co_await Read();
    SayAge();
    if (!news) {
      Log(LogLevel::kWarn, "licenses.unreachable", {{"detail", news.error().detail()}});
    } else if (*news) {
      changed();
    }
    // Who had something to say may have more; who had nothing has let us wait for it already.
    wait = remote_ == nullptr || !news || !*news;
  }
}

}  // namespace pontage::app
