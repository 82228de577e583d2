#include "sales/stripe_client.h"

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/expect.h"
#include "testing/stripe_peer.h"

namespace pontage::sales {
namespace {

using codec::Json;
using stripe::Form;
using testing::FailsWith;
using testing::IsOk;
using Fault = testing::StripePeer::Fault;

constexpr std::string_view kKey = "sk_test_51Secret";

class StripeClientTest : public ::testing::Test {
 protected:
  StripeOptions Options() const { return testing::OptionsFor(peer, kKey); }
  void Make(StripeOptions options) {
    client = *StripeClient::Make(std::move(options), Clock::System(), rng);
  }
  static Deadline In(Millis time = Millis(5'000)) { return Deadline::In(Clock::System(), time); }
  static StripePath At(std::string path) { return {std::move(path), {}, {}}; }

  Result<Json> Post(std::string key, Form body = {}, Deadline by = In()) {
    return loop.RunUntilDone(
        client->Post(At("/v1/customers"), std::move(body), std::move(key), by));
  }
  Result<Json> Get(std::string path, Deadline by = In()) {
    return loop.RunUntilDone(client->Get(At(std::move(path)), Form(), by));
  }
  // What a GET gives that is answered by `fault` alone.
  Error Refusal(Fault fault) {
    peer.faults = {std::move(fault)};
    const Result<Json> answer = Get("/v1/customers/cus_1");
    return answer ? Error(Code::kInternal, "it was answered") : answer.error();
  }

  Loop loop;
  testing::StripePeer peer{loop};
  SeededRng rng{7};
  std::unique_ptr<StripeClient> client;
};

TEST_F(StripeClientTest, PinsItsVersionAndNamesEveryPost) {
  Make(Options());
  Form body;
  body.Add("email", "ann@b.test").AddTo("metadata", "tenant_id", "t_1");
  ASSERT_THAT(Post("cus:t_1", std::move(body)), IsOk());
  peer.objects["/v1/customers/cus_1"] = Json::Object({{"id", "cus_1"}});
  ASSERT_THAT(Get("/v1/customers/cus_1"), IsOk());
  ASSERT_EQ(peer.calls.size(), 2U);
  const auto& post = peer.calls[0];
  EXPECT_EQ(post.method, "POST");
  EXPECT_EQ(post.target, "/v1/customers");
  EXPECT_EQ(post.body, "email=ann%40b.test&metadata[tenant_id]=t_1");
  EXPECT_EQ(post.key, "cus:t_1");
  EXPECT_EQ(post.content_type, "application/x-www-form-urlencoded");
  const auto& get = peer.calls[1];
  EXPECT_EQ(get.method, "GET");
  EXPECT_EQ(get.key, "") << "Stripe gives it no meaning there";
  EXPECT_EQ(get.body, "");
  for (const auto& call : peer.calls) {
    EXPECT_EQ(call.version, "2026-10-28.endive");
    EXPECT_EQ(call.authorization, "Bearer " + std::string(kKey));
  }
}

TEST_F(StripeClientTest, ALostReplyIsFetchedUnderTheSameKeyAndNothingIsMadeTwice) {
  Make(Options());
  peer.faults = {{.lose_reply = true}, {.lose_reply = true}};
  const auto made = Post("cus:t_1");
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(*made->Find("id")->AsString(), "made_1");
  EXPECT_EQ(peer.made, 1U);
  ASSERT_EQ(peer.calls.size(), 3U);
  for (const auto& call : peer.calls) EXPECT_EQ(call.key, "cus:t_1");
  // And after a restart, too.
  Make(Options());
  EXPECT_EQ(*Post("cus:t_1")->Find("id")->AsString(), "made_1");
  EXPECT_EQ(peer.made, 1U);
  Form other;
  other.Add("email", "x");
  const auto conflict = Post("cus:t_1", std::move(other));
  ASSERT_THAT(conflict, FailsWith(Code::kConflict));
  EXPECT_EQ(conflict.error().reason(), "idempotency_error");
}

TEST_F(StripeClientTest, WhatIsTriedAgainAndWhatIsNot) {
  const struct {
    int status;
    const char* should_retry;  // null: not said
    bool again;
    Code code;
  } rows[] = {
      {400, nullptr, false, Code::kBadRequest},
      {400, "true", true, Code::kBadRequest},
      {401, nullptr, false, Code::kUnauthorized},
      {402, nullptr, false, Code::kBadRequest},
      {403, nullptr, false, Code::kForbidden},
      {404, nullptr, false, Code::kNotFound},
      {409, nullptr, true, Code::kConflict},
      {409, "false", false, Code::kConflict},
      {424, nullptr, false, Code::kUpstreamUnreachable},
      {429, nullptr, false, Code::kRateLimited},
      {429, "true", true, Code::kRateLimited},
      {500, nullptr, true, Code::kUpstreamUnreachable},
      {500, "false", false, Code::kUpstreamUnreachable},
      {503, nullptr, true, Code::kUpstreamUnreachable},
      {302, nullptr, false, Code::kUpstreamUnreachable},
  };
  Make(Options());
  for (const auto& row : rows) {
    SCOPED_TRACE(std::to_string(row.status) + (row.should_retry ? row.should_retry : ""));
    Fault fault{.status = row.status};
    if (row.should_retry) fault.headers.emplace_back("Stripe-Should-Retry", row.should_retry);
    peer.calls.clear();
    peer.faults = {fault, fault, fault, fault};
    EXPECT_THAT(Post("key"), FailsWith(row.code));
    EXPECT_EQ(peer.calls.size(), row.again ? 3U : 1U);
    for (const auto& call : peer.calls) EXPECT_EQ(call.key, "key");
    // Once it works, a try that came again is answered.
    if (!row.again) continue;
    peer.faults = {fault};
    EXPECT_THAT(Post("another"), IsOk());
  }
}

TEST_F(StripeClientTest, HangUpsAndSilencesAreTriedAgain) {
  StripeOptions options = Options();
  options.attempt = Millis(200);
  Make(std::move(options));
  peer.faults = {{.hang_up = true}, {.silent = true}};
  EXPECT_THAT(Post("key"), IsOk());
  EXPECT_EQ(peer.calls.size(), 3U);
  peer.faults = {{.hang_up = true}, {.hang_up = true}, {.hang_up = true}};
  EXPECT_THAT(Post("another"), FailsWith(Code::kUpstreamUnreachable));
  peer.faults = {{.silent = true}, {.silent = true}, {.silent = true}};
  EXPECT_THAT(Post("third"), FailsWith(Code::kUpstreamTimeout));
}

TEST_F(StripeClientTest, TheDeadlineEndsAllTries) {
  Make(Options());
  peer.faults = {{.silent = true}, {.silent = true}};
  const SteadyMs start = Clock::System().Steady();
  EXPECT_THAT(Get("/v1/a", In(Millis(800))), FailsWith(Code::kUpstreamTimeout));
  EXPECT_LT(Clock::System().Steady() - start, Millis(2'500));
  EXPECT_EQ(peer.calls.size(), 1U);
  EXPECT_THAT(Get("/v1/a", In(Millis(0))), FailsWith(Code::kTimeout));
  EXPECT_EQ(peer.calls.size(), 1U) << "nothing is sent when there is no time to hear the answer";
}

// A pause that would end after the deadline is not begun.
TEST_F(StripeClientTest, RetryAfterIsKeptOrTheTryIsGivenUp) {
  Make(Options());
  const Fault busy{.status = 503, .headers = {{"Retry-After", "1"}}};
  peer.faults = {busy, busy};
  EXPECT_THAT(Get("/v1/a", In(Millis(900))), FailsWith(Code::kUpstreamUnreachable));
  EXPECT_EQ(peer.calls.size(), 1U);
  peer.faults = {busy};
  peer.objects["/v1/a"] = Json::Object();
  const SteadyMs start = Clock::System().Steady();
  EXPECT_THAT(Get("/v1/a"), IsOk());
  EXPECT_GE(Clock::System().Steady() - start, Millis(990));
}

TEST_F(StripeClientTest, NobodyThereIsUnreachable) {
  StripeOptions options = Options();
  options.api_base = "http://127.0.0.1:1";
  Make(std::move(options));
  EXPECT_THAT(Get("/v1/a"), FailsWith(Code::kUpstreamUnreachable));
}

TEST_F(StripeClientTest, ARefusalKeepsWhatStripeSaidAndNeverTheKey) {
  Make(Options());
  const Error error = Refusal({.status = 400, .body = R"({"error":{"type":"invalid_request_error",
    "code":"resource_missing","message":"No such price: 'price_9'","param":"line_items[0][price]",
    "doc_url":"https://d.test"}})"});
  EXPECT_EQ(error.detail(), "Stripe answered 400: No such price: 'price_9'");
  EXPECT_EQ(error.reason(), "resource_missing");
  EXPECT_EQ(error.pointer(), "/line_items/0/price");

  const Error declined = Refusal({.status = 402, .body = R"({"error":{"type":"card_error",
    "code":"card_declined","decline_code":"insufficient_funds","message":"Declined."}})"});
  EXPECT_EQ(declined.detail(), "Stripe answered 402: Declined. (insufficient_funds)");
  EXPECT_EQ(declined.reason(), "card_declined");

  for (const std::string& said : {"Invalid API Key provided: " + std::string(kKey),
                                  std::string("Invalid API Key provided: sk_test_********cret"),
                                  std::string("rk_live_1, whsec_2")}) {
    const Error wrong =
        Refusal({.status = 401, .body = R"({"error":{"message":")" + said + R"("}})"});
    EXPECT_EQ(wrong.code(), Code::kUnauthorized);
    EXPECT_FALSE(wrong.detail().contains("sk_test")) << wrong.detail();
    EXPECT_FALSE(wrong.detail().contains("rk_live")) << wrong.detail();
    EXPECT_FALSE(wrong.detail().contains("whsec")) << wrong.detail();
  }
  const Error page = Refusal({.status = 502,
                              .body = "<html>Bad gateway</html>",
                              .headers = {{"Stripe-Should-Retry", "false"}}});
  EXPECT_EQ(page.detail(), "Stripe answered 502");
}

TEST_F(StripeClientTest, AnAnswerThatIsNoJsonIsNotTriedAgain) {
  Make(Options());
  peer.faults = {{.status = 200, .body = "<html>"}};
  EXPECT_THAT(Get("/v1/a"), FailsWith(Code::kUpstreamProtocol));
  EXPECT_EQ(peer.calls.size(), 1U);
  StripeOptions options = Options();
  options.max_answer = 100;
  Make(std::move(options));
  peer.faults = {{.status = 200, .body = "[" + std::string(200, ' ') + "]"}};
  EXPECT_THAT(Get("/v1/a"), FailsWith(Code::kUpstreamProtocol));
}

TEST_F(StripeClientTest, WhatIsTooMuchAtOnceWaitsOrIsRefused) {
  StripeOptions options = Options();
  options.per_second = 20;
  options.at_once = 1;
  Make(std::move(options));
  peer.objects["/v1/a"] = Json::Object();
  const SteadyMs start = Clock::System().Steady();
  for (int i = 0; i < 4; ++i) EXPECT_THAT(Get("/v1/a"), IsOk());
  EXPECT_GE(Clock::System().Steady() - start, Millis(140)) << "three waits of 50 ms";
  EXPECT_EQ(peer.calls.size(), 4U);

  StripeOptions impatient = Options();
  impatient.per_second = 1;
  impatient.at_once = 2;
  impatient.longest_wait = Millis(100);
  Make(std::move(impatient));
  peer.calls.clear();
  EXPECT_THAT(Get("/v1/a"), IsOk());
  EXPECT_THAT(Get("/v1/a"), IsOk());
  EXPECT_THAT(Get("/v1/a"), FailsWith(Code::kRateLimited));
  EXPECT_EQ(peer.calls.size(), 2U) << "what is refused here is not sent";
}

// What strangers ask has a share, and in the line of all goes behind who has more patience.
TEST_F(StripeClientTest, AShareThatIsUsedUpLeavesTheOthersTheirPlaces) {
  StripeOptions options = Options();
  options.per_second = 20;
  options.at_once = 1;
  Make(std::move(options));
  peer.objects["/v1/customers/cus_1"] = Json::Object({{"id", "cus_1"}});
  const auto pages = client->Slower(
      {.per_second = 1, .at_once = 2, .longest_wait = Millis(0), .in_line = Millis(60)});
  const auto ask = [&] {
    return loop.RunUntilDone(pages->Get(At("/v1/customers/cus_1"), Form(), In()));
  };
  EXPECT_THAT(ask(), IsOk());
  EXPECT_THAT(ask(), IsOk());
  for (int i = 0; i < 50; ++i) EXPECT_THAT(ask(), FailsWith(Code::kRateLimited));
  const SteadyMs began = Clock::System().Steady();
  EXPECT_THAT(Get("/v1/customers/cus_1"), IsOk());
  EXPECT_LT(Clock::System().Steady() - began, Millis(1'000)) << "one place, not fifty";

  // While the others have enough to do a page is refused, and takes no place of theirs.
  const auto busy = client->Slower(
      {.per_second = 1'000, .at_once = 100, .longest_wait = Millis(0), .in_line = Millis(60)});
  const auto hold = [&]() -> Task<> {
    StripePath path = At("/v1/customers/cus_1");
    const Deadline by = In();
    Form query;
    PTG_CO_RUN(co_await client->Get(std::move(path), std::move(query), by));
    co_return {};
  };
  for (int i = 0; i < 6; ++i) loop.Spawn(hold(), "test.hold");
  EXPECT_THAT(loop.RunUntilDone(busy->Get(At("/v1/customers/cus_1"), Form(), In())),
              FailsWith(Code::kRateLimited));
}

TEST_F(StripeClientTest, AnIdIsNoPathAndAKeyIsNotEmpty) {
  Make(Options());
  for (const std::string& id :
       {std::string("../customers"), std::string("cs_1/expire"), std::string("cs 1"),
        std::string("cs_1?expand[]=x"), std::string("cs%2f1"), std::string(300, 'x')}) {
    EXPECT_THAT(loop.RunUntilDone(client->RetrieveCheckout(stripe::SessionId(id), In())),
                FailsWith(Code::kNotFound))
        << id;
  }
  EXPECT_THAT(Post(""), FailsWith(Code::kInternal));
  EXPECT_THAT(Post(std::string(256, 'k')), FailsWith(Code::kInternal));
  EXPECT_THAT(Post("cus:a\r\nHost: b"), FailsWith(Code::kInternal));
  EXPECT_TRUE(peer.calls.empty());
  EXPECT_THAT(Post(std::string(255, 'k')), IsOk());
}

TEST_F(StripeClientTest, TheBaseMayHaveAPath) {
  StripeOptions options = Options();
  options.api_base = peer.url() + "/stripe/";
  Make(std::move(options));
  peer.objects["/stripe/v1/a"] = Json::Object();
  EXPECT_THAT(Get("/v1/a"), IsOk());
}

TEST_F(StripeClientTest, WithoutAKeyOrAUrlThereIsNoClient) {
  StripeOptions options = Options();
  options.api_key = Secret();
  EXPECT_THAT(StripeClient::Make(std::move(options), Clock::System(), rng),
              FailsWith(Code::kConfig));
  options = Options();
  options.api_base = "stripe";
  EXPECT_FALSE(StripeClient::Make(std::move(options), Clock::System(), rng).has_value());
}

TEST_F(StripeClientTest, ACallForAPlaceBeyondTheBoundTakesNone) {
  Throttle throttle(10, 1);
  const SteadyMs now(1'000'000);
  EXPECT_EQ(throttle.Take(now, Millis(0)), Millis(0));
  EXPECT_EQ(throttle.Take(now, Millis(500)), Millis(100));
  EXPECT_EQ(throttle.Take(now, Millis(500)), Millis(200));
  EXPECT_EQ(throttle.Take(now, Millis(299)), std::nullopt);
  EXPECT_EQ(throttle.Take(now, Millis(300)), Millis(300)) << "the refused one held no place";
  EXPECT_EQ(throttle.Take(now + Millis(10'000), Millis(0)), Millis(0));
  EXPECT_EQ(throttle.Take(now + Millis(10'000), Millis(0)), std::nullopt) << "rest is not saved up";
}

}  // namespace
}  // namespace pontage::sales
