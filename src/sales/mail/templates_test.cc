#include "sales/mail/templates.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/json.h"
#include "testing/expect.h"
#include "testing/golden.h"

namespace pontage::mail {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::ReadGolden;

const std::string kLicense =
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5Z3JTNGsiLCJ0eX"
    "A"
    "iOiJsaWMrand0In0.eyJpc3MiOiJodHRwczovL2FwaS5leGFtcGxlLmNvbSIsImp0aSI6ImxpY18xIn0.hgyY0il_"
    "MGCjP0"
    "JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
const UnixMs kNow = UnixMs::FromSeconds(1'795'258'680);  // 2026-11-21 10:58:00

Seller Example() {
  return {.from = "Example <keys@example.com>",
          .name = "Example",
          .call_url = "https://api.example.com/v1/quotes/eur",
          .mcp_url = "https://api.example.com/mcp",
          .manage_url = "https://api.example.com/me"};
}

LicenseGiven Given() {
  return {.to = "ann@buyer.example",
          .license = kLicense,
          .license_id = "lic_1",
          .generation = 2,
          .plan = "pro",
          .expires_at = kNow + Millis(33 * 86'400'000LL),
          .renews = true};
}

LicenseLetter Letter() {
  return {.given = Given(),
          .invoice_url = "https://invoice.stripe.com/i/acct_1/test_1?s=ap",
          .invoice_pdf = "https://pay.stripe.com/invoice/acct_1/test_1/pdf?s=ap",
          .occasion = ""};
}

PaymentFailedLetter Failed(int day) {
  return {.to = "ann@buyer.example",
          .license_id = "lic_1",
          .plan = "pro",
          .invoice = "in_1",
          .amount = "$29.00",
          .pay_url = "https://invoice.stripe.com/i/acct_1/test_2?s=ap",
          .access_until = kNow + Millis(3 * 86'400'000LL),
          .now = kNow,
          .day = day};
}

// All of a mail that people and providers see.
std::string Spelled(const Mail& mail) {
  return "From: " + mail.from + "\nTo: " + mail.to + "\nSubject: " + mail.subject +
         "\nKey: " + mail.dedup_key + "\n\n" + mail.text + "\n----- html\n" + mail.html;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

TEST(MailTemplates, AreAsTheyWereAgreedOn) {
  const Seller seller = Example();
  const struct {
    const char* golden;
    Mail mail;
  } cases[] = {
      {"mail/license.txt", WriteLicense(seller, Letter())},
      {"mail/reissue.txt",
       WriteReissue(seller, {.given = Given(), .old_until = kNow + Millis(86'400'000)})},
      {"mail/payment_failed.txt", WritePaymentFailed(seller, Failed(0))},
      {"mail/payment_failed_3.txt", WritePaymentFailed(seller, Failed(3))},
      {"mail/cancelled.txt", WriteCancelled(seller, {.to = "ann@buyer.example",
                                                     .license_id = "lic_1",
                                                     .plan = "pro",
                                                     .ends_at = kNow + Millis(86'400'000),
                                                     .now = kNow})},
      {"mail/removed.txt", WriteCancelled(seller, {.to = "ann@buyer.example",
                                                   .license_id = "lic_1",
                                                   .plan = "pro",
                                                   .ends_at = kNow,
                                                   .now = kNow,
                                                   .removed = true})},
      {"mail/key_rotation.txt",
       WriteKeyRotation(seller, {.given = Given(),
                                 .kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                                 .old_until = kNow + Millis(40 * 86'400'000LL)})},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.golden);
    EXPECT_THAT(Check(c.mail), IsOk());
    EXPECT_EQ(Spelled(c.mail), ReadGolden(c.golden));
  }
  // And as SMTP carries one of them.
  EXPECT_EQ(Render(cases[0].mail, {.date = kNow}), ReadGolden("mail/license.eml"));
}

// The one thing that programs look for in a mail.
TEST(MailTemplates, TheLicenseStandsAloneOnALine) {
  const Seller seller = Example();
  for (const Mail& mail :
       {WriteLicense(seller, Letter()), WriteReissue(seller, {.given = Given(), .old_until = kNow}),
        WriteKeyRotation(seller, {.given = Given(), .kid = "k", .old_until = kNow})}) {
    EXPECT_EQ(std::ranges::count(Lines(mail.text), kLicense), 1) << mail.text;
  }
}

// Where no license is to lie in a mailbox, none of these has one.
TEST(MailTemplates, ALinkStandsInThePlaceOfTheLicense) {
  const Seller seller = Example();
  LicenseLetter first = Letter();
  LicenseGiven given = Given();
  given.license.clear();
  given.claim_url = "https://api.example.com/billing/claim?token=clm_1";
  first.given = given;
  for (const Mail& mail :
       {WriteLicense(seller, first), WriteReissue(seller, {.given = given, .old_until = kNow}),
        WriteKeyRotation(seller, {.given = given, .kid = "k", .old_until = kNow})}) {
    EXPECT_THAT(mail.text, ::testing::HasSubstr(given.claim_url));
    EXPECT_THAT(mail.text, ::testing::HasSubstr("shows it once"));
    EXPECT_THAT(mail.text, ::testing::Not(::testing::HasSubstr("Bearer")));
  }
}

TEST(MailTemplates, TheMcpEntryIsJsonWithTheHeader) {
  const std::string text = WriteLicense(Example(), Letter()).text;
  const size_t begin = text.find("{\n");
  const size_t end = text.find("\n}\n", begin);
  ASSERT_NE(end, std::string::npos);
  const auto json = codec::ParseJson(text.substr(begin, end + 3 - begin));
  ASSERT_THAT(json, IsOk());
  const codec::Json* const server = json->Find("mcpServers")->Find("example");
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(*server->Find("url")->AsString(), "https://api.example.com/mcp");
  EXPECT_EQ(*server->Find("headers")->Find("Authorization")->AsString(), "Bearer " + kLicense);
}

TEST(MailTemplates, WhatIsNotThereIsLeftOut) {
  Seller seller = Example();
  seller.mcp_url.clear();
  seller.manage_url.clear();
  LicenseLetter letter = Letter();
  letter.invoice_pdf.clear();
  letter.given.renews = false;
  const std::string text = WriteLicense(seller, letter).text;
  EXPECT_THAT(text, Not(HasSubstr("mcpServers")));
  EXPECT_THAT(text, Not(HasSubstr("PDF")));
  EXPECT_THAT(text, Not(HasSubstr("renewal")));
  EXPECT_THAT(text, Not(HasSubstr("/me")));
  EXPECT_THAT(text, HasSubstr("Invoice:\nhttps://invoice.stripe.com/"));
}

TEST(MailTemplates, AReceiptHasTheInvoiceAndNoLicense) {
  const ReceiptLetter letter{.to = "ann@example.com",
                             .license_id = "lic_1",
                             .plan = "pro",
                             .purchase = "sub_1",
                             .paid_through = UnixMs(1'797'000'000'000),
                             .expires_at = UnixMs(1'797'259'200'000),
                             .invoice_url = "https://invoice.stripe.com/i/2",
                             .invoice_pdf = "https://pay.stripe.com/invoice/2/pdf"};
  const Mail mail = WriteReceipt(Example(), letter);
  EXPECT_THAT(Check(mail), IsOk());
  EXPECT_EQ(mail.dedup_key, "receipt:sub_1:1797000000");
  EXPECT_THAT(mail.text, HasSubstr("https://invoice.stripe.com/i/2"));
  EXPECT_THAT(mail.text, HasSubstr("https://pay.stripe.com/invoice/2/pdf"));
  EXPECT_THAT(mail.text, HasSubstr("paid for until " + Moment(letter.paid_through)));
  EXPECT_THAT(mail.text, Not(HasSubstr("Bearer")));
  EXPECT_THAT(mail.html, HasSubstr("<a href=\"https://pay.stripe.com/invoice/2/pdf\">"));
}

// An address of an invoice comes from outside.
TEST(MailTemplates, OnlyWebAddressesBecomeLinks) {
  LicenseLetter letter = Letter();
  for (const char* url :
       {"javascript:alert(1)", "data:text/html,x", "https://a/\" onclick=\"x", "https://a/<b>",
        "https://a b", "https://a\nX", "ftp://a", "//evil.example"}) {
    letter.invoice_url = url;
    const Mail mail = WriteLicense(Example(), letter);
    EXPECT_THAT(mail.html, Not(HasSubstr(url))) << url;
    EXPECT_THAT(mail.text, Not(HasSubstr(url))) << url;
  }
}

TEST(MailTemplates, EverythingInTheHtmlIsEscaped) {
  Seller seller = Example();
  seller.name = "<img src=x>&\"'";
  LicenseLetter letter = Letter();
  letter.given.plan = "<script>";
  letter.given.license_id = "</body>";
  const std::string html = WriteLicense(seller, letter).html;
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_EQ(html.find("</body>"), html.rfind("</body>"));
  EXPECT_THAT(html, HasSubstr("&lt;img src=x&gt;&amp;&quot;&#39;"));
  // Nothing is loaded and nobody is counted.
  EXPECT_THAT(html, Not(HasSubstr("src=\"")));
  EXPECT_THAT(html, Not(HasSubstr("url(")));
}

TEST(MailTemplates, AShellTakesTheCurlLineAsItIsMeant) {
  Seller seller = Example();
  seller.call_url = "https://api.example.com/v1/it's?a=1&b=$(id)";
  EXPECT_THAT(WriteLicense(seller, Letter()).text,
              HasSubstr(R"('https://api.example.com/v1/it'\''s?a=1&b=$(id)')"));
}

// What happens twice has one key; what is something else has another.
TEST(MailTemplates, KeysTellOccasionsApart) {
  const Seller seller = Example();
  LicenseLetter letter = Letter();
  std::vector<std::string> keys = {WriteLicense(seller, letter).dedup_key};
  EXPECT_EQ(keys[0], "license:lic_1");
  letter.occasion = "resend:2026-11-21T10";
  keys.push_back(WriteLicense(seller, letter).dedup_key);
  keys.push_back(WriteReissue(seller, {.given = Given(), .old_until = kNow}).dedup_key);
  LicenseGiven third = Given();
  third.generation = 3;
  keys.push_back(WriteReissue(seller, {.given = third, .old_until = kNow}).dedup_key);
  for (const int day : {0, 3, 6}) {
    keys.push_back(WritePaymentFailed(seller, Failed(day)).dedup_key);
  }
  for (const std::string& key : keys) EXPECT_EQ(std::ranges::count(keys, key), 1) << key;
  EXPECT_THAT(keys, Contains("payment_failed:in_1"));
}

TEST(MailTemplates, NobodyIsToldThatAnEndedLicenseWorks) {
  PaymentFailedLetter letter = Failed(0);
  EXPECT_THAT(WritePaymentFailed(Example(), letter).text, HasSubstr("Your license works until"));
  letter.access_until = letter.now;
  EXPECT_THAT(WritePaymentFailed(Example(), letter).text,
              HasSubstr("Your license has stopped; it works again once this is paid."));
}

TEST(MailTemplates, AMomentIsReadable) {
  EXPECT_EQ(Moment(kNow + Millis(999)), "2026-11-21 10:58:00 UTC");
}

}  // namespace
}  // namespace pontage::mail
