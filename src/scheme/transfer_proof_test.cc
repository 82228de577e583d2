#include "scheme/transfer_proof.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace pontage::scheme {
namespace {

using codec::Bytes32;
using codec::Uint256;

crypto::EvmAddress Account(uint8_t n) {
  crypto::EvmAddress address;
  address.bytes[19] = n;
  return address;
}
Bytes32 Nonce(uint8_t n) {
  Bytes32 nonce{};
  nonce[31] = n;
  return nonce;
}

constexpr uint8_t kToken = 1, kPayer = 2, kPayee = 3, kOther = 4;

class Logs {
 public:
  Logs& Used(uint8_t nonce, uint8_t payer = kPayer, uint8_t token = kToken) {
    return Add(token, {chain::AuthorizationUsedTopic(), Account(payer).ToWord(), Nonce(nonce)}, {});
  }
  Logs& Moved(uint64_t value, uint8_t to = kPayee, uint8_t from = kPayer, uint8_t token = kToken) {
    const Bytes32 word = Uint256(value).ToBytesBE();
    return Add(token, {chain::TransferTopic(), Account(from).ToWord(), Account(to).ToWord()},
               {word.begin(), word.end()});
  }
  Proof Prove(uint8_t nonce = 7, uint64_t value = 1'000) const {
    TransferClaim claim;
    claim.asset = Account(kToken);
    claim.payer = Account(kPayer);
    claim.nonce = Nonce(nonce);
    claim.to = Account(kPayee);
    claim.value = Uint256(value);
    return ProveTransfer(logs_, claim);
  }
  std::vector<chain::EvmLog> logs_;

 private:
  Logs& Add(uint8_t token, std::vector<Bytes32> topics, codec::Bytes data) {
    chain::EvmLog log;
    log.address = Account(token);
    log.topics = std::move(topics);
    log.data = std::move(data);
    log.log_index = logs_.size();
    logs_.push_back(std::move(log));
    return *this;
  }
};

TEST(TransferProof, OnlyTheAuthorizationWithItsTransferIsAPayment) {
  EXPECT_EQ(Logs().Used(7).Moved(1'000).Prove(), Proof::kPaid);
  EXPECT_EQ(Logs().Moved(1'000).Used(7).Prove(), Proof::kPaid);  // some tokens write it first
  EXPECT_EQ(Logs().Prove(), Proof::kUnused);                     // a token that does nothing
  EXPECT_EQ(Logs().Moved(1'000).Prove(), Proof::kUnused);        // a transfer of some other kind
  EXPECT_EQ(Logs().Used(8).Moved(1'000).Prove(), Proof::kUnused);
  EXPECT_EQ(Logs().Used(7, kOther).Moved(1'000).Prove(), Proof::kUnused);
  EXPECT_EQ(Logs().Used(7).Prove(), Proof::kElsewhere);
  EXPECT_EQ(Logs().Used(7).Moved(999).Prove(), Proof::kElsewhere);  // a fee was taken on the way
  EXPECT_EQ(Logs().Used(7).Moved(1'000, kOther).Prove(), Proof::kElsewhere);
  EXPECT_EQ(Logs().Used(7).Moved(1'000, kPayee, kOther).Prove(), Proof::kElsewhere);
}

TEST(TransferProof, LogsOfAnotherContractProveNothing) {
  EXPECT_EQ(Logs().Used(7, kPayer, kOther).Moved(1'000, kPayee, kPayer, kOther).Prove(),
            Proof::kUnused);
  EXPECT_EQ(Logs().Used(7).Moved(1'000, kPayee, kPayer, kOther).Prove(), Proof::kElsewhere);
}

// Two authorizations in one transaction and one transfer: only one of them has paid.
TEST(TransferProof, OneTransferPaysForOneAuthorization) {
  const Logs both = Logs().Used(7).Moved(1'000).Used(8).Moved(1'000);
  EXPECT_EQ(both.Prove(7), Proof::kPaid);
  EXPECT_EQ(both.Prove(8), Proof::kPaid);
  const Logs one = Logs().Used(7).Used(8).Moved(1'000);
  EXPECT_EQ(one.Prove(7), Proof::kElsewhere);
  EXPECT_EQ(one.Prove(8), Proof::kPaid);
  const Logs before = Logs().Moved(1'000).Used(7).Moved(1'000).Used(8);
  EXPECT_EQ(before.Prove(7), Proof::kPaid);
}

// A batch that pays one payee the same amount many times: as many payments as transfers, in either
// order of a token's logs.
TEST(TransferProof, ManyEqualPaymentsOfOneTransactionEachNeedTheirOwnTransfer) {
  struct Case {
    const char* name;
    Logs logs;
    std::vector<uint8_t> paid;
  };
  const Case cases[] = {
      {"used first",
       Logs().Used(7).Moved(1'000).Used(8).Moved(1'000).Used(9).Moved(1'000),
       {7, 8, 9}},
      {"moved first",
       Logs().Moved(1'000).Used(7).Moved(1'000).Used(8).Moved(1'000).Used(9),
       {7, 8, 9}},
      {"the first moved nothing", Logs().Used(7).Used(8).Moved(1'000).Used(9).Moved(1'000), {8, 9}},
      {"the middle one moved nothing",
       Logs().Used(7).Moved(1'000).Used(8).Used(9).Moved(1'000),
       {7, 9}},
      {"the last moved nothing", Logs().Used(7).Moved(1'000).Used(8).Moved(1'000).Used(9), {7, 8}},
      {"one transfer between two", Logs().Used(7).Moved(1'000).Used(8), {7}},
      {"moved first, the first of them nothing", Logs().Used(7).Moved(1'000).Used(8), {7}},
  };
  for (const Case& c : cases) {
    for (const uint8_t nonce : {uint8_t{7}, uint8_t{8}, uint8_t{9}}) {
      const bool want = std::ranges::find(c.paid, nonce) != c.paid.end();
      EXPECT_EQ(c.logs.Prove(nonce) == Proof::kPaid, want) << c.name << ", " << int{nonce};
    }
  }
}

TEST(TransferProof, ALogThatIsListedTwiceIsOneLog) {
  Logs logs = Logs().Used(7).Used(8).Moved(1'000);
  logs.logs_.push_back(logs.logs_[2]);
  logs.logs_.push_back(logs.logs_[0]);
  EXPECT_EQ(logs.Prove(7), Proof::kElsewhere);
  EXPECT_EQ(logs.Prove(8), Proof::kPaid);
}

}  // namespace
}  // namespace pontage::scheme
