#include "sales/license_api.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/try.h"
#include "codec/gzip.h"
#include "io/timer.h"
#include "license/license_store.h"

namespace pontage::sales {
namespace {

constexpr std::string_view kFeed = "/v1/entitlements";
constexpr std::string_view kJwks = "/.well-known/jwks.json";
constexpr Millis kStoreTimeout{10'000};
// Smaller ones fit into a packet or two as they are.
constexpr size_t kLeastToPack = 2'048;
// How often the store is asked for those who wait: a revocation is at a gateway within a second.
constexpr Millis kLook{500};

// One of the waiting, while it lives.
class Place {
 public:
  explicit Place(std::atomic<size_t>& taken) : taken_(taken), number_(taken.fetch_add(1)) {}
  ~Place() { taken_.fetch_sub(1); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  bool free() const { return number_ < LicenseApi::kMostWaiting; }

 private:
  std::atomic<size_t>& taken_;
  size_t number_;
};

}  // namespace

bool LicenseApi::Serves(std::string_view target) const {
  const std::string_view path = PathOf(target);
  return path == kFeed || path == kJwks;
}

Result<LicenseApi::Query> LicenseApi::ReadQuery(std::string_view target) {
  PTG_TRY(const Fields fields, Fields::OfQuery(target));
  const auto number = [&fields](std::string_view name) -> Result<int64_t> {
    const std::string_view text = fields.Get(name);
    int64_t value = 0;
    if (text.empty()) return value;
    const auto [at, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault == std::errc() && at == text.data() + text.size() && value >= 0) return value;
    return Fail(Error(Code::kBadRequest, "this is no number")
                    .At("/" + std::string(name))
                    .Want("a whole number, 0 or above"));
  };
  Query query;
  PTG_TRY(query.since, number("since"));
  PTG_TRY(query.wait, number("wait"));
  query.wait = std::min(query.wait, kMostWait);
  return query;
}

Task<license::FeedDocument> LicenseApi::Read(Query query, const net::ResponseWriter& out) {
  const Place place(waiting_);
  const Deadline until = Deadline::In(parts_.clock, Millis(query.wait * 1'000));
  const int64_t since = query.since;
  const std::string keys = license::DigestOf(parts_.keys());
  while (true) {
    const auto body = [since](db::Tx& tx) { return license::ReadFeedDocument(tx, since); };
    const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
    PTG_CO_TRY(license::FeedDocument document, co_await parts_.database.Read(body, by));
    const bool wait = place.free() && !stopping_ && !out.client_gone();
    document.keys = license::DigestOf(parts_.keys());
    const bool news = document.to > since || document.keys != keys;
    if (news || !wait || until.Passed(parts_.clock)) {
      document.issuer = parts_.issuer;
      document.issued = parts_.clock.Now();
      co_return document;
    }
    PTG_CO_RUN(co_await Sleep(kLook));
  }
}

Answer LicenseApi::Keys(const net::RequestHead& head) const {
  const license::KeyDocument document = parts_.keys();
  Answer answer;
  const std::string tag = '"' + license::DigestOf(document) + '"';
  answer.headers.emplace_back("ETag", tag);
  if (head.headers.Get("If-None-Match") == tag) {
    answer.status = 304;
    return answer;
  }
  answer.type = "application/jwk-set+json";
  answer.body = codec::ToString(license::ToJson(document));
  return answer;
}

Task<Answer> LicenseApi::Decide(const net::RequestHead& head, const net::ResponseWriter& out) {
  if (head.method != "GET" && head.method != "HEAD") {
    co_return Fail(Code::kMethodNotAllowed, "this path does not take " + head.method);
  }
  Answer answer;
  if (PathOf(head.target) == kJwks) {
    co_return Keys(head);
  }
  PTG_CO_TRY(const Query query, ReadQuery(head.target));
  PTG_CO_TRY(const license::FeedDocument document, co_await Read(query, out));
  // What it says, whatever the time and the signature: for caches. A gateway does not ask so: an
  // answer without a signature would tell it nothing.
  const std::string tag =
      "W/\"" + std::to_string(document.from) + '-' + document.hash + '-' + document.keys + '"';
  answer.headers.emplace_back("ETag", tag);
  answer.headers.emplace_back("Vary", "Accept-Encoding");
  if (head.headers.Get("If-None-Match") == tag) {
    answer.status = 304;
    co_return answer;
  }
  answer.type = "application/jose";
  answer.body = parts_.sign(license::kFeedType, codec::ToString(license::ToJson(document)));
  const std::string_view takes = head.headers.Get("Accept-Encoding").value_or("");
  if (answer.body.size() >= kLeastToPack && takes.contains("gzip")) {
    answer.headers.emplace_back("Content-Encoding", "gzip");
    answer.body = codec::Gzip(answer.body);
  }
  co_return answer;
}

Task<> LicenseApi::Handle(net::RequestHead& head, net::BodySource&, net::ResponseWriter& out) {
  Result<Answer> decided = co_await Decide(head, out);
  Answer answer = decided ? *std::move(decided) : ProblemAnswer(decided.error());
  if (answer.status == 405) answer.headers.emplace_back("Allow", "GET, HEAD");
  co_return co_await SendAnswer(out, std::move(answer), parts_.clock, parts_.rng);
}

}  // namespace pontage::sales
