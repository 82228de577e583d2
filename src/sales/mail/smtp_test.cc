#include "sales/mail/smtp.h"

#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "io/fork.h"
#include "net/tls_identity.h"
#include "net/tls_server.h"
#include "net/transport.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::mail {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using testing::FailsWith;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

constexpr char kPassword[] = "p4ssword";
constexpr char kLogin[] = "AGFubgBwNHNzd29yZA==";  // NUL ann NUL p4ssword

Mail Sample() {
  Mail mail;
  mail.from = "Example <keys@example.com>";
  mail.to = "ann@buyer.example";
  mail.subject = "Your license";
  mail.text = "Hello\n.hidden\n..\n.\nend\n";
  mail.html = "<p>Hello</p>";
  mail.dedup_key = "license:lic_1";
  return mail;
}

// An SMTP server that behaves, but for the commands to which a test has laid another answer ready:
// "" closes the connection, "…" says nothing for ever.
class SmtpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("ptg-smtp-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    const auto address = SocketAddress::ParseListen("127.0.0.1:0");
    auto listener = Listener::Open(loop_, *address);
    ASSERT_THAT(listener, IsOk());
    listener_ = *std::move(listener);
    accepts_.Start(Accept());
  }
  void TearDown() override {
    accepts_.Stop();
    loop_.DropSpawned();
    std::filesystem::remove_all(folder_);
  }

  // From now on with a certificate for `names`, of an authority whose file is given back.
  std::string UseTls(const std::string& names) {
    namespace net_testing = net::testing;
    const auto authority = net_testing::MakeIdentity("", nullptr);
    const auto identity = net_testing::MakeIdentity(names, &authority);
    net_testing::WritePem(authority.cert, folder_ / "authority.pem");
    net_testing::WritePem(identity.cert, folder_ / "server.pem");
    net_testing::WritePem(identity.key, folder_ / "server.key");
    auto loaded = net::TlsServerContext::Load(folder_ / "server.pem", folder_ / "server.key");
    EXPECT_THAT(loaded, IsOk());
    tls_ = loaded.value_or(nullptr);
    return folder_ / "authority.pem";
  }

  Task<> Accept() {
    while (true) {
      PTG_CO_TRY(Socket socket, co_await listener_.Accept());
      ++connections_;
      loop_.Spawn(Serve(net::Transport(std::move(socket))), "smtp");
    }
  }
  Deadline Soon() const { return Deadline::In(loop_.clock(), 10s); }
  Task<> Say(net::Transport& peer, std::string text) {
    iovec piece{text.data(), text.size()};
    co_return co_await peer.WriteAll({&piece, 1}, loop_.clock(), 5s, Soon());
  }
  Task<> Secure(net::Transport& peer) {
    PTG_CO_TRY(auto session, co_await tls_->Accept(peer.socket(), Soon()));
    peer.Secure(std::move(session));
    co_return {};
  }
  Task<std::string> ReadTo(net::Transport& peer, std::string& seen, std::string mark) {
    size_t at = 0;
    while ((at = seen.find(mark)) == std::string::npos) {
      char buffer[4096];
      PTG_CO_TRY(const size_t count, co_await peer.Read(buffer, Soon()));
      if (count == 0) co_return Fail(Code::kConnection, "the client has gone");
      seen.append(buffer, count);
    }
    std::string text = seen.substr(0, at);
    seen.erase(0, at + mark.size());
    co_return text;
  }
  std::string Ehlo(const net::Transport& peer) const {
    const bool offer = tls_ != nullptr && !peer.secure();
    return std::string("250-here\r\n") + (offer ? "250-STARTTLS\r\n" : "") + "250 AUTH PLAIN\r\n";
  }
  std::string Usual(const std::string& verb) const {
    if (verb == "DATA") return "354 go on\r\n";
    if (verb == "AUTH") return "235 2.7.0 welcome\r\n";
    if (verb == "QUIT") return "221 bye\r\n";
    if (verb == "STARTTLS") return "220 go on\r\n";
    if (verb == "BODY") return "250 2.0.0 Ok: queued as 4Y1\r\n";
    return "250 2.1.0 Ok\r\n";
  }
  // False: the connection is to be closed.
  Task<bool> Reply(net::Transport& peer, const std::string& verb) {
    const auto other = replies_.find(verb);
    std::string text = verb == "EHLO" ? Ehlo(peer) : Usual(verb);
    if (other != replies_.end()) {
      text = other->second;
      if (other->second.empty()) co_return false;
      if (other->second == "…") PTG_CO_RUN(co_await Sleep(60s));
    }
    PTG_CO_RUN(co_await Say(peer, text));
    co_return true;
  }
  Task<> Serve(net::Transport peer) {
    std::string seen;
    if (tls_first_) PTG_CO_RUN(co_await Secure(peer));
    PTG_CO_RUN(co_await Say(peer, "220 here\r\n"));
    while (true) {
      PTG_CO_TRY(const std::string line, co_await ReadTo(peer, seen, "\r\n"));
      said_.push_back((peer.secure() ? "tls " : "") + line);
      const std::string verb = line.substr(0, line.find(' '));
      if (verb == "AUTH") {
        PTG_CO_RUN(co_await Say(peer, "334 \r\n"));
        PTG_CO_TRY(const std::string login, co_await ReadTo(peer, seen, "\r\n"));
        said_.push_back((peer.secure() ? "tls " : "") + login);
      }
      PTG_CO_TRY(const bool go_on, co_await Reply(peer, verb));
      if (!go_on || verb == "QUIT") co_return {};
      if (verb == "STARTTLS") PTG_CO_RUN(co_await Secure(peer));
      if (verb != "DATA" || replies_.contains("DATA")) continue;
      PTG_CO_TRY(const std::string message, co_await ReadTo(peer, seen, "\r\n.\r\n"));
      messages_.push_back(message + "\r\n");
      PTG_CO_TRY(const bool still, co_await Reply(peer, "BODY"));
      if (!still) co_return {};
    }
  }

  SmtpOptions Options() const {
    return {.host = "127.0.0.1",
            .port = listener_.port(),
            .user = "",
            .password = Secret(),
            .ca_file = ""};
  }
  std::unique_ptr<Smtp> Make(SmtpOptions options) {
    auto made = Smtp::Make(std::move(options), clock_);
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
  Attempt Send(Smtp& smtp, Millis time = 10s) {
    const auto attempt = loop_.RunUntilDone(smtp.Send(Sample(), Deadline::In(loop_.clock(), time)));
    EXPECT_THAT(attempt, IsOk());
    return attempt.value_or(Attempt{});
  }
  Attempt Send(SmtpOptions options, Millis time = 10s) {
    const auto smtp = Make(std::move(options));
    return Send(*smtp, time);
  }

  Loop loop_;
  testing::SteppedClock clock_;
  std::filesystem::path folder_;
  Listener listener_;
  std::shared_ptr<const net::TlsServerContext> tls_;
  bool tls_first_ = false;
  std::map<std::string, std::string> replies_;
  std::vector<std::string> said_;
  std::vector<std::string> messages_;
  int connections_ = 0;
  Fork accepts_;
};

// What was stuffed with dots, as the reader takes it out again.
std::string Unstuffed(const std::string& message) {
  std::string out = "\r\n" + message;
  for (size_t at = 0; (at = out.find("\r\n..", at)) != std::string::npos; at += 3) {
    out.erase(at + 2, 1);
  }
  return out.substr(2);
}

TEST_F(SmtpTest, AMailArrivesAsItWasRendered) {
  const Attempt attempt = Send(Options());
  EXPECT_EQ(attempt.outcome, Outcome::kSent) << attempt.why;
  EXPECT_EQ(attempt.provider_id, "250 2.0.0 Ok: queued as 4Y1");
  EXPECT_THAT(said_, ElementsAre("EHLO example.com", "MAIL FROM:<keys@example.com>",
                                 "RCPT TO:<ann@buyer.example>", "DATA", "QUIT"));
  ASSERT_EQ(messages_.size(), 1u);
  EXPECT_THAT(messages_[0], HasSubstr("\r\n..hidden\r\n"));
  EXPECT_EQ(Unstuffed(messages_[0]), Render(Sample(), {.date = clock_.Now()}));
}

TEST_F(SmtpTest, SeveralGoOneAfterTheOther) {
  const auto smtp = Make(Options());
  const auto run = [&]() -> Task<> {
    std::list<Fork> forks;
    int sent = 0;
    const auto one = [&]() -> Task<> {
      const Mail mail = Sample();
      PTG_CO_TRY(const Attempt attempt, co_await smtp->Send(mail, Soon()));
      EXPECT_EQ(attempt.outcome, Outcome::kSent) << attempt.why;
      ++sent;
      co_return {};
    };
    for (int i = 0; i < 5; ++i) forks.emplace_back().Start(one());
    for (int i = 0; i < 500 && sent < 5; ++i) PTG_CO_RUN(co_await Sleep(10ms));
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
  EXPECT_EQ(messages_.size(), 5u);
}

TEST_F(SmtpTest, OnThisMachineAPasswordMayGoInClear) {
  SmtpOptions options = Options();
  options.user = "ann";
  options.password = Secret(kPassword);
  EXPECT_EQ(Send(std::move(options)).outcome, Outcome::kSent);
  EXPECT_THAT(said_, Contains(kLogin));
}

// Where TLS is required nobody hears a name, an address or a password without it.
TEST_F(SmtpTest, WithoutTlsNothingIsSaid) {
  SmtpOptions options = Options();
  options.user = "ann";
  options.password = Secret(kPassword);
  options.plain_on_loopback = false;
  const Attempt attempt = Send(std::move(options));
  EXPECT_EQ(attempt.outcome, Outcome::kAlarm) << attempt.why;
  EXPECT_TRUE(attempt.untaken);
  for (const std::string& line : said_) {
    EXPECT_TRUE(line.starts_with("EHLO") || line.starts_with("QUIT")) << line;
  }
}

TEST_F(SmtpTest, StartsTlsBeforeAnythingElse) {
  SmtpOptions options = Options();
  options.ca_file = UseTls("IP:127.0.0.1");
  options.user = "ann";
  options.password = Secret(kPassword);
  options.plain_on_loopback = false;
  const Attempt attempt = Send(std::move(options));
  EXPECT_EQ(attempt.outcome, Outcome::kSent) << attempt.why;
  EXPECT_THAT(said_,
              ElementsAre("EHLO example.com", "STARTTLS", "tls EHLO example.com", "tls AUTH PLAIN",
                          std::string("tls ") + kLogin, "tls MAIL FROM:<keys@example.com>",
                          "tls RCPT TO:<ann@buyer.example>", "tls DATA", "tls QUIT"));
}

TEST_F(SmtpTest, SpeaksTlsFromTheFirstByteWhereThatIsAsked) {
  SmtpOptions options = Options();
  options.ca_file = UseTls("IP:127.0.0.1");
  options.tls_first = true;
  tls_first_ = true;
  const Attempt attempt = Send(std::move(options));
  EXPECT_EQ(attempt.outcome, Outcome::kSent) << attempt.why;
  EXPECT_EQ(messages_.size(), 1u);
}

TEST_F(SmtpTest, AnotherNameInTheCertificateIsAnotherServer) {
  SmtpOptions options = Options();
  options.ca_file = UseTls("DNS:somebody.else,IP:127.0.0.2");
  options.user = "ann";
  options.password = Secret(kPassword);
  const Attempt attempt = Send(std::move(options));
  EXPECT_EQ(attempt.outcome, Outcome::kAlarm) << attempt.why;
  EXPECT_TRUE(attempt.untaken);
  EXPECT_THAT(said_, Not(Contains(HasSubstr("AUTH"))));
  EXPECT_TRUE(messages_.empty());
}

TEST_F(SmtpTest, ARefusalIsWhatItsStageAndCodeSay) {
  const struct {
    const char* verb;
    const char* reply;
    Outcome outcome;
    bool untaken;
    bool bounced;
  } cases[] = {
      {"RCPT", "550 5.1.1 no such user\r\n", Outcome::kDead, true, true},
      {"RCPT", "550 no such user\r\n", Outcome::kDead, true, true},
      {"RCPT", "552 5.2.2 mailbox full\r\n", Outcome::kDead, true, false},
      {"RCPT", "554 5.7.1 relay access denied\r\n", Outcome::kAlarm, true, false},
      {"RCPT", "550 5.1.8 your domain is none\r\n", Outcome::kAlarm, true, false},
      {"RCPT", "450 4.2.0 greylisted\r\n", Outcome::kRetry, true, false},
      {"MAIL", "553 5.1.8 who are you\r\n", Outcome::kAlarm, true, false},
      {"MAIL", "451 4.3.0 later\r\n", Outcome::kRetry, true, false},
      {"DATA", "554 5.5.1 no\r\n", Outcome::kDead, true, false},
      {"BODY", "554 5.6.0 not this\r\n", Outcome::kDead, true, false},
      {"BODY", "554 5.7.1 spam\r\n", Outcome::kAlarm, true, false},
      {"BODY", "451 4.3.0 later\r\n", Outcome::kRetry, true, false},
      {"BODY", "", Outcome::kRetry, false, false},
      {"RCPT", "", Outcome::kRetry, true, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.verb) + " " + c.reply);
    replies_ = {{c.verb, c.reply}};
    const Attempt attempt = Send(Options());
    EXPECT_EQ(attempt.outcome, c.outcome) << attempt.why;
    EXPECT_EQ(attempt.untaken, c.untaken);
    EXPECT_EQ(attempt.bounced, c.bounced);
    if (*c.reply != '\0') EXPECT_THAT(std::string(c.reply), HasSubstr(attempt.said));
  }
}

TEST_F(SmtpTest, ARefusedLoginIsForTheOperator) {
  replies_["AUTH"] = "535 5.7.8 no\r\n";
  SmtpOptions options = Options();
  options.user = "ann";
  options.password = Secret(kPassword);
  const Attempt attempt = Send(std::move(options));
  EXPECT_EQ(attempt.outcome, Outcome::kAlarm) << attempt.why;
  EXPECT_TRUE(attempt.untaken);
  for (const std::string& text : {attempt.why, attempt.said}) {
    EXPECT_THAT(text, Not(HasSubstr(kPassword)));
    EXPECT_THAT(text, Not(HasSubstr(kLogin)));
  }
}

TEST_F(SmtpTest, NobodyThereIsForLater) {
  SmtpOptions options = Options();
  listener_.Close();
  const Attempt attempt = Send(std::move(options));
  EXPECT_EQ(attempt.outcome, Outcome::kRetry);
  EXPECT_TRUE(attempt.untaken);
}

TEST_F(SmtpTest, ASilentServerCostsItsTimeAndNoMore) {
  replies_["RCPT"] = "…";
  const SteadyMs before = loop_.clock().Steady();
  const Attempt early = Send(Options(), 500ms);
  EXPECT_EQ(early.outcome, Outcome::kRetry);
  EXPECT_TRUE(early.untaken) << "the message had not left";
  replies_ = {{"BODY", "…"}};
  const Attempt late = Send(Options(), 500ms);
  EXPECT_EQ(late.outcome, Outcome::kRetry);
  EXPECT_FALSE(late.untaken) << "it may have it";
  EXPECT_LT(loop_.clock().Steady() - before, 5s);
}

Task<> Ignore(Smtp& smtp, const Mail& mail) {
  (void)co_await smtp.Send(mail, Deadline::Never());
  co_return {};
}

// The mail has been taken; whoever waits for politeness now would have it sent twice.
TEST_F(SmtpTest, NobodyWaitsForTheReplyToQuit) {
  replies_["QUIT"] = "…";
  const SteadyMs before = loop_.clock().Steady();
  EXPECT_EQ(Send(Options()).outcome, Outcome::kSent);
  EXPECT_LT(loop_.clock().Steady() - before, 5s);
  EXPECT_THAT(said_, Contains("QUIT"));
}

TEST_F(SmtpTest, TheEndBreaksOffWhatIsUnderWay) {
  replies_["RCPT"] = "…";
  auto smtp = Make(Options());
  const auto run = [&]() -> Task<> {
    const Mail mail = Sample();
    const Fork sending(Ignore(*smtp, mail));
    while (said_.size() < 3) PTG_CO_RUN(co_await Sleep(10ms));
    const SteadyMs before = loop_.clock().Steady();
    smtp.reset();
    EXPECT_LT(loop_.clock().Steady() - before, 3s);
    co_return {};
  };
  EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
}

TEST(SmtpMake, RefusesWhatIsNoHost) {
  for (const char* host : {"", "a b", "a/b", "a@b", "a\nb"}) {
    EXPECT_THAT(Smtp::Make({.host = host, .user = "", .password = Secret(), .ca_file = ""},
                           Clock::System()),
                FailsWith(Code::kConfig))
        << host;
  }
}

TEST(SmtpLoopback, IsThisMachineOnly) {
  for (const char* here : {"localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
    EXPECT_TRUE(IsLoopback(here)) << here;
  }
  for (const char* there : {"", "example.com", "127.0.0.1.example.com", "localhost.example.com",
                            "128.0.0.1", "::2", "0.0.0.0"}) {
    EXPECT_FALSE(IsLoopback(there)) << there;
  }
}

}  // namespace
}  // namespace pontage::mail
