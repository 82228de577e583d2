#include "console/session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"
#include "codec/base64url.h"
#include "codec/bytes.h"
#include "codec/hex.h"
#include "crypto/hmac.h"

namespace pontage::console {
namespace {

// A browser takes __Host- only with Secure, for the whole host and from nobody beside it.
constexpr std::string_view kSecureName = "__Host-pontage_console";
constexpr std::string_view kPlainName = kSecureName.substr(7);  // what follows __Host-
constexpr size_t kTokenBytes = 32;
// A page is a read; only every so often is it written down that somebody was there.
constexpr Millis kNoteEvery{60'000};

constexpr db::Statement kOpen{
    "console.session_open",
    "INSERT INTO console_session (id, key_name, key_mark, seen_ms, ends_ms)"
    " VALUES ($1, $2, $3, $4, $5)"};
constexpr db::Statement kFind{"console.session_find",
                              "SELECT key_name, key_mark, seen_ms, ends_ms FROM console_session"
                              " WHERE id = $1 AND seen_ms > $2 AND ends_ms > $3"};
constexpr db::Statement kSeen{"console.session_seen",
                              "UPDATE console_session SET seen_ms = $2 WHERE id = $1"};
constexpr db::Statement kClose{"console.session_close",
                               "DELETE FROM console_session WHERE id = $1"};
constexpr db::Statement kSweep{"console.session_sweep",
                               "DELETE FROM console_session WHERE ends_ms <= $1 OR seen_ms <= $2"};

std::string RandomText(Rng& rng) {
  std::array<uint8_t, kTokenBytes> bytes{};
  rng.Fill(bytes);
  return codec::EncodeBase64Url(codec::ByteView(bytes));
}

}  // namespace

Sessions::Sessions(SessionOptions options, db::Database& database, const Clock& clock, Rng& rng)
    : options_{.secret =
                   options.secret.empty() ? Secret(RandomText(rng)) : std::move(options.secret),
               .secure = options.secure,
               .idle = options.idle,
               .most = options.most},
      database_(database),
      clock_(clock),
      rng_(rng) {}

std::string Sessions::Mac(std::string_view use, std::string_view text) const {
  const std::string message = std::string(use) + ':' + std::string(text);
  return codec::ToHex(
      crypto::HmacSha256(codec::AsBytes(options_.secret.Reveal()), codec::AsBytes(message)));
}

std::string Sessions::Cookie(std::string_view value, int64_t seconds) const {
  std::string line(options_.secure ? kSecureName : kPlainName);
  line += '=';
  line += value;
  line += options_.secure ? "; Path=/; Secure" : "; Path=/admin";
  return line + "; HttpOnly; SameSite=Strict; Max-Age=" + std::to_string(seconds);
}

std::string Sessions::Forget() const { return Cookie("", 0); }

Task<std::string> Sessions::Open(std::string name, std::string value, Deadline by) {
  const std::string token = RandomText(rng_);
  const std::string id = Mac("session", token);
  const std::string mark = Mac("key", value);
  const UnixMs now = clock_.Now();
  const auto write = [&](db::Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kSweep, now.ms(), (now - options_.idle).ms()));
    PTG_RUN(tx.Run(kOpen, id, name, mark, now.ms(), (now + options_.most).ms()));
    return {};
  };
  PTG_CO_RUN(co_await database_.Write(write, by));
  co_return Cookie(token, options_.most.count() / 1'000);
}

Task<std::optional<Session>> Sessions::Find(const net::RequestHead& head, Deadline by) {
  const std::optional<std::string> token =
      CookieOf(head, options_.secure ? kSecureName : kPlainName);
  if (!token || token->empty()) co_return std::optional<Session>();
  const UnixMs now = clock_.Now();
  Session session{.id = Mac("session", *token), .key = "", .mark = "", .csrf = "", .ends = now};
  UnixMs seen;
  const auto read = [&](db::Tx& tx) -> Result<bool> {
    PTG_TRY(const db::Rows rows, tx.Run(kFind, session.id, (now - options_.idle).ms(), now.ms()));
    if (rows.empty()) return false;
    session.key = rows.front().Text(0);
    session.mark = rows.front().Text(1);
    seen = UnixMs(rows.front().Int(2));
    session.ends = UnixMs(rows.front().Int(3));
    return true;
  };
  PTG_CO_TRY(const bool found, co_await database_.Read(read, by));
  if (!found) co_return std::optional<Session>();
  session.csrf = Mac("csrf", *token);
  if (now - seen >= std::min(kNoteEvery, options_.idle / 4)) {
    const auto note = [&session, now](db::Tx& tx) -> Result<> {
      PTG_RUN(tx.Run(kSeen, session.id, now.ms()));
      return {};
    };
    PTG_CO_RUN(co_await database_.Write(note, by));
  }
  co_return std::optional<Session>(std::move(session));
}

Task<> Sessions::Close(std::string id, Deadline by) {
  const auto write = [&id](db::Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kClose, id));
    return {};
  };
  co_return co_await database_.Write(write, by);
}

bool Sessions::IsOf(const Session& session, const Secret& key) const {
  return Secret(Mac("key", key.Reveal())).Matches(session.mark);
}

bool Sessions::IsCsrf(const Session& session, std::string_view presented) {
  return !session.csrf.empty() && Secret(session.csrf).Matches(presented);
}

std::optional<std::string> CookieOf(const net::RequestHead& head, std::string_view name) {
  std::optional<std::string> found;
  for (size_t i = 0; i < head.headers.size(); ++i) {
    const net::Headers::Field field = head.headers.at(i);
    if (!net::EqualsNoCase(field.name, "Cookie")) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(';'), rest.size());
      std::string_view one = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      while (one.starts_with(' ')) one.remove_prefix(1);
      if (!one.starts_with(name) || one.size() == name.size() || one[name.size()] != '=') continue;
      // Of two one may have been planted.
      if (found) return std::nullopt;
      found = std::string(one.substr(name.size() + 1));
    }
  }
  return found;
}

}  // namespace pontage::console
