#include "app/cli/books.h"

#include <filesystem>
#include <utility>

#include "base/time.h"
#include "base/try.h"
#include "db/migrate.h"
#include "license/verifier.h"

namespace pontage::app {
namespace {

// What is longer than any name in the books may be a license that somebody broke in copying.
constexpr size_t kLongestName = 128;

}  // namespace

Result<std::unique_ptr<db::Database>> OpenBooks(const std::string& url) {
  PTG_TRY(const db::Url parsed, db::ParseUrl(url));
  if (parsed.engine == db::Engine::kSqlite && !std::filesystem::exists(parsed.where)) {
    return Fail(Code::kNotFound, "there are no books at " + url + ": nothing was served with it");
  }
  PTG_TRY(auto database, db::Database::Open(url, {}, Clock::System()));
  PTG_TRY(const int64_t version, db::SchemaVersion(*database));
  const int64_t known = db::AllMigrations().back().version;
  if (version != known) {
    return Fail(Code::kStore, "the store is at version " + std::to_string(version) +
                                  ", this program at " + std::to_string(known) +
                                  "; `pontage migrate` brings it up to date");
  }
  return database;
}

Error NothingUnder(const std::string& name) {
  const bool secret = name.size() > kLongestName || license::Verifier::LooksLikeOne(name);
  const std::string what = secret ? "this text" : name;
  std::string wanted =
      "a payment's id, a request id, a transaction hash, or a license's id or text";
  // Who looks for one is told why there may be nothing.
  if (name.starts_with("req_")) wanted += "; a call that a license opened is only counted";
  return Error(Code::kNotFound, "the books have nothing under " + what).Want(std::move(wanted));
}

}  // namespace pontage::app
