#include "net/client.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/try.h"
#include "net/exchange.h"

namespace pontage::net {

std::string Url::Authority() const {
  const bool v6 = host.contains(':');
  std::string authority;
  authority.reserve(host.size() + std::string_view("[]:65535").size());
  authority.append(v6 ? "[" : "").append(host).append(v6 ? "]" : "");
  if (port != (tls ? 443 : 80)) {
    std::array<char, 5> digits{};
    char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), port).ptr;
    authority.append(":").append(digits.data(), static_cast<size_t>(end - digits.data()));
  }
  return authority;
}

Result<Url> ParseUrl(std::string_view text) {
  const auto wrong = [] {
    return Fail(Error(Code::kBadRequest, "not an http address")
                    .Want("http(s)://host[:port][/path], without user name and fragment"));
  };
  Url url;
  const size_t scheme = text.find("://");
  if (scheme == std::string_view::npos) return wrong();
  url.tls = EqualsNoCase(text.substr(0, scheme), "https");
  if (!url.tls && !EqualsNoCase(text.substr(0, scheme), "http")) return wrong();
  text.remove_prefix(scheme + 3);
  const size_t end = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, end);
  const std::string_view path = text.substr(end);
  const auto visible = [](char c) { return c > 0x20 && c < 0x7f && c != '#'; };
  if (!http1::IsAuthority(authority) || !std::ranges::all_of(path, visible)) return wrong();
  url.port = url.tls ? 443 : 80;
  const size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && authority.back() != ']') {
    const std::string_view digits = authority.substr(colon + 1);
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), url.port);
    if (error != std::errc() || stop != digits.data() + digits.size() || url.port == 0) {
      return wrong();
    }
    authority = authority.substr(0, colon);
  }
  if (authority.front() == '[') authority = authority.substr(1, authority.size() - 2);
  url.host = authority;
  url.path = path.starts_with('/') ? std::string(path) : "/" + std::string(path);
  return url;
}

struct Client::Impl {
  Impl(Loop& loop, ClientLimits limits) : pool(std::make_shared<Pool>(loop, limits)) {}

  // Where a request goes to, and what is idle there.
  struct Destination {
    std::string host;  // as the Host field has it
    const TlsClientContext* tls;
    Pool::Line& line;
  };
  Destination To(const Url& url, const SendOptions& options) {
    const TlsClientContext* tls = nullptr;
    if (url.tls) {
      if (options.tls == nullptr && !own_tls) own_tls.emplace();
      tls = options.tls != nullptr ? options.tls : &*own_tls;
    }
    // Whom one context believed is a stranger to another.
    const uint64_t tls_id = tls == nullptr ? 0 : tls->id();
    const bool again = last.line != nullptr && last.tls == url.tls && last.tls_id == tls_id &&
                       last.port == url.port && last.host == url.host;
    if (!again) {
      last = {url.tls, tls_id, url.port, url.host, url.Authority(), nullptr};
      last.line = &pool->LineTo(url.tls ? "s" + std::to_string(tls_id) + " " + last.authority
                                        : last.authority);
    }
    return {last.authority, tls, *last.line};
  }

  // A connection that is idle there; null: none.
  std::unique_ptr<Exchange> Reopen(Destination& to) {
    std::optional<Transport> pooled = pool->Take(to.line);
    if (!pooled) return nullptr;
    return std::make_unique<Exchange>(pool, to.line, std::move(to.host), *std::move(pooled), true);
  }

  // A new one.
  Task<std::unique_ptr<Exchange>> Open(const Url& url, Destination& to, const SendOptions& options,
                                       Deadline by) {
    Loop& loop = pool->loop();
    Millis timeout = options.connect_timeout;
    if (timeout == Millis(0)) timeout = pool->limits().connect_timeout;
    by = Sooner(by, Deadline::In(loop.clock(), timeout));
    const auto unreachable = [&url](const Error& error) {
      return Fail(Code::kUpstreamUnreachable,
                  "cannot connect to " + url.Authority() + ": " + error.detail());
    };
    Result<Socket> socket = co_await Connect(loop, url.host, url.port, by);
    if (!socket) co_return unreachable(socket.error());
    std::unique_ptr<TlsSession> session;
    if (url.tls) {
      auto shaken = co_await to.tls->Connect(*socket, url.host, by);
      if (!shaken) co_return unreachable(shaken.error());
      session = *std::move(shaken);
    }
    Transport transport(*std::move(socket), std::move(session));
    co_return std::make_unique<Exchange>(pool, to.line, std::move(to.host), std::move(transport),
                                         false);
  }

  std::shared_ptr<Pool> pool;
  std::optional<TlsClientContext> own_tls;
  // Where the last request went, as nearly always the next one does.
  struct Last {
    bool tls = false;
    uint64_t tls_id = 0;
    uint16_t port = 0;
    std::string host;
    std::string authority;
    Pool::Line* line = nullptr;
  };
  Last last;
};

Client::Client(Loop& loop, ClientLimits limits) : impl_(std::make_unique<Impl>(loop, limits)) {}

Client::~Client() { impl_->pool->Close(); }

Task<std::unique_ptr<ClientResponse>> Client::Send(const Url& url, const RequestHead& head,
                                                   BodySource* body, Deadline by) {
  const SendOptions plain;
  co_return co_await Send(url, head, body, by, plain);
}

Task<std::unique_ptr<ClientResponse>> Client::Send(const Url& url, const RequestHead& head,
                                                   BodySource* body, Deadline by,
                                                   SendOptions options) {
  for (bool fresh = options.fresh;; fresh = true) {
    Impl::Destination to = impl_->To(url, options);
    std::unique_ptr<Exchange> exchange;
    if (!fresh) exchange = impl_->Reopen(to);
    if (exchange == nullptr) {
      PTG_CO_TRY(exchange, co_await impl_->Open(url, to, options, by));
    }
    const Result<> answered = co_await exchange->Run(head, body, by, options);
    if (answered) co_return std::unique_ptr<ClientResponse>(std::move(exchange));
    const bool broken = answered.error().code() == Code::kConnection;
    if (fresh || !broken || !exchange->MayRepeat()) co_return Fail(answered.error());
  }
}

Task<Client::Whole> Client::Fetch(const Url& url, RequestHead head, std::string body,
                                  size_t max_body, Deadline by, const TlsClientContext* tls) {
  StringBody source(std::move(body));
  if (head.target.empty()) head.target = url.path;
  SendOptions options;
  options.tls = tls;
  PTG_CO_TRY(const std::unique_ptr<ClientResponse> response,
             co_await Send(url, head, &source, by, options));
  Result<std::string> text = co_await ReadAll(response->body(), max_body, by);
  if (!text && text.error().code() == Code::kBodyTooLarge) {
    co_return Fail(Code::kUpstreamProtocol,
                   "the upstream's answer is larger than " + std::to_string(max_body) + " bytes");
  }
  if (!text) co_return Fail(text.error());
  Whole whole;
  whole.head = std::move(response->head());
  whole.body = *std::move(text);
  co_return whole;
}

}  // namespace pontage::net
