#include "gateway/forwarding.h"

#include <gtest/gtest.h>

#include "testing/expect.h"
#include "testing/fake_sale.h"

namespace pontage::gateway {
namespace {

using testing::FailsWith;

rail::RailSet Rails() {
  std::vector<std::unique_ptr<rail::Rail>> list;
  list.push_back(std::make_unique<testing::FakeRail>(Clock::System()));
  return rail::RailSet(std::move(list));
}

net::RequestHead Head(std::vector<std::pair<const char*, const char*>> fields) {
  net::RequestHead head;
  head.method = "GET";
  head.peer_address = "10.0.0.9";
  for (const auto& [name, value] : fields) head.headers.Add(name, value);
  return head;
}

TEST(TrustedProxiesTest, NetworksAndAddresses) {
  const auto trusted =
      TrustedProxies::Make({"10.0.0.0/8", "192.168.1.7", "fd00::/8", "0.0.0.0/32"});
  ASSERT_TRUE(trusted.has_value());
  for (const char* yes : {"10.1.2.3", "192.168.1.7", "fd12::1", "::ffff:10.1.2.3"}) {
    EXPECT_TRUE(trusted->Trusts(yes)) << yes;
  }
  for (const char* no : {"11.0.0.1", "192.168.1.8", "fe80::1", "", "x"}) {
    EXPECT_FALSE(trusted->Trusts(no)) << no;
  }
  for (const char* bad : {"10.0.0.0/33", "10.0.0/8", "::/129", "host", "1.2.3.4/", "1.2.3.4/x"}) {
    EXPECT_THAT(TrustedProxies::Make({bad}), FailsWith(Code::kConfig)) << bad;
  }
}

TEST(UpstreamHeadTest, BuyersAndSellersHeadersStayApart) {
  const rail::RailSet rails = Rails();
  const TrustedProxies nobody;
  const net::RequestHead head = Head({{"PAY", "secret"},
                                      {"Authorization", "Bearer license"},
                                      {"X-API-Key", "k"},
                                      {"PAYMENT-RESPONSE", "forged"},
                                      {"Settlement-Overrides", "{}"},
                                      {"Connection", "X-Hop, keep-alive"},
                                      {"X-Hop", "1"},
                                      {"TE", "trailers"},
                                      {"Expect", "100-continue"},
                                      {"Idempotency-Key", "mine"},
                                      {"Idempotency_Key", "mine"},
                                      {"X_Forwarded_For", "10.0.0.1"},
                                      {"x_api_key", "k"},
                                      {"X-Original-URL", "/dear"},
                                      {"X-Rewrite-URL", "/dear"},
                                      {"X-HTTP-Method-Override", "PUT"},
                                      {"X_HTTP_Method_Override", "PUT"},
                                      {"X_Mine", "1"},
                                      {"Accept", "text/plain"}});
  ForwardOptions options;
  options.idempotency_key = "pay_1";
  const net::RequestHead out = UpstreamHead(head, "/x", rails, nobody, options);
  for (const char* gone :
       {"PAY", "Authorization", "X-API-Key", "PAYMENT-RESPONSE", "Settlement-Overrides", "X-Hop",
        "TE", "Expect", "Connection", "Idempotency_Key", "X_Forwarded_For", "x_api_key",
        "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X_HTTP_Method_Override"}) {
    EXPECT_FALSE(out.headers.Has(gone)) << gone;
  }
  EXPECT_EQ(out.headers.Get("Accept"), "text/plain");
  EXPECT_EQ(out.headers.Get("X_Mine"), "1");
  for (const char* name : {"X-Forwarded-For", "Forwarded", "X-Real-IP", "Idempotency-Key",
                           "X_Request_Id", "traceparent", "X-Original-URL", "PAY"}) {
    EXPECT_TRUE(TrailerStaysHere(name, rails, options)) << name;
  }
  EXPECT_FALSE(TrailerStaysHere("Digest", rails, options));
  EXPECT_EQ(out.headers.Get("Idempotency-Key"), "pay_1");
  EXPECT_EQ(out.target, "/x");
}

TEST(UpstreamHeadTest, ForwardingFieldsAreBelievedFromTrustedPeersOnly) {
  const rail::RailSet rails = Rails();
  const net::RequestHead head = Head({{"Host", "shop.example"},
                                      {"X-Forwarded-For", "1.2.3.4"},
                                      {"X-Forwarded-Proto", "https"},
                                      {"Forwarded", "for=1.2.3.4"}});
  const ForwardOptions options;
  const TrustedProxies nobody;
  const net::RequestHead stranger = UpstreamHead(head, "/", rails, nobody, options);
  EXPECT_EQ(stranger.headers.Get("X-Forwarded-For"), "10.0.0.9");
  EXPECT_EQ(stranger.headers.Get("X-Forwarded-Proto"), "http");
  EXPECT_EQ(stranger.headers.Get("Forwarded"), "for=10.0.0.9;proto=http");
  const auto proxies = TrustedProxies::Make({"10.0.0.0/8"});
  const net::RequestHead friendly = UpstreamHead(head, "/", rails, *proxies, options);
  EXPECT_EQ(friendly.headers.Get("X-Forwarded-For"), "1.2.3.4, 10.0.0.9");
  EXPECT_EQ(friendly.headers.Get("X-Forwarded-Proto"), "https");
  EXPECT_EQ(friendly.headers.Get("Forwarded"), "for=1.2.3.4, for=10.0.0.9;proto=http");
  EXPECT_EQ(friendly.headers.Get("X-Forwarded-Host"), "shop.example");
}

// A proxy that adds a line of its own instead of appending: the first line is the client's word.
TEST(ClientAddressTest, ASecondLineIsTheEndOfTheList) {
  const auto proxies = TrustedProxies::Make({"10.0.0.0/8"});
  const net::RequestHead head =
      Head({{"X-Forwarded-For", "6.6.6.6"}, {"X-Forwarded-For", "1.2.3.4"}});
  EXPECT_EQ(ClientAddress(head, *proxies), "1.2.3.4");
  const rail::RailSet rails = Rails();
  const net::RequestHead out = UpstreamHead(head, "/", rails, *proxies, ForwardOptions());
  EXPECT_EQ(out.headers.Get("X-Forwarded-For"), "6.6.6.6, 1.2.3.4, 10.0.0.9");
  EXPECT_EQ(out.headers.Count("X-Forwarded-For"), 1U);
}

TEST(UpstreamHeadTest, AStrangersOtherClaimsAreDropped) {
  const rail::RailSet rails = Rails();
  const net::RequestHead head =
      Head({{"X-Real-IP", "6.6.6.6"}, {"x-forwarded-port", "1"}, {"X-Forwarded-Prefix", "/"}});
  const TrustedProxies nobody;
  const net::RequestHead out = UpstreamHead(head, "/", rails, nobody, ForwardOptions());
  for (const char* gone : {"X-Real-IP", "X-Forwarded-Port", "X-Forwarded-Prefix"}) {
    EXPECT_FALSE(out.headers.Has(gone)) << gone;
  }
  const auto proxies = TrustedProxies::Make({"10.0.0.0/8"});
  const net::RequestHead kept = UpstreamHead(head, "/", rails, *proxies, ForwardOptions());
  EXPECT_EQ(kept.headers.Get("X-Forwarded-Prefix"), "/");
}

TEST(UpstreamHeadTest, AProtocolSwitchIsAskedForWhereItCanBe) {
  const rail::RailSet rails = Rails();
  const TrustedProxies nobody;
  ForwardOptions can;
  can.pass_upgrade = true;
  const struct {
    const char *connection, *upgrade;
    int minor;
    bool allowed, passed;
  } cases[] = {
      {"keep-alive, Upgrade", "websocket", 1, true, true},
      {"keep-alive", "websocket", 1, true, false},
      {"Upgrade", "websocket", 0, true, false},
      {"Upgrade", "websocket", 1, false, false},
      {"Upgrade", "WebSocket", 1, true, true},
      {"Upgrade", "h2c", 1, true, false},
      {"Upgrade", "websocket, h2c", 1, true, false},
      {"Upgrade", "websocket/13", 1, true, false},
      {"Upgrade", "TLS/1.2", 1, true, false},
      {"Upgrade", "", 1, true, false},
  };
  for (const auto& c : cases) {
    net::RequestHead head = Head({{"Connection", c.connection}, {"Upgrade", c.upgrade}});
    head.minor_version = c.minor;
    const ForwardOptions options = c.allowed ? can : ForwardOptions();
    const net::RequestHead out = UpstreamHead(head, "/", rails, nobody, options);
    EXPECT_EQ(out.headers.Has("Upgrade"), c.passed) << c.connection << ' ' << c.upgrade;
    EXPECT_FALSE(out.headers.Has("Connection"));
  }
}

TEST(UpstreamHeadTest, OfTwoSwitchesNoneIsAskedFor) {
  const rail::RailSet rails = Rails();
  const net::RequestHead head =
      Head({{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Upgrade", "h2c"}});
  ForwardOptions options;
  options.pass_upgrade = true;
  const net::RequestHead out = UpstreamHead(head, "/", rails, TrustedProxies(), options);
  EXPECT_FALSE(out.headers.Has("Upgrade"));
}

TEST(UpstreamHeadTest, ConnectionCannotNameOurOwnFieldsAway) {
  const rail::RailSet rails = Rails();
  const net::RequestHead head =
      Head({{"Connection",
             "close, X-Request-Id, Traceparent, X-Forwarded-For, X-Forwarded-Proto, "
             "X-Forwarded-Host, Forwarded, Idempotency-Key, X-Theirs"},
            {"Host", "shop.example"},
            {"X-Theirs", "1"},
            {"traceparent", "ours"},
            {"X-Request-Id", "req_ours"}});
  ForwardOptions options;
  options.idempotency_key = "pay_1";
  const net::RequestHead out = UpstreamHead(head, "/", rails, TrustedProxies(), options);
  for (const char* ours : {"X-Request-Id", "traceparent", "X-Forwarded-For", "X-Forwarded-Proto",
                           "X-Forwarded-Host", "Forwarded", "Idempotency-Key"}) {
    EXPECT_TRUE(out.headers.Has(ours)) << ours;
  }
  EXPECT_FALSE(out.headers.Has("X-Theirs"));
}

TEST(ClientAddressTest, TheLastAddressThatIsNotTrusted) {
  const auto proxies = TrustedProxies::Make({"10.0.0.0/8"});
  const TrustedProxies nobody;
  const net::RequestHead head = Head({{"X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.3"}});
  EXPECT_EQ(ClientAddress(head, *proxies), "1.2.3.4");
  EXPECT_EQ(ClientAddress(head, nobody), "10.0.0.9");
  EXPECT_EQ(ClientAddress(Head({{"X-Forwarded-For", "junk"}}), *proxies), "10.0.0.9");
}

TEST(PreflightTest, OnlyARealOneIsOurs) {
  net::RequestHead head = Head({{"Origin", "https://x"}, {"Access-Control-Request-Method", "GET"}});
  EXPECT_FALSE(IsPreflight(head));
  head.method = "OPTIONS";
  EXPECT_TRUE(IsPreflight(head));
  head.headers.Remove("Origin");
  EXPECT_FALSE(IsPreflight(head));
}

}  // namespace
}  // namespace pontage::gateway
