#include "sandbox/mailbox/mime.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "codec/text.h"
#include "testing/seeds.h"

namespace pontage::sandbox {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// As a mail program writes it: folded fields, encoded words, nested parts, both encodings.
constexpr std::string_view kMail =
    "From: =?utf-8?Q?Gr=C3=B6=C3=9Fe?= <keys@example.com>\r\n"
    "To: Ann\r\n <ann@buyer.example>\r\n"
    "Subject: =?UTF-8?B?R3LDtg==?=\r\n =?utf-8?b?w59l?= and more\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed;\r\n boundary=outer\r\n"
    "\r\n"
    "to be ignored\r\n"
    "--outer\r\n"
    "Content-Type: multipart/alternative; boundary=\"in ner\"\r\n"
    "\r\n"
    "--in ner\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n"
    "\r\n"
    "Gr=C3=B6=C3=9Fe =\r\n"
    "goes on=20\r\n"
    "--in ner, but this is text\r\n"
    "\r\n"
    "--in ner\r\n"
    "Content-Type: TEXT/HTML\r\n"
    "Content-Transfer-Encoding: BASE64\r\n"
    "\r\n"
    "PGI+\r\n"
    "w588L2I+\r\n"
    "--in ner--\r\n"
    "--outer\r\n"
    "Content-Type: text/plain\r\n"
    "\r\n"
    "another text\r\n"
    "--outer--\r\n";

TEST(Mime, ReadsWhatMailProgramsWrite) {
  const ReadMime mail = ParseMime(kMail);
  EXPECT_EQ(mail.from, "Größe <keys@example.com>");
  EXPECT_EQ(mail.to, "Ann <ann@buyer.example>");
  EXPECT_EQ(mail.subject, "Größe and more");
  EXPECT_EQ(mail.text, "Größe goes on \n--in ner, but this is text\n");
  EXPECT_EQ(mail.html, "<b>ß</b>");
  EXPECT_THAT(mail.fields, SizeIs(5));
}

TEST(Mime, APlainMailIsItsText) {
  const ReadMime mail = ParseMime("Subject: s\r\n\r\nline 1\r\nline 2\r\n");
  EXPECT_EQ(mail.subject, "s");
  EXPECT_EQ(mail.text, "line 1\nline 2\n");
  EXPECT_THAT(mail.html, IsEmpty());
}

TEST(Mime, WhatIsBrokenIsShownAsFarAsItGoes) {
  EXPECT_EQ(ParseMime("").text, "");
  EXPECT_EQ(ParseMime("no field\r\nSubject: s\r\n").subject, "s");
  // Without its last mark, without a boundary, bytes that are no text.
  EXPECT_EQ(ParseMime("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhere").text,
            "here");
  EXPECT_EQ(ParseMime("Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nhere").text, "");
  EXPECT_EQ(ParseMime("Subject: \xff\r\n\r\n\xff").text, "?");
  EXPECT_EQ(DecodeQuotedPrintable("a=b=3D=zz=3"), "a=b==zz=3");
  EXPECT_EQ(DecodeMimeBase64("not base64!"), "not base64!");
  EXPECT_EQ(DecodeWords("=?utf-8?B?R3?= =?latin-1?Q?x?= =?utf-8?"), "R3 =?latin-1?Q?x?= =?utf-8?");
}

TEST(Mime, AMailOfPartsInPartsHasAnEnd) {
  std::string deep;
  for (int i = 0; i < 2'000; ++i) {
    deep += "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n";
  }
  EXPECT_EQ(ParseMime(deep + "\r\ntext").text, "");
  std::string wide = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
  for (int i = 0; i < 20'000; ++i) wide += "--b\r\nContent-Type: image/png\r\n\r\nx\r\n";
  EXPECT_EQ(ParseMime(wide + "--b\r\n\r\ntext").text, "") << "only so many parts are looked at";
}

// Whatever comes: no more than came, and text that a page or JSON can carry.
TEST(Mime, MutatedMailsStayText) {
  for (const uint64_t seed : ::pontage::testing::Seeds(20)) {
    SCOPED_TRACE(::pontage::testing::Rerun(seed));
    SeededRng rng(seed);
    for (int round = 0; round < 200; ++round) {
      std::string mail(kMail);
      for (uint64_t edits = 1 + rng.Next64() % 8; edits > 0; --edits) {
        const size_t at = rng.Next64() % mail.size();
        if (rng.Next64() % 2 == 0) {
          mail[at] = static_cast<char>(rng.Next64());
        } else {
          mail.insert(at, mail.substr(rng.Next64() % mail.size(), rng.Next64() % 40));
        }
      }
      const ReadMime read = ParseMime(mail);
      for (const std::string& text : {read.from, read.to, read.subject, read.text, read.html}) {
        ASSERT_TRUE(codec::IsUtf8(text));
        ASSERT_LE(text.size(), mail.size());
      }
    }
  }
}

}  // namespace
}  // namespace pontage::sandbox
