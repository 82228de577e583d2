#include "sandbox/mailbox/mailbox.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "crypto/hmac.h"
#include "io/fork.h"
#include "io/timer.h"
#include "testing/expect.h"
#include "testing/http_fixtures.h"
#include "testing/raw_peer.h"
#include "testing/stepped_clock.h"

namespace pontage::sandbox {
namespace {

using codec::Json;
using ::pontage::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using Answer = Mailbox::Answer;

Json MailJson(std::string to = "ann@buyer.example") {
  return Json::Object({{"from", "Example <keys@example.com>"},
                       {"to", Json::Array({Json(std::move(to))})},
                       {"subject", "Größe <b>"},
                       {"text", "eyJ.license\n<script>"},
                       {"html", "<p>hi</p>"}});
}

class MailboxTest : public ::testing::Test {
 protected:
  Answer Ask(const std::string& method, const std::string& target, const std::string& body = "",
             const std::string& key = "") {
    net::RequestHead head;
    head.method = method;
    head.target = target;
    head.headers.Add("User-Agent", "test");
    head.headers.Add("Authorization", "Bearer re_1");
    if (!key.empty()) head.headers.Add("Idempotency-Key", key);
    return mailbox_.Ask(head, body);
  }
  Answer Post(const Json& mail, const std::string& key = "") {
    return Ask("POST", "/emails", codec::ToString(mail), key);
  }
  void Control(const std::string& what, const std::string& body) {
    const Answer answer = Ask("POST", "/_test/" + what, body);
    EXPECT_EQ(answer.status, 200) << answer.body;
  }
  static Json Read(const Answer& answer) {
    const auto json = codec::ParseJson(answer.body, {.max_bytes = kMaxMailboxBody});
    EXPECT_THAT(json, IsOk()) << answer.body;
    return json.value_or(Json());
  }
  static std::string Text(const Json& json, std::string_view key) {
    const Json* const member = json.Find(key);
    return member != nullptr && member->AsString() != nullptr ? *member->AsString() : "";
  }
  // The status and Resend's name for it.
  static std::string Refusal(const Answer& answer) {
    return std::to_string(answer.status) + " " + Text(Read(answer), "name");
  }

  ::pontage::testing::SteppedClock clock_;
  SeededRng rng_{1};
  Mailbox mailbox_{clock_, rng_};
};

TEST_F(MailboxTest, AMailIsTakenAndReadAgain) {
  const Answer posted = Post(MailJson());
  EXPECT_EQ(posted.status, 200);
  const std::string id = Text(Read(posted), "id");
  EXPECT_THAT(id, MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                               "[0-9a-f]{12}"));
  const Json one = Read(Ask("GET", "/emails/" + id));
  EXPECT_EQ(Text(one, "object"), "email");
  EXPECT_EQ(Text(one, "text"), "eyJ.license\n<script>");
  EXPECT_EQ(Text(one, "html"), "<p>hi</p>");
  EXPECT_EQ(Text(one, "last_event"), "delivered");
  EXPECT_EQ(Text(one, "created_at"), clock_.Now().Rfc3339());
  EXPECT_EQ(*one.Find("to"), Json::Array({"ann@buyer.example"}));
  EXPECT_EQ(Refusal(Ask("GET", "/emails/nothing")), "404 not_found");
}

TEST_F(MailboxTest, TheListIsNewestFirstAndBounded) {
  for (int i = 0; i < 25; ++i) Post(MailJson("a" + std::to_string(i) + "@b.c"));
  const Json list = Read(Ask("GET", "/emails"));
  EXPECT_EQ(list.Find("data")->AsArray()->size(), 20u);
  EXPECT_TRUE(*list.Find("has_more")->AsBool());
  const Json& newest = list.Find("data")->AsArray()->at(0);
  EXPECT_EQ(*newest.Find("to"), Json::Array({"a24@b.c"}));
  EXPECT_EQ(Text(newest, "text"), "eyJ.license\n<script>");
  const Json last = list.Find("data")->AsArray()->back();
  const Json rest = Read(Ask("GET", "/emails?limit=3&after=" + Text(last, "id")));
  EXPECT_EQ(*rest.Find("data")->AsArray()->at(0).Find("to"), Json::Array({"a4@b.c"}));
  EXPECT_EQ(rest.Find("data")->AsArray()->size(), 3u);
  EXPECT_TRUE(*rest.Find("has_more")->AsBool());
  EXPECT_EQ(Refusal(Ask("GET", "/emails?after=nothing")), "422 validation_error");
  const Json all = Read(Ask("GET", "/emails?limit=100"));
  EXPECT_EQ(all.Find("data")->AsArray()->size(), 25u);
  EXPECT_FALSE(*all.Find("has_more")->AsBool());
}

TEST_F(MailboxTest, ABatchIsAllOrNothing) {
  Json batch = Json::Array({MailJson("a@b.c"), MailJson("d@e.f")});
  const Json ids = Read(Ask("POST", "/emails/batch", codec::ToString(batch)));
  ASSERT_NE(ids.Find("data"), nullptr);
  EXPECT_EQ(ids.Find("data")->AsArray()->size(), 2u);
  EXPECT_THAT(mailbox_.Mails(), SizeIs(2));
  Json bad = MailJson();
  bad.Remove("subject");
  batch.Push(std::move(bad));
  EXPECT_EQ(Refusal(Ask("POST", "/emails/batch", codec::ToString(batch))),
            "422 missing_required_field");
  EXPECT_EQ(Refusal(Ask("POST", "/emails/batch", "[]")), "422 validation_error");
  EXPECT_EQ(Refusal(Ask("POST", "/emails/batch", "{}")), "422 validation_error");
  EXPECT_THAT(mailbox_.Mails(), SizeIs(2));
}

TEST_F(MailboxTest, AKeyIsOneMailForADay) {
  const Answer first = Post(MailJson(), "license:1");
  const Answer again = Post(MailJson(), "license:1");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_THAT(mailbox_.Mails(), SizeIs(1));
  EXPECT_EQ(Refusal(Post(MailJson("other@b.c"), "license:1")), "409 invalid_idempotent_request");
  EXPECT_EQ(Refusal(Post(MailJson(), std::string(257, 'k'))), "400 invalid_idempotency_key");
  clock_.Advance(Mailbox::kKeyAge - 1ms);
  EXPECT_EQ(Post(MailJson(), "license:1").body, first.body);
  clock_.Advance(1ms);
  EXPECT_NE(Post(MailJson(), "license:1").body, first.body);
  EXPECT_THAT(mailbox_.Mails(), SizeIs(2));
}

TEST_F(MailboxTest, WhatIsMissingIsNamed) {
  const struct {
    const char* field;
    Json value;  // null: left out
    const char* want;
  } cases[] = {
      {"from", nullptr, "422 missing_required_field"},
      {"to", nullptr, "422 missing_required_field"},
      {"subject", nullptr, "422 missing_required_field"},
      {"from", "no address", "422 validation_error"},
      {"to", "no address", "422 validation_error"},
      {"to", Json::Array(), "422 validation_error"},
      {"to", Json::Array({7}), "422 validation_error"},
      {"to", "a@b.c\r\nBcc: x@y.z", "422 validation_error"},
      {"from", "a@b.c\nX: y", "422 validation_error"},
      {"subject", "a\r\nBcc: x@y.z", "422 validation_error"},
      {"subject", 7, "422 validation_error"},
  };
  for (const auto& c : cases) {
    Json mail = MailJson();
    mail.Set(c.field, c.value);
    const Answer answer = Post(mail);
    EXPECT_EQ(Refusal(answer), c.want) << c.field << " " << answer.body;
    EXPECT_THAT(Text(Read(answer), "message"), HasSubstr("`" + std::string(c.field) + "`"));
  }
  Json mail = MailJson();
  mail.Remove("text");
  EXPECT_EQ(Post(mail).status, 200) << "html alone will do";
  mail.Remove("html");
  EXPECT_EQ(Refusal(Post(mail)), "422 missing_required_field");
  EXPECT_EQ(Refusal(Ask("POST", "/emails", "{")), "422 validation_error");
  EXPECT_EQ(Refusal(Ask("DELETE", "/emails")), "405 method_not_allowed");
}

TEST_F(MailboxTest, WhoDoesNotSayWhoHeIsIsSentAway) {
  net::RequestHead head;
  head.method = "POST";
  head.target = "/emails";
  head.headers.Add("Authorization", "Bearer re_1");
  const Answer nameless = mailbox_.Ask(head, codec::ToString(MailJson()));
  EXPECT_EQ(nameless.status, 403);
  EXPECT_EQ(nameless.body, "error code: 1010");
  head.headers.Add("User-Agent", "test");
  EXPECT_EQ(mailbox_.Ask(head, codec::ToString(MailJson())).status, 200);
  for (const char* key : {"", "Bearer ", "Basic cmU6"}) {
    head.headers.Set("Authorization", key);
    EXPECT_EQ(Refusal(mailbox_.Ask(head, codec::ToString(MailJson()))), "401 missing_api_key");
  }
}

TEST_F(MailboxTest, FaultsComeInTheirOrder) {
  Control("fail_next", R"({"count":2})");
  Control("fail_next", R"({"status":429,"name":"rate_limit_exceeded","retry_after":3})");
  EXPECT_EQ(Refusal(Post(MailJson())), "500 application_error");
  EXPECT_EQ(Refusal(Post(MailJson())), "500 application_error");
  const Answer limited = Post(MailJson());
  EXPECT_EQ(Refusal(limited), "429 rate_limit_exceeded");
  EXPECT_EQ(limited.headers.Get("retry-after"), "3");
  EXPECT_THAT(mailbox_.Mails(), IsEmpty());
  EXPECT_EQ(Post(MailJson()).status, 200);
}

TEST_F(MailboxTest, AnAnswerCanBeLostAfterTheMailWasTaken) {
  Control("fail_next", R"({"accept":true})");
  EXPECT_EQ(Post(MailJson(), "k").status, 500);
  EXPECT_THAT(mailbox_.Mails(), SizeIs(1));
  EXPECT_EQ(Post(MailJson(), "k").status, 200);
  EXPECT_THAT(mailbox_.Mails(), SizeIs(1)) << "the key is known";
}

TEST_F(MailboxTest, WhoHangsIsStillAtWork) {
  Control("hang", R"({"ms":5000})");
  const Answer slow = Post(MailJson(), "k");
  EXPECT_EQ(slow.wait, 5s);
  EXPECT_EQ(slow.status, 200);
  EXPECT_EQ(Refusal(Post(MailJson(), "k")), "409 concurrent_idempotent_requests");
  clock_.Advance(5s);
  EXPECT_EQ(Post(MailJson(), "k").body, slow.body);
}

TEST_F(MailboxTest, TheRateIsKept) {
  Control("rate_limit", R"({"per_second":2})");
  const Answer first = Post(MailJson());
  EXPECT_EQ(first.headers.Get("ratelimit-limit"), "2");
  EXPECT_EQ(first.headers.Get("ratelimit-remaining"), "1");
  EXPECT_EQ(Post(MailJson()).status, 200);
  const Answer third = Post(MailJson());
  EXPECT_EQ(Refusal(third), "429 rate_limit_exceeded");
  EXPECT_EQ(third.headers.Get("retry-after"), "1");
  clock_.Advance(1s);
  EXPECT_EQ(Post(MailJson()).status, 200);
}

TEST_F(MailboxTest, AnAddressThatIsMendedBouncesNoMore) {
  Control("bounce", R"({"address":"Ann@buyer.example"})");
  Control("bounce", R"({"address":"ann@buyer.example","type":"none"})");
  const std::string id = Text(Read(Post(MailJson("ann@buyer.example"))), "id");
  EXPECT_EQ(Text(Read(Ask("GET", "/emails/" + id)), "last_event"), "delivered");
}

TEST_F(MailboxTest, ABounceIsToldAsResendTellsIt) {
  Control("webhook", R"({"url":"http://127.0.0.1:1/hook",)"
                     R"("secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})");
  Control("bounce", R"({"address":"Nobody@buyer.example"})");
  Control("bounce", R"({"address":"angry@buyer.example","type":"complaint"})");
  const std::string id = Text(Read(Post(MailJson("Nobody <nobody@BUYER.example>"))), "id");
  Post(MailJson("ann@buyer.example"));
  Post(MailJson("angry@buyer.example"));
  EXPECT_EQ(Text(Read(Ask("GET", "/emails/" + id)), "last_event"), "bounced");
  const auto notices = mailbox_.TakeNotices();
  ASSERT_THAT(notices, SizeIs(2));
  EXPECT_EQ(notices[0].url, "http://127.0.0.1:1/hook");
  const auto event = codec::ParseJson(notices[0].body);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(Text(*event, "type"), "email.bounced");
  const Json& data = *event->Find("data");
  EXPECT_EQ(Text(data, "email_id"), id);
  EXPECT_EQ(*data.Find("to"), Json::Array({"nobody@BUYER.example"}));
  EXPECT_EQ(Text(*data.Find("bounce"), "type"), "Permanent");
  const std::string text = std::string(*notices[0].headers.Get("svix-id")) + "." +
                           std::string(*notices[0].headers.Get("svix-timestamp")) + "." +
                           notices[0].body;
  const auto key = codec::DecodeBase64("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_EQ(
      notices[0].headers.Get("svix-signature"),
      "v1," + codec::EncodeBase64(crypto::HmacSha256(codec::AsBytes(*key), codec::AsBytes(text))));
  EXPECT_THAT(notices[1].body, HasSubstr(R"("type":"email.complained")"));
  EXPECT_THAT(mailbox_.TakeNotices(), IsEmpty());
}

TEST_F(MailboxTest, AKnobThatIsNoneSaysSo) {
  EXPECT_EQ(Ask("POST", "/_test/nothing", "{}").status, 404);
  EXPECT_EQ(Ask("GET", "/_test/hang").status, 405);
  for (const char* bad : {"{", "[]", R"({"count":0})", R"({"count":"1"})", R"({"status":200})",
                          R"({"count":100000})"}) {
    EXPECT_EQ(Ask("POST", "/_test/fail_next", bad).status, 400) << bad;
  }
  EXPECT_EQ(Ask("POST", "/_test/bounce", R"({"address":"a@b.c","type":"x"})").status, 400);
  EXPECT_EQ(Ask("POST", "/_test/webhook", R"({"url":"x","secret":"whsec_AAAA"})").status, 400);
  Post(MailJson(), "k");
  EXPECT_EQ(Ask("GET", "/_test/state").body, R"({"requests":1,"mails":1,"keys":1})");
  Control("reset", "");
  EXPECT_EQ(Ask("GET", "/_test/state").body, R"({"requests":0,"mails":0,"keys":0})");
}

TEST_F(MailboxTest, WhatPeopleSeeIsText) {
  EXPECT_THAT(Ask("GET", "/").body, HasSubstr("No mail yet"));
  const std::string id = Text(Read(Post(MailJson())), "id");
  const Answer list = Ask("GET", "/");
  EXPECT_EQ(list.type, "text/html; charset=utf-8");
  EXPECT_THAT(list.body, HasSubstr("<a href=\"/mail/" + id + "\">Größe &lt;b&gt;</a>"));
  const Answer page = Ask("GET", "/mail/" + id);
  EXPECT_THAT(page.body, HasSubstr("<pre>eyJ.license\n&lt;script&gt;</pre>"));
  EXPECT_THAT(page.body, HasSubstr("&lt;p&gt;hi&lt;/p&gt;"));
  for (const Answer& answer : {list, page}) {
    EXPECT_THAT(answer.body, Not(HasSubstr("<script")));
    EXPECT_THAT(answer.body, Not(HasSubstr("<b>")));
    EXPECT_EQ(answer.headers.Get("content-security-policy"),
              "default-src 'none'; style-src 'unsafe-inline'");
  }
  EXPECT_EQ(Ask("GET", "/mail/nothing").status, 404);
  EXPECT_EQ(Ask("GET", "/somewhere").status, 404);
}

TEST_F(MailboxTest, TheOldestGo) {
  for (size_t i = 0; i < Mailbox::kMostMails + 5; ++i) {
    Post(MailJson("a" + std::to_string(i) + "@b.c"));
  }
  const auto mails = mailbox_.Mails();
  ASSERT_THAT(mails, SizeIs(Mailbox::kMostMails));
  EXPECT_EQ(mails.front().to, std::vector<std::string>{"a5@b.c"});
}

// Over sockets: the API by our own client, SMTP by bytes.
class MailboxServerTest : public ::testing::Test {
 protected:
  MailboxServerTest() : server_(loop_, {}, MailboxHandler(mailbox_)) {
    EXPECT_THAT(server_.Listen("127.0.0.1:0"), IsOk());
    const auto address = SocketAddress::ParseListen("127.0.0.1:0");
    auto listener = Listener::Open(loop_, *address);
    EXPECT_THAT(listener, IsOk());
    if (listener) listener_ = *std::move(listener);
    smtp_.Start(RunSmtp(mailbox_, listener_));
  }
  ~MailboxServerTest() override {
    smtp_.Stop();
    loop_.DropSpawned();
  }

  Task<net::Client::Whole> Fetch(std::string method, std::string target, std::string body) {
    net::Client client(loop_);
    const net::Url url{.tls = false, .host = "127.0.0.1", .port = server_.port(), .path = "/"};
    net::RequestHead head;
    head.method = std::move(method);
    head.target = std::move(target);
    head.headers.Add("User-Agent", "test");
    head.headers.Add("Authorization", "Bearer re_1");
    co_return co_await client.Fetch(url, std::move(head), std::move(body), 1 << 20,
                                    Deadline::In(loop_.clock(), 10s));
  }
  net::Client::Whole MustFetch(std::string method, std::string target, std::string body = "") {
    auto whole = loop_.RunUntilDone(Fetch(std::move(method), std::move(target), std::move(body)));
    EXPECT_THAT(whole, IsOk());
    return whole ? *std::move(whole) : net::Client::Whole{};
  }
  // Says `lines`, and gives all that comes back up to the end of the connection.
  std::string Smtp(const std::string& lines) {
    const auto run = [&]() -> Task<std::string> {
      ::pontage::testing::RawPeer peer(loop_);
      PTG_CO_RUN(co_await peer.Connect(listener_.port()));
      PTG_CO_RUN(co_await peer.Send(lines));
      co_return co_await peer.ReadToEnd();
    };
    const auto heard = loop_.RunUntilDone(run());
    EXPECT_THAT(heard, IsOk());
    return heard.value_or("");
  }

  Loop loop_;
  Mailbox mailbox_{Clock::System()};
  net::Server server_;
  Listener listener_;
  Fork smtp_;
};

const std::string kByHand =
    "EHLO me\r\nMAIL FROM:<keys@example.com>\r\nRCPT TO:<ann@buyer.example>\r\nDATA\r\n"
    "From: Example <keys@example.com>\r\nSubject: by hand\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

TEST_F(MailboxServerTest, BothWaysLeadToTheSamePlace) {
  const auto posted = MustFetch("POST", "/emails", codec::ToString(MailJson()));
  EXPECT_EQ(posted.head.status, 200);
  EXPECT_THAT(Smtp(kByHand), HasSubstr("250 2.0.0 Ok: queued as "));
  const auto list = MustFetch("GET", "/emails");
  EXPECT_EQ(list.head.headers.Get("content-type"), "application/json");
  EXPECT_THAT(list.body, HasSubstr("by hand"));
  const auto mails = mailbox_.Mails();
  ASSERT_THAT(mails, SizeIs(2));
  EXPECT_EQ(mails[1].via, "smtp");
  EXPECT_EQ(mails[1].subject, "by hand");
  EXPECT_EQ(mails[1].text, ".dot\n");
  EXPECT_EQ(mails[1].to, std::vector<std::string>{"ann@buyer.example"});
  EXPECT_THAT(MustFetch("GET", "/mail/" + mails[1].id + "/raw").body,
              HasSubstr("\r\n\r\n.dot\r\n"));
}

TEST_F(MailboxServerTest, SmtpFailsToOrderToo) {
  MustFetch("POST", "/_test/fail_next", R"({"smtp":true})");
  EXPECT_THAT(Smtp(kByHand), HasSubstr("451 4.3.0 Ordered by"));
  EXPECT_THAT(mailbox_.Mails(), IsEmpty());
  MustFetch("POST", "/_test/bounce", R"({"address":"ann@buyer.example"})");
  EXPECT_THAT(Smtp(kByHand), HasSubstr("550 5.1.1 "));
  EXPECT_THAT(mailbox_.Mails(), IsEmpty());
  MustFetch("POST", "/_test/reset");
  EXPECT_THAT(Smtp(kByHand), HasSubstr("250 2.0.0 Ok: queued"));
}

TEST_F(MailboxServerTest, AHangTakesItsTime) {
  MustFetch("POST", "/_test/hang", R"({"ms":300})");
  const SteadyMs before = loop_.clock().Steady();
  EXPECT_EQ(MustFetch("POST", "/emails", codec::ToString(MailJson())).head.status, 200);
  EXPECT_GE(loop_.clock().Steady() - before, 290ms);
}

TEST_F(MailboxServerTest, TooMuchIsRefused) {
  EXPECT_EQ(MustFetch("POST", "/emails", std::string(kMaxMailboxBody + 1, ' ')).head.status, 413);
}

// An event of a bounce arrives where the knob says.
TEST_F(MailboxServerTest, EventsArePosted) {
  std::string seen;
  net::Server hook(
      loop_, {},
      [&seen](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) -> Task<> {
        PTG_CO_TRY(seen, co_await net::ReadAll(body, 1 << 20, Deadline::Never()));
        seen = head.target + " " + seen;
        net::ResponseHead ok;
        ok.status = 200;
        PTG_CO_RUN(co_await out.Head(std::move(ok), 0));
        co_return co_await out.End();
      });
  ASSERT_THAT(hook.Listen("127.0.0.1:0"), IsOk());
  MustFetch("POST", "/_test/webhook",
            R"({"url":"http://127.0.0.1:)" + std::to_string(hook.port()) +
                R"(/hook","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})");
  MustFetch("POST", "/_test/bounce", R"({"address":"ann@buyer.example"})");
  MustFetch("POST", "/emails", codec::ToString(MailJson()));
  const auto wait = [&]() -> Task<> {
    for (int i = 0; i < 200 && seen.empty(); ++i) PTG_CO_RUN(co_await Sleep(10ms));
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(wait()), IsOk());
  EXPECT_THAT(seen, HasSubstr("/hook "));
  EXPECT_THAT(seen, HasSubstr("email.bounced"));
}

}  // namespace
}  // namespace pontage::sandbox
