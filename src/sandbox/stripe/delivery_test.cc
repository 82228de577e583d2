// Events on their way to their endpoints: what they say, how they are signed, what goes wrong.
#include "sandbox/stripe/delivery.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "io/timer.h"
#include "net/server.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/fields.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"
#include "testing/stripe_fixture.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

// The vector was made with the official library.
TEST(SignatureTest, IsOverTimeAndBodyUnderTheWholeSecret) {
  EXPECT_EQ(SignatureOf(R"({"id":"evt_1","object":"event","type":"invoice.paid"})",
                        UnixMs::FromSeconds(1'795'000'000), {"whsec_test_secret"}),
            "t=1795000000,"
            "v1=cf6b9d54b136688b38b50b424a079ec2d76f9d5581f27f851d9ee97880c657d9");
  EXPECT_THAT(SignatureOf("x", UnixMs::FromSeconds(1), {"a", "b"}),
              ::testing::MatchesRegex("t=1,v1=[0-9a-f]+,v1=[0-9a-f]+"));
}

// The queue alone: a test takes what is due and says what came of it.
class DeliveryQueueTest : public ::testing::Test {
 protected:
  DeliveryQueueTest() { Listen("we_1", {"*"}); }
  void Listen(const std::string& id, std::initializer_list<Json> types, const char* version = "") {
    Json endpoint = Json::Object({{"id", id},
                                  {"url", "http://127.0.0.1:1/" + id},
                                  {"status", "enabled"},
                                  {"enabled_events", Json::Array(types)}});
    if (*version != '\0') endpoint.Set("api_version", version);
    account.store.Add(Kind::kWebhookEndpoint, std::move(endpoint));
    account.secrets[id] = {{"whsec_" + id, std::nullopt}};
  }
  void Happen(const std::string& type, const Json& object) { Emit(account, type, object); }
  void Happen(const std::string& type) {
    Happen(type, Json::Object({{"id", "cus_1"}, {"object", "customer"}}));
  }
  // Takes all that is due, answered with `status`.
  std::vector<Outgoing> TakeAll(int status = 200) {
    std::vector<Outgoing> all;
    while (std::optional<Outgoing> one = account.deliveries.Take(account)) {
      all.push_back(*one);
      account.deliveries.Done(account, one->delivery, status);
    }
    return all;
  }
  static Json Body(const Outgoing& outgoing) { return *codec::ParseJson(outgoing.body); }
  std::vector<std::string> TypesOf(const std::vector<Outgoing>& all) {
    std::vector<std::string> types;
    for (const Outgoing& one : all) types.push_back(TextOf(Body(one), "type"));
    return types;
  }
  const Event& Newest() const { return account.events.all().back(); }

  testing::SteppedClock clock;
  SeededRng rng{3};
  Account account{clock, rng};
};

TEST_F(DeliveryQueueTest, GoesToWhoListens) {
  Listen("we_2", {"customer.deleted"});
  Happen("customer.created");
  Happen("customer.deleted");
  EXPECT_THAT(TypesOf(TakeAll()),
              ElementsAre("customer.created", "customer.deleted", "customer.deleted"));
  account.store.Find(Kind::kWebhookEndpoint, "we_1")->Set("status", "disabled");
  Happen("customer.created");
  EXPECT_THAT(TakeAll(), SizeIs(0));
}

TEST_F(DeliveryQueueTest, SaysAllThatAnEventHas) {
  account.request = {"req_1", "key-1"};
  Happen("customer.created");
  const std::vector<Outgoing> sent = TakeAll();
  ASSERT_THAT(sent, SizeIs(1));
  const Json event = Body(sent[0]);
  EXPECT_THAT(TextOf(event, "id"), StartsWith("evt_"));
  EXPECT_EQ(TextOf(event, "object"), "event");
  EXPECT_EQ(TextOf(event, "api_version"), "2026-10-28.endive");
  EXPECT_EQ(IntOf(event, "created"), clock.Now().seconds());
  EXPECT_EQ(IntOf(event, "pending_webhooks"), 1);
  EXPECT_EQ(TextOf(Member(event, "request"), "id"), "req_1");
  EXPECT_EQ(TextOf(Member(event, "request"), "idempotency_key"), "key-1");
  EXPECT_EQ(TextOf(Member(Member(event, "data"), "object"), "id"), "cus_1");
  EXPECT_EQ(sent[0].signature, SignatureOf(sent[0].body, clock.Now(), {"whsec_we_1"}));
}

TEST_F(DeliveryQueueTest, ARefusedOneIsTriedAgainLater) {
  Happen("customer.created");
  EXPECT_THAT(TakeAll(500), SizeIs(1));
  EXPECT_EQ(Newest().waiting, 1);
  EXPECT_THAT(TakeAll(), SizeIs(0));
  clock.Advance(Millis(1'000));
  EXPECT_THAT(TakeAll(301), SizeIs(1));
  clock.Advance(Millis(1'000));
  EXPECT_THAT(TakeAll(), SizeIs(0));
  clock.Advance(Millis(1'000));
  const std::vector<Outgoing> third = TakeAll(204);
  ASSERT_THAT(third, SizeIs(1));
  // Signed anew: the first signature may be too old by now.
  EXPECT_THAT(third[0].signature, StartsWith("t=" + std::to_string(clock.Now().seconds())));
  EXPECT_EQ(Newest().waiting, 0);
  EXPECT_EQ(Newest().failed, 0);
}

TEST_F(DeliveryQueueTest, IsGivenUpAndMayBeSentAgain) {
  Happen("customer.created");
  int tries = 0;
  for (; account.deliveries.size() > 0; ++tries) {
    ASSERT_LT(tries, 100);
    TakeAll(0);
    clock.Advance(Millis(60'000));
  }
  EXPECT_EQ(tries, DeliveryQueue::kMaxAttempts);
  EXPECT_EQ(Newest().failed, 1);
  EXPECT_EQ(Newest().waiting, 0);
  account.deliveries.Redeliver(account, *account.events.Find(Newest().id));
  EXPECT_THAT(TakeAll(), SizeIs(1));
  EXPECT_EQ(Newest().failed, 0);
}

TEST_F(DeliveryQueueTest, DuplicatesShuffledAndDelayed) {
  account.faults.duplicate = 2;
  account.faults.shuffle = 11;
  account.faults.delay = Millis(5'000);
  std::vector<std::string> sent;
  for (int i = 0; i < 8; ++i) {
    Happen("t" + std::to_string(i));
    sent.push_back("t" + std::to_string(i));
  }
  EXPECT_THAT(TakeAll(), SizeIs(0));
  clock.Advance(Millis(5'000));
  const std::vector<std::string> got = TypesOf(TakeAll());
  EXPECT_THAT(got, SizeIs(24));
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 8U);
  EXPECT_FALSE(std::is_sorted(got.begin(), got.end()));
  for (const std::string& type : sent) {
    EXPECT_EQ(std::count(got.begin(), got.end(), type), 3) << type;
  }
}

TEST_F(DeliveryQueueTest, TheSameSeedShufflesTheSame) {
  const auto order = [] {
    testing::SteppedClock own_clock;
    SeededRng own_rng(3);
    Account own(own_clock, own_rng);
    own.faults.shuffle = 5;
    own.store.Add(Kind::kWebhookEndpoint, Json::Object({{"id", "we_1"},
                                                        {"url", "http://127.0.0.1:1/"},
                                                        {"status", "enabled"},
                                                        {"enabled_events", Json::Array({"*"})}}));
    for (int i = 0; i < 20; ++i) {
      Emit(own, "t" + std::to_string(i), Json::Object({{"id", "x"}, {"object", "customer"}}));
    }
    std::string types;
    while (std::optional<Outgoing> one = own.deliveries.Take(own)) {
      types += TextOf(Body(*one), "type") + ' ';
    }
    return types;
  };
  EXPECT_EQ(order(), order());
}

TEST_F(DeliveryQueueTest, DroppedOnesAreNeverSent) {
  account.faults.drop = 1;
  Happen("customer.created");
  Happen("customer.updated");
  EXPECT_THAT(TypesOf(TakeAll()), ElementsAre("customer.updated"));
  EXPECT_EQ(account.events.all().front().failed, 1);
}

TEST_F(DeliveryQueueTest, ThinOnesOnlySayWhatToFetch) {
  account.faults.thin = Faults::Thin::kBoth;
  Happen("invoice.paid", Json::Object({{"id", "in_1"}, {"object", "invoice"}}));
  const std::vector<Outgoing> both = TakeAll();
  ASSERT_THAT(both, SizeIs(2));
  const Json thin = Body(both[1]);
  EXPECT_EQ(TextOf(thin, "object"), "v2.core.event");
  EXPECT_EQ(TextOf(thin, "type"), "v1.invoice.paid");
  EXPECT_EQ(TextOf(thin, "snapshot_event"), TextOf(Body(both[0]), "id"));
  EXPECT_NE(TextOf(thin, "id"), TextOf(Body(both[0]), "id"));
  EXPECT_EQ(TextOf(thin, "created"), clock.Now().Rfc3339());
  EXPECT_EQ(TextOf(Member(thin, "related_object"), "url"), "/v1/invoices/in_1");
  EXPECT_EQ(thin.Find("data"), nullptr);
  account.faults.thin = Faults::Thin::kInstead;
  Happen("invoice.paid", Json::Object({{"id", "in_1"}, {"object", "invoice"}}));
  EXPECT_THAT(TypesOf(TakeAll()), ElementsAre("v1.invoice.paid"));
}

// The endpoint's version fixes the shape, and the knob overrides it.
TEST_F(DeliveryQueueTest, OldVersionsHaveTheOldShapes) {
  const Json item =
      Json::Object({{"id", "si_1"}, {"current_period_start", 100}, {"current_period_end", 200}});
  const Json subscription = Json::Object({{"id", "sub_1"},
                                          {"object", "subscription"},
                                          {"items", WholeList({item}, "/v1/subscription_items")}});
  const Json invoice = Json::Object(
      {{"id", "in_1"},
       {"object", "invoice"},
       {"status", "paid"},
       {"lines", WholeList({}, "/lines")},
       {"parent", Json::Object({{"type", "subscription_details"},
                                {"subscription_details",
                                 Json::Object({{"subscription", "sub_1"},
                                               {"metadata", Json::Object({{"a", "b"}})}})}})}});
  account.invoices["in_1"] = {"pi_1", "inpay_1"};
  Listen("we_2", {"*"}, "2024-09-30.acacia");
  Happen("customer.subscription.updated", subscription);
  Happen("invoice.paid", invoice);
  const std::vector<Outgoing> sent = TakeAll();
  ASSERT_THAT(sent, SizeIs(4));
  const auto object = [&](size_t i) { return Member(Member(Body(sent[i]), "data"), "object"); };
  EXPECT_EQ(object(0).Find("current_period_end"), nullptr);
  EXPECT_EQ(TextOf(Body(sent[1]), "api_version"), "2024-09-30.acacia");
  EXPECT_EQ(IntOf(object(1), "current_period_end"), 200);
  EXPECT_EQ(ItemsOf(Member(object(1), "items")).front().Find("current_period_end"), nullptr);
  EXPECT_EQ(object(2).Find("subscription"), nullptr);
  EXPECT_EQ(TextOf(object(3), "subscription"), "sub_1");
  EXPECT_EQ(TextOf(object(3), "payment_intent"), "pi_1");
  EXPECT_EQ(TextOf(Member(Member(object(3), "subscription_details"), "metadata"), "a"), "b");
  EXPECT_TRUE(IsTrue(object(3), "paid"));
  EXPECT_EQ(object(3).Find("parent"), nullptr);
  account.faults.api_version = "2025-03-31.basil";
  Happen("invoice.paid", invoice);
  for (const Outgoing& one : TakeAll()) {
    EXPECT_EQ(TextOf(Body(one), "api_version"), "2025-03-31.basil");
    EXPECT_NE(Member(Member(Body(one), "data"), "object").Find("parent"), nullptr);
  }
}

TEST_F(DeliveryQueueTest, WhileASecretIsRolledBothSign) {
  account.secrets["we_1"] = {{"whsec_old", clock.Now() + Millis(60'000)},
                             {"whsec_new", std::nullopt}};
  Happen("customer.created");
  std::vector<Outgoing> sent = TakeAll();
  EXPECT_EQ(sent.at(0).signature,
            SignatureOf(sent.at(0).body, clock.Now(), {"whsec_old", "whsec_new"}));
  clock.Advance(Millis(61'000));
  Happen("customer.created");
  sent = TakeAll();
  EXPECT_EQ(sent.at(0).signature, SignatureOf(sent.at(0).body, clock.Now(), {"whsec_new"}));
}

// A month ahead of the real clock no receiver would take the signature.
TEST_F(DeliveryQueueTest, SignsWithTheRealTimeWhateverTheTestClockSays) {
  account.clock.Move(Millis(int64_t{30} * 86'400'000));
  Happen("customer.created");
  const std::vector<Outgoing> sent = TakeAll();
  EXPECT_THAT(sent.at(0).signature, StartsWith("t=" + std::to_string(clock.Now().seconds())));
  EXPECT_EQ(IntOf(Body(sent.at(0)), "created"), clock.Now().seconds() + 30 * 86'400);
}

// As one big step of the test clock does it: everything happens before anything leaves.
TEST_F(DeliveryQueueTest, WhatWaitsIsSentHoweverLongAgoItHappened) {
  Happen("customer.created");
  account.clock.Move(Millis(int64_t{45} * 86'400'000));
  Happen("customer.updated");
  account.clock.Move(Millis(int64_t{45} * 86'400'000));
  Happen("customer.deleted");
  EXPECT_THAT(TypesOf(TakeAll()),
              ElementsAre("customer.created", "customer.updated", "customer.deleted"));
  // Delivered, they age as all do.
  Happen("customer.created");
  EXPECT_THAT(account.events.all(), SizeIs(2));
  EXPECT_EQ(account.events.all().front().type, "customer.deleted");
}

TEST_F(DeliveryQueueTest, ForgetsAfterThirtyDays) {
  Happen("customer.created");
  const std::string id = Newest().id;
  TakeAll();
  clock.Advance(Millis(int64_t{31} * 86'400'000));
  Happen("customer.updated");
  EXPECT_EQ(account.events.Find(id), nullptr);
  EXPECT_THAT(account.events.all(), SizeIs(1));
  EXPECT_EQ(account.events.Find(Newest().id), &account.events.all().back());
  EXPECT_THAT(TypesOf(TakeAll()), ElementsAre("customer.updated"));
}

class EndpointTest : public testing::StripeFixture {};

TEST_F(EndpointTest, TellsItsSecretOnce) {
  const Json made = Post("/v1/webhook_endpoints",
                         "url=https%3A%2F%2Fshop.example%2Fhook&enabled_events[]=*"
                         "&api_version=2026-10-28.endive");
  const std::string at = "/v1/webhook_endpoints/" + Text(made, "id");
  EXPECT_THAT(Text(made, "secret"), StartsWith("whsec_"));
  EXPECT_EQ(Get(at).Find("secret"), nullptr);
  EXPECT_EQ(Text(First(Get("/v1/webhook_endpoints")), "url"), "https://shop.example/hook");
  Post(at, "disabled=true&enabled_events[]=invoice.paid");
  EXPECT_EQ(Text(Get(at), "status"), "disabled");
  const Json rolled = Post("/_test/faults", "rotate_secret=60");
  const Json fresh = Member(rolled, "endpoints").AsArray()->front();
  EXPECT_EQ(Text(fresh, "id"), Text(made, "id"));
  EXPECT_NE(Text(fresh, "secret"), Text(made, "secret"));
  EXPECT_EQ(Member(Must("DELETE", at), "deleted"), Json(true));
  EXPECT_EQ(Fault("GET", at), "404 resource_missing id");
  EXPECT_EQ(Fault("POST", "/v1/webhook_endpoints", "url=nonsense&enabled_events[]=*"),
            "400 url_invalid url");
  EXPECT_EQ(Fault("POST", "/v1/webhook_endpoints", "url=http%3A%2F%2Fx"),
            "400 parameter_missing enabled_events");
  EXPECT_EQ(Fault("POST", "/v1/webhook_endpoints",
                  "url=http%3A%2F%2Fx&enabled_events[]=*&api_version=soon"),
            "400  api_version");
  EXPECT_EQ(
      Fault("POST", "/v1/webhook_endpoints",
            "url=http%3A%2F%2Fx&enabled_events[]=invoice.paid&enabled_events[]=invoice.payed"),
      "400  enabled_events[1]");
  Post("/v1/webhook_endpoints",
       "url=http%3A%2F%2Fx&enabled_events[]=treasury.received_debit.created&enabled_events[]="
       "account.application.authorized");
  for (int i = 0; i < 15; ++i)
    Post("/v1/webhook_endpoints", "url=http%3A%2F%2Fx&enabled_events[]=*");
  EXPECT_EQ(Ask("POST", "/v1/webhook_endpoints", "url=http%3A%2F%2Fx&enabled_events[]=*").status,
            400);
}

TEST_F(EndpointTest, EventsAreListedByTypeTimeAndDelivery) {
  Post("/v1/webhook_endpoints", "url=http%3A%2F%2F127.0.0.1%3A1&enabled_events[]=*");
  Subscribe();
  const auto count = [&](const std::string& query) {
    return Items(Get("/v1/events?limit=100&" + query)).size();
  };
  EXPECT_EQ(count("type=invoice.paid"), 1U);
  EXPECT_EQ(count("types[]=invoice.paid&types[]=checkout.session.completed"), 2U);
  EXPECT_EQ(count("types[0]=customer.subscription.*"), 2U);
  EXPECT_EQ(count("delivery_success=true"), 0U);
  EXPECT_GT(count("delivery_success=false&created[gte]=" + std::to_string(Now())), 10U);
  EXPECT_EQ(count("created[gt]=" + std::to_string(Now())), 0U);
  EXPECT_EQ(Fault("GET", "/v1/events?type=a&types[]=b"), "400  ");
  const Json paid = First(Get("/v1/events?type=invoice.paid"));
  EXPECT_EQ(Get("/v1/events/" + Text(paid, "id")), paid);
  EXPECT_EQ(Text(Post("/_test/events/" + Text(paid, "id") + "/redeliver"), "id"), Text(paid, "id"));
  EXPECT_EQ(Fault("POST", "/_test/events/evt_none/redeliver"), "404 resource_missing id");
}

// Over a real socket, to a receiver that fails at first.
TEST(RunDeliveriesTest, DeliversSignedAndTriesAgain) {
  Loop loop;
  StripeDouble stripe(Clock::System(), Rng::System());
  std::vector<std::string> bodies;
  std::vector<std::string> signatures;
  net::Server receiver(
      loop, {},
      [&](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) -> Task<> {
        const Deadline by = Deadline::In(Clock::System(), 5s);
        PTG_CO_TRY(std::string text, co_await net::ReadAll(body, 1 << 20, by));
        bodies.push_back(std::move(text));
        signatures.emplace_back(head.headers.Get("Stripe-Signature").value_or(""));
        net::ResponseHead answer;
        answer.status = bodies.size() == 1 ? 500 : 200;
        PTG_CO_RUN(co_await out.Head(std::move(answer), 0));
        co_return co_await out.End();
      });
  ASSERT_THAT(receiver.Listen("127.0.0.1:0"), testing::IsOk());
  StripeRequest request;
  request.method = "POST";
  request.authorization = "Bearer sk_test_1";
  request.target = "/v1/webhook_endpoints";
  request.body = "enabled_events[]=customer.created&url=http%3A%2F%2F127.0.0.1%3A" +
                 std::to_string(receiver.port());
  const std::string secret = TextOf(*codec::ParseJson(stripe.Handle(request).body), "secret");
  request.target = "/v1/customers";
  request.body = "email=a%40b.c";
  stripe.Handle(request);
  loop.Spawn(stripe.RunDeliveries(), "deliveries");
  const auto wait = [&]() -> Task<> {
    const Deadline by = Deadline::In(Clock::System(), 10s);
    while (bodies.size() < 2 && !by.Passed(Clock::System())) PTG_CO_RUN(co_await Sleep(Millis(10)));
    co_return {};
  };
  ASSERT_THAT(loop.RunUntilDone(wait()), testing::IsOk());
  ASSERT_THAT(bodies, SizeIs(2));
  EXPECT_EQ(bodies[0], bodies[1]);
  const std::string time = signatures[1].substr(2, signatures[1].find(',') - 2);
  int64_t at = 0;
  std::from_chars(time.data(), time.data() + time.size(), at);
  EXPECT_EQ(signatures[1], SignatureOf(bodies[1], UnixMs::FromSeconds(at), {secret}));
  EXPECT_THAT(bodies[1], HasSubstr("\"type\":\"customer.created\""));
  loop.DropSpawned();
}

}  // namespace
}  // namespace pontage::sandbox::stripe
