#include "buyer/payment.h"

#include <gtest/gtest.h>

#include "codec/hex.h"
#include "testing/expect.h"
#include "testing/sample_offer.h"

namespace pontage::buyer {
namespace {

using codec::Json;
using testing::FailsWith;
using testing::IsOk;

using testing::kKey;
using testing::kPayee;

Json Accepted() {
  Json offer = testing::SampleOffer();
  offer.Set("extra", Json::Object({{"version", "2"}, {"name", "USDC"}, {"own", 1}}));
  return offer;
}

codec::Bytes32 Nonce() {
  codec::Bytes32 nonce{};
  nonce.fill(0x11);
  return nonce;
}

struct Signed {
  Offer offer;
  SignedPayment payment;
  Json sent;
};

Signed Sign(int version) {
  Signed out;
  Json entry = Accepted();
  if (version == 1) {
    entry.Remove("amount");
    entry.Set("maxAmountRequired", "10000");
    entry.Set("network", "base-sepolia");
  }
  out.offer.version = version;
  out.offer.accepts = {Json::Object({{"scheme", "other"}}), entry};
  if (version == 2) {
    out.offer.resource = Json::Object({{"url", "https://seller/x"}, {"tags", Json::Array({"a"})}});
    out.offer.extensions = Json::Object({{"bazaar", Json::Object({{"info", 1}})}});
  }
  const auto choice = Choose(out.offer, chain::AssetRegistry::WithDefaults(), Policy());
  const auto key = crypto::PrivateKey::FromHex(kKey);
  out.payment = SignPayment(out.offer, *choice, *key, UnixMs::FromSeconds(1'899'999'700), Nonce());
  out.sent = *x402::DecodeHeader(out.payment.header, Code::kInternal);
  return out;
}

// The vector was made by the official client against a real token.
TEST(PaymentTest, TheSignatureIsTheOfficialClients) {
  const Signed s = Sign(2);
  EXPECT_EQ(
      *s.sent.Find("payload")->Find("signature")->AsString(),
      "0x9ee5cbd85039917a89c4ace7961877e72c83b40c97cd44a8fef9bd0be35f35251e592e9a98d4ea66dcbcb3"
      "6f9cdd4fdeaa33af0e3bbcd9a198ce53e0d88d59131b");
}

TEST(PaymentTest, VersionTwoEchoesTheOfferUnchanged) {
  const Signed s = Sign(2);
  EXPECT_EQ(s.payment.header_name, "PAYMENT-SIGNATURE");
  EXPECT_EQ(*s.sent.Find("x402Version"), Json(2));
  EXPECT_EQ(codec::ToString(*s.sent.Find("accepted")), codec::ToString(Accepted()))
      << "in the seller's own order";
  EXPECT_EQ(*s.sent.Find("resource"), s.offer.resource);
  EXPECT_EQ(*s.sent.Find("extensions"), s.offer.extensions);
  const Json& a = *s.sent.Find("payload")->Find("authorization");
  EXPECT_EQ(*a.Find("value"), Json("10000"));
  EXPECT_EQ(*a.Find("validAfter"), Json("0"));
  EXPECT_EQ(*a.Find("validBefore"), Json("1900000000"));
  EXPECT_EQ(*a.Find("to"), Json(kPayee));
  EXPECT_THAT(x402::DecodePaymentHeader(s.payment.header, 2), IsOk());
}

TEST(PaymentTest, VersionOneBeginsTenMinutesEarly) {
  const Signed s = Sign(1);
  EXPECT_EQ(s.payment.header_name, "X-PAYMENT");
  EXPECT_EQ(*s.sent.Find("network"), Json("base-sepolia"));
  EXPECT_EQ(s.sent.Find("accepted"), nullptr);
  const Json& a = *s.sent.Find("payload")->Find("authorization");
  EXPECT_EQ(*a.Find("validAfter"), Json("1899999100"));
  EXPECT_EQ(*a.Find("validBefore"), Json("1900000000"));
  EXPECT_THAT(x402::DecodePaymentHeader(s.payment.header, 1), IsOk());
}

TEST(PaymentTest, ReceiptsAreReadFromEitherHeader) {
  const Json json = Json::Object(
      {{"success", true}, {"payer", "0xA"}, {"transaction", "0x1"}, {"network", "base-sepolia"}});
  const std::string header = x402::EncodeHeader(json);
  EXPECT_EQ((*ReadReceipt(header, std::nullopt))->transaction, "0x1");
  EXPECT_EQ((*ReadReceipt(std::nullopt, header))->transaction, "0x1");
  EXPECT_EQ((*ReadReceipt(header, "garbage"))->transaction, "0x1");
  EXPECT_EQ(*ReadReceipt(std::nullopt, std::nullopt), std::nullopt);
  EXPECT_THAT(ReadReceipt("garbage", header), FailsWith(Code::kUpstreamProtocol));
  const Json lie = Json::Object({{"success", "true"}, {"transaction", "0x1"}, {"network", "base"}});
  EXPECT_THAT(ReadReceipt(x402::EncodeHeader(lie), std::nullopt),
              FailsWith(Code::kUpstreamProtocol));
}

chain::EvmLog Log(const crypto::EvmAddress& token, const codec::Bytes32& topic,
                  const codec::Bytes32& a, const codec::Bytes32& b, const codec::Bytes& data) {
  chain::EvmLog log;
  log.address = token;
  log.topics = {topic, a, b};
  log.data = data;
  return log;
}

chain::EvmReceipt ReceiptOf(const SignedPayment& p) {
  const auto& a = p.authorization;
  const codec::Bytes32 value = a.value.ToBytesBE();
  chain::EvmReceipt receipt;
  receipt.ok = true;
  receipt.logs.push_back(
      Log(p.asset, chain::AuthorizationUsedTopic(), a.from.ToWord(), a.nonce, {}));
  receipt.logs.push_back(Log(p.asset, chain::TransferTopic(), a.from.ToWord(), a.to.ToWord(),
                             codec::Bytes(value.begin(), value.end())));
  return receipt;
}

TEST(PaymentTest, OnlyItsOwnLogsProveAPayment) {
  const SignedPayment payment = Sign(2).payment;
  ASSERT_THAT(ProvesPayment(ReceiptOf(payment), payment), IsOk());
  const struct {
    const char* what;
    void (*spoil)(chain::EvmReceipt&);
  } rows[] = {
      {"reverted", [](chain::EvmReceipt& r) { r.ok = false; }},
      {"no logs", [](chain::EvmReceipt& r) { r.logs.clear(); }},
      {"no transfer", [](chain::EvmReceipt& r) { r.logs.pop_back(); }},
      {"no use of the authorization", [](chain::EvmReceipt& r) { r.logs.erase(r.logs.begin()); }},
      {"another nonce", [](chain::EvmReceipt& r) { r.logs[0].topics[2][0] ^= 1; }},
      {"another payer's authorization", [](chain::EvmReceipt& r) { r.logs[0].topics[1][31] ^= 1; }},
      {"another token used", [](chain::EvmReceipt& r) { r.logs[0].address.bytes[0] ^= 1; }},
      {"another token moved", [](chain::EvmReceipt& r) { r.logs[1].address.bytes[0] ^= 1; }},
      {"another payee", [](chain::EvmReceipt& r) { r.logs[1].topics[2][31] ^= 1; }},
      {"another payer", [](chain::EvmReceipt& r) { r.logs[1].topics[1][31] ^= 1; }},
      {"another amount", [](chain::EvmReceipt& r) { r.logs[1].data[31] ^= 1; }},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    chain::EvmReceipt receipt = ReceiptOf(payment);
    row.spoil(receipt);
    EXPECT_THAT(ProvesPayment(receipt, payment), FailsWith(Code::kSettleTransfer));
  }
}

}  // namespace
}  // namespace pontage::buyer
