#include "codec/text.h"

#include <gtest/gtest.h>

namespace pontage::codec {
namespace {

TEST(Text, OneCharacterHasOneFormInUtf8) {
  for (const char* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "aé漢😀"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
    EXPECT_EQ(AsUtf8(good), good);
  }
  // Lone continuation, overlong, a surrogate, beyond the last plane, cut short.
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
    EXPECT_TRUE(IsUtf8(AsUtf8(bad))) << bad;
  }
  EXPECT_EQ(AsUtf8("a\xff\xc3\xa9\xe2\x82"), "a?é??");
}

TEST(Text, NothingThatHtmlReadsIsLeft) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\" title='y'>&amp;</a>"),
            "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
}

TEST(Text, BlanksAtBothEndsGoAndThoseBetweenStay) {
  EXPECT_EQ(Trimmed(" \t a b\r\n"), "a b");
  EXPECT_EQ(Trimmed("a"), "a");
  EXPECT_EQ(Trimmed(" \r\n\t"), "");
  EXPECT_EQ(Trimmed(""), "");
  EXPECT_EQ(Trimmed("\xC2\xA0x"), "\xC2\xA0x") << "of other scripts nothing is taken";
}

TEST(Text, OnlyLettersOfAsciiBecomeSmall) {
  EXPECT_EQ(AsciiLower("AZ az @[`{ \xC3\x84"), "az az @[`{ \xC3\x84");
}

}  // namespace
}  // namespace pontage::codec
