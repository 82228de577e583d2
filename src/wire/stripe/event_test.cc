#include "wire/stripe/event.h"

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/expect.h"

namespace pontage::stripe {
namespace {

using codec::Json;
using testing::FailsAt;
using testing::FailsWith;
using testing::IsOk;

Result<Event> ReadText(std::string_view text) {
  static Json json;
  PTG_TRY(json, codec::ParseJson(text));
  PTG_TRY(const codec::JsonReader r, codec::JsonReader::Of(json));
  return ReadEvent(r);
}

TEST(EventTest, ASnapshotCarriesItsObject) {
  const auto event = ReadText(R"({"id":"evt_1","object":"event","api_version":"2026-10-28.endive",
    "created":1700000000,"livemode":true,"type":"customer.subscription.updated",
    "data":{"object":{"id":"sub_1","object":"subscription","status":"active"},
            "previous_attributes":{"status":"trialing"}},"request":null})");
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->id, EventId("evt_1"));
  EXPECT_EQ(event->type, "customer.subscription.updated");
  EXPECT_EQ(event->created, UnixMs::FromSeconds(1'700'000'000));
  EXPECT_EQ(event->api_version, "2026-10-28.endive");
  EXPECT_TRUE(event->livemode);
  EXPECT_FALSE(event->thin);
  EXPECT_EQ(event->object_kind, "subscription");
  EXPECT_EQ(event->object_id, "sub_1");
  EXPECT_EQ(*event->object.Find("status")->AsString(), "active");
  EXPECT_EQ(*event->previous.Find("status")->AsString(), "trialing");
  EXPECT_EQ(event->once_key(), EventId("evt_1"));
}

TEST(EventTest, AThinOneSaysTheSameOfTheSameChange) {
  const auto event = ReadText(R"({"id":"evt_thin","object":"v2.core.event",
    "type":"v1.customer.subscription.updated","created":"2026-11-21T10:58:00.123Z",
    "livemode":false,"context":null,
    "related_object":{"id":"sub_1","type":"subscription","url":"/v1/subscriptions/sub_1"},
    "snapshot_event":"evt_1"})");
  ASSERT_THAT(event, IsOk());
  EXPECT_TRUE(event->thin);
  EXPECT_EQ(event->type, "customer.subscription.updated");
  EXPECT_EQ(event->created.Rfc3339(), "2026-11-21T10:58:00.123Z");
  EXPECT_EQ(event->object_kind, "subscription");
  EXPECT_EQ(event->object_id, "sub_1");
  EXPECT_EQ(event->once_key(), EventId("evt_1")) << "its twin's";
  EXPECT_TRUE(event->object.IsNull());
}

TEST(EventTest, ATypeThatIsOfV2AloneKeepsItsName) {
  const auto event = ReadText(R"({"id":"evt_2","object":"v2.core.event","livemode":false,
    "type":"v2.core.account.updated","created":"2026-11-21T10:58:00Z"})");
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->type, "v2.core.account.updated");
  EXPECT_EQ(event->object_id, "");
  EXPECT_EQ(event->once_key(), EventId("evt_2"));
}

TEST(EventTest, WhatIsAboutNoIdYetIsAnEventAllTheSame) {
  EXPECT_THAT(ReadText(R"({"id":"evt_1","object":"event","created":1,"type":"invoice.upcoming",
    "data":{"object":{"object":"invoice","id":null}}})"),
              IsOk());
}

// An id and a type are an event: it only says that it is time to look.
TEST(EventTest, AnEventMaySayLittle) {
  for (const std::string_view text :
       {R"({"id":"evt_1","object":"event","type":"invoice.paid"})",
        R"({"id":"evt_1","object":"event","type":"foo.bar","data":{}})",
        R"({"id":"evt_1","object":"event","type":"foo.bar","data":{"object":{}}})",
        R"({"id":"evt_1","object":"v2.core.event","type":"v1.invoice.paid"})"}) {
    const auto event = ReadText(text);
    ASSERT_THAT(event, IsOk()) << text;
    EXPECT_EQ(event->id, EventId("evt_1"));
    EXPECT_EQ(event->created, UnixMs());
    EXPECT_EQ(event->object_id, "");
  }
}

TEST(EventTest, ValidJsonThatIsNoEventIsRefused) {
  for (const std::string_view text :
       {"{}", "[]", "null", "1", R"("evt_1")", R"({"object":"invoice","id":"in_1"})",
        R"({"object":"event"})",
        R"({"id":"","object":"event","created":1,"type":"a","data":{"object":{}}})",
        R"({"id":"evt_1","object":"event","created":1,"data":{"object":{}}})",
        R"({"id":"evt_1","object":"event","created":"now","type":"a","data":{"object":{}}})",
        R"({"id":"evt_1","object":"event","type":"a","data":[]})",
        R"({"id":"evt_1","object":"event","type":"a","data":{"object":"in_1"}})",
        // What a double without event objects sends.
        R"({"type":"checkout.session.completed","data":{"object":{}}})",
        R"({"id":"evt_1","object":"v2.core.event","type":"v1.a","created":1700000000})",
        R"({"id":"evt_1","object":"v2.core.event","type":"v1.a","created":"yesterday"})",
        R"({"id":"evt_1","object":"v2.core.event","created":"2026-11-21T10:58:00Z"})"}) {
    EXPECT_THAT(ReadText(text), FailsWith(Code::kBadRequest)) << text;
  }
  EXPECT_THAT(ReadText(R"({"object":"invoice"})"), FailsAt("/object", "no event"));
}

// PostgreSQL keeps none in an index that has some 2,700 bytes: it would be 503 for ever.
TEST(EventTest, AnIdThatFitsIntoNoIndexIsRefused) {
  for (const std::string rest :
       {R"(","object":"event","type":"a"})", R"(","object":"v2.core.event","type":"v1.a"})"}) {
    EXPECT_THAT(ReadText(R"({"id":")" + std::string(255, 'e') + rest), IsOk());
    EXPECT_THAT(ReadText(R"({"id":")" + std::string(256, 'e') + rest), FailsAt("/id", "too long"));
  }
}

TEST(Rfc3339Test, TimesAreReadToTheMillisecond) {
  const struct {
    std::string_view text;
    std::string_view want;  // empty: no time
  } rows[] = {
      {"2026-11-21T10:58:00Z", "2026-11-21T10:58:00.000Z"},
      {"2026-11-21T10:58:00.5Z", "2026-11-21T10:58:00.500Z"},
      {"2026-11-21T10:58:00.123456789Z", "2026-11-21T10:58:00.123Z"},
      {"2026-11-21t10:58:00z", "2026-11-21T10:58:00.000Z"},
      {"2026-11-21T10:58:00+02:00", "2026-11-21T08:58:00.000Z"},
      {"2026-11-21T23:58:00-00:30", "2026-11-22T00:28:00.000Z"},
      {"2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"},
      {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"},
      {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"},
      {"2025-02-29T00:00:00Z", ""},
      {"2026-13-01T00:00:00Z", ""},
      {"2026-00-01T00:00:00Z", ""},
      {"2026-11-21T24:00:00Z", ""},
      {"2026-11-21T10:60:00Z", ""},
      {"2026-11-21T10:58:61Z", ""},
      {"2026-11-21T10:58:00", ""},
      {"2026-11-21T10:58:00.Z", ""},
      {"2026-11-21T10:58:00+2:00", ""},
      {"2026-11-21T10:58:00+24:00", ""},
      {"2026-11-21T10:58:00Zx", ""},
      {"2026-11-21T10:58Z", ""},
      {"2026-11-21", ""},
      {"+026-11-21T10:58:00Z", ""},
      {"2026-11--1T10:58:00Z", ""},
      {" 2026-11-21T10:58:00Z", ""},
      {"1700000000", ""},
      {"", ""},
  };
  for (const auto& row : rows) {
    const std::optional<UnixMs> read = ParseRfc3339(row.text);
    EXPECT_EQ(read ? read->Rfc3339() : "", row.want) << row.text;
  }
}

}  // namespace
}  // namespace pontage::stripe
