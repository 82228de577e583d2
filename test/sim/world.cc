#include "world.h"

#include <algorithm>

#include "base/try.h"
#include "codec/base64.h"
#include "codec/hex.h"
#include "testing/settle_fixture.h"
#include "testing/sign_payment.h"

namespace pontage::sim {
namespace {

constexpr Millis kPatience{40'000};  // of a buyer with one request
// After the trouble: the longest payment, what the sweeper waits beyond it, and its pauses.
constexpr Millis kHealing{260'000};

std::string CodeIn(const std::string& body) {
  const std::string key = "\"code\":\"";
  const size_t at = body.find(key);
  if (at == std::string::npos) return "";
  const size_t from = at + key.size();
  return body.substr(from, body.find('"', from) - from);
}

}  // namespace

Plan PlanOf(uint64_t seed) {
  Dice dice(seed * 7919 + 17);
  Plan plan;
  plan.seed = seed;
  plan.nodes = 1 + static_cast<int>(dice.Below(3));
  const auto some = [&dice](int most) {
    return dice.Chance(600) ? static_cast<int>(dice.Below(static_cast<uint64_t>(most) + 1)) : 0;
  };
  Weather& w = plan.weather;
  w.request_lost = some(150);
  w.reply_lost = some(150);
  w.duplicated = some(300);
  w.shuffled = some(500);
  w.behind = some(300);
  w.store_refuses = some(60);
  w.store_unknown = some(60);
  w.store_hangs = some(15);
  w.chain_stalls = some(100);
  w.fee_spikes = some(100);
  w.token_eats = some(100);
  plan.multicall = dice.Chance(600);
  plan.signers = dice.Chance(300) ? 2 : 1;
  w.upstream_fails = some(250);
  w.client_breaks = some(300);
  w.crashes = some(120);
  w.clock_jumps = some(60);
  if (dice.Chance(100)) plan.payments = 150;
  w.reorgs = some(120);
  return plan;
}

World::World(Plan plan) : plan_(std::move(plan)), ground_(plan_.seed) {
  ground_.weather = plan_.weather;
  ground_.chain.balance[testing::SettleFixture::Key(1).address()] = codec::Uint256(1'000'000'000);
  ground_.chain.multicall = plan_.multicall;
  ground_.chain.may_reorganise = plan_.weather.reorgs > 0;
  ground_.signers = plan_.signers;
  ground_.chain.mined = [this](const chain::TransferAuthorization& auth, bool ok) {
    const size_t index = auth.nonce[31];
    PTG_CHECK(index < payments_.size());
    (ok ? payments_[index].mined_ok : payments_[index].mined_bad) += 1;
  };
  for (int i = 0; i < plan_.nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>(ground_, next_node_++, plan_.nodes == 1));
  }
}

World::~World() {
  nodes_.clear();
  ground_.loop.DropSpawned();
}

void World::Step() {
  for (;;) {
    size_t ran = ground_.loop.Poll();
    const size_t first = nodes_.empty() ? 0 : ground_.dice.Below(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      Node* const node = nodes_[(first + i) % nodes_.size()].get();
      if (node != nullptr) ran += node->loop().Poll();
    }
    for (const size_t node : std::exchange(doomed_, {})) Crash(node);
    if (ran == 0) break;
  }
  std::optional<SteadyMs> next = ground_.loop.NextDue();
  for (const std::unique_ptr<Node>& node : nodes_) {
    if (node == nullptr) continue;
    const std::optional<SteadyMs> due = node->loop().NextDue();
    if (due && (!next || *due < *next)) next = due;
  }
  PTG_CHECK(next.has_value());
  ground_.clock.AdvanceTo(*next);
}

void World::Crash(size_t node) {
  if (nodes_[node] == nullptr) return;
  nodes_[node].reset();
  ++figures_.crashes;
}

// Kills and revives nodes, and moves their wall clocks.
Task<> World::Weathering() {
  std::vector<int> down(nodes_.size(), 0);
  while (!healed_) {
    PTG_CO_RUN(co_await Sleep(ground_.dice.Between(Millis(500), Millis(1'500))));
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i] == nullptr) {
        if (--down[i] <= 0) {
          nodes_[i] = std::make_unique<Node>(ground_, next_node_++, plan_.nodes == 1);
        }
        continue;
      }
      if (ground_.dice.Chance(ground_.weather.crashes)) {
        doomed_.push_back(i);
        down[i] = static_cast<int>(ground_.dice.Below(4));
      } else if (ground_.dice.Chance(ground_.weather.clock_jumps)) {
        const Millis far(ground_.dice.Chance(300) ? 600'000 : 40'000);
        nodes_[i]->clock().skew = ground_.dice.Between(-far, far);
      }
    }
  }
  for (std::unique_ptr<Node>& node : nodes_) {
    if (node == nullptr) {
      node = std::make_unique<Node>(ground_, next_node_++, plan_.nodes == 1);
    }
    node->clock().skew = Millis(0);
  }
  co_return {};
}

Task<> World::Mining() {
  for (;;) {
    PTG_CO_RUN(co_await Sleep(ground_.dice.Between(Millis(500), Millis(2'500))));
    if (ground_.dice.Chance(ground_.weather.chain_stalls)) {
      PTG_CO_RUN(co_await Sleep(ground_.dice.Between(Millis(5'000), Millis(30'000))));
    }
    // Blocks fill up, and get empty again.
    const uint64_t base = 1'000 + (ground_.dice.Chance(ground_.weather.fee_spikes) ? 4'000 : 0);
    ground_.chain.base_fee = codec::Uint256(base);
    ground_.chain.least_fee = codec::Uint256(base + 10);
    ground_.chain.now_s = ground_.clock.Now().seconds() - 2;
    ground_.chain.Mine();
    if (!ground_.dice.Chance(ground_.weather.reorgs)) continue;
    using Thrown = testing::FakeEvmChain::Thrown;
    const bool forgotten = ground_.dice.Chance(500);
    ground_.chain.Reorganise(1 + ground_.dice.Below(3),
                             forgotten ? Thrown::kForgotten : Thrown::kWaits);
    ++figures_.reorgs;
  }
}

// Delivers what was lost on the way, late.
Task<> World::Postman() {
  for (;;) {
    PTG_CO_RUN(co_await Sleep(ground_.dice.Between(Millis(50), Millis(5'000))));
    if (ground_.late.empty()) continue;
    const size_t which = ground_.dice.Below(ground_.late.size());
    std::vector<codec::Bytes> one{std::move(ground_.late[which])};
    ground_.late.erase(ground_.late.begin() + static_cast<std::ptrdiff_t>(which));
    (void)co_await ground_.chain.Send(std::move(one), Deadline::Never());
  }
}

World::Payment World::Sign(size_t index) {
  Payment p;
  p.version = ground_.dice.Chance(400) ? 1 : 2;
  p.route = ground_.dice.Below(ground_.routes.size());
  p.crashes_before = figures_.crashes;
  const chain::EvmAsset usdc = *ground_.assets.DefaultOf(chain::ChainId::Evm(84532));
  x402::Requirements q;
  q.version = p.version;
  q.scheme = "exact";
  q.network = p.version == 1 ? "base-sepolia" : "eip155:84532";
  q.amount = codec::Uint256(1'000);
  q.asset = usdc.address.ToChecksum();
  q.pay_to = testing::SettleFixture::Key(3).address().ToChecksum();
  q.max_timeout_s = 300;
  q.extra = codec::Json::Object({{"name", usdc.eip712_name}, {"version", usdc.eip712_version}});
  const crypto::PrivateKey payer = testing::SettleFixture::Key(1);
  p.auth.from = payer.address();
  p.auth.to = testing::SettleFixture::Key(3).address();
  p.auth.value = codec::Uint256(1'000);
  const auto valid_s = 45 + static_cast<int64_t>(ground_.dice.Below(90));
  p.auth.valid_before =
      codec::Uint256(static_cast<uint64_t>(ground_.clock.Now().seconds() + valid_s));
  p.auth.nonce[31] = static_cast<uint8_t>(index);
  if (ground_.dice.Chance(ground_.weather.token_eats)) ground_.chain.eaten.insert(p.auth.nonce);
  const chain::Eip712Domain token = testing::DomainOf(usdc, 84532);
  p.value = codec::EncodeBase64(codec::ToString(testing::SignedPayment(payer, token, q, p.auth)));
  return p;
}

// One buyer: signs once and shows that until he has the goods or is told that it is over.
Task<> World::Buy(size_t index) {
  PTG_CO_RUN(co_await Sleep(ground_.dice.Between(Millis(0), plan_.trouble - Millis(10'000))));
  payments_[index] = Sign(index);
  while (!payments_[index].closed) {
    if (ground_.dice.Chance(150)) ground_.loop.Spawn(ShowOnce(index, true), "sim.twice");
    PTG_CO_RUN(co_await ShowOnce(index, false));
    PTG_CO_RUN(co_await Sleep(ground_.dice.Between(Millis(50), Millis(4'000))));
  }
  // Served: sometimes he tries whether it is good for more.
  if (payments_[index].goods > 0 && ground_.dice.Chance(400)) {
    PTG_CO_RUN(co_await ShowOnce(index, true));
  }
  co_return {};
}

Task<> World::ShowOnce(size_t index, bool extra) {
  std::vector<Node*> up;
  for (const std::unique_ptr<Node>& node : nodes_) {
    if (node != nullptr && node->ready()) up.push_back(node.get());
  }
  if (up.empty()) co_return {};
  if (extra) ++figures_.shown_again;
  const auto request = std::make_shared<Request>();
  Payment& p = payments_[index];
  request->payment = index;
  request->route = p.route;
  request->resource = p.route == 0 ? "/after" : "/before";
  request->header = p.version == 1 ? "X-PAYMENT" : "PAYMENT-SIGNATURE";
  request->value = p.value;
  if (ground_.dice.Chance(ground_.weather.client_breaks)) {
    request->breaks_after = ground_.dice.Below(12);
  }
  ++p.running;
  up[ground_.dice.Below(up.size())]->Serve(request);
  (void)co_await request->done.Wait(Deadline::In(ground_.clock, kPatience));
  request->gone = true;
  --payments_[index].running;
  Judge(index, *request);
  co_return {};
}

void World::Judge(size_t index, const Request& request) {
  Payment& p = payments_[index];
  const int status = request.head.status;
  const std::string code = CodeIn(request.body);
  if (!request.whole) {
    // With a head: he had the start of an answer. Without: nobody answered him.
    ++p.disturbed;
    p.heard += status == 0 ? " -" : " cut:" + std::to_string(status);
    return;
  }
  p.heard += " @" + std::to_string(ground_.clock.Steady().ms()) + ":" + std::to_string(status) +
             (code.empty() ? "" : ":" + code);
  if (status == 200) {
    ++p.goods;
    p.closed = true;
    ground_.Forbid(!ground_.chain.EverMoved(p.auth.from, p.auth.nonce),
                   "payment " + std::to_string(index) + " was served and no money had moved");
    return;
  }
  const bool offer = request.head.headers.Has("PAYMENT-REQUIRED") ||
                     request.body.find("\"accepts\"") != std::string::npos;
  if (status == 402 && offer) {
    // With another request of his under way he waits for that one.
    if (p.running == 0) p.invited = p.closed = true;
  } else if (status == 402 && code == "settle_failed") {
    p.failed = p.closed = true;
  } else if (status == 402) {
    p.closed = true;  // used before: he was served, or had his one redemption
  }
}

std::string World::Story() const {
  std::string story;
  for (const Payment& p : payments_) story += p.heard + "\n";
  return story;
}

std::string World::Run() {
  payments_.resize(static_cast<size_t>(plan_.payments));
  PTG_CHECK(payments_.size() < 256);
  ground_.loop.Spawn(Weathering(), "sim.weather");
  ground_.loop.Spawn(Mining(), "sim.mining");
  ground_.loop.Spawn(Postman(), "sim.postman");
  for (size_t i = 0; i < payments_.size(); ++i) ground_.loop.Spawn(Buy(i), "sim.buy");
  while (ground_.clock.Steady().ms() < plan_.trouble.count()) Step();
  ground_.weather = Weather{};
  healed_ = true;
  while (ground_.clock.Steady().ms() < (plan_.trouble + kHealing).count()) Step();
  Audit();
  return ground_.violation;
}

}  // namespace pontage::sim
