#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "crypto/jwt.h"
#include "db/db.h"
#include "license/feed_document.h"
#include "license/signing_keys.h"
#include "net/message.h"
#include "net/server.h"
#include "sales/answer.h"

namespace pontage::sales {

// What gateways that live apart ask of the issuer: GET /.well-known/jwks.json, and GET
// /v1/entitlements, the signed feed. Public: nothing of a customer but his license's id is in it.
// Safe to use from every loop.
class LicenseApi {
 public:
  struct Parts {
    std::string issuer;                          // as licenses name it
    std::function<license::KeyDocument()> keys;  // as they are published now
    // Signs a document under a typ.
    std::function<std::string(std::string_view typ, std::string_view payload)> sign;
    db::Database& database;
    const Clock& clock;
    Rng& rng;
  };
  explicit LicenseApi(Parts parts) : parts_(std::move(parts)) {}

  bool Serves(std::string_view target) const;
  // A net::Handler for what it serves.
  //   /v1/entitlements?since=SEQ[&wait=SECONDS]: the lines after SEQ, as a JWS (application/jose);
  //   from 0, what they come to. With `wait`, and nothing new, it answers when there is something
  //   (or other keys), or then. Compressed for who takes gzip. 400 for another query, 409 for a SEQ
  //   that the feed does not have.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);
  // Whoever waits is answered now, and nobody waits any more. From any thread.
  void Stop() { stopping_ = true; }

  static constexpr int64_t kMostWait = 30;
  // Gateways that wait at once; more are answered at once.
  static constexpr size_t kMostWaiting = 1'000;

 private:
  struct Query {
    int64_t since = 0;
    int64_t wait = 0;
  };
  static Result<Query> ReadQuery(std::string_view target);
  Task<license::FeedDocument> Read(Query query, const net::ResponseWriter& out);
  Answer Keys(const net::RequestHead& head) const;
  Task<Answer> Decide(const net::RequestHead& head, const net::ResponseWriter& out);

  const Parts parts_;
  std::atomic<size_t> waiting_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace pontage::sales
