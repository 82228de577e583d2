// What the official servers refused, this rail refuses for the same reason: recorded payments,
// whose clock and payee are those of the record.
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "rail/rail_set.h"
#include "rail/x402_rail.h"
#include "settle/local_facilitator.h"
#include "testing/engines.h"
#include "testing/fake_evm_chain.h"
#include "testing/golden.h"
#include "testing/sign_payment.h"
#include "wire/problem/error_map.h"

namespace pontage::rail {
namespace {

using codec::Json;

// Wall time as it was when the payment was recorded; steady time goes on, so that deadlines work.
class RecordedClock final : public Clock {
 public:
  explicit RecordedClock(int64_t at_s) : now_(UnixMs::FromSeconds(at_s)) {}
  UnixMs Now() const override { return now_; }
  SteadyMs Steady() const override { return Clock::System().Steady(); }

 private:
  UnixMs now_;
};

struct Case {
  std::string name;
  int64_t at_s = 0;
  std::string resource;
  std::string header;
  std::string value;
  int64_t status = 0;
  std::string reason;
};

struct Record {
  std::string pay_to;
  Money price;
  crypto::EvmAddress poor;
  std::vector<Case> cases;
  std::vector<std::string> unsupported;
};

std::string TextOf(const Json& json, std::string_view key) { return *json.Find(key)->AsString(); }

Record ReadRecord() {
  const Json json = testing::GoldenJson("refusals.json");
  Record record;
  record.pay_to = TextOf(json, "pay_to");
  record.price = *ParseMoney(TextOf(json, "price"));
  record.poor = *crypto::EvmAddress::Parse(TextOf(json, "poor"));
  for (const Json& one : *json.Find("cases")->AsArray()) {
    record.cases.push_back({.name = TextOf(one, "case"),
                            .at_s = *one.Find("at")->AsInt64(),
                            .resource = TextOf(one, "resource"),
                            .header = TextOf(one, "header"),
                            .value = TextOf(one, "value"),
                            .status = *one.Find("status")->AsInt64(),
                            .reason = TextOf(one, "reason")});
  }
  for (const Json& one : *json.Find("unsupported")->AsArray()) {
    record.unsupported.push_back(*one.AsString());
  }
  return record;
}

// One seller as the record had him: one route for $0.001 in one version on base-sepolia.
class Seller {
 public:
  Seller(const Record& record, const Case& one)
      : clock_(one.at_s),
        assets_(chain::AssetRegistry::WithDefaults()),
        engine_(testing::EngineKind::kSqlite),
        database_(engine_.OpenMigrated()) {
    const chain::ChainId network = chain::ChainId::Evm(84532);
    const chain::EvmAsset& usdc = *assets_.DefaultOf(network);
    chain_ =
        std::make_unique<testing::FakeEvmChain>(network, testing::DomainOf(usdc, network.number()));
    PayersOf(one, record.poor);
    facilitator_ = std::make_unique<settle::LocalFacilitator>(
        std::vector<settle::LocalChain>{{chain_.get(), nullptr}}, assets_, *database_, clock_);
    catalog::Route route;
    route.match = "GET /*";
    route.price = record.price;
    route.v1 = one.name.starts_with("v1.");
    route.v2 = one.name.starts_with("v2.");
    // The official servers answer at once and ask for 60 s in version 1.
    route.answer_timeout = Millis(10'000);
    X402Options options;
    options.settle_timeout = Millis(10'000);
    options.pay_to.push_back({network, record.pay_to});
    auto rail = X402Rail::Make({route}, assets_, std::move(options), *facilitator_, clock_);
    PTG_CHECK(rail.has_value());
    std::vector<std::unique_ptr<Rail>> rails;
    rails.push_back(*std::move(rail));
    rails_ = std::make_unique<RailSet>(std::move(rails));
    quote_.price = record.price;
    quote_.method = "GET";
    quote_.resource = one.resource.substr(one.resource.find('/', 8));
    quote_.resource_url = one.resource;
  }

  // What is wrong with the payment in that header; nothing when it is good.
  std::optional<Error> Show(const std::string& header, const std::string& value) {
    net::Headers headers;
    headers.Add(header, value);
    const auto found = rails_->Find(headers);
    if (!found) return found.error();
    if (!*found) return Error(Code::kPaymentRequired, "nothing was presented");
    const auto grant = loop_.RunUntilDone(
        (*found)->rail->Verify((*found)->credential, quote_, Deadline::In(clock_, Millis(5'000))));
    if (!grant) return grant.error();
    return std::nullopt;
  }

 private:
  // The payer of the recorded payment has plenty, unless he is the one who had not.
  void PayersOf(const Case& one, const crypto::EvmAddress& poor) {
    const auto payment = x402::DecodePaymentHeader(one.value, one.header == "X-PAYMENT" ? 1 : 2);
    const Json* auth = payment ? payment->payload().Find("authorization") : nullptr;
    if (auth != nullptr) {
      const auto from = crypto::EvmAddress::Parse(TextOf(*auth, "from"));
      if (from) chain_->balance[*from] = codec::Uint256(1'000'000);
    }
    chain_->balance[poor] = codec::Uint256(10);
  }

  RecordedClock clock_;
  chain::AssetRegistry assets_;
  testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  std::unique_ptr<testing::FakeEvmChain> chain_;
  std::unique_ptr<settle::LocalFacilitator> facilitator_;
  std::unique_ptr<RailSet> rails_;
  deal::Quote quote_;
  Loop loop_;
};

TEST(Refusals, EveryRecordedPaymentIsRefusedForTheRecordedReason) {
  const Record record = ReadRecord();
  ASSERT_EQ(record.cases.size(), 27U);
  for (const Case& one : record.cases) {
    Seller seller(record, one);
    const std::optional<Error> fault = seller.Show(one.header, one.value);
    ASSERT_TRUE(fault.has_value()) << one.name << " was taken";
    EXPECT_EQ(problem::RowOf(fault->code()).http, one.status)
        << one.name << ": " << fault->detail();
    const int version = one.header == "X-PAYMENT" ? 1 : 2;
    EXPECT_EQ(problem::Reason(*fault, version), one.reason) << one.name << ": " << fault->detail();
  }
}

// What the next version will take is named here, so that nobody believes it was tested.
TEST(Refusals, CasesOfSchemesThatAreNotBuiltAreListed) {
  const Record record = ReadRecord();
  EXPECT_EQ(record.unsupported.size(), 17U);
  for (const std::string& name : record.unsupported) {
    const bool other = name.find(".svm.") != name.npos || name.find(".permit2.") != name.npos;
    EXPECT_TRUE(other) << name;
    std::printf("unsupported in this version: %s\n", name.c_str());
  }
}

}  // namespace
}  // namespace pontage::rail
