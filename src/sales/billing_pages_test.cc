#include "sales/billing_pages.h"

#include <charconv>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pontage::sales {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Between the two, or nothing.
std::string Between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) return "";
  const size_t begin = at + from.size();
  return text.substr(begin, text.find(to, begin) - begin);
}

TEST(BillingPagesTest, APageThatWaitsLooksLessAndLessOftenAndThenNoMore) {
  std::string look;
  int seconds = 0;
  int looks = 0;
  int longest = 0;
  while (looks < 1'000) {
    const std::string page = PendingPage("cs_1", look);
    const std::string refresh = Between(page, R"(<meta http-equiv="refresh" content=")", "\"");
    if (refresh.empty()) {
      EXPECT_THAT(page, HasSubstr("comes by mail"));
      EXPECT_THAT(page, HasSubstr(R"(href="/billing/success?session_id=cs_1")"));
      break;
    }
    int pause = 0;
    std::from_chars(refresh.data(), refresh.data() + refresh.size(), pause);
    EXPECT_GE(pause, longest);
    longest = pause;
    seconds += pause;
    look = refresh.substr(refresh.rfind('=') + 1);
    EXPECT_THAT(refresh, HasSubstr(";url=/billing/success?session_id=cs_1&amp;look=" + look));
    ++looks;
  }
  EXPECT_EQ(looks, 30);
  EXPECT_EQ(seconds, 300);
}

TEST(BillingPagesTest, WhatAnAddressSaysOfLooksIsNotBelievedFurtherThanItIsANumber) {
  for (const char* first : {"", "-1", "x", "1x", "99999999999999999999"}) {
    EXPECT_THAT(PendingPage("cs_1", first), HasSubstr("&amp;look=1\"")) << first;
  }
  EXPECT_THAT(PendingPage("cs_1", "2147483647"), Not(HasSubstr("http-equiv=\"refresh\"")));
}

TEST(BillingPagesTest, NobodyIsThankedForALicenseThatIsOver) {
  using license::Status;
  Bought bought;
  bought.ready = true;
  bought.license = "the.license.text";
  bought.plan = "pro";
  const struct {
    Status status;
    std::string_view says;
  } rows[] = {{Status::kActive, "Thank you"},
              {Status::kPastDue, "Thank you"},
              {Status::kSuspended, "is suspended"},
              {Status::kRevoked, "was revoked"},
              {Status::kExpired, "has ended"}};
  for (const auto& row : rows) {
    bought.status = row.status;
    const std::string page = SuccessPage(Shop(), bought);
    EXPECT_NE(page.find(row.says), std::string::npos) << row.says;
    EXPECT_EQ(page.find("the.license.text") != std::string::npos, license::Opens(row.status))
        << row.says;
    EXPECT_EQ(*SuccessJson(bought).Find("status")->AsString(), license::ToString(row.status));
  }
}

}  // namespace
}  // namespace pontage::sales
