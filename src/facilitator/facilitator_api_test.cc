#include "facilitator/facilitator_api.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "net/client.h"
#include "net/server.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

namespace pontage::facilitator {
namespace {

using codec::Json;
using testing::IsOk;
using testing::SettleFixture;
using Sale = SettleFixture::Sale;

class FacilitatorApiTest : public ::testing::Test {
 protected:
  FacilitatorApiTest() { Start({}); }

  static ApiOptions Options() {
    ApiOptions options;
    options.pay_to = {{chain::ChainId::Evm(84532), SettleFixture::Key(3).address()}};
    return options;
  }
  void Start(std::vector<Secret> tokens, size_t in_flight = 1'000) {
    ApiOptions options = Options();
    options.tokens = std::move(tokens);
    options.in_flight = in_flight;
    options.settle_timeout = Millis(1'500);
    api = std::make_unique<FacilitatorApi>(*f.facilitator, f.assets, std::move(options),
                                           Clock::System(), Rng::System());
    server = std::make_unique<net::Server>(
        f.loop, net::ServerLimits{},
        [this](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
          return api->Handle(head, body, out);
        });
    ASSERT_THAT(server->Listen("127.0.0.1:0"), IsOk());
  }

  struct Got {
    int status = 0;
    net::Headers headers;
    Json json;
    std::string Text(std::string_view key) const {
      const Json* member = json.Find(key);
      return member && member->AsString() ? *member->AsString() : "";
    }
    bool Is(std::string_view key, bool value) const {
      const Json* member = json.Find(key);
      return member && member->AsBool() && *member->AsBool() == value;
    }
  };
  using Fields = std::vector<std::pair<std::string, std::string>>;
  Got Ask(std::string method, std::string target, std::string body = "",
          std::string authorization = "", const Fields& fields = {}) {
    net::RequestHead head;
    head.method = std::move(method);
    head.target = std::move(target);
    if (!authorization.empty()) head.headers.Add("Authorization", authorization);
    for (const auto& [name, value] : fields) head.headers.Add(name, value);
    const net::Url url = *net::ParseUrl("http://127.0.0.1:" + std::to_string(server->port()));
    net::Client client(f.loop);
    auto whole = f.loop.RunUntilDone(client.Fetch(url, std::move(head), std::move(body), 1 << 20,
                                                  SettleFixture::In(Millis(5'000))));
    EXPECT_THAT(whole, IsOk());
    Got got;
    if (!whole) return got;
    got.status = whole->head.status;
    got.headers = whole->head.headers;
    if (auto json = codec::ParseJson(whole->body)) got.json = *std::move(json);
    return got;
  }
  Got Post(std::string target, const Json& json, std::string authorization = "",
           const Fields& fields = {}) {
    return Ask("POST", "/facilitator" + std::move(target), codec::ToString(json),
               std::move(authorization), fields);
  }
  static Json BodyOf(const Sale& sale) {
    return x402::FacilitatorRequestJson(sale.payment, sale.requirements);
  }

  SettleFixture f{testing::EngineKind::kSqlite};
  std::unique_ptr<FacilitatorApi> api;
  std::unique_ptr<net::Server> server;
};

TEST_F(FacilitatorApiTest, VerifiesAndSettlesOnce) {
  const Json body = BodyOf(f.Make(1));
  const Got verified = Post("/verify", body);
  EXPECT_EQ(verified.status, 200);
  EXPECT_TRUE(verified.Is("isValid", true));
  EXPECT_EQ(verified.Text("payer"), f.payer.address().ToChecksum());
  EXPECT_TRUE(verified.headers.Has("X-Request-Id"));
  const Got settled = Post("/settle", body);
  EXPECT_EQ(settled.status, 200);
  EXPECT_TRUE(settled.Is("success", true));
  EXPECT_EQ(settled.Text("network"), "eip155:84532");
  const Got again = Post("/settle", body);
  EXPECT_EQ(again.status, 200);
  EXPECT_TRUE(again.Is("success", false));
  EXPECT_EQ(again.Text("errorReason"), "invalid_exact_evm_nonce_already_used");
  EXPECT_EQ(f.fake.transfers, 1U);
}

TEST_F(FacilitatorApiTest, WhatTheProtocolRefusesIsTwoHundred) {
  Sale sale = f.Make(1);
  sale.auth.value = codec::Uint256(999);
  f.Sign(sale);
  const Got amount = Post("/verify", BodyOf(sale));
  EXPECT_EQ(amount.status, 200);
  EXPECT_EQ(amount.Text("invalidReason"), "invalid_exact_evm_payload_authorization_value_mismatch");
  sale = f.Make(1);
  Json other = BodyOf(sale);
  other.Find("paymentPayload")->Find("accepted")->Set("scheme", "nope");
  other.Find("paymentRequirements")->Set("scheme", "nope");
  EXPECT_EQ(Post("/verify", other).status, 200);
  EXPECT_EQ(Post("/verify", other).Text("invalidReason"), "unsupported_scheme");
  other = BodyOf(sale);
  other.Find("paymentPayload")->Find("accepted")->Set("network", "eip155:999999");
  other.Find("paymentRequirements")->Set("network", "eip155:999999");
  const Got network = Post("/verify", other);
  EXPECT_EQ(network.status, 200);
  EXPECT_TRUE(network.Is("isValid", false));
  EXPECT_EQ(network.Text("invalidReason"), "invalid_exact_evm_network_mismatch");
}

TEST_F(FacilitatorApiTest, WhatCannotBeReadNamesItsField) {
  const Json good = BodyOf(f.Make(1));
  const struct {
    std::string body;
    std::string pointer;
    std::string reason;
  } cases[] = {
      {"{nope", "", "invalid_payload"},
      {"", "", "invalid_payload"},
      {"[]", "", "invalid_payload"},
      {"{}", "/paymentPayload", "invalid_payload"},
      {[&] {
         Json j = good;
         j.Find("paymentPayload")->Set("payload", Json::Object());
         return codec::ToString(j);
       }(),
       "/paymentPayload/payload/authorization", "invalid_payload"},
      {[&] {
         Json j = good;
         j.Find("paymentPayload")->Find("payload")->Find("authorization")->Set("value", "abc");
         return codec::ToString(j);
       }(),
       "/paymentPayload/payload/authorization/value", "invalid_payload"},
      {[&] {
         Json j = good;
         j.Find("paymentRequirements")->Set("amount", 1'000);
         return codec::ToString(j);
       }(),
       "/paymentRequirements/amount", "invalid_payment_requirements"},
      {[&] {
         Json j = good;
         j.Set("x402Version", 1);
         return codec::ToString(j);
       }(),
       "/x402Version", "invalid_x402_version"},
      {[&] {
         Json j = good;
         j.Set("x402Version", 9);
         j.Find("paymentPayload")->Set("x402Version", 9);
         return codec::ToString(j);
       }(),
       "/paymentPayload/x402Version", "invalid_x402_version"},
  };
  for (const auto& c : cases) {
    const Got verify = Ask("POST", "/facilitator/verify", c.body);
    EXPECT_EQ(verify.status, 400) << c.body;
    EXPECT_EQ(verify.headers.Get("Content-Type"), "application/problem+json");
    EXPECT_EQ(verify.Text("pointer"), c.pointer) << c.body;
    EXPECT_FALSE(verify.Text("detail").empty());
    EXPECT_EQ(verify.Text("invalidReason"), c.reason) << c.body;
    const Got settle = Ask("POST", "/facilitator/settle", c.body);
    EXPECT_EQ(settle.status, 400);
    EXPECT_EQ(settle.Text("errorReason"), c.reason) << c.body;
  }
  EXPECT_EQ(f.fake.sends, 0U);
}

TEST_F(FacilitatorApiTest, StrangersMaySettleOnlyForOurPayees) {
  Sale sale = f.Make(1);
  sale.requirements.pay_to = SettleFixture::Key(4).address().ToChecksum();
  sale.auth.to = SettleFixture::Key(4).address();
  f.Sign(sale);
  const Got payee = Post("/settle", BodyOf(sale));
  EXPECT_EQ(payee.status, 403);
  EXPECT_EQ(payee.Text("pointer"), "/paymentRequirements/payTo");
  EXPECT_TRUE(payee.Is("success", false));
  Sale asset = f.Make(2);
  asset.requirements.asset = SettleFixture::Key(5).address().ToChecksum();
  EXPECT_EQ(Post("/settle", BodyOf(asset)).status, 403);
  // With a token of ours they may.
  Start([] {
    std::vector<Secret> tokens;
    tokens.emplace_back("one");
    tokens.emplace_back("two");
    return tokens;
  }());
  EXPECT_EQ(Post("/settle", BodyOf(sale)).status, 401);
  EXPECT_EQ(Post("/settle", BodyOf(sale), "Bearer three").status, 401);
  EXPECT_EQ(Post("/settle", BodyOf(sale), "Basic two").status, 401);
  EXPECT_TRUE(Post("/settle", BodyOf(sale)).headers.Has("WWW-Authenticate"));
  const Got settled = Post("/settle", BodyOf(sale), "Bearer two");
  EXPECT_EQ(settled.status, 200);
  EXPECT_TRUE(settled.Is("success", true));
}

TEST_F(FacilitatorApiTest, AnOutageSaysNothingAboutThePayment) {
  const Json body = BodyOf(f.Make(1));
  f.fake.GoDown(true);
  for (const std::string target : {"/verify", "/settle"}) {
    const Got got = Post(target, body);
    EXPECT_EQ(got.status, 503);
    EXPECT_EQ(got.json.Find("isValid"), nullptr);
    EXPECT_EQ(got.json.Find("success"), nullptr);
    EXPECT_EQ(got.Text("code"), "chain_unreachable");
    EXPECT_TRUE(got.headers.Has("Retry-After"));
  }
}

TEST_F(FacilitatorApiTest, OneSaleHearsItsSuccessAgain) {
  const Json body = BodyOf(f.Make(1));
  const Got first = Post("/settle", body, "", {{"Idempotency-Key", "pay_1"}});
  ASSERT_TRUE(first.Is("success", true));
  EXPECT_EQ(first.json.Find("toldTo"), nullptr);
  const Got again = Post("/settle", body, "", {{"Idempotency-Key", "pay_1"}});
  EXPECT_TRUE(again.Is("success", true));
  EXPECT_EQ(again.Text("transaction"), first.Text("transaction"));
  EXPECT_EQ(again.json.Find("toldTo"), nullptr);
  for (const char* other : {"pay_2", ""}) {
    const Got refused = Post("/settle", body, "", {{"Idempotency-Key", other}});
    EXPECT_EQ(refused.Text("errorReason"), "invalid_exact_evm_nonce_already_used") << other;
  }
}

TEST_F(FacilitatorApiTest, WaitsNoLongerThanItsCallerListens) {
  f.fake.instant = false;
  const SteadyMs start = Clock::System().Steady();
  api = std::make_unique<FacilitatorApi>(*f.facilitator, f.assets, Options(), Clock::System(),
                                         Rng::System());
  const Got pending = Post("/settle", BodyOf(f.Make(1)), "", {{"Prefer", "wait=1"}});
  EXPECT_EQ(pending.Text("errorReason"), "settlement_pending");
  EXPECT_LT(Clock::System().Steady() - start, Millis(5'000)) << "as the fixture's client does";
}

TEST(WaitOfTest, AsRfc7240HasIt) {
  const struct {
    std::string_view prefer;
    std::optional<Millis> wait;
  } cases[] = {{"wait=10", Millis(10'000)},
               {"respond-async, wait=5", Millis(5'000)},
               {"Wait=7; x=1", Millis(7'000)},
               {"wait=0", Millis(0)},
               {"wait=99999999999", Millis(86'400'000)},
               {"wait=", std::nullopt},
               {"wait=-1", std::nullopt},
               {"wait=1x", std::nullopt},
               {"await=3", std::nullopt},
               {"", std::nullopt}};
  for (const auto& c : cases) EXPECT_EQ(WaitOf(c.prefer), c.wait) << c.prefer;
}

TEST_F(FacilitatorApiTest, PendingCarriesTheHash) {
  f.fake.instant = false;
  const Json body = BodyOf(f.Make(1));
  const Got pending = Post("/settle", body);
  EXPECT_EQ(pending.status, 200);
  EXPECT_EQ(pending.Text("errorReason"), "settlement_pending");
  EXPECT_EQ(pending.Text("transaction").size(), 66U);
  f.fake.Mine();
  const Got settled = Post("/settle", body);
  EXPECT_TRUE(settled.Is("success", true));
  EXPECT_EQ(settled.Text("transaction"), pending.Text("transaction"));
}

TEST_F(FacilitatorApiTest, BoundsAndMethods) {
  EXPECT_EQ(Ask("GET", "/facilitator/verify").status, 405);
  EXPECT_EQ(Ask("GET", "/facilitator/verify").headers.Get("Allow"), "POST");
  EXPECT_EQ(Ask("POST", "/facilitator/supported", "{}").headers.Get("Allow"), "GET, HEAD");
  EXPECT_EQ(Ask("GET", "/facilitator/other").status, 404);
  EXPECT_EQ(Ask("POST", "/facilitator/verify", std::string(kMaxBody + 1, ' ')).status, 413);
  Start({}, 0);
  const Got busy = Post("/verify", BodyOf(f.Make(1)));
  EXPECT_EQ(busy.status, 429);
  EXPECT_TRUE(busy.headers.Has("Retry-After"));
}

TEST_F(FacilitatorApiTest, TheRootIsOursOnlyWhereNoGatewayIs) {
  EXPECT_EQ(Ask("GET", "/supported").status, 404);
  ApiOptions options = Options();
  options.at_root = true;
  const FacilitatorApi alone(*f.facilitator, f.assets, std::move(options), Clock::System(),
                             Rng::System());
  for (const char* path : {"/verify", "/settle", "/supported?x=1", "/facilitator/verify"}) {
    EXPECT_TRUE(alone.Serves(path)) << path;
  }
  for (const char* path : {"/", "/facilitator", "/facilitatorverify", "/other/verify"}) {
    EXPECT_FALSE(alone.Serves(path)) << path;
  }
}

TEST_F(FacilitatorApiTest, SupportedListsBothVersionsAndTheSigner) {
  const Got got = Ask("GET", "/facilitator/supported?x=1");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(codec::ToString(got.json),
            R"({"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"},)"
            R"({"x402Version":1,"scheme":"exact","network":"base-sepolia"}],"extensions":[],)"
            R"("signers":{"eip155:*":[")" +
                f.signer.address().ToChecksum() + R"("]}})");
}

}  // namespace
}  // namespace pontage::facilitator
