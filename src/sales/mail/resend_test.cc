#include "sales/mail/resend.h"

#include <deque>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/json.h"
#include "io/fork.h"
#include "testing/expect.h"
#include "testing/http_fixtures.h"

namespace pontage::mail {
namespace {

using codec::Json;
using testing::FailsWith;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::RawPeer;

constexpr char kKey[] = "re_a_secret_key";

Mail Sample(std::string key = "license:lic_1") {
  Mail mail;
  mail.from = "Example <keys@example.com>";
  mail.to = "ann@buyer.example";
  mail.subject = "Größe";
  mail.text = "text\n";
  mail.html = "<p>html</p>";
  mail.dedup_key = std::move(key);
  return mail;
}

// Asks a server that answers one request after the other with what a test has laid ready.
class ResendTest : public testing::UpstreamFixture {
 protected:
  struct Asked {
    net::RequestHead head;
    std::string body;
  };
  struct Ready {
    int status = 200;
    std::string body = R"({"id":"49a3999c"})";
    std::vector<std::pair<std::string, std::string>> fields = {};
  };

  ResendTest()
      : server_(loop_, {},
                [this](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
                  return Answer(head, body, out);
                }) {
    EXPECT_THAT(server_.Listen("127.0.0.1:0"), IsOk());
  }

  Task<> Answer(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    Asked asked;
    asked.head = head;
    PTG_CO_TRY(asked.body, co_await net::ReadAll(body, 1 << 20, Soon()));
    asked_.push_back(std::move(asked));
    Ready ready;
    if (!ready_.empty()) {
      ready = std::move(ready_.front());
      ready_.pop_front();
    }
    net::ResponseHead answer;
    answer.status = ready.status;
    for (const auto& [name, value] : ready.fields) answer.headers.Add(name, value);
    PTG_CO_RUN(co_await out.Head(std::move(answer), ready.body.size()));
    PTG_CO_RUN(co_await out.Write(ready.body));
    co_return co_await out.End();
  }

  std::unique_ptr<Resend> To(uint16_t port) {
    auto made = Resend::Make({.api_base = "http://127.0.0.1:" + std::to_string(port) + "/api/",
                              .api_key = Secret(kKey),
                              .version = "1.2.3"});
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
  Attempt Send(Resend& resend, const Mail& mail, Millis time = 5s) {
    const auto attempt = loop_.RunUntilDone(resend.Send(mail, Deadline::In(loop_.clock(), time)));
    EXPECT_THAT(attempt, IsOk());
    return attempt.value_or(Attempt{});
  }

  net::Server server_;
  std::deque<Ready> ready_;
  std::vector<Asked> asked_;
};

TEST_F(ResendTest, AsksAsItsPagesSay) {
  const auto resend = To(server_.port());
  const Attempt attempt = Send(*resend, Sample());
  EXPECT_EQ(attempt.outcome, Outcome::kSent);
  EXPECT_EQ(attempt.provider_id, "49a3999c");
  ASSERT_EQ(asked_.size(), 1u);
  const net::RequestHead& head = asked_[0].head;
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/api/emails");
  EXPECT_EQ(head.headers.Get("authorization"), "Bearer re_a_secret_key");
  EXPECT_EQ(head.headers.Get("user-agent"), "pontage/1.2.3");
  EXPECT_EQ(head.headers.Get("idempotency-key"), "license:lic_1");
  EXPECT_EQ(head.headers.Get("content-type"), "application/json");
  EXPECT_EQ(head.headers.Get("x-batch-validation"), std::nullopt);
  EXPECT_EQ(asked_[0].body,
            R"({"from":"Example <keys@example.com>","to":["ann@buyer.example"],"subject":"Größe",)"
            R"("text":"text\n","html":"<p>html</p>"})");
}

TEST_F(ResendTest, TheSameMailIsTheSameBytes) {
  const auto resend = To(server_.port());
  Send(*resend, Sample());
  Send(*resend, Sample());
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[0].body, asked_[1].body);
}

TEST_F(ResendTest, SeveralLeaveInOneCall) {
  ready_.push_back({.body = R"({"data":[{"id":"a"},{"id":"b"}]})"});
  const auto resend = To(server_.port());
  const std::vector<Mail> mails = {Sample("k:1"), Sample("k:2")};
  const auto together = loop_.RunUntilDone(resend->SendTogether(mails, "batch:7", Soon()));
  ASSERT_THAT(together, IsOk());
  EXPECT_EQ(together->attempt.outcome, Outcome::kSent);
  EXPECT_EQ(together->ids, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].head.target, "/api/emails/batch");
  EXPECT_EQ(asked_[0].head.headers.Get("idempotency-key"), "batch:7");
  EXPECT_EQ(asked_[0].head.headers.Get("x-batch-validation"), "strict");
  const auto body = codec::ParseJson(asked_[0].body);
  ASSERT_THAT(body, IsOk());
  EXPECT_EQ(body->AsArray()->size(), 2u);
}

TEST_F(ResendTest, AnotherNumberOfIdsIsNoSuccess) {
  ready_.push_back({.body = R"({"data":[{"id":"a"}]})"});
  const auto resend = To(server_.port());
  const std::vector<Mail> mails = {Sample("k:1"), Sample("k:2")};
  const auto together = loop_.RunUntilDone(resend->SendTogether(mails, "batch:7", Soon()));
  ASSERT_THAT(together, IsOk());
  EXPECT_EQ(together->attempt.outcome, Outcome::kRetry);
  EXPECT_FALSE(together->attempt.untaken) << "they may all have left";
}

TEST_F(ResendTest, WhereNobodyListensNothingWasTaken) {
  uint16_t port = 0;
  {
    net::Server gone(loop_, {}, testing::Tell);
    ASSERT_THAT(gone.Listen("127.0.0.1:0"), IsOk());
    port = gone.port();
  }
  const auto resend = To(port);
  const Attempt attempt = Send(*resend, Sample());
  EXPECT_EQ(attempt.outcome, Outcome::kRetry);
  EXPECT_TRUE(attempt.untaken);
}

TEST_F(ResendTest, AHangUpOrASilenceMayHaveTakenIt) {
  Upstream([](RawPeer& peer, int n) -> Task<> {
    PTG_CO_RUN(co_await peer.ReadUntil("\r\n\r\n"));
    if (n == 1) peer.socket().Close();
    if (n > 1) PTG_CO_RUN(co_await Sleep(10s));
    co_return {};
  });
  const auto resend = To(listener_.port());
  for (int i = 0; i < 2; ++i) {
    const Attempt attempt = Send(*resend, Sample(), 500ms);
    EXPECT_EQ(attempt.outcome, Outcome::kRetry);
    EXPECT_FALSE(attempt.untaken) << i;
  }
}

TEST_F(ResendTest, WhoWasToldToWaitWaits) {
  ready_.push_back({.status = 429,
                    .body = R"({"statusCode":429,"name":"rate_limit_exceeded","message":"slow"})",
                    .fields = {{"retry-after", "1"}}});
  const auto resend = To(server_.port());
  const Attempt first = Send(*resend, Sample());
  EXPECT_EQ(first.outcome, Outcome::kRetry);
  EXPECT_TRUE(first.untaken);
  EXPECT_EQ(first.after, 1s);
  const SteadyMs before = loop_.clock().Steady();
  EXPECT_EQ(Send(*resend, Sample()).outcome, Outcome::kSent);
  EXPECT_GE(loop_.clock().Steady() - before, 900ms);
}

TEST_F(ResendTest, AWaitThatIsTooLongIsNotSatThrough) {
  ready_.push_back({.status = 429, .body = "{}", .fields = {{"retry-after", "300"}}});
  const auto resend = To(server_.port());
  Send(*resend, Sample());
  const Attempt second = Send(*resend, Sample());
  EXPECT_EQ(second.outcome, Outcome::kRetry);
  EXPECT_TRUE(second.untaken);
  EXPECT_GT(second.after, 290s);
  EXPECT_EQ(asked_.size(), 1u);
}

// Each of Resend's names, and statuses that come without one.
TEST(ResendAnswer, SaysWhatIsToBeDone) {
  const struct {
    int status;
    const char* name;
    Outcome outcome;
    bool untaken;
    Millis after;
  } cases[] = {
      {429, "rate_limit_exceeded", Outcome::kRetry, true, 1s},
      {429, "daily_quota_exceeded", Outcome::kPark, true, Millis(3'600'000)},
      {429, "monthly_quota_exceeded", Outcome::kPark, true, Millis(21'600'000)},
      {409, "concurrent_idempotent_requests", Outcome::kRetry, false, 1s},
      {409, "invalid_idempotent_request", Outcome::kDead, false, 0ms},
      {400, "invalid_idempotency_key", Outcome::kDead, true, 0ms},
      {422, "validation_error", Outcome::kDead, true, 0ms},
      {422, "missing_required_field", Outcome::kDead, true, 0ms},
      {401, "missing_api_key", Outcome::kAlarm, true, 0ms},
      {401, "restricted_api_key", Outcome::kAlarm, true, 0ms},
      {403, "invalid_api_key", Outcome::kAlarm, true, 0ms},
      {403, "validation_error", Outcome::kAlarm, true, 0ms},
      {403, "", Outcome::kAlarm, true, 0ms},
      {404, "not_found", Outcome::kAlarm, true, 0ms},
      {405, "method_not_allowed", Outcome::kAlarm, true, 0ms},
      {451, "security_error", Outcome::kAlarm, true, 0ms},
      {408, "", Outcome::kRetry, false, 0ms},
      {413, "", Outcome::kDead, true, 0ms},
      {500, "application_error", Outcome::kRetry, false, 0ms},
      {502, "", Outcome::kRetry, false, 0ms},
      {503, "", Outcome::kRetry, false, 0ms},
      {302, "", Outcome::kRetry, false, 0ms},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::to_string(c.status) + " " + c.name);
    Json json = Json::Object({{"statusCode", c.status}, {"message", "because\nof this"}});
    if (*c.name != '\0') json.Set("name", c.name);
    const Attempt attempt = ReadResendAnswer(c.status, {}, codec::ToString(json)).attempt;
    EXPECT_EQ(attempt.outcome, c.outcome);
    EXPECT_EQ(attempt.untaken, c.untaken);
    EXPECT_EQ(attempt.after, c.after);
    EXPECT_EQ(attempt.said, "because of this");
    EXPECT_THAT(attempt.why, HasSubstr(std::to_string(c.status)));
  }
}

TEST(ResendAnswer, IsNotBelievedFurtherThanItGoes) {
  // A success that names no mail, or one whose name is none, is asked for again.
  for (const char* body : {"", "{}", "[]", "<html>", R"({"id":7})", R"({"id":""})",
                           R"({"id":"a\r\nb"})", R"({"data":[{"id":"a"},{}]})"}) {
    const ResendAnswer answer = ReadResendAnswer(200, {}, body);
    EXPECT_EQ(answer.attempt.outcome, Outcome::kRetry) << body;
    EXPECT_FALSE(answer.attempt.untaken) << body;
    EXPECT_TRUE(answer.ids.empty()) << body;
  }
  // What somebody says is one short line, and not for the log.
  const std::string long_text(5'000, 'x');
  const Attempt said = ReadResendAnswer(500, {}, "<html>\r\n\xff" + long_text).attempt;
  EXPECT_EQ(said.said.size(), kMaxSaid);
  EXPECT_THAT(said.said, HasSubstr("<html>  ?x"));
  EXPECT_EQ(said.why, "500");
  EXPECT_EQ(ReadResendAnswer(422, {}, R"({"name":"a b\n"})").attempt.why, "422");
}

TEST(ResendPace, SpreadsCallsOverSeconds) {
  Pace pace;
  SteadyMs now(10'000);
  EXPECT_EQ(pace.Take(now), 0ms);
  EXPECT_EQ(pace.Take(now), 0ms);
  EXPECT_EQ(pace.Take(now), 1'000ms);
  EXPECT_EQ(pace.Take(now + 400ms), 600ms);
  EXPECT_EQ(pace.Take(now + 400ms), 1'600ms);
  now = now + 10'000ms;
  EXPECT_EQ(pace.Take(now), 0ms);
  // Its answers say that ten a second are allowed.
  net::Headers headers;
  headers.Add("ratelimit-limit", "10");
  headers.Add("ratelimit-remaining", "9");
  headers.Add("ratelimit-reset", "1");
  pace.Heard(200, headers, now);
  now = now + 1'000ms;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pace.Take(now), 0ms) << i;
  EXPECT_EQ(pace.Take(now), 1'000ms);
}

TEST(ResendPace, StopsWhenNothingIsLeft) {
  Pace pace;
  const SteadyMs now(10'000);
  net::Headers headers;
  headers.Add("ratelimit-limit", "100");
  headers.Add("ratelimit-remaining", "0");
  headers.Add("ratelimit-reset", "30");
  pace.Heard(200, headers, now);
  EXPECT_EQ(pace.Take(now), 30'000ms);
  EXPECT_EQ(pace.Take(now + 31'000ms), 0ms);
  pace.Heard(429, {}, now + 31'000ms);
  EXPECT_EQ(pace.Take(now + 31'000ms), 1'000ms);
}

TEST(ResendPace, ReadsSecondsAndNothingElse) {
  constexpr Millis kMost{60'000};
  EXPECT_EQ(SecondsOf("0", kMost), 0ms);
  EXPECT_EQ(SecondsOf("7", kMost), 7s);
  EXPECT_EQ(SecondsOf("0.25", kMost), 1s);
  EXPECT_EQ(SecondsOf("2.0", kMost), 2s);
  EXPECT_EQ(SecondsOf("99999999999", kMost), kMost);
  for (const char* bad : {"", "-1", "x", "1x", "1.x", "Fri, 31 Dec 1999 23:59:59 GMT", " 1"}) {
    EXPECT_EQ(SecondsOf(bad, kMost), std::nullopt) << bad;
  }
}

TEST(ResendMake, RefusesWhatIsNoUrl) {
  EXPECT_THAT(Resend::Make({.api_base = "resend", .api_key = Secret(kKey), .version = "1"}),
              FailsWith(Code::kConfig));
}

}  // namespace
}  // namespace pontage::mail
