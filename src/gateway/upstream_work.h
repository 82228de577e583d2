#pragma once

#include <optional>

#include "catalog/path.h"
#include "gateway/gateway.h"
#include "paywall/work.h"

namespace pontage::gateway {

// A request's body whose trailers have lost what stays here.
class KeptApart final : public net::BodySource {
 public:
  KeptApart(net::BodySource& body, const rail::RailSet& rails, const ForwardOptions& options)
      : body_(body), rails_(rails), options_(options) {}
  Task<std::string_view> Read(Deadline by) override;
  std::optional<uint64_t> length() const override { return body_.length(); }
  bool empty() const override { return body_.empty(); }
  const net::Headers& trailers() const override { return trailers_; }

 private:
  net::BodySource& body_;
  const rail::RailSet& rails_;
  const ForwardOptions options_;
  net::Headers trailers_;
};

// "Forward this request to its upstream", as work that can be sold. Lives as long as the request.
//
// Of several addresses the first one that is up is asked. A connect that fails sent nothing, so the
// next address is asked, whatever the request is. An answer that breaks off before its head may
// have been worked on: only a GET or HEAD that nobody paid for is sent once more.
class UpstreamWork final : public paywall::Work {
 public:
  UpstreamWork(net::Client& client, const Upstream& upstream, const catalog::Target& target,
               const net::RequestHead& head, const Site& site, const GatewayDeps& deps)
      : client_(client),
        upstream_(upstream),
        target_(target),
        head_(head),
        site_(site),
        deps_(deps) {}

  // kUpstreamDown when no address is up, kUpstreamBusy when there is no place.
  Task<> Admit() override;

  // 1xx answers go to the client too; for free work only, since nothing of a paid answer may leave
  // before it is settled.
  void PassInterim(net::ResponseWriter& out);

  Task<std::unique_ptr<net::ClientResponse>> Run(const std::string& idempotency_key,
                                                 net::BodySource& body, Deadline by,
                                                 Deadline latest) override;

 private:
  // The first address from `from` on that may be asked; nothing: none is up.
  Task<std::optional<size_t>> Choose(size_t from);
  // What most requests are: the first address is up and nobody is counted. Waits for nothing.
  bool AdmittedAtOnce();
  net::RequestHead HeadFor(const net::Url& url, const ForwardOptions& options) const;
  void Heard(size_t address, Outcome outcome);
  std::unexpected<Error> Refused(Error why);

  net::Client& client_;
  const Upstream& upstream_;
  const catalog::Target& target_;
  const net::RequestHead& head_;
  const Site& site_;
  const GatewayDeps& deps_;
  std::optional<size_t> address_;  // chosen when it was admitted
  Gate::Permit permit_;
  net::Client::Interim interim_;
  std::optional<KeptApart> body_;  // of the run, as the upstream sees it
};

}  // namespace pontage::gateway
