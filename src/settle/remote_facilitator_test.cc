#include "settle/remote_facilitator.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "net/server.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using testing::FailsWith;
using testing::IsOk;
using testing::SettleFixture;
using Sale = SettleFixture::Sale;

constexpr std::string_view kYes = R"({"isValid":true})";
constexpr std::string_view kPaid =
    R"({"success":true,"transaction":"0xab","network":"eip155:84532"})";
constexpr std::string_view kPending =
    R"({"success":false,"errorReason":"settlement_pending","transaction":"0xcd","network":"eip155:84532"})";

// Somebody's facilitator: says what the script says, call by call; the last line for ever.
class Peer {
 public:
  struct Line {
    int status = 200;
    std::string body;
    bool hang_up = false;
  };
  explicit Peer(Loop& loop)
      : server_(loop, {},
                [this](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
                  return Serve(head, body, out);
                }) {
    PTG_CHECK(server_.Listen("127.0.0.1:0").has_value());
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
  net::Server& server() { return server_; }
  void Says(std::vector<Line> script) {
    script_ = std::move(script);
    at_ = 0;
  }

  std::vector<std::string> bodies;
  std::vector<std::string> targets;
  std::string authorization;
  std::string key;
  std::string prefer;

 private:
  Task<> Serve(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    PTG_CO_TRY(std::string bytes,
               co_await net::ReadAll(body, 1 << 20, SettleFixture::In(Millis(1'000))));
    bodies.push_back(std::move(bytes));
    targets.push_back(head.target);
    authorization = head.headers.Get("authorization").value_or("");
    key = head.headers.Get("idempotency-key").value_or("");
    prefer = head.headers.Get("prefer").value_or("");
    const Line line = script_[std::min(at_++, script_.size() - 1)];
    if (line.hang_up) {
      out.Abort();
      co_return {};
    }
    net::ResponseHead answer;
    answer.status = line.status;
    answer.headers.Add("Retry-After", "0");
    PTG_CO_RUN(co_await out.Head(std::move(answer), line.body.size()));
    PTG_CO_RUN(co_await out.Write(line.body));
    co_return co_await out.End();
  }

  net::Server server_;
  std::vector<Line> script_;
  size_t at_ = 0;
};

class RemoteFacilitatorTest : public ::testing::Test {
 protected:
  void Make(std::vector<std::string> urls, bool check = false, bool view = false) {
    view = view || check;
    RemoteOptions options;
    for (std::string& url : urls) options.endpoints.push_back({std::move(url), Secret("s3cret")});
    options.circuit = Millis(300);
    if (view) options.views.push_back({&f.fake});
    options.check = check;
    remote = *RemoteFacilitator::Make(std::move(options), f.assets, Clock::System());
  }
  Result<x402::VerifyAnswer> Verify() {
    return f.loop.RunUntilDone(
        remote->Verify(sale.payment, sale.requirements, SettleFixture::In(Millis(2'000))));
  }
  Result<Facilitator::Settlement> Settle(Millis within = Millis(2'000)) {
    return f.loop.RunUntilDone(
        remote->Settle(sale.payment, sale.requirements, SettleFixture::In(within)));
  }

  Facilitator::Settlement SettleSale(bool again) {
    const deal::Asking asking{"pay_1", again};
    return *f.loop.RunUntilDone(remote->SettleSale(sale.payment, sale.requirements, asking,
                                                   SettleFixture::In(Millis(12'000))));
  }

  SettleFixture f{testing::EngineKind::kSqlite};
  Peer peer{f.loop};
  Sale sale = f.Make(1);
  std::unique_ptr<RemoteFacilitator> remote;
};

TEST_F(RemoteFacilitatorTest, AsksAsTheOfficialClientsDo) {
  Make({peer.url() + "/base/"});
  peer.Says({{.body = std::string(kYes)}});
  ASSERT_THAT(Verify(), IsOk());
  EXPECT_EQ(peer.targets.back(), "/base/verify");
  EXPECT_EQ(peer.authorization, "Bearer s3cret");
  const auto sent = codec::ParseJson(peer.bodies.back());
  ASSERT_THAT(sent, IsOk());
  EXPECT_EQ(*sent->Find("paymentPayload"), sale.payment.raw);
  EXPECT_EQ(*sent->Find("paymentRequirements"), sale.requirements.ToJson());
}

TEST_F(RemoteFacilitatorTest, AHangUpIsNoVerdictAndTheNextPaymentIsAskedAgain) {
  Make({peer.url()});
  peer.Says({{.body = "", .hang_up = true}, {.body = "nonsense"}, {.body = std::string(kYes)}});
  EXPECT_THAT(Verify(), FailsWith(Code::kFacilitatorAnswer));
  EXPECT_THAT(Verify(), FailsWith(Code::kFacilitatorAnswer));
  EXPECT_THAT(Verify(), IsOk());
}

TEST_F(RemoteFacilitatorTest, ABrokenSettleIsUnknownAndNeverRefused) {
  Make({peer.url()});
  for (const Peer::Line& line : std::vector<Peer::Line>{{.body = "", .hang_up = true},
                                                        {.status = 500, .body = "<html>"},
                                                        {.body = "not json"},
                                                        {.body = R"({"success":"true"})"}}) {
    peer.Says({line});
    const size_t before = peer.bodies.size();
    const auto settled = Settle();
    ASSERT_THAT(settled, IsOk());
    EXPECT_EQ(settled->outcome, Outcome::kUnknown) << line.body;
    EXPECT_EQ(settled->answer.reason, "settlement_pending");
    EXPECT_EQ(peer.bodies.size(), before + 1) << "a settle that was sent was sent again";
  }
}

TEST_F(RemoteFacilitatorTest, PendingIsAskedOnceMoreWithTheSameBytes) {
  Make({peer.url()});
  peer.Says({{.body = std::string(kPending)}, {.body = std::string(kPaid)}});
  const auto settled = Settle();
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kSettled);
  ASSERT_EQ(peer.bodies.size(), 2U);
  EXPECT_EQ(peer.bodies[0], peer.bodies[1]);
  peer.bodies.clear();
  peer.Says({{.body = std::string(kPending)}});
  const auto again = Settle();
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->outcome, Outcome::kUnknown);
  EXPECT_EQ(again->answer.transaction, "0xcd");
  EXPECT_EQ(peer.bodies.size(), 2U);
}

TEST_F(RemoteFacilitatorTest, ARefusalKeepsItsReason) {
  Make({peer.url()});
  peer.Says({{.status = 400, .body = R"({"success":false,"errorReason":"some_word"})"}});
  const auto settled = Settle();
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kRefused);
  EXPECT_EQ(settled->answer.reason, "some_word");
}

TEST_F(RemoteFacilitatorTest, TellsWhichSaleItIsAndHowLongItListens) {
  Make({peer.url()});
  peer.Says({{.body = std::string(kPaid)}});
  EXPECT_EQ(SettleSale(false).outcome, Outcome::kSettled);
  EXPECT_EQ(peer.key, "pay_1");
  EXPECT_TRUE(peer.prefer == "wait=10" || peer.prefer == "wait=11") << peer.prefer;
}

// The money moved and the answer was lost. Asked again, facilitators say of their own transaction
// that the authorization is used, of another state than expected, late, or that too little is left.
TEST_F(RemoteFacilitatorTest, OnlyTheFirstAnswerEverHeardMayRefuse) {
  for (const std::string reason :
       {"invalid_transaction_state", "invalid_exact_evm_payload_authorization_valid_before",
        "insufficient_funds", "some_word"}) {
    const std::string refusal = R"({"success":false,"errorReason":")" + reason + R"("})";
    Make({peer.url()});
    peer.Says({{.body = refusal}});
    EXPECT_EQ(SettleSale(false).outcome, Outcome::kRefused) << reason;
    EXPECT_EQ(SettleSale(true).outcome, Outcome::kUnknown) << reason;
    // "Pending" was an answer, too.
    peer.Says({{.body = std::string(kPending)}, {.body = refusal}});
    EXPECT_EQ(SettleSale(false).outcome, Outcome::kUnknown) << reason;
  }
}

// Without check_receipts as well: what the facilitator leaves in doubt, an rpc of ours ends.
TEST_F(RemoteFacilitatorTest, AChainOfOursEndsADoubt) {
  Make({peer.url()}, false, true);
  const std::string refusal = R"({"success":false,"errorReason":"insufficient_funds"})";
  peer.Says({{.body = refusal}});
  f.fake.now_s = Clock::System().Now().seconds();
  EXPECT_EQ(SettleSale(false).outcome, Outcome::kRefused);
  EXPECT_EQ(SettleSale(true).outcome, Outcome::kUnknown) << "it may still be mined";
  f.fake.now_s = static_cast<int64_t>(*sale.auth.valid_before.ToU64()) + 120;
  EXPECT_EQ(SettleSale(true).outcome, Outcome::kRefused) << "unused after its end";
  f.fake.FrontRun(sale.auth);
  EXPECT_EQ(SettleSale(true).outcome, Outcome::kSettled);
}

// Nothing listens at the first: its connect fails, so the second is asked; and then the first is
// left alone until the circuit closes.
TEST_F(RemoteFacilitatorTest, OnlyFailedConnectsGoToTheNextWhenMoneyMoves) {
  std::string dead;
  {
    Peer gone(f.loop);
    dead = gone.url();
  }
  f.Wait(Millis(50));
  Make({dead, peer.url()});
  peer.Says({{.body = std::string(kPaid)}});
  const auto settled = Settle();
  ASSERT_THAT(settled, IsOk());
  EXPECT_EQ(settled->outcome, Outcome::kSettled);
  Make({dead});
  EXPECT_THAT(Settle(), FailsWith(Code::kFacilitatorUnreachable));
  EXPECT_THAT(Verify(), FailsWith(Code::kFacilitatorUnreachable));
  // One that hung up has perhaps settled: nobody else is asked.
  Peer second(f.loop);
  second.Says({{.body = std::string(kPaid)}});
  Make({peer.url(), second.url()});
  peer.Says({{.body = "", .hang_up = true}});
  const auto unknown = Settle();
  ASSERT_THAT(unknown, IsOk());
  EXPECT_EQ(unknown->outcome, Outcome::kUnknown);
  EXPECT_TRUE(second.bodies.empty());
  // To verify may be asked of anybody.
  peer.Says({{.body = "", .hang_up = true}});
  second.Says({{.body = std::string(kYes)}});
  EXPECT_THAT(Verify(), IsOk());
}

TEST_F(RemoteFacilitatorTest, TheCircuitOpensOnConnectsOnlyAndClosesByItself) {
  auto listener = std::make_unique<Peer>(f.loop);
  const std::string url = listener->url();
  const uint16_t port = listener->server().port();
  listener.reset();
  f.Wait(Millis(50));
  Make({url});
  EXPECT_THAT(Verify(), FailsWith(Code::kFacilitatorUnreachable));
  net::Server back(f.loop, {},
                   [](net::RequestHead&, net::BodySource&, net::ResponseWriter& out) -> Task<> {
                     net::ResponseHead head;
                     head.status = 200;
                     PTG_CO_RUN(co_await out.Head(std::move(head), kYes.size()));
                     PTG_CO_RUN(co_await out.Write(kYes));
                     co_return co_await out.End();
                   });
  ASSERT_THAT(back.Listen("127.0.0.1:" + std::to_string(port)), IsOk());
  EXPECT_THAT(Verify(), FailsWith(Code::kFacilitatorUnreachable)) << "the circuit was not open";
  f.Wait(Millis(350));
  EXPECT_THAT(Verify(), IsOk());
}

TEST_F(RemoteFacilitatorTest, WithAViewASuccessMustBeOnTheChain) {
  Make({peer.url()}, true);
  peer.Says({{.body = std::string(kPaid)}});
  const auto lie = Settle(Millis(1'000));
  ASSERT_THAT(lie, IsOk());
  EXPECT_EQ(lie->outcome, Outcome::kUnknown);
  f.fake.FrontRun(sale.auth);
  const auto truth = Settle();
  ASSERT_THAT(truth, IsOk());
  EXPECT_EQ(truth->outcome, Outcome::kSettled);
  EXPECT_TRUE(truth->answer.transaction.starts_with("0xfe"));
  // And a refusal of what was paid after all is none.
  peer.Says({{.body = R"({"success":false,"errorReason":"invalid_transaction_state"})"}});
  EXPECT_EQ(Settle()->outcome, Outcome::kSettled);
  // Without the transfer it stays one.
  sale = f.Make(2);
  EXPECT_EQ(Settle()->outcome, Outcome::kRefused);
}

TEST_F(RemoteFacilitatorTest, SupportedIsKeptAndAskedAgainWhenBusy) {
  Make({peer.url()});
  peer.Says({{.status = 429, .body = ""},
             {.body = R"({"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"},
                        {"scheme":"exact","network":"base-sepolia","extra":{"feePayer":"x"}}]})"}});
  const auto first = f.loop.RunUntilDone(remote->Supported(SettleFixture::In(Millis(2'000))));
  ASSERT_THAT(first, IsOk());
  ASSERT_EQ(first->size(), 2U);
  EXPECT_EQ((*first)[0].version, 2);
  EXPECT_EQ((*first)[1].version, 1);
  const size_t asked = peer.targets.size();
  EXPECT_THAT(f.loop.RunUntilDone(remote->Supported(SettleFixture::In(Millis(2'000)))), IsOk());
  EXPECT_EQ(peer.targets.size(), asked);
}

}  // namespace
}  // namespace pontage::settle
