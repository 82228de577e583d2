#include "sandbox/mailbox/smtp_session.h"

#include <algorithm>
#include <utility>

#include "net/message.h"

namespace pontage::sandbox {
namespace {

// "FROM:<a@b> SIZE=3" with `prefix` "FROM:": the address between the brackets. Nothing when it is
// not of that form.
std::optional<std::string> PathOf(std::string_view argument, std::string_view prefix) {
  constexpr size_t kMaxPath = 256;
  if (argument.size() < prefix.size() ||
      !net::EqualsNoCase(argument.substr(0, prefix.size()), prefix)) {
    return std::nullopt;
  }
  argument.remove_prefix(prefix.size());
  while (argument.starts_with(' ')) argument.remove_prefix(1);
  const size_t close = argument.find('>');
  if (!argument.starts_with('<') || close == std::string_view::npos || close > kMaxPath) {
    return std::nullopt;
  }
  const std::string_view path = argument.substr(1, close - 1);
  const auto plain = [](char c) { return c > ' ' && c < 0x7f && c != '<'; };
  if (!std::ranges::all_of(path, plain)) return std::nullopt;
  return std::string(path);
}

}  // namespace

void SmtpSession::Say(std::string_view line) {
  out_.text += line;
  out_.text += "\r\n";
}

void SmtpSession::Feed(std::string_view bytes) {
  input_ += bytes;
  std::string_view rest = input_;
  while (!done_) {
    const size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) break;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    if (state_ == State::kData) {
      DataLine(line);
    } else if (line.size() > kMaxLine) {
      Say("500 5.5.6 Line too long");
    } else {
      Command(line);
    }
  }
  if (done_) rest = {};
  if (state_ == State::kData) {
    if (rest.size() > kMaxMessage) {
      // What has no end is thrown away; a CR may be the first half of it.
      too_large_ = true;
      rest = rest.substr(rest.size() - 1);
    }
  } else if (rest.size() > kMaxLine) {
    Say("500 5.5.6 Line too long");
    done_ = true;
    rest = {};
  }
  input_ = std::string(rest);
}

SmtpSession::Out SmtpSession::Take() { return std::exchange(out_, {}); }

void SmtpSession::Reset() {
  envelope_ = {};
  has_sender_ = false;
  too_large_ = false;
}

void SmtpSession::Command(std::string_view line) {
  if (state_ == State::kLoginUser && line != "*") {
    state_ = State::kLoginPassword;
    return Say("334 UGFzc3dvcmQ6");
  }
  if (state_ != State::kCommands) {
    state_ = State::kCommands;
    return Say(line == "*" ? "501 5.7.0 Login given up" : "235 2.7.0 Welcome");
  }
  const size_t space = std::min(line.find(' '), line.size());
  const std::string_view verb = line.substr(0, space);
  const std::string_view argument = line.substr(std::min(space + 1, line.size()));
  const auto is = [verb](std::string_view name) { return net::EqualsNoCase(verb, name); };
  if (is("EHLO") || is("HELO")) {
    Reset();
    greeted_ = true;
    if (is("HELO")) return Say("250 localhost");
    Say("250-localhost");
    Say("250-AUTH PLAIN LOGIN");
    Say("250-8BITMIME");
    Say("250-ENHANCEDSTATUSCODES");
    return Say("250 SIZE " + std::to_string(kMaxMessage));
  }
  if (is("QUIT")) {
    done_ = true;
    return Say("221 2.0.0 Bye");
  }
  if (is("NOOP")) return Say("250 2.0.0 Ok");
  if (is("RSET")) {
    Reset();
    return Say("250 2.0.0 Ok");
  }
  if (is("VRFY")) return Say("252 2.5.2 Send it, then you will see");
  if (is("AUTH") || is("MAIL") || is("RCPT") || is("DATA")) {
    if (!greeted_) return Say("503 5.5.1 EHLO first");
    if (is("AUTH")) return Login(argument);
    if (is("MAIL")) return Mail(argument);
    if (is("RCPT")) return Recipient(argument);
    if (envelope_.recipients.empty()) return Say("503 5.5.1 RCPT first");
    state_ = State::kData;
    return Say("354 End with a dot alone on a line");
  }
  Say("500 5.5.2 No such command");
}

void SmtpSession::Login(std::string_view argument) {
  const size_t space = std::min(argument.find(' '), argument.size());
  const std::string_view kind = argument.substr(0, space);
  const bool initial = space < argument.size();
  if (net::EqualsNoCase(kind, "PLAIN")) {
    if (initial) return Say("235 2.7.0 Welcome");
    state_ = State::kLoginPlain;
    return Say("334 ");
  }
  if (net::EqualsNoCase(kind, "LOGIN")) {
    state_ = initial ? State::kLoginPassword : State::kLoginUser;
    return Say(initial ? "334 UGFzc3dvcmQ6" : "334 VXNlcm5hbWU6");
  }
  Say("504 5.5.4 PLAIN or LOGIN");
}

void SmtpSession::Mail(std::string_view argument) {
  if (has_sender_) return Say("503 5.5.1 One sender for a mail");
  const auto path = PathOf(argument, "FROM:");
  if (!path) return Say("501 5.1.7 MAIL FROM:<address>");
  envelope_.sender = *path;
  has_sender_ = true;
  Say("250 2.1.0 Ok");
}

void SmtpSession::Recipient(std::string_view argument) {
  if (!has_sender_) return Say("503 5.5.1 MAIL first");
  const auto path = PathOf(argument, "TO:");
  if (!path || path->empty()) return Say("501 5.1.3 RCPT TO:<address>");
  if (envelope_.recipients.size() == kMaxRecipients) return Say("452 4.5.3 Too many recipients");
  if (auto refused = callbacks_.recipient(*path)) {
    out_.wait = std::max(out_.wait, refused->wait);
    return Say(refused->line);
  }
  envelope_.recipients.push_back(*path);
  Say("250 2.1.5 Ok");
}

void SmtpSession::DataLine(std::string_view line) {
  if (line == ".") return EndOfData();
  if (line.starts_with('.')) line.remove_prefix(1);
  if (too_large_ || envelope_.message.size() + line.size() + 2 > kMaxMessage) {
    too_large_ = true;
    return;
  }
  envelope_.message += line;
  envelope_.message += "\r\n";
}

void SmtpSession::EndOfData() {
  state_ = State::kCommands;
  if (too_large_) {
    Say("552 5.3.4 Message too large");
  } else {
    SmtpReply reply = callbacks_.message(std::move(envelope_));
    out_.wait = std::max(out_.wait, reply.wait);
    Say(reply.line);
  }
  Reset();
}

}  // namespace pontage::sandbox
