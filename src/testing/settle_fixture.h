#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "chain/registry.h"
#include "codec/hex.h"
#include "crypto/secp256k1.h"
#include "db/migrate.h"
#include "settle/local_facilitator.h"
#include "testing/engines.h"
#include "testing/fake_evm_chain.h"
#include "testing/sign_payment.h"

namespace pontage::testing {

// A facilitator on a fake chain with a real database; payments signed by one payer. Only for tests.
class SettleFixture {
 public:
  explicit SettleFixture(EngineKind kind)
      : engine(kind),
        assets(chain::AssetRegistry::WithDefaults()),
        usdc(*assets.DefaultOf(chain::ChainId::Evm(84532))),
        fake(chain::ChainId::Evm(84532), Domain()),
        payer(Key(1)),
        signer(Key(2)) {
    fake.balance[payer.address()] = codec::Uint256(1'000'000);
    database = *db::Database::Open(engine.url(), {}, Clock::System());
    PTG_CHECK(db::Migrate(*database, Clock::System()).has_value());
    StartNode();
  }
  ~SettleFixture() { StopNode(); }

  // A process on the same database and chain; the one before is stopped, as by a crash.
  void StartNode(settle::SubmitterOptions options = {}) {
    StopNode();
    submitter = std::make_unique<settle::Submitter>(loop, fake, *database, signer.Clone(),
                                                    Rng::System(), options);
    submitter->Start();
    signers =
        std::make_unique<settle::Signers>(std::vector{submitter.get()}, *database, Clock::System());
    facilitator = std::make_unique<settle::LocalFacilitator>(
        std::vector<settle::LocalChain>{
            {&fake, signers.get(), std::nullopt, options.confirmations}},
        assets, *database, Clock::System());
    Wait(Millis(150));
  }
  void StopNode() {
    if (!submitter) return;
    (void)loop.RunUntilDone(submitter->Stop());
    facilitator.reset();
    signers.reset();
    submitter.reset();
  }
  void Wait(Millis time) { (void)loop.RunUntilDone(Sleep(time)); }

  chain::Eip712Domain Domain() const { return DomainOf(usdc, 84532); }
  static crypto::PrivateKey Key(uint8_t n) {
    std::string hex(64, '0');
    hex[63] = static_cast<char>('0' + n);
    return *crypto::PrivateKey::FromHex(hex);
  }

  struct Sale {
    x402::Payment payment;
    x402::Requirements requirements;
    chain::TransferAuthorization auth;
  };
  // A good payment of 1000 with that nonce.
  Sale Make(uint8_t nonce, int version = 2, int64_t valid_s = 300) const {
    Sale sale;
    x402::Requirements& q = sale.requirements;
    q.version = version;
    q.scheme = "exact";
    q.network = version == 1 ? "base-sepolia" : "eip155:84532";
    q.amount = codec::Uint256(1'000);
    q.asset = usdc.address.ToChecksum();
    q.pay_to = Key(3).address().ToChecksum();
    q.max_timeout_s = 300;
    q.extra = codec::Json::Object({{"name", usdc.eip712_name}, {"version", usdc.eip712_version}});
    sale.auth.from = payer.address();
    sale.auth.to = Key(3).address();
    sale.auth.value = codec::Uint256(1'000);
    const int64_t before = Clock::System().Now().seconds() + valid_s;
    sale.auth.valid_before = codec::Uint256(static_cast<uint64_t>(before));
    sale.auth.nonce[31] = nonce;
    Sign(sale);
    return sale;
  }
  void Sign(Sale& sale) const {
    const codec::Json raw = SignedPayment(payer, Domain(), sale.requirements, sale.auth);
    sale.payment = *x402::ParsePayment(raw);
  }

  Result<x402::VerifyAnswer> Verify(const Sale& sale) {
    return loop.RunUntilDone(
        facilitator->Verify(sale.payment, sale.requirements, In(Millis(5'000))));
  }
  Result<settle::Facilitator::Settlement> Settle(const Sale& sale, Millis within = Millis(5'000)) {
    auto settled =
        loop.RunUntilDone(facilitator->Settle(sale.payment, sale.requirements, In(within)));
    Written();
    return settled;
  }
  // Until what nobody waits for is in the database too.
  void Written() {
    (void)database->WriteNow([](db::Tx&) -> Result<> { return {}; });
  }
  Result<settle::Facilitator::Settlement> SettleOnce(const Sale& sale,
                                                     Millis within = Millis(5'000)) {
    return loop.RunUntilDone(facilitator->SettleOnce(sale.payment, sale.requirements, In(within)));
  }
  static Deadline In(Millis time) { return Deadline::In(Clock::System(), time); }

  Engine engine;
  Loop loop;
  chain::AssetRegistry assets;
  chain::EvmAsset usdc;
  FakeEvmChain fake;
  crypto::PrivateKey payer;
  crypto::PrivateKey signer;
  std::unique_ptr<db::Database> database;
  std::unique_ptr<settle::Submitter> submitter;
  std::unique_ptr<settle::Signers> signers;
  std::unique_ptr<settle::LocalFacilitator> facilitator;
};

}  // namespace pontage::testing
