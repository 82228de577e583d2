#include "sales/mail/bounces.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "codec/base64.h"
#include "crypto/hmac.h"
#include "net/client.h"
#include "sales/mail/mail_outbox.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::mail {
namespace {

using ::testing::ElementsAre;
using testing::FailsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using What = MailEvent::What;

// The vector of the Standard Webhooks specification.
constexpr char kSecret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
constexpr char kId[] = "msg_p5jXN8AQM9LWM0D4loKWxJek";
constexpr int64_t kAt = 1'614'265'330;

std::string Sign(const std::string& id, int64_t at, const std::string& body,
                 std::string_view secret = kSecret) {
  const auto key = codec::DecodeBase64(secret.substr(6));
  const std::string text = id + "." + std::to_string(at) + "." + body;
  return "v1," +
         codec::EncodeBase64(crypto::HmacSha256(codec::AsBytes(*key), codec::AsBytes(text)));
}

net::Headers Fields(const std::string& id, int64_t at, const std::string& signature,
                    const std::string& prefix = "svix-") {
  net::Headers headers;
  headers.Add(prefix + "id", id);
  headers.Add(prefix + "timestamp", std::to_string(at));
  headers.Add(prefix + "signature", signature);
  return headers;
}

ResendWebhook Webhook(std::initializer_list<const char*> secrets = {kSecret}) {
  std::vector<Secret> list;
  for (const char* secret : secrets) list.emplace_back(std::string(secret));
  auto made = ResendWebhook::Make(list);
  EXPECT_THAT(made, IsOk());
  return *std::move(made);
}

Result<MailEvent> Read(const std::string& body, UnixMs now = UnixMs::FromSeconds(kAt)) {
  return Webhook().Read(Fields(kId, kAt, Sign(kId, kAt, body)), body, now);
}

std::string Bounced(const std::string& to, const std::string& type = "Permanent") {
  return R"({"type":"email.bounced","created_at":"2026-11-21T10:58:00.000Z","data":{)"
         R"("email_id":"49a3999c","from":"Example <keys@example.com>","to":[")" +
         to + R"("],"subject":"Your license","bounce":{"type":")" + type +
         R"(","subType":"General","message":"no such mailbox"}}})";
}

TEST(ResendSignature, TheSpecificationsVectorIsGood) {
  const std::string body = R"({"test": 2432232314})";
  const std::string signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
  EXPECT_EQ(Sign(kId, kAt, body), signature);
  // Signed well, and no event.
  for (const char* prefix : {"svix-", "webhook-"}) {
    EXPECT_THAT(Webhook().Read(Fields(kId, kAt, signature, prefix), body, UnixMs::FromSeconds(kAt)),
                FailsWith(Code::kBadRequest));
  }
}

TEST(ResendSignature, EveryFaultHasTheSameWords) {
  const std::string body = Bounced("ann@buyer.example");
  const std::string good = Sign(kId, kAt, body);
  const UnixMs now = UnixMs::FromSeconds(kAt);
  std::string flipped = good;
  flipped[10] = flipped[10] == 'A' ? 'B' : 'A';
  net::Headers twice = Fields(kId, kAt, good);
  twice.Add("svix-id", kId);
  net::Headers both = Fields(kId, kAt, good);
  both.Add("webhook-id", "msg_other");
  net::Headers no_time = Fields(kId, kAt, good);
  no_time.Set("svix-timestamp", "soon");
  const struct {
    const char* name;
    net::Headers headers;
    std::string body;
    UnixMs now;
  } cases[] = {
      {"nothing", {}, body, now},
      {"another body", Fields(kId, kAt, good), body + " ", now},
      {"another id", Fields("msg_other", kAt, good), body, now},
      {"another time", Fields(kId, kAt + 1, good), body, now},
      {"a flipped bit", Fields(kId, kAt, flipped), body, now},
      {"another version", Fields(kId, kAt, "v2," + good.substr(3)), body, now},
      {"no version", Fields(kId, kAt, good.substr(3)), body, now},
      {"cut off", Fields(kId, kAt, good.substr(0, 20)), body, now},
      {"another key",
       Fields(kId, kAt, Sign(kId, kAt, body, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")), body, now},
      {"too old", Fields(kId, kAt, good), body, now + 301s},
      {"too early", Fields(kId, kAt, good), body, now - 301s},
      {"twice", twice, body, now},
      {"two names", both, body, now},
      {"no time", no_time, body, now},
  };
  for (const auto& c : cases) {
    const auto read = Webhook().Read(c.headers, c.body, c.now);
    ASSERT_THAT(read, FailsWith(Code::kUnauthorized)) << c.name;
    EXPECT_EQ(read.error().detail(), "the webhook is not signed as it must be") << c.name;
    EXPECT_TRUE(read.error().pointer().empty()) << c.name;
  }
  EXPECT_THAT(Webhook().Read(Fields(kId, kAt, good), body, now + 300s), IsOk());
  EXPECT_THAT(Webhook().Read(Fields(kId, kAt, good), body, now - 300s), IsOk());
}

TEST(ResendSignature, OneOfSeveralIsEnough) {
  const std::string body = Bounced("ann@buyer.example");
  constexpr char kNew[] = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const std::string list = "v1a,xyz v1,AAAA " + Sign(kId, kAt, body) + " v1,BBBB";
  const ResendWebhook both = Webhook({kNew, kSecret});
  EXPECT_THAT(both.Read(Fields(kId, kAt, list), body, UnixMs::FromSeconds(kAt)), IsOk());
  EXPECT_THAT(
      both.Read(Fields(kId, kAt, Sign(kId, kAt, body, kNew)), body, UnixMs::FromSeconds(kAt)),
      IsOk());
}

TEST(ResendSignature, ASecretThatIsNoneIsRefusedWithoutBeingRepeated) {
  for (const char* bad :
       {"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_?"}) {
    std::vector<Secret> list;
    list.emplace_back(std::string(bad));
    const auto made = ResendWebhook::Make(list);
    ASSERT_THAT(made, FailsWith(Code::kConfig)) << bad;
    if (*bad != '\0') EXPECT_FALSE(made.error().detail().contains(bad));
  }
  EXPECT_THAT(ResendWebhook::Make({}), FailsWith(Code::kConfig));
}

TEST(ResendEvent, IsReadForWhatItMeans) {
  const auto hard = Read(Bounced("Ann <ann@buyer.example>"));
  ASSERT_THAT(hard, IsOk());
  EXPECT_EQ(hard->what, What::kBounced);
  EXPECT_EQ(hard->provider_id, "49a3999c");
  EXPECT_THAT(hard->addresses, ElementsAre("ann@buyer.example"));
  // A full mailbox is there.
  for (const char* type : {"Transient", "Undetermined"}) {
    const auto soft = Read(Bounced("ann@buyer.example", type));
    ASSERT_THAT(soft, IsOk());
    EXPECT_EQ(soft->what, What::kOther);
  }
  const struct {
    const char* type;
    What what;
  } cases[] = {{"email.bounced", What::kBounced},
               {"email.complained", What::kComplained},
               {"email.suppressed", What::kSuppressed},
               {"email.delivered", What::kOther},
               {"email.sent", What::kOther},
               {"email.opened", What::kOther},
               {"domain.created", What::kOther}};
  for (const auto& c : cases) {
    const auto event = Read(std::string(R"({"type":")") + c.type + R"(","data":{"to":["a@b.c"]}})");
    ASSERT_THAT(event, IsOk()) << c.type;
    EXPECT_EQ(event->what, c.what) << c.type;
  }
  for (const char* bad : {"", "[]", "{}", R"({"type":"email.bounced"})", R"({"type":7,"data":{}})",
                          R"({"type":"email.bounced","data":{"to":"a@b.c"}})"}) {
    EXPECT_THAT(Read(bad), FailsWith(Code::kBadRequest)) << bad;
  }
  const auto odd = Read(R"({"type":"email.bounced","data":{"to":["no address",7,"a@b.c"]}})");
  ASSERT_THAT(odd, IsOk());
  EXPECT_THAT(odd->addresses, ElementsAre("a@b.c"));
}

class ResendDoorTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  ResendDoorTest()
      : engine_(GetParam()),
        database_(engine_.OpenMigrated()),
        door_(Webhook(), *database_, clock_, Rng::System()),
        server_(loop_, {},
                [this](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
                  return door_.Handle(head, body, out);
                }) {
    EXPECT_THAT(server_.Listen("127.0.0.1:0"), IsOk());
  }

  net::Client::Whole Ask(std::string method, const std::string& body, bool good = true) {
    const int64_t at = clock_.Now().seconds();
    net::RequestHead head;
    head.method = std::move(method);
    head.target = "/webhooks/resend";
    head.headers = Fields(kId, at, good ? Sign(kId, at, body) : "v1,AAAA");
    const auto run = [&]() -> Task<net::Client::Whole> {
      net::Client client(loop_);
      const net::Url url{.tls = false, .host = "127.0.0.1", .port = server_.port(), .path = "/"};
      co_return co_await client.Fetch(url, head, body, 1 << 20, Deadline::In(loop_.clock(), 10s));
    };
    auto answer = loop_.RunUntilDone(run());
    EXPECT_THAT(answer, IsOk());
    return answer ? *std::move(answer) : net::Client::Whole{};
  }
  std::string ReasonOf(const std::string& address) {
    const auto why = database_->ReadNow([&](db::Tx& tx) { return SuppressedFor(tx, address); });
    EXPECT_THAT(why, IsOk());
    return why->value_or("");
  }

  testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  Loop loop_;
  testing::SteppedClock clock_;
  ResendDoor door_;
  net::Server server_;
};

INSTANTIATE_TEST_SUITE_P(Engines, ResendDoorTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(ResendDoorTest, ABounceIsTakenIntoTheBooksOnce) {
  Mail mail;
  mail.from = "keys@example.com";
  mail.to = "ann@buyer.example";
  mail.subject = "s";
  mail.text = "t";
  mail.dedup_key = "license:1";
  const UnixMs now = clock_.Now();
  ASSERT_THAT(database_->WriteNow([&](db::Tx& tx) -> Result<> {
    PTG_RUN(Enqueue(tx, "mail_1", mail, "lic_1", now));
    PTG_RUN(MarkSent(tx, "mail_1", "resend", "49a3999c", now));
    return {};
  }),
              IsOk());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Ask("POST", Bounced("Ann@Buyer.example")).head.status, 200);
    EXPECT_EQ(ReasonOf("ann@buyer.example"), "bounced");
  }
  const auto rows = database_->ReadNow([](db::Tx& tx) { return ListMails(tx, {}); });
  ASSERT_THAT(rows, IsOk());
  EXPECT_EQ(rows->at(0).state, "bounced");
}

// Resend may be quicker than we are in writing down what it said.
TEST_P(ResendDoorTest, ABounceThatIsToldBeforeItsMailStandsAsSentCounts) {
  Mail mail;
  mail.from = "keys@example.com";
  mail.to = "Ann@buyer.example";
  mail.subject = "s";
  mail.text = "t";
  mail.dedup_key = "license:1";
  const UnixMs now = clock_.Now();
  ASSERT_THAT(
      database_->WriteNow([&](db::Tx& tx) { return Enqueue(tx, "mail_1", mail, "lic_1", now); }),
      IsOk());
  EXPECT_EQ(Ask("POST", Bounced("ann@buyer.example")).head.status, 200);
  ASSERT_THAT(database_->WriteNow(
                  [&](db::Tx& tx) { return MarkSent(tx, "mail_1", "resend", "49a3999c", now); }),
              IsOk());
  const auto rows = database_->ReadNow([](db::Tx& tx) { return ListMails(tx, {}); });
  ASSERT_THAT(rows, IsOk());
  EXPECT_EQ(rows->at(0).state, "bounced");
}

TEST_P(ResendDoorTest, WhatIsNotSignedChangesNothing) {
  const auto refused = Ask("POST", Bounced("ann@buyer.example"), false);
  EXPECT_EQ(refused.head.status, 401);
  EXPECT_THAT(refused.body, HasSubstr(R"("code":"unauthorized")"));
  EXPECT_THAT(ReasonOf("ann@buyer.example"), IsEmpty());
  EXPECT_EQ(Ask("GET", "").head.status, 405);
  EXPECT_EQ(Ask("POST", std::string(kMaxEvent + 1, ' ')).head.status, 413);
  EXPECT_EQ(Ask("POST", "{}").head.status, 400);
  EXPECT_EQ(Ask("POST", Bounced("ann@buyer.example", "Transient")).head.status, 200);
  EXPECT_THAT(ReasonOf("ann@buyer.example"), IsEmpty());
}

}  // namespace
}  // namespace pontage::mail
