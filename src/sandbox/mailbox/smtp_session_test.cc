#include "sandbox/mailbox/smtp_session.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pontage::sandbox {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class SmtpSessionTest : public ::testing::Test {
 protected:
  SmtpSessionTest()
      : session_({.recipient = [this](const std::string& to) -> std::optional<SmtpReply> {
                    if (to == bad_) return SmtpReply{.line = "550 5.1.1 nobody"};
                    return std::nullopt;
                  },
                  .message =
                      [this](SmtpSession::Envelope envelope) {
                        mails_.push_back(std::move(envelope));
                        return SmtpReply{.line = "250 2.0.0 Ok", .wait = wait_};
                      }}) {}

  std::string Say(const std::string& line) {
    session_.Feed(line + "\r\n");
    return session_.Take().text;
  }
  // The code of each reply to `line`.
  std::string Code(const std::string& line) { return Say(line).substr(0, 3); }

  std::string bad_;
  Millis wait_{0};
  std::vector<SmtpSession::Envelope> mails_;
  SmtpSession session_;
};

TEST_F(SmtpSessionTest, AMailIsTaken) {
  EXPECT_THAT(SmtpSession::Greeting(), StartsWith("220 "));
  EXPECT_EQ(Say("EHLO me.example"),
            "250-localhost\r\n250-AUTH PLAIN LOGIN\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
            "250 SIZE 1048576\r\n");
  EXPECT_EQ(Code("MAIL FROM:<keys@example.com> SIZE=100"), "250");
  EXPECT_EQ(Code("RCPT TO:<ann@buyer.example>"), "250");
  EXPECT_EQ(Code("rcpt to: <bob@buyer.example>"), "250");
  EXPECT_EQ(Code("DATA"), "354");
  EXPECT_THAT(Say("Subject: s\r\n\r\n..two dots\r\n...\r\n.x"), IsEmpty());
  EXPECT_EQ(Code("."), "250");
  ASSERT_THAT(mails_, SizeIs(1));
  EXPECT_EQ(mails_[0].sender, "keys@example.com");
  EXPECT_THAT(mails_[0].recipients, ElementsAre("ann@buyer.example", "bob@buyer.example"));
  EXPECT_EQ(mails_[0].message, "Subject: s\r\n\r\n.two dots\r\n..\r\nx\r\n");
  EXPECT_EQ(Code("QUIT"), "221");
  EXPECT_TRUE(session_.done());
}

// As it comes from the network: in pieces, and several commands at once.
TEST_F(SmtpSessionTest, PiecesMakeNoDifference) {
  const std::string all =
      "EHLO me\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n";
  session_.Feed(all);
  const std::string at_once = session_.Take().text;
  ASSERT_THAT(mails_, SizeIs(1));
  SmtpSession other({.recipient = [](const std::string&) { return std::nullopt; },
                     .message =
                         [this](SmtpSession::Envelope envelope) {
                           mails_.push_back(std::move(envelope));
                           return SmtpReply{.line = "250 2.0.0 Ok"};
                         }});
  std::string bytewise;
  for (const char c : all) {
    other.Feed({&c, 1});
    bytewise += other.Take().text;
  }
  EXPECT_EQ(bytewise, at_once);
  ASSERT_THAT(mails_, SizeIs(2));
  EXPECT_EQ(mails_[1].message, mails_[0].message);
}

// Only CRLF.CRLF ends a message: a server that took less could be made to see two mails in one.
TEST_F(SmtpSessionTest, ALoneLineFeedEndsNothing) {
  for (const char* line : {"EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"}) Say(line);
  Say("text\n.\nMAIL FROM:<evil@x.y>\n\r.\r");
  EXPECT_THAT(mails_, IsEmpty());
  Say(".");
  ASSERT_THAT(mails_, SizeIs(1));
  EXPECT_THAT(mails_[0].message, HasSubstr("MAIL FROM:<evil@x.y>"));
}

TEST_F(SmtpSessionTest, EveryLoginIsGood) {
  EXPECT_EQ(Code("EHLO me"), "250");
  EXPECT_EQ(Code("AUTH PLAIN AGFubgBw"), "235");
  EXPECT_EQ(Say("AUTH PLAIN"), "334 \r\n");
  EXPECT_EQ(Code("AGFubgBw"), "235");
  EXPECT_EQ(Say("AUTH LOGIN"), "334 VXNlcm5hbWU6\r\n");
  EXPECT_EQ(Say("YW5u"), "334 UGFzc3dvcmQ6\r\n");
  EXPECT_EQ(Code("cA=="), "235");
  EXPECT_EQ(Say("AUTH LOGIN YW5u"), "334 UGFzc3dvcmQ6\r\n");
  EXPECT_EQ(Code("*"), "501");
  EXPECT_EQ(Code("AUTH LOGIN"), "334");
  EXPECT_EQ(Code("*"), "501");
  EXPECT_EQ(Code("AUTH CRAM-MD5"), "504");
  EXPECT_EQ(Code("NOOP"), "250");
}

TEST_F(SmtpSessionTest, WhatComesOutOfTurnIsRefused) {
  EXPECT_EQ(Code("MAIL FROM:<a@b.c>"), "503");
  EXPECT_EQ(Code("HELO me"), "250");
  EXPECT_EQ(Code("RCPT TO:<d@e.f>"), "503");
  EXPECT_EQ(Code("DATA"), "503");
  for (const char* bad : {"MAIL", "MAIL FROM:a@b.c", "MAIL FROM:<a@b.c", "MAIL TO:<a@b.c>",
                          "MAIL FROM:<a b@c>", "MAIL FROM:<a<b@c>"}) {
    EXPECT_EQ(Code(bad), "501") << bad;
  }
  EXPECT_EQ(Code("MAIL FROM:<>"), "250") << "a bounce";
  EXPECT_EQ(Code("MAIL FROM:<a@b.c>"), "503");
  EXPECT_EQ(Code("RCPT TO:<>"), "501");
  EXPECT_EQ(Code("RSET"), "250");
  EXPECT_EQ(Code("MAIL FROM:<a@b.c>"), "250");
  EXPECT_EQ(Code("VRFY ann"), "252");
  EXPECT_EQ(Code("EXPN all"), "500");
  EXPECT_EQ(Code(""), "500");
  EXPECT_FALSE(session_.done());
}

TEST_F(SmtpSessionTest, ARecipientThatIsRefusedGetsNothing) {
  bad_ = "nobody@e.f";
  for (const char* line : {"EHLO me", "MAIL FROM:<a@b.c>"}) Say(line);
  EXPECT_EQ(Say("RCPT TO:<nobody@e.f>"), "550 5.1.1 nobody\r\n");
  EXPECT_EQ(Code("DATA"), "503");
  EXPECT_EQ(Code("RCPT TO:<d@e.f>"), "250");
  for (const char* line : {"DATA", "x", "."}) Say(line);
  ASSERT_THAT(mails_, SizeIs(1));
  EXPECT_THAT(mails_[0].recipients, ElementsAre("d@e.f"));
}

TEST_F(SmtpSessionTest, AMessageThatIsTooLargeIsNotKept) {
  for (const char* line : {"EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"}) Say(line);
  const std::string line(1'000, 'x');
  for (size_t i = 0; i <= SmtpSession::kMaxMessage / 1'000; ++i) Say(line);
  EXPECT_EQ(Code("."), "552");
  // In one line, too.
  for (const char* start : {"MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"}) Say(start);
  session_.Feed(std::string(SmtpSession::kMaxMessage, 'y'));
  session_.Feed(std::string(SmtpSession::kMaxMessage, 'y') + "\r");
  session_.Feed("\n.\r\n");
  EXPECT_THAT(session_.Take().text, StartsWith("552"));
  EXPECT_THAT(mails_, IsEmpty());
  for (const char* start : {"MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA", "small"}) Say(start);
  EXPECT_EQ(Code("."), "250") << "the next one is as good as any";
  EXPECT_THAT(mails_, SizeIs(1));
}

TEST_F(SmtpSessionTest, ALineWithoutEndIsNoSmtp) {
  EXPECT_EQ(Code("NOOP " + std::string(SmtpSession::kMaxLine, 'x')), "500");
  EXPECT_FALSE(session_.done());
  session_.Feed(std::string(SmtpSession::kMaxLine + 1, 'x'));
  EXPECT_THAT(session_.Take().text, StartsWith("500"));
  EXPECT_TRUE(session_.done());
}

TEST_F(SmtpSessionTest, TooManyRecipientsAreRefused) {
  for (const char* line : {"EHLO me", "MAIL FROM:<a@b.c>"}) Say(line);
  for (size_t i = 0; i < SmtpSession::kMaxRecipients; ++i) {
    EXPECT_EQ(Code("RCPT TO:<d" + std::to_string(i) + "@e.f>"), "250");
  }
  EXPECT_EQ(Code("RCPT TO:<one@too.many>"), "452");
}

TEST_F(SmtpSessionTest, AReplyMayHaveToWait) {
  wait_ = 7s;
  for (const char* line : {"EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"}) {
    session_.Feed(std::string(line) + "\r\n");
    EXPECT_EQ(session_.Take().wait, 0ms);
  }
  session_.Feed(".\r\n");
  EXPECT_EQ(session_.Take().wait, 7s);
}

}  // namespace
}  // namespace pontage::sandbox
