#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/rng.h"
#include "base/secret.h"
#include "base/time.h"
#include "db/db.h"
#include "net/message.h"

// Who is logged in to the console's pages.
namespace pontage::console {

struct SessionOptions {
  // Of `console.session_key`: nodes that share it and the store share the sessions, and another one
  // ends them all. Without one each start makes its own, and a restart logs everybody out.
  Secret secret;
  bool secure = false;          // pages are reached by https: the cookie never leaves it
  Millis idle{30 * 60'000};     // without a page
  Millis most{12 * 3'600'000};  // from the login on, whatever happens
};

struct Session {
  std::string id;    // as the table has it, which is not what the cookie says
  std::string key;   // the name of the operator key that logged in
  std::string mark;  // of that key's value at the time
  std::string csrf;  // what every form of this session says
  UnixMs ends;
};

// Sessions are rows: a logout ends one on every node, and a cookie that was copied with it. The
// cookie is 256 random bits; the row has only its HMAC, so that who reads the store has no cookie
// and who writes to it cannot make one. Safe to use from every loop.
class Sessions {
 public:
  Sessions(SessionOptions options, db::Database& database, const Clock& clock, Rng& rng);

  // A new one, for whom has shown the operator key `name` whose value is `value`. Gives the line of
  // Set-Cookie. Ended ones are swept.
  Task<std::string> Open(std::string name, std::string value, Deadline by);
  // Of the request's cookie; nothing when there is none, or it has ended. Asking keeps it from
  // being idle.
  Task<std::optional<Session>> Find(const net::RequestHead& head, Deadline by);
  Task<> Close(std::string id, Deadline by);

  // Whether the key is the one that logged in: another value under the old name ends its sessions.
  bool IsOf(const Session& session, const Secret& key) const;
  // Constant time.
  static bool IsCsrf(const Session& session, std::string_view presented);
  // The line of Set-Cookie that takes it back.
  std::string Forget() const;

 private:
  std::string Mac(std::string_view use, std::string_view text) const;
  std::string Cookie(std::string_view value, int64_t seconds) const;

  const SessionOptions options_;
  db::Database& database_;
  const Clock& clock_;
  Rng& rng_;
};

// The value of the cookie `name` of a request; nothing when it is not there or there twice.
std::optional<std::string> CookieOf(const net::RequestHead& head, std::string_view name);

}  // namespace pontage::console
