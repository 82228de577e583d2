#include "paywall/delivery.h"

#include <gtest/gtest.h>

#include "paywall/exchange.h"
#include "paywall/fields.h"
#include "testing/expect.h"

namespace pontage::paywall {
namespace {

using ledger::Delivery;
using testing::IsOk;

TEST(TimeLeftTest, WorkAndSettlingMustFit) {
  deal::Grant grant;
  grant.valid_before = UnixMs(100'000);
  grant.settle_needs = Millis(36'000);
  EXPECT_THAT(TimeLeft(grant, Millis(30'000), UnixMs(34'000)), IsOk());
  EXPECT_THAT(TimeLeft(grant, Millis(30'000), UnixMs(34'001)),
              testing::FailsWith(Code::kPaymentExpired));
  EXPECT_THAT(TimeLeft(grant, Millis(0), UnixMs(64'000)), IsOk());
}

TEST(WhoBrokeTest, WhatTheBuyerCausedIsNotOwed) {
  const auto of = [](Break broke) { return WhoBroke(broke).outcome; };
  EXPECT_EQ(of({}), Delivery::kOwed);
  EXPECT_TRUE(WhoBroke({}).cut);
  EXPECT_EQ(of({.client_held = kHeldBack - Millis(1)}), Delivery::kOwed);
  EXPECT_EQ(of({.client_held = kHeldBack}), Delivery::kBroken);
  EXPECT_EQ(of({.upload_failed = true}), Delivery::kBroken);
  EXPECT_EQ(of({.client_gone = true}), Delivery::kBroken);
}

TEST(RequestDigestTest, EverythingThatChangesWhatIsAskedForChangesIt) {
  const auto of = [](std::string_view method, std::string_view resource, const HeaderList& fields,
                     std::string_view body, bool whole = true) {
    net::Headers headers;
    for (const auto& [name, value] : fields) headers.Add(name, value);
    return RequestDigest(method, resource, headers, {.first = std::string(body), .whole = whole});
  };
  const ledger::Digest digests[] = {
      of("GET", "/a", {}, ""),
      of("PUT", "/a", {}, ""),
      of("GET", "/b", {}, ""),
      of("GET", "/a", {}, "b"),
      of("GET", "/ab", {}, ""),
      of("GET", "/a", {}, "", false),
      of("GET", "/a", {{"Range", "bytes=0-1"}}, ""),
      of("GET", "/a", {{"If-Range", "bytes=0-1"}}, ""),
      of("GET", "/a", {{"Content-Type", "text/plain"}}, ""),
      of("GET", "/a", {{"Content-Encoding", "gzip"}}, ""),
  };
  for (size_t i = 0; i < std::size(digests); ++i) {
    for (size_t k = 0; k < i; ++k) EXPECT_NE(digests[i], digests[k]) << i << " " << k;
  }
  EXPECT_EQ(of("GET", "/a", {{"X-Payment", "1"}, {"Accept", "b"}}, ""), digests[0]);
  EXPECT_EQ(of("GET", "/a", {{"RANGE", "bytes=0-1"}}, ""), digests[6]);
}

TEST(FieldsTest, WhatIsOursNeverComesFromTheUpstream) {
  net::Headers headers;
  for (const char* name :
       {"Payment-Response", "PAYMENT-REQUIRED", "x-payment-response", "Settlement-Overrides",
        "EXTENSION-RESPONSES", "Connection", "Keep-Alive", "X-Hop", "X-Kept"}) {
    headers.Add(name, net::EqualsNoCase(name, "Connection") ? "X-Hop, close" : "1");
  }
  CleanAnswer(headers);
  ASSERT_EQ(headers.size(), 1U);
  EXPECT_EQ(headers.at(0).name, "X-Kept");
}

TEST(DeliveryTest, SharedCachesNeverKeepAPaidAnswer) {
  EXPECT_EQ(PrivateCacheControl(""), "private");
  EXPECT_EQ(PrivateCacheControl("public, max-age=60"), "private, max-age=60");
  EXPECT_EQ(PrivateCacheControl("s-maxage=9,no-transform"), "private, no-transform");
  EXPECT_EQ(PrivateCacheControl("Private"), "private");
  net::Headers headers;
  for (const char* name : {"CDN-Cache-Control", "cloudflare-cdn-cache-control", "Surrogate-Control",
                           "Edge-Control", "X-Accel-Expires"}) {
    headers.Add(name, "max-age=600");
  }
  headers.Add("cache-control", "public");
  headers.Add("Cache-Control", "max-age=60");
  headers.Add("Age", "0");
  KeepPrivate(headers);
  ASSERT_EQ(headers.size(), 2U);
  EXPECT_EQ(headers.Get("Cache-Control"), "private, max-age=60");
}

}  // namespace
}  // namespace pontage::paywall
