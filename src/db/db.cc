#include "db/db.h"

#include "base/check.h"
#include "base/try.h"
#include "db/postgres.h"
#include "db/sqlite.h"

namespace pontage::db {

// A value of another type than the statement promises is a broken invariant: all SQL is ours.
int64_t Row::Int(size_t i) const {
  const Value& value = values_.at(i);
  if (IsNull(i)) return 0;
  if (const bool* b = std::get_if<bool>(&value)) return *b ? 1 : 0;
  const auto* n = std::get_if<int64_t>(&value);
  PTG_CHECK(n != nullptr);
  return *n;
}

bool Row::Bool(size_t i) const { return Int(i) != 0; }

const std::string& Row::Text(size_t i) const {
  static const std::string* const empty = new std::string();
  if (IsNull(i)) return *empty;
  const auto* text = std::get_if<std::string>(&values_.at(i));
  PTG_CHECK(text != nullptr);
  return *text;
}

const std::string& Row::Bytes(size_t i) const {
  static const std::string* const empty = new std::string();
  if (IsNull(i)) return *empty;
  const auto* blob = std::get_if<Blob>(&values_.at(i));
  PTG_CHECK(blob != nullptr);
  return blob->bytes;
}

Result<Url> ParseUrl(std::string_view url) {
  if (url.starts_with("sqlite:")) {
    url.remove_prefix(7);
    if (url.starts_with("//")) url.remove_prefix(2);
    if (!url.empty() && url.find('\0') == std::string_view::npos) {
      return Url{.engine = Engine::kSqlite, .where = std::string(url)};
    }
  }
  if (url.starts_with("postgresql://") || url.starts_with("postgres://")) {
    return Url{.engine = Engine::kPostgres, .where = std::string(url)};
  }
  return Fail(Error(Code::kConfig, "the store's URL names no database")
                  .Want("sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE"));
}

Result<std::unique_ptr<Database>> Database::Open(std::string_view url, Options options,
                                                 const Clock& clock) {
  PTG_TRY(const Url parsed, ParseUrl(url));
  return parsed.engine == Engine::kSqlite ? OpenSqlite(parsed.where, options, clock)
                                          : OpenPostgres(parsed.where, options, clock);
}

}  // namespace pontage::db
