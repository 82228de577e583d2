#include "app/card_rail_gaps.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pontage::app {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kShop = R"([license]
signing_key = "env:LICENSE_KEY"
[stripe]
api_key = "env:STRIPE_SECRET_KEY"
webhook_secret = ["env:STRIPE_WEBHOOK_SECRET", "env:STRIPE_OLD_SECRET"]
[mail]
provider = "resend"
api_key = "env:RESEND_API_KEY"
webhook_secret = "env:RESEND_WEBHOOK_SECRET"
from = "Example <keys@example.com>"
)";

// "event key: found; means" of each.
std::vector<std::string> GapsOf(const std::string& sections,
                                const std::map<std::string, std::string>& environment) {
  const ConfigSources sources{
      .environment = [&environment](const std::string& name) -> std::optional<std::string> {
        const auto it = environment.find(name);
        return it == environment.end() ? std::nullopt : std::optional(it->second);
      },
      .read_file = [](const std::string& path) -> Result<std::string> {
        return Fail(Code::kNotFound, "cannot open " + path);
      }};
  const std::string text = R"([[upstream]]
name = "api"
url = "http://127.0.0.1:9"
[[route]]
match = "GET /*"
upstream = "api"
price = "free"
)" + sections;
  const auto config = ParseConfig(text, "pontage.toml", sources);
  if (!config) return {"fault: " + config.error().front().Text()};
  std::vector<std::string> out;
  for (const CardRailGap& gap : CardRailGaps(*config)) {
    out.push_back(std::string(gap.event) + ' ' + gap.Text());
    EXPECT_FALSE(gap.check.empty() || gap.remedy.empty()) << gap.event;
  }
  return out;
}

std::string Without(std::string text, std::string_view part, std::string_view instead = "") {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), instead);
}

const std::map<std::string, std::string> kAll = {
    {"LICENSE_KEY", "a key"},    {"STRIPE_SECRET_KEY", "sk_test"}, {"STRIPE_WEBHOOK_SECRET", "w1"},
    {"STRIPE_OLD_SECRET", "w2"}, {"RESEND_API_KEY", "re"},         {"RESEND_WEBHOOK_SECRET", "w3"}};

TEST(CardRailGapsTest, NoneWhereAllIsThereOrNothingIsSold) {
  EXPECT_THAT(GapsOf(std::string(kShop), kAll), IsEmpty());
  EXPECT_THAT(GapsOf("", {}), IsEmpty());
  EXPECT_THAT(GapsOf("[license]\nsigning_key = \"env:LICENSE_KEY\"\n", kAll), IsEmpty());
  EXPECT_THAT(GapsOf("[license]\njwks = \"file:jwks.json\"\nfeed = \"https://a.example/f\"\n", {}),
              IsEmpty());
}

TEST(CardRailGapsTest, EachThatIsNamedAndAbsent) {
  EXPECT_THAT(
      GapsOf(std::string(kShop), {}),
      ElementsAre(
          "sales.no_signing_key license.signing_key: env:LICENSE_KEY, which is not set; no license "
          "is issued, and nothing is sold by card",
          "sales.no_api_key stripe.api_key: env:STRIPE_SECRET_KEY, which is not set; nothing is "
          "sold by card: there is no /billing and no /webhooks/stripe",
          "sales.no_webhook_secret stripe.webhook_secret: env:STRIPE_WEBHOOK_SECRET, which is not "
          "set, env:STRIPE_OLD_SECRET, which is not set; no delivery of Stripe's is believed",
          "mail.no_key mail.api_key: env:RESEND_API_KEY, which is not set; no mail leaves; they "
          "wait in the outbox",
          "mail.no_webhook_secret mail.webhook_secret: env:RESEND_WEBHOOK_SECRET, which is not "
          "set; bounces and complaints signed with it are not heard of"));
  for (const auto& [name, value] : kAll) {
    auto one = kAll;
    one[name] = "";
    EXPECT_EQ(GapsOf(std::string(kShop), one).size(), 1u) << name << " is empty";
  }
}

TEST(CardRailGapsTest, WhatIsNamedNowhere) {
  const std::string bare = "[stripe]\n[mail]\nfrom = \"Example <keys@example.com>\"\n";
  EXPECT_THAT(
      GapsOf(bare, {}),
      ElementsAre(
          "sales.no_signing_key license.signing_key: nothing; no license is issued, and nothing "
          "is sold by card",
          "sales.no_api_key stripe.api_key: nothing; nothing is sold by card: there is no /billing "
          "and no /webhooks/stripe",
          "sales.no_webhook_secret stripe.webhook_secret: nothing; no delivery of Stripe's is "
          "believed",
          "mail.no_key mail.api_key: nothing; no mail leaves; they wait in the outbox"));
}

TEST(CardRailGapsTest, AFileThatIsNotThere) {
  const std::string file = Without(std::string(kShop), "env:LICENSE_KEY", "file:license.pem");
  const auto gaps = GapsOf(file, kAll);
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_THAT(gaps[0], ::testing::HasSubstr("license.pem"));
}

TEST(CardRailGapsTest, MailThroughAHostNeedsNoKeyThatNobodyNamed) {
  const std::string host =
      Without(std::string(kShop), "provider = \"resend\"", "provider = \"smtp\"\nhost = \"mx\"");
  const std::string keyless = Without(host, "api_key = \"env:RESEND_API_KEY\"\n");
  EXPECT_THAT(GapsOf(keyless, kAll), IsEmpty());
  auto unset = kAll;
  unset.erase("RESEND_API_KEY");
  EXPECT_THAT(GapsOf(host, unset),
              ElementsAre("mail.no_key mail.api_key: env:RESEND_API_KEY, which is not set; all "
                          "mail goes through mail.host"));
}

}  // namespace
}  // namespace pontage::app
