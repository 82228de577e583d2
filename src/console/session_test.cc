#include "console/session.h"

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/runtime.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::console {
namespace {

using pontage::testing::IsOk;

// What a browser sends back of a line of Set-Cookie.
net::RequestHead WithCookie(const std::string& set_cookie) {
  net::RequestHead head;
  head.headers.Add("Cookie", set_cookie.substr(0, set_cookie.find(';')));
  return head;
}

class SessionTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  SessionTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  Sessions Make(const std::string& secret = "the same on every node", bool secure = false) {
    return {{.secret = Secret(secret), .secure = secure}, *database_, clock_, rng_};
  }
  std::string Open(Sessions& sessions) {
    Result<std::string> cookie = loop_.RunUntilDone(sessions.Open("ann", "her key", By()));
    EXPECT_THAT(cookie, IsOk());
    return cookie.value_or("");
  }
  std::optional<Session> Find(Sessions& sessions, const std::string& cookie) {
    const net::RequestHead head = WithCookie(cookie);
    Result<std::optional<Session>> found = loop_.RunUntilDone(sessions.Find(head, By()));
    EXPECT_THAT(found, IsOk());
    return found ? *std::move(found) : std::nullopt;
  }
  static Deadline By() { return Deadline::In(Clock::System(), Millis(30'000)); }

  Loop loop_;
  pontage::testing::SteppedClock clock_;
  Rng& rng_ = Rng::System();
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

TEST_P(SessionTest, OfTwoNodesThatShareTheSecret) {
  Sessions here = Make();
  Sessions there = Make();
  const std::string cookie = Open(here);
  const std::optional<Session> found = Find(there, cookie);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, "ann");
  EXPECT_TRUE(Sessions::IsCsrf(*found, Find(here, cookie)->csrf));
  Sessions other = Make("another secret");
  EXPECT_FALSE(Find(other, cookie));
}

TEST_P(SessionTest, ALogoutEndsItOnEveryNode) {
  Sessions here = Make();
  Sessions there = Make();
  const std::string cookie = Open(here);
  const std::string other = Open(here);
  const std::string id = Find(here, cookie)->id;
  EXPECT_THAT(loop_.RunUntilDone(here.Close(id, By())), IsOk());
  EXPECT_FALSE(Find(there, cookie));
  EXPECT_TRUE(Find(there, other));
}

TEST_P(SessionTest, ItEndsWhenNobodyIsThereAndAtTheLatestAfterHalfADay) {
  Sessions sessions = Make();
  const std::string idle = Open(sessions);
  clock_.Advance(Millis(30 * 60'000));
  EXPECT_FALSE(Find(sessions, idle));

  const std::string busy = Open(sessions);
  int pages = 0;
  while (Find(sessions, busy)) {
    clock_.Advance(Millis(20 * 60'000));
    ++pages;
  }
  EXPECT_EQ(pages, 36);  // 12 hours
}

TEST_P(SessionTest, AnotherValueOfTheKeyEndsIt) {
  Sessions sessions = Make();
  const std::optional<Session> session = Find(sessions, Open(sessions));
  ASSERT_TRUE(session);
  EXPECT_TRUE(sessions.IsOf(*session, Secret("her key")));
  EXPECT_FALSE(sessions.IsOf(*session, Secret("her next key")));
}

TEST_P(SessionTest, TheRowsAreNoCookies) {
  Sessions sessions = Make();
  const std::string cookie = Open(sessions);
  const std::optional<Session> session = Find(sessions, cookie);
  ASSERT_TRUE(session);
  EXPECT_EQ(cookie.find(session->id), cookie.npos);
  EXPECT_FALSE(Find(sessions, "pontage_console=" + session->id));
  // Nor is the token of its forms.
  EXPECT_FALSE(Find(sessions, "pontage_console=" + session->csrf));
  EXPECT_FALSE(Sessions::IsCsrf(*session, ""));
  EXPECT_FALSE(Sessions::IsCsrf(*session, session->id));
}

TEST_P(SessionTest, TheCookieStaysWhereItBelongs) {
  Sessions plain = Make();
  EXPECT_THAT(Open(plain),
              ::testing::MatchesRegex("pontage_console=[A-Za-z0-9_-]{43}; Path=/admin; HttpOnly; "
                                      "SameSite=Strict; Max-Age=43200"));
  Sessions secure = Make("s", true);
  EXPECT_THAT(Open(secure),
              ::testing::MatchesRegex("__Host-pontage_console=[A-Za-z0-9_-]{43}; Path=/; Secure; "
                                      "HttpOnly; SameSite=Strict; Max-Age=43200"));
  EXPECT_EQ(secure.Forget(),
            "__Host-pontage_console=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
}

INSTANTIATE_TEST_SUITE_P(Engines, SessionTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST(CookieTest, OneOfItsNameAndNoOther) {
  const auto of = [](std::initializer_list<const char*> lines) {
    net::RequestHead head;
    for (const char* const line : lines) head.headers.Add("Cookie", line);
    return CookieOf(head, "a");
  };
  EXPECT_EQ(of({}), std::nullopt);
  EXPECT_EQ(of({"a=1"}), "1");
  EXPECT_EQ(of({"b=2; a=1;c=3"}), "1");
  EXPECT_EQ(of({"b=2", "a=x=y"}), "x=y");
  EXPECT_EQ(of({"aa=1; ba=2; a"}), std::nullopt);
  EXPECT_EQ(of({"a=1; a=2"}), std::nullopt);
  EXPECT_EQ(of({"a=1", "a=1"}), std::nullopt);
}

}  // namespace
}  // namespace pontage::console
