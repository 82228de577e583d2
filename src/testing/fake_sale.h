#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/hash.h"
#include "net/client.h"
#include "net/server.h"
#include "paywall/work.h"
#include "rail/rail.h"

// A seller, a buyer's connection and a rail, in memory. They behave: money moves once, what was
// sent is kept, and what a test asks to go wrong goes wrong the way it does in life.
namespace pontage::testing {

// The buyer's end: keeps the answer. `breaks_after` bytes of body the connection is gone.
class RecordingWriter final : public net::ResponseWriter {
 public:
  std::optional<size_t> breaks_after;
  net::ResponseHead head;
  std::string body;
  bool ended = false;
  bool aborted = false;

  Task<> Interim(const net::ResponseHead&) override { co_return {}; }
  Task<> Head(net::ResponseHead h, std::optional<uint64_t>) override {
    head = std::move(h);
    sent_ = true;
    co_return {};
  }
  Task<> Write(std::string_view bytes, bool) override {
    body.append(bytes);
    if (Gone()) co_return Fail(Code::kConnection, "the client went away");
    co_return {};
  }
  Task<> End(const net::Headers*) override {
    if (Gone()) co_return Fail(Code::kConnection, "the client went away");
    ended = true;
    co_return {};
  }
  Task<> Upgrade(net::ResponseHead h) override {
    head = std::move(h);
    sent_ = true;
    co_return {};
  }
  bool head_sent() const override { return sent_; }
  void Abort() override { aborted = true; }
  bool client_gone() const override { return Gone(); }

 private:
  bool Gone() const { return breaks_after && body.size() >= *breaks_after; }
  bool sent_ = false;
};

// The seller's work: counts its runs and the idempotency keys it was given.
class FakeWork final : public paywall::Work {
 public:
  int status = 200;
  std::string body = "goods";
  std::string content_type = "application/json";
  bool unreachable = false;
  bool busy = false;  // takes no more
  bool breaks_in_body = false;
  bool reads_request = false;  // to its end, before it answers
  bool answers_early = false;  // also when that breaks off
  std::vector<std::string> keys;
  Deadline latest = Deadline::Never();  // of the last run
  std::function<void()> during;         // while it works

  Task<> Admit() override {
    if (busy) co_return Fail(Code::kUpstreamBusy, "no place");
    co_return {};
  }
  Task<std::unique_ptr<net::ClientResponse>> Run(const std::string& idempotency_key,
                                                 net::BodySource& request, Deadline,
                                                 Deadline last) override {
    keys.push_back(idempotency_key);
    latest = last;
    if (reads_request) {
      // As the client does: what the buyer breaks off breaks the exchange with the upstream.
      for (;;) {
        const Result<std::string_view> piece = co_await request.Read(Deadline::Never());
        if (!piece && !answers_early) co_return Fail(piece.error());
        if (!piece || piece->empty()) break;
      }
    }
    if (during) during();
    if (unreachable) co_return Fail(Code::kUpstreamUnreachable, "nobody listens");
    auto response = std::make_unique<Response>(body, breaks_in_body);
    response->head().status = status;
    response->head().headers.Add("Content-Type", content_type);
    response->head().headers.Add("Cache-Control", "public, max-age=60");
    co_return std::unique_ptr<net::ClientResponse>(std::move(response));
  }

 private:
  class Body final : public net::BodySource {
   public:
    Body(std::string bytes, bool breaks) : bytes_(std::move(bytes)), breaks_(breaks) {}
    Task<std::string_view> Read(Deadline) override {
      if (given_ && breaks_) co_return Fail(Code::kConnection, "reset");
      if (given_) co_return std::string_view();
      given_ = true;
      co_return std::string_view(bytes_);
    }
    std::optional<uint64_t> length() const override { return std::nullopt; }
    bool empty() const override { return false; }
    const net::Headers& trailers() const override { return none_; }

   private:
    std::string bytes_;
    bool breaks_;
    bool given_ = false;
    net::Headers none_;
  };
  class Response final : public net::ClientResponse {
   public:
    Response(const std::string& bytes, bool breaks) : body_(bytes, breaks) {}
    net::ResponseHead& head() override { return head_; }
    net::BodySource& body() override { return body_; }
    Task<> WriteRaw(std::string_view, Deadline) override { co_return {}; }
    void EndRaw() override {}

   private:
    net::ResponseHead head_;
    Body body_;
  };
};

// Money in a map. A credential is "PAY: <name>" or "PAY: <name>!<another signature>"; its nonce is
// the name.
class FakeRail final : public rail::Rail {
 public:
  using Outcome = deal::Settlement::Outcome;
  explicit FakeRail(const Clock& clock) : clock_(clock) {}

  // What the next settlements say; the money moves when `moves`, whatever they say.
  mutable Outcome says = Outcome::kSettled;
  mutable bool moves = true;
  mutable std::map<std::string, int> moved;  // nonce -> how often money moved for it (never over 1)
  bool reverted = false;  // a refusal is of a transaction that everybody could read
  mutable int settle_calls = 0;
  mutable std::vector<std::pair<std::string, bool>> asked;  // for which sale, and whether again
  std::function<void()> during;                             // while it settles
  bool away = false;                                        // what judges payments does not answer
  bool chainless = false;                                   // nobody says where money stands
  bool shallow = false;                                     // what moved is not deep enough yet
  Millis valid_for{300'000};

  std::string_view name() const override { return "fake"; }
  Result<std::optional<deal::Credential>> Find(const net::Headers& headers) const override {
    const auto value = headers.Get("PAY");
    if (!value) return std::nullopt;
    return deal::Credential{.rail = name(), .version = 2, .value = std::string(*value)};
  }
  bool IsOwnHeader(std::string_view header) const override {
    return net::EqualsNoCase(header, "PAY");
  }
  void Offer(const deal::Quote& quote, const Error&, deal::Challenge& challenge) const override {
    challenge.members.Set("price", quote.price.ToString());
    challenge.headers.emplace_back("OFFER", quote.resource_url);
  }
  Result<deal::Grant> Claim(const deal::Credential& credential, const deal::Quote&) const override {
    deal::Grant grant;
    grant.rail = name();
    grant.version = 2;
    grant.nonce = credential.value.substr(0, credential.value.find('!'));
    grant.payer = "buyer";
    grant.most = codec::Uint256(1000);
    grant.once_key = crypto::Sha256(codec::AsBytes(grant.nonce));
    grant.valid_before = clock_.Now() + valid_for;
    grant.settle_needs = Millis(36'000);
    grant.payload = codec::ToString(codec::Json::Object(
        {{"payload",
          codec::Json::Object({{"nonce", grant.nonce}, {"signature", credential.value}})}}));
    grant.requirement = "{}";
    return grant;
  }
  Task<deal::Grant> Verify(const deal::Credential& credential, const deal::Quote& quote,
                           Deadline) const override {
    if (away) co_return Fail(Code::kChainUnreachable, "no node answers");
    if (credential.value == "bad") {
      co_return Fail(Code::kPaymentSignature, "not the payer's signature");
    }
    if (moved.contains(credential.value)) co_return Fail(Code::kPaymentReplayed, "nonce used");
    co_return Claim(credential, quote);
  }
  Task<deal::Settlement> Settle(const std::string& payload, const std::string&, deal::Asking asking,
                                Deadline) const override {
    ++settle_calls;
    asked.emplace_back(std::string(asking.sale), asking.again);
    if (during) during();
    const std::string nonce = NonceOf(payload);
    deal::Settlement s;
    s.outcome = says;
    if (says == Outcome::kRefused) {
      s.reason = "insufficient_funds";
      if (reverted) s.transaction = "0xdead";
      s.receipt = R"({"success":false,"errorReason":"insufficient_funds"})";
      co_return s;
    }
    if (moves) moved[nonce] = 1;
    s.transaction = says == Outcome::kSettled ? "0x" + nonce : "";
    s.receipt = R"({"success":true,"transaction":"0x)" + nonce + "\"}";
    co_return s;
  }
  Task<rail::Traced> Lookup(const std::string& payload, const std::string&,
                            Deadline) const override {
    rail::Traced traced;
    if (chainless) co_return traced;
    traced.as_of = clock_.Now();
    const std::string nonce = NonceOf(payload);
    traced.trace = moved.contains(nonce) ? rail::Trace::kUsed : rail::Trace::kUnused;
    if (shallow && traced.trace == rail::Trace::kUsed) traced.trace = rail::Trace::kUnknown;
    if (traced.trace == rail::Trace::kUsed) {
      traced.settlement.outcome = Outcome::kSettled;
      traced.settlement.transaction = "0x" + nonce;
      traced.settlement.receipt = R"({"success":true,"transaction":"0x)" + nonce + "\"}";
    }
    co_return traced;
  }
  std::pair<std::string_view, std::string> ReceiptHeader(
      int, const std::string& receipt) const override {
    return {"RECEIPT", receipt};
  }

 private:
  static std::string NonceOf(const std::string& payload) {
    const auto json = codec::ParseJson(payload);
    return *json->Find("payload")->Find("nonce")->AsString();
  }
  const Clock& clock_;
};

}  // namespace pontage::testing
