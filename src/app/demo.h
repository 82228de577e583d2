#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "app/compose.h"
#include "app/demo_shop.h"
#include "app/local_server.h"
#include "buyer/pay_client.h"
#include "sandbox/dev_chain.h"

namespace pontage::app {

// Everything at once and offline: a dev chain, Stripe's double, a mailbox, a small upstream, and in
// front of it a gateway with its facilitator and its shop, out of a real configuration in a
// directory of its own.
class Demo {
 public:
  // `port` is the gateway's; 0 picks one. kConnection when it is taken.
  static Result<std::unique_ptr<Demo>> Start(uint16_t port, const Clock& clock, Rng& rng);
  // Stops everything and removes the directory.
  ~Demo();

  // "http://127.0.0.1:8402"
  const std::string& url() const { return house_->urls().front(); }
  const std::string& metrics_url() const { return house_->metrics_url(); }
  std::string rpc() const { return rpc_->url(); }
  const std::string& config_path() const { return config_path_; }
  sandbox::DevChain& chain() { return chain_; }
  // What the sample upstream sells through the gateway, for a tenth of a cent.
  std::string paid_url() const { return url() + "/v1/quotes/PTG"; }

  const DemoShop& shop() const { return *shop_; }

  // A license by card, which opens paid_url(), too.
  Result<DemoShop::Bought> BuyLicense();
  // One purchase of paid_url() by the sandbox's buyer, checked on the chain.
  Result<buyer::Purchase> BuyOnce();

 private:
  Demo(const Clock& clock, Rng& rng);
  Result<> Build(uint16_t port);

  const Clock& clock_;
  Rng& rng_;
  std::string dir_;
  std::string config_path_;
  sandbox::DevChain chain_;
  std::unique_ptr<LocalServer> rpc_;
  std::unique_ptr<LocalServer> upstream_;
  std::unique_ptr<DemoShop> shop_;
  std::unique_ptr<House> house_;
  bool started_ = false;
};

}  // namespace pontage::app
