#include "buyer/pay_client.h"

#include <deque>

#include <gtest/gtest.h>

#include "codec/hex.h"
#include "net/server.h"
#include "testing/expect.h"
#include "testing/fake_evm_chain.h"
#include "testing/sample_offer.h"

namespace pontage::buyer {
namespace {

using codec::Json;
using testing::FailsWith;
using testing::IsOk;

using testing::kKey;
using testing::kPayee;
using testing::kUsdc;

// What the seller got, and what he says to the next request.
struct Request {
  std::string method, target, body, payment;
};
struct Reply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool hang_up = false;
};

// A seller who does as he is told, in order, and repeats the last reply.
class Seller {
 public:
  explicit Seller(Loop& loop)
      : server_(loop, net::ServerLimits(),
                [this](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
                  return Answer(head, body, out);
                }) {
    PTG_CHECK(server_.Listen("127.0.0.1:0").has_value());
  }
  std::string Url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(server_.port()) + path;
  }
  std::deque<Reply> script;
  std::vector<Request> got;

 private:
  Task<> Answer(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    const Deadline by = Deadline::In(Clock::System(), 5s);
    PTG_CO_TRY(std::string text, co_await net::ReadAll(body, 1 << 20, by));
    const auto v2 = head.headers.Get("PAYMENT-SIGNATURE");
    const auto v1 = head.headers.Get("X-PAYMENT");
    got.push_back(
        {head.method, head.target, std::move(text), std::string(v2 ? *v2 : v1.value_or(""))});
    const Reply reply = script.front();
    if (script.size() > 1) script.pop_front();
    if (reply.hang_up) {
      out.Abort();
      co_return {};
    }
    net::ResponseHead answer;
    answer.status = reply.status;
    for (const auto& [name, value] : reply.headers) answer.headers.Add(name, value);
    PTG_CO_RUN(co_await out.Head(std::move(answer), reply.body.size()));
    PTG_CO_RUN(co_await out.Write(reply.body));
    co_return co_await out.End();
  }
  net::Server server_;
};

Reply Ask402() {
  const Json offer = Json::Object({{"x402Version", 2},
                                   {"error", "Payment required"},
                                   {"resource", Json::Object({{"url", "http://x/"}})},
                                   {"accepts", Json::Array({testing::SampleOffer()})}});
  return {
      .status = 402, .headers = {{"PAYMENT-REQUIRED", x402::EncodeHeader(offer)}}, .body = "{}"};
}

class PayClientTest : public ::testing::Test {
 protected:
  PayClientTest()
      : key_(*crypto::PrivateKey::FromHex(kKey)),
        chain_(chain::ChainId::Evm(84532),
               chain::Eip712Domain{.name = "USDC",
                                   .version = "2",
                                   .chain_id = 84532,
                                   .verifying_contract = *crypto::EvmAddress::Parse(kUsdc)}) {
    chain_.balance[key_.address()] = codec::Uint256(1'000'000);
  }

  Json ReceiptJson(std::string transaction = std::string("0x") + std::string(64, 'a')) const {
    return Json::Object({{"success", true},
                         {"payer", key_.address().ToChecksum()},
                         {"transaction", std::move(transaction)},
                         {"network", "eip155:84532"}});
  }
  Reply Sold(std::string body = "goods") const {
    return {.headers = {{"PAYMENT-RESPONSE", x402::EncodeHeader(ReceiptJson())}},
            .body = std::move(body)};
  }

  Result<Purchase> Buy(Wanted wanted, bool with_chain = false) {
    net::Client client(loop_);
    PayClient buyer(client, assets_, &key_, book_, with_chain ? &chain_ : nullptr, Clock::System(),
                    Rng::System(), options_);
    return loop_.RunUntilDone(
        buyer.Buy(std::move(wanted), Deadline::In(Clock::System(), Millis(20'000))));
  }
  Result<Purchase> Buy(const std::string& path = "/x", bool with_chain = false) {
    Wanted wanted;
    wanted.url = seller_.Url(path);
    return Buy(std::move(wanted), with_chain);
  }

  Loop loop_;
  Seller seller_{loop_};
  crypto::PrivateKey key_;
  chain::AssetRegistry assets_ = chain::AssetRegistry::WithDefaults();
  testing::FakeEvmChain chain_;
  SpendLedger book_;
  PayClient::Options options_;
};

TEST_F(PayClientTest, PaysOnceAndGetsTheGoods) {
  seller_.script = {Ask402(), Sold()};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kPaid);
  EXPECT_EQ(p->body, "goods");
  EXPECT_TRUE(p->charged);
  ASSERT_EQ(seller_.got.size(), 2u);
  EXPECT_EQ(seller_.got[0].payment, "");
  EXPECT_THAT(x402::DecodePaymentHeader(seller_.got[1].payment, 2), IsOk());
  EXPECT_EQ(*book_.Spent(), Money::Micros(10'000));
}

TEST_F(PayClientTest, TheBodyIsSentAgainWithThePayment) {
  seller_.script = {Ask402(), Sold()};
  Wanted wanted;
  wanted.method = "POST";
  wanted.url = seller_.Url("/x?y=1");
  wanted.body = std::string(100'000, 'b');
  ASSERT_EQ(Buy(std::move(wanted))->outcome, Outcome::kPaid);
  ASSERT_EQ(seller_.got.size(), 2u);
  for (const Request& r : seller_.got) {
    EXPECT_EQ(r.method, "POST");
    EXPECT_EQ(r.target, "/x?y=1");
    EXPECT_EQ(r.body, std::string(100'000, 'b'));
  }
}

TEST_F(PayClientTest, WhatIsFreeIsNotPaid) {
  seller_.script = {{.status = 200, .headers = {}, .body = "free"}};
  EXPECT_EQ(Buy()->outcome, Outcome::kFree);
  EXPECT_EQ(seller_.got.size(), 1u);
  EXPECT_TRUE(book_.entries().empty());
}

TEST_F(PayClientTest, ADryRunSignsNothing) {
  options_.dry_run = true;
  seller_.script = {Ask402()};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kQuoted);
  EXPECT_EQ(p->choice->price, Money::Micros(10'000));
  EXPECT_EQ(seller_.got.size(), 1u);
  EXPECT_TRUE(book_.entries().empty());
}

TEST_F(PayClientTest, TheLimitIsCheckedBeforeAnythingIsSigned) {
  options_.policy.max = Money::Micros(9'999);
  seller_.script = {Ask402(), Sold()};
  EXPECT_THAT(Buy(), FailsWith(Code::kBuyerPolicy));
  EXPECT_EQ(seller_.got.size(), 1u);
  options_.policy.max = Money::Micros(10'000);
  options_.policy.hosts = {"elsewhere.test"};
  EXPECT_THAT(Buy(), FailsWith(Code::kBuyerPolicy));
  EXPECT_EQ(seller_.got.size(), 1u) << "not even asked";
}

TEST_F(PayClientTest, ARequestThatCarriesAPaymentIsNotPaidForAgain) {
  seller_.script = {Ask402(), Sold()};
  Wanted wanted;
  wanted.url = seller_.Url("/x");
  wanted.headers = {{"x-payment", "abc"}};
  EXPECT_THAT(Buy(std::move(wanted)), FailsWith(Code::kUsage));
  EXPECT_TRUE(seller_.got.empty());
}

TEST_F(PayClientTest, ARefusalIsReportedAndNotPaidAgain) {
  Reply refusal = Ask402();
  refusal.body = R"({"detail":"the payer has not enough"})";
  seller_.script = {Ask402(), refusal};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kRefused);
  EXPECT_EQ(p->why, "the payer has not enough");
  EXPECT_EQ(seller_.got.size(), 2u);
  EXPECT_EQ(book_.entries().size(), 1u);
}

// The seller may still use what he refused: the next try shows the same signature.
TEST_F(PayClientTest, TheSameRequestShowsTheSamePaymentUntilItsEndIsSeen) {
  seller_.script = {Ask402(), Ask402(), Ask402(), Sold(), Ask402(), Sold()};
  ASSERT_EQ(Buy()->outcome, Outcome::kRefused);
  const auto second = Buy();
  EXPECT_EQ(second->outcome, Outcome::kPaid);
  EXPECT_TRUE(second->sent_again);
  EXPECT_EQ(seller_.got[1].payment, seller_.got[3].payment);
  const auto third = Buy();
  EXPECT_FALSE(third->sent_again);
  EXPECT_NE(seller_.got[5].payment, seller_.got[3].payment) << "the first purchase has ended";
}

TEST_F(PayClientTest, AnotherRequestHasAnotherPayment) {
  seller_.script = {Ask402(), Ask402(), Ask402(), Sold()};
  ASSERT_EQ(Buy("/x")->outcome, Outcome::kRefused);
  const auto other = Buy("/y");
  EXPECT_FALSE(other->sent_again);
  EXPECT_NE(seller_.got[1].payment, seller_.got[3].payment);
}

// Unused at this moment proves nothing while it may still be used: its transaction may be on its
// way, and a second signature would be paid as well.
TEST_F(PayClientTest, AChainThatSaysUnusedFreesTheRequestOnlyAfterItsEnd) {
  Reply pending;
  pending.status = 503;
  pending.headers = {{"Retry-After", "1"}};
  options_.most_sends = 1;
  seller_.script = {Ask402(), pending, Ask402(), pending, Ask402(), Sold()};
  chain_.now_s = Clock::System().Now().seconds();
  const auto first = Buy("/x", true);
  ASSERT_EQ(first->outcome, Outcome::kUnknown);
  const auto second = Buy("/x", true);
  EXPECT_TRUE(second->sent_again);
  EXPECT_EQ(seller_.got[1].payment, seller_.got[3].payment);
  chain_.now_s = first->payment->valid_before.seconds() + 61;
  const auto third = Buy("/x", true);
  EXPECT_FALSE(third->sent_again);
  EXPECT_NE(seller_.got[3].payment, seller_.got[5].payment);
}

TEST_F(PayClientTest, AChainThatSaysUsedDoesNot) {
  seller_.script = {Ask402(), Ask402(), Ask402(), Sold()};
  const auto first = Buy("/x", true);
  ASSERT_EQ(first->outcome, Outcome::kRefused);
  chain_.now_s = Clock::System().Now().seconds();
  chain_.FrontRun(first->payment->authorization);
  EXPECT_TRUE(Buy("/x", true)->sent_again);
  EXPECT_EQ(seller_.got[1].payment, seller_.got[3].payment);
}

TEST_F(PayClientTest, ABrokenConnectionIsAnsweredWithTheSamePayment) {
  Reply broken;
  broken.hang_up = true;
  seller_.script = {Ask402(), broken, broken, Sold()};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kPaid);
  for (size_t i = 2; i < seller_.got.size(); ++i) {
    EXPECT_EQ(seller_.got[i].payment, seller_.got[1].payment);
  }
  EXPECT_EQ(book_.entries().size(), 1u);
}

TEST_F(PayClientTest, ASellerWhoIsStillAtWorkIsAskedAgain) {
  const Reply busy{.status = 409, .headers = {{"Retry-After", "0"}}, .body = "{}"};
  const Reply pending{.status = 503, .headers = {{"Retry-After", "0"}}, .body = "{}"};
  seller_.script = {Ask402(), busy, pending, Sold()};
  EXPECT_EQ(Buy()->outcome, Outcome::kPaid);
  EXPECT_EQ(seller_.got.size(), 4u);
}

TEST_F(PayClientTest, WhatStaysUnknownIsSaidToBeUnknown) {
  options_.most_sends = 2;
  const Reply pending{
      .status = 503, .headers = {{"Retry-After", "0"}}, .body = R"({"detail":"pending"})"};
  seller_.script = {Ask402(), pending};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kUnknown);
  EXPECT_EQ(p->why, "pending");
  EXPECT_EQ(seller_.got.size(), 3u);
  ASSERT_EQ(book_.entries().size(), 1u);
  EXPECT_TRUE(book_.entries()[0].open);
}

TEST_F(PayClientTest, AReceiptThatSpeaksOfSomethingElseIsNotPaid) {
  const struct {
    const char* what;
    Json receipt;
  } rows[] = {
      {"no success", ReceiptJson().Set("success", false)},
      {"another network", ReceiptJson().Set("network", "eip155:1")},
      {"another payer", ReceiptJson().Set("payer", kPayee)},
      {"another amount", ReceiptJson().Set("amount", "1")},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    book_ = SpendLedger();
    seller_.script = {
        Ask402(),
        {.headers = {{"PAYMENT-RESPONSE", x402::EncodeHeader(row.receipt)}}, .body = "goods"}};
    const auto p = Buy();
    ASSERT_THAT(p, IsOk());
    EXPECT_EQ(p->outcome, Outcome::kServed);
    EXPECT_FALSE(p->charged);
    EXPECT_TRUE(book_.entries()[0].open);
  }
}

TEST_F(PayClientTest, ARefusalWithAReceiptSaysThatItWasCharged) {
  Reply used{.status = 402,
             .headers = {{"PAYMENT-RESPONSE", x402::EncodeHeader(ReceiptJson())}},
             .body = R"({"detail":"used already"})"};
  seller_.script = {Ask402(), used};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kRefused);
  EXPECT_TRUE(p->charged);
  EXPECT_TRUE(p->why.starts_with("used already (charged already, transaction 0xaaa"));
  EXPECT_FALSE(book_.entries()[0].open);
}

TEST_F(PayClientTest, TheReceiptIsLookedForOnTheChain) {
  options_.verify_receipt = true;
  seller_.script = {Ask402(), Ask402(), Ask402(), Sold()};
  const auto first = Buy("/x", true);  // signed, and refused
  ASSERT_EQ(first->outcome, Outcome::kRefused);
  chain_.now_s = Clock::System().Now().seconds();
  chain_.FrontRun(first->payment->authorization);
  crypto::Hash32 hash{};
  hash[0] = 0xfe;
  Reply sold = Sold();
  sold.headers[0].second = x402::EncodeHeader(ReceiptJson(codec::Hex0x(hash)));
  seller_.script = {Ask402(), sold};
  const auto second = Buy("/x", true);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->outcome, Outcome::kPaid);
  EXPECT_TRUE(second->proven) << second->why;
}

TEST_F(PayClientTest, RedirectsAreFollowedWithinTheOriginOnly) {
  const Reply moved{.status = 307, .headers = {{"Location", "/new?a=1"}}, .body = ""};
  seller_.script = {moved, Ask402(), Sold()};
  EXPECT_EQ(Buy()->outcome, Outcome::kPaid);
  EXPECT_EQ(seller_.got[1].target, "/new?a=1");
  EXPECT_EQ(seller_.got[2].target, "/new?a=1");

  Seller other(loop_);
  other.script = {Sold()};
  const Reply away{.status = 307, .headers = {{"Location", other.Url("/steal")}}, .body = ""};
  seller_.script = {Ask402(), away};
  const auto p = Buy("/z");
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->outcome, Outcome::kServed);
  EXPECT_EQ(p->status, 307);
  EXPECT_TRUE(other.got.empty()) << "a payment is made out to who was asked";
}

TEST_F(PayClientTest, AnEndlessRedirectEnds) {
  const Reply moved{.status = 302, .headers = {{"Location", "/x"}}, .body = ""};
  seller_.script = {moved};
  const auto p = Buy();
  ASSERT_THAT(p, IsOk());
  EXPECT_EQ(p->status, 302);
  EXPECT_LE(seller_.got.size(), 7u);
}

TEST(RedirectTest, WhereALocationLeads) {
  const net::Url from = *net::ParseUrl("https://a.test/p/q?x=1");
  const struct {
    const char* location;
    const char* to;  // nullptr: not followed
  } rows[] = {
      {"/r", "https://a.test/r"},
      {"s", "https://a.test/p/s"},
      {"?y=2", "https://a.test/p/?y=2"},
      {"https://a.test/r#part", "https://a.test/r"},
      {"https://A.TEST/r", "https://A.TEST/r"},
      {"https://a.test:443/r", "https://a.test:443/r"},
      {"//a.test/r", "https://a.test/r"},
      {"http://a.test/r", nullptr},
      {"https://a.test:444/r", nullptr},
      {"https://b.test/r", nullptr},
      {"//b.test/r", nullptr},
      {"https://a.test@b.test/r", nullptr},
      {"ftp://a.test/r", nullptr},
      {"", nullptr},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.location);
    const auto to = SameOriginTarget(from, row.location);
    EXPECT_EQ(to, row.to ? std::optional<std::string>(row.to) : std::nullopt);
  }
}

}  // namespace
}  // namespace pontage::buyer
