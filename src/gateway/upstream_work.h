#pragma once

#include "catalog/path.h"
#include "gateway/gateway.h"
#include "paywall/work.h"

namespace pontage::gateway {

// "Forward this request to its upstream", as work that can be sold. Lives as long as the request.
class UpstreamWork final : public paywall::Work {
 public:
  UpstreamWork(net::Client& client, const Upstream& upstream, const catalog::Target& target,
               const net::RequestHead& head, const Site& site)
      : client_(client), upstream_(upstream), target_(target), head_(head), site_(site) {}

  // 1xx answers go to the client too; for free work only, since nothing of a paid answer may leave
  // before it is settled.
  void PassInterim(net::ResponseWriter& out);

  Task<std::unique_ptr<net::ClientResponse>> Run(const std::string& idempotency_key,
                                                 net::BodySource& body, Deadline by) override;

 private:
  net::Client& client_;
  const Upstream& upstream_;
  const catalog::Target& target_;
  const net::RequestHead& head_;
  const Site& site_;
  net::Client::Interim interim_;
};

}  // namespace pontage::gateway
