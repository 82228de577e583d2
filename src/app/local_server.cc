#include "app/local_server.h"

#include <future>

#include "base/try.h"

namespace pontage::app {

LocalServer::LocalServer() = default;

Result<std::unique_ptr<LocalServer>> LocalServer::Start(std::string_view address,
                                                        net::Handler handler,
                                                        std::function<Task<>()> background) {
  PTG_RUN(net::CheckAddressFree(address));
  std::unique_ptr<LocalServer> made(new LocalServer);
  made->host_ = std::string(address.substr(0, address.rfind(':')));
  LocalServer& self = *made;
  Loop& loop = self.runtime_.loop(0);
  std::promise<Result<>> listening;
  self.runtime_.Start();
  // Servers belong to the thread of their loop.
  loop.Post([&self, &loop, &listening, text = std::string(address), run = std::move(handler),
             work = std::move(background)]() mutable {
    self.server_ = std::make_unique<net::Server>(loop, net::ServerLimits(), std::move(run));
    Result<> result = self.server_->Listen(text);
    if (result) self.port_ = self.server_->port();
    if (result && work) loop.Spawn(work(), "local_server.background");
    listening.set_value(std::move(result));
  });
  if (Result<> result = listening.get_future().get(); !result) {
    return std::unexpected(std::move(result).error());
  }
  return made;
}

LocalServer::~LocalServer() {
  std::promise<void> gone;
  runtime_.loop(0).Post([this, &gone] {
    server_.reset();
    gone.set_value();
  });
  gone.get_future().wait();
  runtime_.Stop();
  runtime_.Join();
}

std::string LocalServer::url() const { return "http://" + host_ + ':' + std::to_string(port_); }

}  // namespace pontage::app
