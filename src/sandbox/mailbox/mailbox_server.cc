// The mailbox on sockets: HTTP for its API and pages, SMTP beside it.
#include <memory>
#include <utility>

#include "base/try.h"
#include "io/timer.h"
#include "net/client.h"
#include "sandbox/mailbox/mailbox.h"
#include "sandbox/mailbox/mailbox_json.h"

namespace pontage::sandbox {
namespace {

constexpr Millis kPatience{30'000};
// More senders at once than any test has.
constexpr size_t kMostConnections = 64;
// RFC 5321 §4.5.3.2.7: five minutes for the next command. A local one needs a moment.
constexpr Millis kSmtpIdle{60'000};

Task<> Post(Mailbox::Notice notice) {
  PTG_CO_TRY(const net::Url url, net::ParseUrl(notice.url));
  net::RequestHead head;
  head.method = "POST";
  head.target = url.path;
  head.headers = std::move(notice.headers);
  head.headers.Add("Content-Type", "application/json");
  head.headers.Add("User-Agent", "pontage-sandbox");
  net::Client client(*Loop::Current());
  constexpr size_t kMaxAnswer = 64 << 10;
  const Deadline by = Deadline::In(Loop::Current()->clock(), kPatience);
  PTG_CO_RUN(co_await client.Fetch(url, std::move(head), std::move(notice.body), kMaxAnswer, by));
  co_return {};
}

void PostNotices(Mailbox& mailbox) {
  for (Mailbox::Notice& notice : mailbox.TakeNotices()) {
    Loop::Current()->Spawn(Post(std::move(notice)), "mailbox.webhook");
  }
}

Task<> Handle(Mailbox& mailbox, net::RequestHead& head, net::BodySource& body,
              net::ResponseWriter& out) {
  const Deadline by = Deadline::In(Loop::Current()->clock(), kPatience);
  const Result<std::string> bytes = co_await net::ReadAll(body, kMaxMailboxBody, by);
  if (!bytes && bytes.error().code() != Code::kBodyTooLarge) {
    co_return std::unexpected(bytes.error());
  }
  Mailbox::Answer answer = bytes ? mailbox.Ask(head, *bytes)
                                 : ResendError(413, "validation_error", "The body is too large");
  PostNotices(mailbox);
  if (answer.wait > Millis(0)) PTG_CO_RUN(co_await Sleep(answer.wait));
  net::ResponseHead response;
  response.status = answer.status;
  response.headers = std::move(answer.headers);
  response.headers.Add("Content-Type", answer.type);
  response.headers.Add("Cache-Control", "no-store");
  PTG_CO_RUN(co_await out.Head(std::move(response), answer.body.size()));
  PTG_CO_RUN(co_await out.Write(answer.body));
  co_return co_await out.End();
}

Task<> Say(Socket& socket, std::string_view text) {
  const Deadline by = Deadline::In(Loop::Current()->clock(), kPatience);
  while (!text.empty()) {
    const iovec piece{const_cast<char*>(text.data()), text.size()};
    PTG_CO_TRY(const size_t count, co_await socket.WriteSome({&piece, 1}, by));
    text.remove_prefix(count);
  }
  co_return {};
}

// Counts a connection while it is there.
class Slot {
 public:
  explicit Slot(std::shared_ptr<size_t> count) : count_(std::move(count)) { ++*count_; }
  ~Slot() { --*count_; }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

 private:
  std::shared_ptr<size_t> count_;
};

Task<> Serve(Mailbox& mailbox, Socket socket, std::shared_ptr<size_t> connections) {
  const Slot slot(connections);
  if (*connections > kMostConnections) {
    co_return co_await Say(socket, "421 4.3.2 Too many connections\r\n");
  }
  SmtpSession session(mailbox.ForSmtp());
  PTG_CO_RUN(co_await Say(socket, SmtpSession::Greeting()));
  char buffer[8192];
  while (!session.done()) {
    const Deadline by = Deadline::In(Loop::Current()->clock(), kSmtpIdle);
    PTG_CO_TRY(const size_t count, co_await socket.Read(buffer, by));
    if (count == 0) break;
    session.Feed(std::string_view(buffer, count));
    PostNotices(mailbox);
    const SmtpSession::Out out = session.Take();
    if (out.wait > Millis(0)) PTG_CO_RUN(co_await Sleep(out.wait));
    PTG_CO_RUN(co_await Say(socket, out.text));
  }
  co_return {};
}

}  // namespace

net::Handler MailboxHandler(Mailbox& mailbox) {
  return [&mailbox](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    return Handle(mailbox, head, body, out);
  };
}

Task<> RunSmtp(Mailbox& mailbox, Listener& listener) {
  constexpr Millis kPause{100};
  const auto connections = std::make_shared<size_t>(0);
  while (listener.open()) {
    Result<Socket> socket = co_await listener.Accept();
    if (socket) {
      Loop::Current()->Spawn(Serve(mailbox, *std::move(socket), connections), "mailbox.smtp");
    } else if (socket.error().code() == Code::kOverloaded) {
      PTG_CO_RUN(co_await Sleep(kPause));
    } else if (socket.error().code() == Code::kConnection) {
      break;
    }
  }
  co_return {};
}

}  // namespace pontage::sandbox
