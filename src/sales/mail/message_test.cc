#include "sales/mail/message.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::mail {
namespace {

using ::testing::ElementsAre;
using testing::FailsAt;
using testing::FailsWith;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::Rerun;
using testing::Seeds;

Mail Sample() {
  Mail mail;
  mail.from = "Example <keys@example.com>";
  mail.to = "ann@buyer.example";
  mail.subject = "Your license";
  mail.text = "Hello,\n\neyJhbGciOiJFZERTQSJ9.e30.c2ln\n";
  mail.html = "<p>Hello</p>\n";
  mail.dedup_key = "license:lic_1";
  return mail;
}

const UnixMs kNow = UnixMs::FromSeconds(1'795'258'680);

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find("\r\n");
    if (end == std::string_view::npos) {
      lines.emplace_back(text);
      break;
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 2);
  }
  return lines;
}

// The names of the fields before the first empty line.
std::vector<std::string> FieldNames(std::string_view message) {
  std::vector<std::string> names;
  for (const std::string& line : Lines(message.substr(0, message.find("\r\n\r\n")))) {
    if (line.starts_with(' ')) continue;
    names.push_back(line.substr(0, line.find(':')));
  }
  return names;
}

// The other half of quoted-printable, as a reader has it (RFC 2045 §6.7).
std::string Unquoted(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out += text[i];
    } else if (text.substr(i + 1, 2) == "\r\n") {
      i += 2;
    } else {
      unsigned byte = 0;
      std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
      out += static_cast<char>(byte);
      i += 2;
    }
  }
  return out;
}

// What stands in the part of that type.
std::string PartOf(const std::string& message, const std::string& type) {
  const size_t head = message.find("Content-Type: " + type);
  const size_t begin = message.find("\r\n\r\n", head) + 4;
  const size_t end = message.find("\r\n--=_", begin);
  return Unquoted(message.substr(begin, end - begin));
}

TEST(MailAddress, ReadsWhatPeopleWriteAndNothingElse) {
  const auto plain = ParseAddress("keys@example.com");
  ASSERT_THAT(plain, IsOk());
  EXPECT_EQ(plain->name, "");
  EXPECT_EQ(plain->mailbox, "keys@example.com");
  for (const char* named :
       {"Example Inc. <a.b+c@x-1.example>", "\"Example Inc.\" <a.b+c@x-1.example>",
        " Example Inc.   <a.b+c@x-1.example> "}) {
    const auto read = ParseAddress(named);
    ASSERT_THAT(read, IsOk()) << named;
    EXPECT_EQ(read->name, "Example Inc.");
    EXPECT_EQ(read->mailbox, "a.b+c@x-1.example");
  }
  EXPECT_THAT(ParseAddress("Größe <a@b>"), IsOk());
  const std::string long_local(65, 'a');
  for (const std::string& bad :
       {std::string(),
        std::string("ann"),
        std::string("@example.com"),
        std::string("ann@"),
        std::string("ann@a..b"),
        std::string("ann@-a.b"),
        std::string("ann@a_b.c"),
        std::string(".ann@a.b"),
        std::string("a..b@a.b"),
        std::string("a b@a.b"),
        std::string("\"a b\"@a.b"),
        std::string("ann@a.b, bob@a.b"),
        std::string("ann@a.b\r\nBcc: x@y"),
        std::string("ann@a.b\n"),
        std::string("ann@a.b\0", 8),
        std::string("größe@a.b"),
        std::string("ann@größe.de"),
        long_local + "@a.b",
        "ann@" + std::string(64, 'a') + ".b",
        "ann@" + std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c') +
            "." + std::string(60, 'd') + "." + std::string(60, 'e'),
        std::string("A <a@b> <c@d>"),
        std::string("A <a@b> c"),
        std::string("A a@b>"),
        std::string("A\"B <a@b>"),
        std::string("A\\B <a@b>"),
        std::string(101, 'n') + " <a@b>",
        std::string("A\rB <a@b>"),
        std::string("A\xff <a@b>")}) {
    EXPECT_THAT(ParseAddress(bad), FailsWith(Code::kBadRequest)) << bad;
  }
}

TEST(MailAddress, CaseMakesNoOtherAddress) {
  EXPECT_EQ(AddressKey("Ann@Example.COM"), "ann@example.com");
}

// Begins with every fault at once and mends the one that is reported.
TEST(MailCheck, NamesTheFirstFieldAtFault) {
  Mail mail;
  mail.from = "Example <keys@example.com>\r\nBcc: everybody@example.com";
  mail.to = "ann@buyer.example\r\nBcc: everybody@example.com";
  mail.subject = "Your license\r\nBcc: everybody@example.com";
  mail.html = std::string("<p>\0</p>", 8);
  mail.dedup_key = "two words";
  const Mail good = Sample();
  const struct {
    const char* pointer;
    const char* text;
    void (*mend)(Mail&, const Mail&);
  } steps[] = {
      {"/from", "control character", [](Mail& m, const Mail& g) { m.from = g.from; }},
      {"/to", "control character", [](Mail& m, const Mail&) { m.to = "Ann <ann@buyer.example>"; }},
      {"/to", "may not have", [](Mail& m, const Mail& g) { m.to = g.to; }},
      {"/subject", "control character", [](Mail& m, const Mail&) { m.subject = ""; }},
      {"/subject", "empty", [](Mail& m, const Mail&) { m.subject = std::string(401, 's'); }},
      {"/subject", "longer", [](Mail& m, const Mail& g) { m.subject = g.subject; }},
      {"/text", "empty", [](Mail& m, const Mail&) { m.text = "bare \r return"; }},
      {"/text", "control character", [](Mail& m, const Mail&) { m.text = "\xff"; }},
      {"/text", "UTF-8", [](Mail& m, const Mail&) { m.text = std::string(kMaxText + 1, 't'); }},
      {"/text", "longer", [](Mail& m, const Mail& g) { m.text = g.text; }},
      {"/html", "control character", [](Mail& m, const Mail& g) { m.html = g.html; }},
      {"/dedup_key", "space", [](Mail& m, const Mail&) { m.dedup_key = std::string(257, 'k'); }},
      {"/dedup_key", "longer", [](Mail& m, const Mail&) { m.dedup_key = "k\r\nX: y"; }},
      {"/dedup_key", "control character",
       [](Mail& m, const Mail& g) { m.dedup_key = g.dedup_key; }},
  };
  for (const auto& step : steps) {
    EXPECT_THAT(Check(mail), FailsAt(step.pointer, step.text));
    step.mend(mail, good);
  }
  EXPECT_THAT(Check(mail), IsOk());
}

TEST(MailRender, IsMultipartAndReadsBackAsItWas) {
  Mail mail = Sample();
  mail.text = "Größe = 1\n.dots\n" + std::string(300, 'x') + "\ntrailing space \n\ttab\t\n\nlast";
  mail.html = "<p class=\"a\">Größe &amp; mehr</p>\n";
  ASSERT_THAT(Check(mail), IsOk());
  const std::string message = Render(mail, {.date = kNow});
  EXPECT_THAT(FieldNames(message), ElementsAre("From", "To", "Subject", "Date", "Message-ID",
                                               "Auto-Submitted", "MIME-Version", "Content-Type"));
  for (const std::string& line : Lines(message)) {
    EXPECT_LE(line.size(), 78u) << line;
    EXPECT_TRUE(std::ranges::all_of(line, [](char c) {
      return (c >= ' ' && c < 0x7f) || c == '\t';
    })) << line;
  }
  std::string text = PartOf(message, "text/plain");
  std::erase(text, '\r');
  EXPECT_EQ(text, mail.text);
  std::string html = PartOf(message, "text/html");
  std::erase(html, '\r');
  EXPECT_EQ(html, mail.html);
}

TEST(MailRender, WithoutHtmlItIsOnePart) {
  Mail mail = Sample();
  mail.html.clear();
  const std::string message = Render(mail, {.date = kNow});
  EXPECT_THAT(message,
              HasSubstr("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("multipart")));
}

TEST(MailRender, TheHeadIsReadableAndEncodedWhereItMustBe) {
  Mail mail = Sample();
  EXPECT_THAT(Render(mail, {.date = kNow}), HasSubstr("Subject: Your license\r\n"));
  EXPECT_THAT(Render(mail, {.date = kNow}),
              HasSubstr("From: Example\r\n <keys@example.com>\r\nTo: <ann@buyer.example>\r\n"));
  EXPECT_THAT(Render(mail, {.date = kNow}), HasSubstr("Date: Sat, 21 Nov 2026 10:58:00 +0000\r\n"));
  mail.subject = "Größe";
  mail.from = "\"Example, Inc.\" <keys@example.com>";
  EXPECT_THAT(Render(mail, {.date = kNow}), HasSubstr("Subject: =?utf-8?B?R3LDtsOfZQ==?=\r\n"));
  EXPECT_THAT(Render(mail, {.date = kNow}), HasSubstr("From: \"Example, Inc.\"\r\n"));
  // What looks like an encoded word is encoded, or a reader would decode it.
  mail.subject = "=?utf-8?Q?x?=";
  EXPECT_THAT(Render(mail, {.date = kNow}), ::testing::Not(HasSubstr("=?utf-8?Q?x?=")));
  mail.from = "Größe <keys@example.com>";
  EXPECT_THAT(Render(mail, {.date = kNow}), HasSubstr("From: =?utf-8?B?R3LDtsOfZQ==?=\r\n <"));
}

TEST(MailRender, TheSameOccasionHasTheSameMessageId) {
  const Mail mail = Sample();
  Mail later = mail;
  later.text = "another text";
  EXPECT_EQ(MessageId(mail), MessageId(later));
  EXPECT_THAT(MessageId(mail), ::testing::MatchesRegex("<[0-9a-f]{32}@example\\.com>"));
  later.dedup_key = "license:lic_2";
  EXPECT_NE(MessageId(mail), MessageId(later));
}

TEST(MailRender, SaysTheKeyToResendsSmtpServerOnly) {
  const Mail mail = Sample();
  EXPECT_THAT(Render(mail, {.date = kNow, .resend_key = true}),
              HasSubstr("\r\nResend-Idempotency-Key: license:lic_1\r\n"));
  EXPECT_THAT(Render(mail, {.date = kNow}), ::testing::Not(HasSubstr("Idempotency")));
}

// Whatever Check lets through has the fields that we wrote and no other ones.
TEST(MailRender, NothingInAnyFieldAddsAField) {
  const std::vector<std::string> want =
      FieldNames(Render(Sample(), {.date = kNow, .resend_key = true}));
  const std::string pieces[] = {"\r\n",
                                "\n",
                                "\r",
                                std::string(1, '\0'),
                                "Bcc: x@y.z",
                                ":",
                                " ",
                                "\t",
                                "=?utf-8?B?DQo=?=",
                                "é",
                                "\xff",
                                "<x@y.z>",
                                ",",
                                "\"",
                                "\\",
                                "\x0b",
                                "\x7f",
                                "\xc2\x85",
                                "\xe2\x80\xa8",
                                std::string(70, 'a')};
  for (const uint64_t seed : Seeds(20)) {
    SCOPED_TRACE(Rerun(seed));
    SeededRng rng(seed);
    size_t passed = 0;
    for (int round = 0; round < 500; ++round) {
      Mail mail = Sample();
      std::string* const fields[] = {&mail.from, &mail.to,   &mail.subject,
                                     &mail.text, &mail.html, &mail.dedup_key};
      for (uint64_t edits = 1 + rng.Next64() % 3; edits > 0; --edits) {
        std::string& field = *fields[rng.Next64() % std::size(fields)];
        field.insert(rng.Next64() % (field.size() + 1), pieces[rng.Next64() % std::size(pieces)]);
      }
      if (!Check(mail)) continue;
      ++passed;
      const std::string message = Render(mail, {.date = kNow, .resend_key = true});
      ASSERT_EQ(FieldNames(message), want) << message;
      ASSERT_EQ(message.find('\0'), std::string::npos);
      std::string without = message;
      for (size_t at = 0; (at = without.find("\r\n", at)) != std::string::npos;)
        without.erase(at, 2);
      ASSERT_EQ(without.find_first_of("\r\n"), std::string::npos) << "a bare line end";
    }
    EXPECT_GT(passed, 20u) << "the property was hardly looked at";
  }
}

TEST(MailKind, HasANameForEach) {
  for (uint8_t k = 0; k < static_cast<uint8_t>(Kind::kCount_); ++k) {
    const auto kind = static_cast<Kind>(k);
    EXPECT_FALSE(NameOf(kind).empty());
    EXPECT_EQ(KindOf(NameOf(kind)), kind);
  }
  EXPECT_EQ(KindOf("spam"), std::nullopt);
}

}  // namespace
}  // namespace pontage::mail
