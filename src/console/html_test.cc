#include "console/html.h"

#include <type_traits>

#include <gtest/gtest.h>

namespace pontage::console {
namespace {

// A string that came from somewhere is no markup, whoever forgets to escape it.
static_assert(!std::is_convertible_v<std::string, Markup>);
static_assert(!std::is_convertible_v<std::string_view, Markup>);
static_assert(!std::is_convertible_v<std::string, Text>);

TEST(HtmlTest, WhatACustomerCallsHimselfIsNoMarkup) {
  Html html;
  html << "<a title=\"" << Text("\" onmouseover=\"alert(1)") << "\">"
       << Text("<script>alert('x')</script>&amp;") << "</a>";
  EXPECT_EQ(html.text(),
            "<a title=\"&quot; onmouseover=&quot;alert(1)\">"
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;</a>");
  Html odd;
  odd << Text(std::string_view("a\0b\x01\x7F\xFF\n", 7));
  EXPECT_EQ(odd.text(), "ab?\n");
}

TEST(HtmlTest, AUrlIsOneOfOurs) {
  EXPECT_EQ(Url({"admin", "customers"}), "/admin/customers");
  EXPECT_EQ(Url({"admin", "customers", "../x?y#z\"<"}), "/admin/customers/..%2Fx%3Fy%23z%22%3C");
  EXPECT_EQ(Url({"admin"}, {{"q", "a b&c"}, {"none", ""}, {"n", "ü"}}),
            "/admin?q=a%20b%26c&n=%C3%BC");
}

TEST(HtmlTest, TimesForPeople) {
  const UnixMs at = UnixMs::FromSeconds(1'795'361'165);  // 2026-11-22T15:26:05Z
  EXPECT_EQ(Moment(at), "22 Nov 2026, 15:26 UTC");
  EXPECT_EQ(Moment(UnixMs::FromSeconds(1'793'664'000)), "3 Nov 2026, 00:00 UTC");
  EXPECT_EQ(Moment(UnixMs()), "–");
  EXPECT_EQ(Distance(at, at), "just now");
  EXPECT_EQ(Distance(at, at + Millis(59'999)), "just now");
  EXPECT_EQ(Distance(at, at + Millis(60'000)), "1 min ago");
  EXPECT_EQ(Distance(at, at + Millis(3'600'000)), "1 hour ago");
  EXPECT_EQ(Distance(at, at + Millis(47LL * 3'600'000)), "47 hours ago");
  EXPECT_EQ(Distance(at, at + Millis(48LL * 3'600'000)), "2 days ago");
  EXPECT_EQ(Distance(at, at - Millis(30LL * 86'400'000)), "in 30 days");
  EXPECT_EQ(Distance(at, at - Millis(1'000)), "in a moment");
}

TEST(HtmlTest, AmountsInTheirCurrency) {
  EXPECT_EQ(Amount(2900, "usd"), "$29.00");
  EXPECT_EQ(Amount(5, "usd"), "$0.05");
  EXPECT_EQ(Amount(0, "eur"), "€0.00");
  EXPECT_EQ(Amount(-150, "gbp"), "−£1.50");
  EXPECT_EQ(Amount(500, "jpy"), "¥500");
  EXPECT_EQ(Amount(2900, "chf"), "29.00 CHF");
  EXPECT_EQ(Amount(1234, "kwd"), "1.234 KWD");
  EXPECT_EQ(Amount(INT64_MIN, "usd"), "−$92233720368547758.08");
}

}  // namespace
}  // namespace pontage::console
