#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "codec/json.h"
#include "sandbox/stripe/double.h"
#include "sandbox/stripe/fields.h"
#include "testing/stepped_clock.h"

namespace pontage::testing {

// Stripe's double without a network: a test asks it as a client and as a browser do, and owns its
// time and its randomness.
class StripeFixture : public ::testing::Test {
 protected:
  using Json = codec::Json;
  using Answer = sandbox::StripeAnswer;
  using Request = sandbox::StripeRequest;

  static std::string HeaderOf(const Answer& answer, std::string_view name) {
    for (const auto& [key, value] : answer.headers) {
      if (key == name) return value;
    }
    return "";
  }
  static Json Parse(const Answer& answer) {
    codec::JsonLimits limits;
    limits.max_bytes = 4 << 20;
    Result<Json> json = codec::ParseJson(answer.body, limits);
    EXPECT_TRUE(json.has_value()) << answer.body;
    return json ? *std::move(json) : Json();
  }
  static Request RequestOf(std::string method, std::string target, std::string body = "",
                           std::string key = "") {
    Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    request.authorization = "Bearer sk_test_1";
    request.idempotency_key = std::move(key);
    return request;
  }
  Answer Ask(std::string method, std::string target, std::string body = "", std::string key = "") {
    return stripe.Handle(
        RequestOf(std::move(method), std::move(target), std::move(body), std::move(key)));
  }
  // What must be 200.
  Json Must(std::string method, std::string target, std::string body = "") {
    const Answer answer = Ask(std::move(method), std::move(target), std::move(body));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return Parse(answer);
  }
  Json Get(std::string target) { return Must("GET", std::move(target)); }
  Json Post(std::string target, std::string body = "") {
    return Must("POST", std::move(target), std::move(body));
  }
  // "400 parameter_unknown foo" of what must fail.
  std::string Fault(std::string method, std::string target, std::string body = "") {
    const Answer answer = Ask(std::move(method), std::move(target), std::move(body));
    const Json error = Member(Parse(answer), "error");
    return std::to_string(answer.status) + ' ' + Text(error, "code") + ' ' + Text(error, "param");
  }

  static const Json& Member(const Json& json, std::string_view key) {
    return sandbox::stripe::Member(json, key);
  }
  static std::string Text(const Json& json, std::string_view key) {
    return sandbox::stripe::TextOf(json, key);
  }
  static int64_t Int(const Json& json, std::string_view key) {
    return sandbox::stripe::IntOf(json, key);
  }
  static const std::vector<Json>& Items(const Json& list) { return sandbox::stripe::ItemsOf(list); }
  static Json First(const Json& list) {
    EXPECT_FALSE(Items(list).empty());
    return Items(list).empty() ? Json() : Items(list).front();
  }
  int64_t Now() const { return clock.Now().seconds() + moved; }

  std::string MakePrice(const std::string& rest = "recurring[interval]=month") {
    return Text(Post("/v1/prices", "currency=usd&unit_amount=2900&product_data[name]=Pro&" + rest),
                "id");
  }
  Json OpenSession(const std::string& price, const std::string& rest = "",
                   const std::string& mode = "subscription") {
    return Post("/v1/checkout/sessions",
                "mode=" + mode + "&line_items[0][price]=" + price +
                    "&line_items[0][quantity]=1&success_url=https%3A%2F%2Fshop.example%2Fok"
                    "%3Fsid%3D{CHECKOUT_SESSION_ID}" +
                    (rest.empty() ? "" : "&" + rest));
  }
  // What the buyer's browser gets.
  Answer PayAt(const Json& session, const std::string& outcome,
               const std::string& rest = "email=ann%40buyer.example") {
    return Ask("POST", "/checkout/pay/" + Text(session, "id"), "outcome=" + outcome + "&" + rest);
  }
  // A subscription of 29 dollars a month, bought. Its id.
  std::string Subscribe(const std::string& outcome = "paid", const std::string& rest = "") {
    const Json session = OpenSession(MakePrice(), rest);
    EXPECT_EQ(PayAt(session, outcome).status, 303);
    return Text(Get("/v1/checkout/sessions/" + Text(session, "id")), "subscription");
  }
  Json Subscription(const std::string& id, const std::string& expand = "") {
    return Get("/v1/subscriptions/" + id + (expand.empty() ? "" : "?expand[]=" + expand));
  }
  void Advance(int64_t seconds) {
    Post("/_test/advance?seconds=" + std::to_string(seconds));
    moved += seconds;
  }
  // The types of all that happened since the last call, oldest first.
  std::vector<std::string> NewEvents() {
    std::vector<std::string> types;
    std::string newest = seen;
    for (std::string cursor;;) {
      const Json page =
          Get("/v1/events?limit=100" + (cursor.empty() ? "" : "&starting_after=" + cursor));
      for (const Json& event : Items(page)) {
        cursor = Text(event, "id");
        if (newest == seen) newest = cursor;
        if (cursor == seen) {
          seen = newest;
          return types;
        }
        types.insert(types.begin(), Text(event, "type"));
      }
      if (!sandbox::stripe::IsTrue(page, "has_more")) break;
    }
    seen = newest;
    return types;
  }

  SteppedClock clock;
  SeededRng rng{7};
  sandbox::StripeDouble stripe{clock, rng};
  int64_t moved = 0;
  std::string seen;
};

}  // namespace pontage::testing
