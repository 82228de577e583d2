// What stands before the API, and what all lists and objects have in common.
#include "sandbox/stripe/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/base64.h"
#include "sandbox/stripe/roll.h"
#include "testing/stripe_fixture.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class GateTest : public testing::StripeFixture {
 protected:
  std::vector<std::string> IdsOf(const Json& list) {
    std::vector<std::string> ids;
    for (const Json& item : Items(list)) ids.push_back(Text(item, "id"));
    return ids;
  }
};

TEST_F(GateTest, WantsATestKey) {
  Request request = RequestOf("GET", "/v1/customers");
  for (const std::string& good :
       {std::string("Bearer sk_test_abc"), std::string("bearer rk_test_abc"),
        "Basic " + codec::EncodeBase64("sk_test_abc:")}) {
    request.authorization = good;
    EXPECT_EQ(stripe.Handle(request).status, 200) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("Bearer"), std::string("Bearer sk_test_"),
        std::string("Bearer sk_live_0123456789"), std::string("Basic ???"),
        std::string("Digest sk_test_abc")}) {
    request.authorization = bad;
    const Answer answer = stripe.Handle(request);
    EXPECT_EQ(answer.status, 401) << bad;
    EXPECT_EQ(Text(Member(Parse(answer), "error"), "type"), "invalid_request_error");
    EXPECT_THAT(answer.body, Not(HasSubstr("0123456789")));
  }
}

TEST_F(GateTest, EchoesTheVersionAndNamesTheRequest) {
  Request request = RequestOf("GET", "/v1/customers");
  EXPECT_EQ(HeaderOf(stripe.Handle(request), "Stripe-Version"), "2026-10-28.endive");
  request.version = "2025-03-31.basil";
  const Answer answer = stripe.Handle(request);
  EXPECT_EQ(HeaderOf(answer, "Stripe-Version"), "2025-03-31.basil");
  EXPECT_THAT(HeaderOf(answer, "Request-Id"), ::testing::StartsWith("req_"));
  request.version = "yesterday";
  EXPECT_EQ(stripe.Handle(request).status, 400);
}

TEST_F(GateTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(Fault("POST", "/v1/customers", "email=a%40b.c&colour=red"),
            "400 parameter_unknown colour");
  EXPECT_EQ(Fault("GET", "/v1/customers?colour=red"), "400 parameter_unknown colour");
  EXPECT_EQ(Fault("GET", "/v1/customers/cus_none"), "404 resource_missing id");
  EXPECT_EQ(Fault("GET", "/v1/subscriptions/cus_none"), "404 resource_missing id");
  EXPECT_EQ(Fault("GET", "/v1/nothing"), "404  ");
  EXPECT_EQ(Fault("PUT", "/v1/customers"), "404  ");
  EXPECT_EQ(Fault("GET", "/v1/customers/a/b"), "404  ");
  EXPECT_EQ(Fault("POST", "/v1/customers", "email=a&email=b"), "400  ");
  EXPECT_EQ(Fault("POST", "/v1/customers", "email=nobody"), "400 email_invalid email");
  Request json = RequestOf("POST", "/v1/customers", R"({"email":"a@b.c"})");
  json.content_type = "application/json";
  EXPECT_EQ(stripe.Handle(json).status, 400);
  const Json error = Member(Parse(Ask("GET", "/v1/customers/cus_none")), "error");
  EXPECT_EQ(Text(error, "message"), "No such customer: 'cus_none'");
  EXPECT_EQ(Text(error, "doc_url"), "https://stripe.com/docs/error-codes/resource-missing");
}

TEST_F(GateTest, TheSameKeyGetsTheSameAnswer) {
  const Answer first = Ask("POST", "/v1/customers", "email=a%40b.c&name=A", "key-1");
  const Answer again = Ask("POST", "/v1/customers", "name=A&email=a%40b.c", "key-1");
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(HeaderOf(first, "Idempotent-Replayed"), "");
  EXPECT_EQ(HeaderOf(again, "Idempotent-Replayed"), "true");
  EXPECT_EQ(HeaderOf(again, "Original-Request"), HeaderOf(first, "Request-Id"));
  EXPECT_EQ(Items(Get("/v1/customers")).size(), 1U);
  const Answer other = Ask("POST", "/v1/customers", "email=other%40b.c", "key-1");
  EXPECT_EQ(other.status, 400);
  EXPECT_EQ(Text(Member(Parse(other), "error"), "type"), "idempotency_error");
  EXPECT_EQ(Ask("POST", "/v1/products", "name=A", "key-1").status, 400);
  EXPECT_NE(Ask("POST", "/v1/customers", "email=a%40b.c&name=A", "key-2").body, first.body);
  // What never began leaves the key free.
  EXPECT_EQ(Ask("POST", "/v1/customers", "colour=red", "key-3").status, 400);
  EXPECT_EQ(Ask("POST", "/v1/customers", "email=c%40b.c", "key-3").status, 200);
  Advance(2 * 86'400);
  EXPECT_NE(Ask("POST", "/v1/customers", "email=a%40b.c&name=A", "key-1").body, first.body);
  EXPECT_EQ(Ask("POST", "/v1/customers", "name=A", std::string(256, 'k')).status, 400);
}

TEST_F(GateTest, PagesBothWays) {
  std::vector<std::string> ids;  // newest first
  for (int i = 0; i < 5; ++i) {
    ids.insert(ids.begin(), Text(Post("/v1/customers", "email=a%40b.c"), "id"));
    clock.Advance(Millis(1'000));
  }
  const Json first = Get("/v1/customers?limit=2");
  EXPECT_THAT(IdsOf(first), ElementsAre(ids[0], ids[1]));
  EXPECT_EQ(Text(first, "object"), "list");
  EXPECT_EQ(Text(first, "url"), "/v1/customers");
  EXPECT_EQ(Member(first, "has_more"), Json(true));
  EXPECT_THAT(IdsOf(Get("/v1/customers?limit=2&starting_after=" + ids[1])),
              ElementsAre(ids[2], ids[3]));
  const Json last = Get("/v1/customers?limit=2&starting_after=" + ids[3]);
  EXPECT_THAT(IdsOf(last), ElementsAre(ids[4]));
  EXPECT_EQ(Member(last, "has_more"), Json(false));
  const Json before = Get("/v1/customers?limit=2&ending_before=" + ids[4]);
  EXPECT_THAT(IdsOf(before), ElementsAre(ids[2], ids[3]));
  EXPECT_EQ(Member(before, "has_more"), Json(true));
  EXPECT_THAT(IdsOf(Get("/v1/customers?ending_before=" + ids[1])), ElementsAre(ids[0]));
  EXPECT_EQ(Fault("GET", "/v1/customers?starting_after=cus_none"),
            "404 resource_missing starting_after");
  EXPECT_EQ(Fault("GET", "/v1/customers?limit=101"), "400 parameter_invalid_integer limit");
  EXPECT_EQ(Fault("GET", "/v1/customers?starting_after=" + ids[0] + "&ending_before=" + ids[1]),
            "400  ");
  const std::string at = std::to_string(Int(Get("/v1/customers/" + ids[2]), "created"));
  EXPECT_THAT(IdsOf(Get("/v1/customers?created[gte]=" + at)), ElementsAre(ids[0], ids[1], ids[2]));
  EXPECT_THAT(IdsOf(Get("/v1/customers?created[gt]=" + at)), ElementsAre(ids[0], ids[1]));
  EXPECT_THAT(IdsOf(Get("/v1/customers?created[lt]=" + at)), ElementsAre(ids[3], ids[4]));
  EXPECT_THAT(IdsOf(Get("/v1/customers?created=" + at)), ElementsAre(ids[2]));
}

TEST_F(GateTest, ExpandsWhatIsAskedFor) {
  const std::string id = Subscribe();
  const Json list =
      Get("/v1/subscriptions?expand[]=data.customer&expand[]=data.latest_invoice.payments");
  const Json one = First(list);
  EXPECT_EQ(Text(Member(one, "customer"), "object"), "customer");
  EXPECT_EQ(Items(Member(Member(one, "latest_invoice"), "payments")).size(), 1U);
  const std::string at = "/v1/subscriptions/" + id + "?expand[]=";
  EXPECT_EQ(Fault("GET", at + "status"), "400  expand");
  EXPECT_EQ(Fault("GET", at + "nothing"), "400  expand");
  EXPECT_EQ(Fault("GET", at + "customer.email.x"), "400  expand");
  EXPECT_EQ(Fault("GET", at + "latest_invoice.payments.data.payment.payment_intent"),
            "400  expand");
  // Null has nothing in it.
  EXPECT_EQ(Ask("GET", at + "schedule").status, 200);
}

TEST_F(GateTest, CustomersAreKeptAndDeleted) {
  const Json made =
      Post("/v1/customers", "email=a%40b.c&name=Ann&metadata[tenant_id]=acme&address[country]=DE");
  const std::string id = Text(made, "id");
  NewEvents();
  const Json changed = Post("/v1/customers/" + id, "name=&metadata[plan]=pro");
  EXPECT_TRUE(Member(changed, "name").IsNull());
  EXPECT_EQ(Text(Member(changed, "metadata"), "tenant_id"), "acme");
  EXPECT_EQ(Text(Member(changed, "address"), "country"), "DE");
  const Json event = First(Get("/v1/events"));
  EXPECT_EQ(Text(event, "type"), "customer.updated");
  EXPECT_EQ(Text(Member(Member(event, "data"), "previous_attributes"), "name"), "Ann");
  EXPECT_EQ(Items(Get("/v1/customers?email=a%40b.c")).size(), 1U);
  EXPECT_THAT(Items(Get("/v1/customers?email=A%40b.c")), IsEmpty());
  const Json gone = Must("DELETE", "/v1/customers/" + id);
  EXPECT_EQ(Member(gone, "deleted"), Json(true));
  EXPECT_EQ(Member(Get("/v1/customers/" + id), "deleted"), Json(true));
  EXPECT_EQ(Fault("POST", "/v1/customers/" + id, "name=B"), "404 resource_missing id");
  EXPECT_THAT(Items(Get("/v1/customers")), IsEmpty());
}

TEST_F(GateTest, DeletingACustomerEndsWhatHeHas) {
  const std::string id = Subscribe();
  Must("DELETE", "/v1/customers/" + Text(Subscription(id), "customer"));
  EXPECT_EQ(Text(Subscription(id), "status"), "canceled");
}

TEST_F(GateTest, PricesAreFoundByTheirLookupKey) {
  const std::string first = MakePrice("lookup_key=pro&recurring[interval]=month");
  MakePrice("lookup_key=team&recurring[interval]=month");
  EXPECT_THAT(IdsOf(Get("/v1/prices?lookup_keys[]=pro&active=true")), ElementsAre(first));
  const std::string product = Text(Get("/v1/prices/" + first), "product");
  EXPECT_EQ(
      Fault("POST", "/v1/prices", "currency=usd&unit_amount=1&lookup_key=pro&product=" + product),
      "400  lookup_key");
  const Json second =
      Post("/v1/prices", "currency=usd&unit_amount=1&lookup_key=pro&product=" + product +
                             "&transfer_lookup_key=true");
  EXPECT_THAT(IdsOf(Get("/v1/prices?lookup_keys[0]=pro")), ElementsAre(Text(second, "id")));
  EXPECT_TRUE(Member(Get("/v1/prices/" + first), "lookup_key").IsNull());
  Post("/v1/prices/" + first, "active=false");
  EXPECT_THAT(IdsOf(Get("/v1/prices?active=false")), ElementsAre(first));
  EXPECT_EQ(Fault("POST", "/v1/prices", "currency=usd&unit_amount=-1&product=" + product),
            "400 parameter_invalid_integer unit_amount");
  EXPECT_EQ(Fault("POST", "/v1/prices", "currency=usd&unit_amount=1&product=prod_none"),
            "404 resource_missing product");
  EXPECT_EQ(Fault("POST", "/v1/prices",
                  "currency=usd&unit_amount=1&product=" + product + "&recurring[interval]=decade"),
            "400  recurring[interval]");
}

TEST_F(GateTest, FaultsStrikeTheApiOnly) {
  Post("/_test/faults", "fail_next=500,429");
  EXPECT_EQ(Ask("GET", "/v1/customers").status, 500);
  const Answer limited = Ask("POST", "/v1/customers", "email=a%40b.c", "k");
  EXPECT_EQ(limited.status, 429);
  EXPECT_EQ(HeaderOf(limited, "Stripe-Rate-Limited-Reason"), "global-rate");
  EXPECT_EQ(Ask("POST", "/v1/customers", "email=a%40b.c", "k").status, 200);
  EXPECT_EQ(Items(Get("/v1/customers")).size(), 1U);
  // As Stripe does with a 500 in the middle of work.
  Post("/_test/faults", "fail_next=503&keep_failures=true");
  EXPECT_EQ(Ask("POST", "/v1/customers", "email=c%40b.c", "k2").status, 503);
  const Answer kept = Ask("POST", "/v1/customers", "email=c%40b.c", "k2");
  EXPECT_EQ(kept.status, 503);
  EXPECT_EQ(HeaderOf(kept, "Idempotent-Replayed"), "true");
  EXPECT_EQ(Text(Post("/_test/faults", "reset=true"), "api_version"), "");
}

TEST_F(GateTest, ARequestMayBeWorkedOnAndNeverAnswered) {
  Post("/_test/faults", "hang=1&hang_up=1");
  EXPECT_EQ(Ask("POST", "/v1/customers", "email=a%40b.c", "k").delivery, Answer::Delivery::kHang);
  EXPECT_EQ(Ask("POST", "/v1/customers", "email=a%40b.c", "k").delivery, Answer::Delivery::kHangUp);
  const Answer third = Ask("POST", "/v1/customers", "email=a%40b.c", "k");
  EXPECT_EQ(third.delivery, Answer::Delivery::kWhole);
  EXPECT_EQ(HeaderOf(third, "Idempotent-Replayed"), "true");
  EXPECT_EQ(Items(Get("/v1/customers")).size(), 1U);
}

TEST_F(GateTest, TheRateIsOfOneSecond) {
  Post("/_test/faults", "rate_limit=3");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask("GET", "/v1/customers").status, 200);
  EXPECT_EQ(Ask("GET", "/v1/customers").status, 429);
  clock.Advance(Millis(1'000));
  EXPECT_EQ(Ask("GET", "/v1/customers").status, 200);
}

TEST_F(GateTest, KnobsAreSetWholeOrNotAtAll) {
  Request json = RequestOf("POST", "/_test/faults",
                           R"({"duplicate":2,"shuffle":9,"delay":"2s","thin":"both",)"
                           R"("api_version":"acacia","fail_next":[500,503]})");
  json.content_type = "application/json";
  EXPECT_EQ(stripe.Handle(json).status, 200);
  const Json knobs = Get("/_test/faults");
  EXPECT_EQ(Int(knobs, "duplicate"), 2);
  EXPECT_EQ(Text(knobs, "delay"), "2000ms");
  EXPECT_EQ(Text(knobs, "thin"), "both");
  EXPECT_EQ(Text(knobs, "api_version"), "2024-09-30.acacia");
  EXPECT_EQ(Member(knobs, "fail_next"), Json::Array({500, 503}));
  EXPECT_EQ(Fault("POST", "/_test/faults", "duplicate=1&thin=maybe"), "400  thin");
  EXPECT_EQ(Fault("POST", "/_test/faults", "delay=soon"), "400  delay");
  EXPECT_EQ(Fault("POST", "/_test/faults", "fail_next=200"), "400  fail_next");
  EXPECT_EQ(Fault("POST", "/_test/faults", "colour=red"), "400 parameter_unknown colour");
  EXPECT_EQ(Get("/_test/faults"), knobs);
  EXPECT_EQ(Int(Post("/_test/faults", "reset=true&drop=1"), "duplicate"), 0);
  EXPECT_EQ(Fault("POST", "/_test/nothing"), "404 resource_missing ");
}

TEST_F(GateTest, TheStateIsCounted) {
  Subscribe();
  const Json state = Get("/_test/state");
  EXPECT_EQ(Int(Member(state, "objects"), "subscription"), 1);
  EXPECT_EQ(Int(Member(state, "objects"), "charge"), 1);
  EXPECT_EQ(Int(state, "now"), Now());
}

// It takes no more, and the clock makes no more; what is there can still be read.
TEST(BoundsTest, AFullSandboxSaysSo) {
  testing::SteppedClock clock;
  SeededRng rng(1);
  stripe::Account account(clock, rng);
  stripe::Gate gate(account);
  StripeRequest request;
  request.authorization = "Bearer sk_test_1";
  request.method = "POST";
  request.target = "/v1/customers";
  request.body = "email=a%40b.c";
  EXPECT_EQ(gate.Handle(request).status, 200);
  for (size_t i = 1; i < stripe::Store::kMaxObjects; ++i) {
    account.store.Add(stripe::Kind::kProduct, Json::Object({{"id", "prod_" + std::to_string(i)}}));
  }
  const StripeAnswer full = gate.Handle(request);
  EXPECT_EQ(full.status, 400);
  EXPECT_THAT(full.body, HasSubstr("This sandbox is full"));
  account.agenda.Set("sub_1", clock.Now());
  EXPECT_EQ(Roll(account), 0U);
  request.method = "GET";
  request.body.clear();
  EXPECT_EQ(gate.Handle(request).status, 200);
}

TEST(BoundsTest, OldAnswersMakeRoom) {
  stripe::KeptAnswers kept;
  const UnixMs now(1);
  for (size_t i = 0; i <= stripe::KeptAnswers::kMaxKept; ++i) {
    kept.Keep(std::to_string(i), {"q", 200, "{}", "req_1"}, now);
  }
  EXPECT_EQ(kept.Find("0", now), nullptr);
  EXPECT_NE(kept.Find("1", now), nullptr);
}

}  // namespace
}  // namespace pontage::sandbox
