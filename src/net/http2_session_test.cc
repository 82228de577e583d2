#include "net/http2_session.h"

#include <functional>
#include <map>

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

namespace pontage::net::http2 {
namespace {

class OwnClock final : public Clock {
 public:
  UnixMs Now() const override { return UnixMs(); }
  SteadyMs Steady() const override { return SteadyMs(ms); }
  int64_t ms = 1;
};

TEST(Http2BudgetTest, WhatIsSpentComesBackWithTimeAndNoMoreThanThat) {
  Budget budget(3, 2);
  EXPECT_TRUE(budget.Spend(3, SteadyMs(1000)));
  EXPECT_FALSE(budget.Spend(1, SteadyMs(1000)));
  EXPECT_FALSE(budget.Spend(1, SteadyMs(1499)));
  EXPECT_TRUE(budget.Spend(1, SteadyMs(1501)));
  // A long rest fills it and does not overfill it.
  EXPECT_TRUE(budget.Spend(3, SteadyMs(1'000'000'000)));
  EXPECT_FALSE(budget.Spend(1, SteadyMs(1'000'000'000)));
  budget.Earn(2);
  EXPECT_TRUE(budget.Spend(2, SteadyMs(1'000'000'000)));
  EXPECT_FALSE(budget.Spend(1, SteadyMs(1'000'000'000)));
}

std::string Frame(uint8_t type, uint8_t flags, uint32_t id, std::string_view payload = {}) {
  const auto byte = [](uint64_t n, int shift) { return static_cast<char>(n >> shift); };
  std::string out{byte(payload.size(), 16), byte(payload.size(), 8), byte(payload.size(), 0)};
  out += {static_cast<char>(type), static_cast<char>(flags)};
  for (const int shift : {24, 16, 8, 0}) out += byte(id, shift);
  return out.append(payload);
}

// ":method GET", ":scheme https", ":path /" out of HPACK's static table, and an authority.
const std::string kBlock("\x82\x87\x84\x41\x01\x61", 6);
std::string Get(uint32_t id, bool end = true) { return Frame(1, end ? 5 : 4, id, kBlock); }
std::string Reset(uint32_t id) { return Frame(3, 0, id, std::string("\0\0\0\x08", 4)); }

struct Peer final : Session::Events {
  explicit Peer(SessionLimits limits = {}) : session(limits, clock, *this) {
    session.Receive("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0));
    Said();
  }
  void OnRequest(int32_t, Parsed<http1::Request> request, bool) override {
    requests += request ? 1 : 0;
  }
  void OnData(int32_t id, std::string_view bytes) override { session.Consume(id, bytes.size()); }
  void OnBodyEnd(int32_t, Parsed<Headers>) override { ++ends; }
  void OnClosed(int32_t, uint32_t) override { ++closed; }
  void OnAnswerEnd(int32_t) override {}
  void OnUnsendable(int32_t id) override {
    ++unsendable;
    session.Reset(id, Session::Why::kFailed);
  }
  std::string Said() {
    std::string out;
    session.Fill(out, 1 << 20);
    return out;
  }
  OwnClock clock;
  int requests = 0;
  int ends = 0;
  int closed = 0;
  int unsendable = 0;
  Session session;
};

// Each flood alone, in steps with a pause: `rounds` that are too many at once are none too many
// over time.
TEST(Http2SessionTest, FloodsAreBoundedAndWhatIsSpreadOverTimeIsNone) {
  const struct {
    const char* what;
    std::function<std::string(uint32_t round)> make;
    std::string_view complaint;
    std::string first;
  } cases[] = {
      {"rapid reset", [](uint32_t n) { return Get(2 * n + 1) + Reset(2 * n + 1); },
       "too many streams that end in an error", ""},
      {"streams we must reset",
       [](uint32_t n) {
         return Get(2 * n + 1, false) + Frame(8, 0, 2 * n + 1, std::string("\x7f\xff\xff\xff", 4));
       },
       "too many streams that end in an error", ""},
      {"PING", [](uint32_t) { return Frame(6, 0, 0, "12345678"); }, "too many idle frames", ""},
      {"SETTINGS", [](uint32_t) { return Frame(4, 0, 0); }, "too many idle frames", ""},
      {"WINDOW_UPDATE", [](uint32_t) { return Frame(8, 0, 0, std::string("\0\0\0\1", 4)); },
       "too many idle frames", ""},
      {"PRIORITY", [](uint32_t) { return Frame(2, 0, 3, std::string("\0\0\0\0\1", 5)); },
       "too many idle frames", ""},
      {"empty DATA", [](uint32_t) { return Frame(0, 0, 1); }, "too many idle frames",
       Get(1, false)},
  };
  SessionLimits limits;
  limits.resets = limits.idle_frames = 20;
  limits.resets_per_second = limits.idle_frames_per_second = 10;
  constexpr uint32_t kRounds = 60;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    // Frames that reset or make us reset are idle ones too; here the other bound is meant.
    const bool resets = c.complaint.contains("streams");
    limits.idle_frames = resets ? 1000 : 20;
    Peer fast(limits);
    fast.session.Receive(c.first);
    uint32_t taken = 0;
    std::string said;
    while (taken < kRounds && fast.session.Receive(c.make(taken))) {
      ++taken;
      said += fast.Said();
    }
    said += fast.Said();
    EXPECT_GE(taken, 18U);
    EXPECT_LE(taken, 21U);
    EXPECT_EQ(fast.session.complaint(), c.complaint);
    // GOAWAY, and ENHANCE_YOUR_CALM in it.
    EXPECT_TRUE(said.ends_with(std::string("\0\0\0\x0b", 4)));
    EXPECT_TRUE(fast.session.over());

    Peer slow(limits);
    slow.session.Receive(c.first);
    for (uint32_t n = 0; n < kRounds; ++n) {
      slow.clock.ms += 100;
      ASSERT_TRUE(slow.session.Receive(c.make(n))) << n << ": " << slow.session.complaint();
      slow.Said();
    }
  }
}

TEST(Http2SessionTest, AHeaderBlockEndsOrIsCutOff) {
  for (const std::string& payload : {std::string(), std::string(1000, '\x88')}) {
    Peer peer;
    EXPECT_TRUE(peer.session.Receive(Frame(1, 1, 1, kBlock)));
    EXPECT_TRUE(peer.session.in_head());
    size_t bytes = 0;
    while (bytes < (1 << 20) && peer.session.Receive(Frame(9, 0, 1, payload))) {
      bytes += 9 + payload.size();
    }
    EXPECT_LE(bytes, 201 * (9 + payload.size()));
    EXPECT_FALSE(peer.session.complaint().empty());
    EXPECT_EQ(peer.requests, 0);
  }
  Peer peer;
  EXPECT_TRUE(peer.session.Receive(Frame(1, 1, 1, kBlock.substr(0, 2))));
  EXPECT_TRUE(peer.session.Receive(Frame(9, 4, 1, kBlock.substr(2))));
  EXPECT_FALSE(peer.session.in_head());
  EXPECT_EQ(peer.requests, 1);
}

// Up to the last byte that nghttp2 sends: what is not refused here arrives.
TEST(Http2SessionTest, AHeadThatIsTooLargeIsRefusedBeforeAWordIsSaid) {
  int refused = 0;
  for (size_t bytes = 65'400; bytes <= 65'536; ++bytes) {
    Peer peer;
    peer.session.Receive(Get(1));
    ResponseHead head;
    head.status = 200;
    head.headers.Add("x-large", std::string(bytes, '\x7e'));
    const bool taken = peer.session.Respond(1, head, 0, nullptr);
    refused += taken ? 0 : 1;
    EXPECT_EQ(peer.Said().empty(), !taken);
    EXPECT_EQ(peer.unsendable, 0) << bytes;
    EXPECT_EQ(peer.closed, taken ? 1 : 0);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 137);
}

// The net below: an interim answer, of which nobody counts the bytes.
TEST(Http2SessionTest, WhatCannotBeSentEndsItsStreamAtOnce) {
  Peer peer;
  peer.session.Receive(Get(1));
  peer.Said();
  ResponseHead head;
  head.status = 103;
  head.headers.Add("x-large", std::string(70'000, '\x7e'));
  EXPECT_TRUE(peer.session.Interim(1, head));
  // RST_STREAM, INTERNAL_ERROR.
  EXPECT_EQ(peer.Said(), Frame(3, 0, 1, std::string("\0\0\0\x02", 4)));
  EXPECT_EQ(peer.unsendable, 1);
  EXPECT_EQ(peer.closed, 1);
  // The connection goes on.
  EXPECT_TRUE(peer.session.Receive(Get(3)));
  EXPECT_EQ(peer.requests, 2);
}

// Our own resets are nobody's fault but ours.
TEST(Http2SessionTest, WhatWeResetOurselvesIsNotHeldAgainstTheClient) {
  SessionLimits limits;
  limits.resets = 5;
  Peer peer(limits);
  for (uint32_t id = 1; id < 100; id += 2) {
    ASSERT_TRUE(peer.session.Receive(Get(id))) << id;
    peer.session.Reset(static_cast<int32_t>(id), Session::Why::kFailed);
    peer.Said();
  }
  EXPECT_EQ(peer.closed, 50);
}

// Type, flags, stream and payload of each frame.
struct Heard {
  int type;
  int flags;
  uint32_t id;
  std::string_view payload;
};
std::vector<Heard> Frames(std::string_view bytes) {
  const auto byte = [&bytes](size_t at) {
    return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at]));
  };
  std::vector<Heard> all;
  while (!bytes.empty()) {
    const size_t size = byte(0) << 16 | byte(1) << 8 | byte(2);
    const uint32_t id = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
    all.push_back(
        {static_cast<int>(byte(3)), static_cast<int>(byte(4)), id, bytes.substr(9, size)});
    bytes.remove_prefix(9 + size);
  }
  return all;
}

class Text final : public Session::Source {
 public:
  explicit Text(std::string text) : left_(std::move(text)) {}
  Taken Offer(size_t most) override {
    const size_t count = std::min(most, left_.size());
    return {.count = count, .end = count == left_.size()};
  }
  void Take(size_t count, std::string& out) override {
    out.append(left_, 0, count);
    left_.erase(0, count);
  }

 private:
  std::string left_;
};

TEST(Http2SessionTest, AValueThatIsNewInEachAnswerTakesNoPlaceInTheTable) {
  Peer peer;
  nghttp2_hd_inflater* inflater = nullptr;
  ASSERT_EQ(nghttp2_hd_inflate_new(&inflater), 0);
  const size_t fixed = nghttp2_hd_inflate_get_num_table_entries(inflater);
  std::map<uint32_t, ResponseHead> heads;
  for (uint32_t id = 1; id < 200; id += 2) {
    ASSERT_TRUE(peer.session.Receive(Get(id)));
    ResponseHead& head = heads[id];
    head.status = 200;
    head.headers.Add("X-Request-Id", "req_" + std::to_string(1000 + id));
    head.headers.Add("Server", "always the same");
    ASSERT_TRUE(peer.session.Respond(static_cast<int32_t>(id), head, std::nullopt, nullptr));
    const std::string said = peer.Said();
    std::map<std::string, std::string> fields;
    for (const Heard& frame : Frames(said)) {
      if (frame.type != NGHTTP2_HEADERS) continue;
      auto* at = reinterpret_cast<const uint8_t*>(frame.payload.data());
      size_t left = frame.payload.size();
      for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
        nghttp2_nv field{};
        const ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, at, left, 1);
        ASSERT_GE(used, 0);
        at += used;
        left -= static_cast<size_t>(used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0) continue;
        const auto text = [](const uint8_t* from, size_t size) {
          return std::string(reinterpret_cast<const char*>(from), size);
        };
        fields[text(field.name, field.namelen)] = text(field.value, field.valuelen);
      }
      nghttp2_hd_inflate_end_headers(inflater);
    }
    EXPECT_EQ(fields[":status"], "200");
    EXPECT_EQ(fields["x-request-id"], "req_" + std::to_string(1000 + id));
    EXPECT_EQ(fields["server"], "always the same");
  }
  // "server", and "x-request-id" now and then for its name.
  EXPECT_LE(nghttp2_hd_inflate_get_num_table_entries(inflater), fixed + 1 + 4);
  nghttp2_hd_inflate_del(inflater);
}

TEST(Http2SessionTest, BodiesLeaveWholeAndATurnTakesOneFrameMoreThanItsMeasureAtMost) {
  Peer peer;
  constexpr size_t kMost = 4096;
  ResponseHead head;
  head.status = 200;
  std::map<uint32_t, std::string> sent;
  std::map<uint32_t, Text> bodies;
  for (uint32_t id = 1; id < 20; id += 2) {
    ASSERT_TRUE(peer.session.Receive(Get(id)));
    sent[id] = std::string(500 * id, static_cast<char>('a' + id));
    Text& body = bodies.try_emplace(id, sent[id]).first->second;
    ASSERT_TRUE(peer.session.Respond(static_cast<int32_t>(id), head, sent[id].size(), &body));
  }
  std::string all;
  while (true) {
    std::string out;
    peer.session.Fill(out, kMost);
    if (out.empty()) break;
    EXPECT_LE(out.size(), kMost + 9 + 10'000);
    all += out;
  }
  EXPECT_EQ(peer.closed, 10);
  std::map<uint32_t, std::string> came;
  for (const Heard& frame : Frames(all)) {
    if (frame.type == NGHTTP2_DATA) came[frame.id].append(frame.payload);
  }
  EXPECT_EQ(came, sent);
}

TEST(Http2SessionTest, ABrokenRuleIsToldOnceItIsSaid) {
  Peer peer;
  // DATA on a stream that nobody opened.
  peer.session.Receive(Frame(0, 1, 7, "x"));
  peer.Said();
  EXPECT_TRUE(peer.session.over());
  EXPECT_FALSE(peer.session.complaint().empty());
  // An end in order is no complaint.
  Peer leaver;
  leaver.session.Receive(Frame(7, 0, 0, std::string(8, '\0')));
  EXPECT_TRUE(leaver.session.over());
  EXPECT_TRUE(leaver.session.complaint().empty());
}

}  // namespace
}  // namespace pontage::net::http2
