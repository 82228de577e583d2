#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/id.h"
#include "db/db.h"
#include "db/migrate.h"

// Every store test runs on every engine that is here: SQLite always, PostgreSQL where
// PTG_TEST_POSTGRES holds a postgresql:// URL. With PTG_REQUIRE_POSTGRES=1 its absence is a
// failure.
//
//   class LedgerTest : public ::testing::TestWithParam<testing::EngineKind> { … };
//   INSTANTIATE_TEST_SUITE_P(Engines, LedgerTest, ::testing::ValuesIn(testing::EnginesHere()),
//                            testing::EngineName);
namespace pontage::testing {

enum class EngineKind { kSqlite, kPostgres };

inline void PrintTo(EngineKind kind, std::ostream* out) {
  *out << (kind == EngineKind::kSqlite ? "sqlite" : "postgres");
}
inline std::string EngineName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kSqlite ? "Sqlite" : "Postgres";
}

inline std::string PostgresUrl() {
  const char* const url = std::getenv("PTG_TEST_POSTGRES");
  return url == nullptr ? "" : url;
}

inline std::vector<EngineKind> EnginesHere() {
  std::vector<EngineKind> kinds = {EngineKind::kSqlite};
  const char* const require = std::getenv("PTG_REQUIRE_POSTGRES");
  // When it is required and not there, opening it fails the tests.
  if (!PostgresUrl().empty() || (require != nullptr && std::string(require) == "1")) {
    kinds.push_back(EngineKind::kPostgres);
  }
  return kinds;
}

// For tests of what PostgreSQL alone does.
inline std::vector<EngineKind> PostgresHere() {
  std::vector<EngineKind> kinds = EnginesHere();
  kinds.erase(kinds.begin());
  return kinds;
}

// A place for one empty database that goes away with this object: a file in a directory of its own,
// or a schema of its own. Several sessions and several Database objects may use it.
class Engine {
 public:
  explicit Engine(EngineKind kind) : kind_(kind) {
    const std::string name = NewIdText("ptg_test", Clock::System(), Rng::System());
    if (kind == EngineKind::kSqlite) {
      place_ = (std::filesystem::temp_directory_path() / name).string();
      std::filesystem::create_directories(place_);
      url_ = "sqlite:" + place_ + "/test.db";
    } else {
      place_ = name;
      const std::string all = PostgresUrl();
      url_ = all + (all.find('?') == std::string::npos ? "?" : "&") + "options=-csearch_path%3D" +
             name;
      Admin("CREATE SCHEMA " + name);
    }
  }
  ~Engine() {
    if (kind_ == EngineKind::kSqlite) {
      std::error_code ignored;
      std::filesystem::remove_all(place_, ignored);
    } else {
      Admin("DROP SCHEMA " + place_ + " CASCADE");
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  EngineKind kind() const { return kind_; }
  const std::string& url() const { return url_; }
  // The file, for SQLite.
  std::string path() const { return place_ + "/test.db"; }

  // A pool of its own on this place; null, and a failed test, when it cannot be opened.
  std::unique_ptr<db::Database> Open(db::Options options = {},
                                     const Clock& clock = Clock::System()) const {
    Result<std::unique_ptr<db::Database>> database = db::Database::Open(url_, options, clock);
    if (!database) {
      ADD_FAILURE() << "cannot open " << url_ << ": " << database.error().detail();
      return nullptr;
    }
    return *std::move(database);
  }
  // The same with the tables in it.
  std::unique_ptr<db::Database> OpenMigrated(db::Options options = {},
                                             const Clock& clock = Clock::System()) const {
    std::unique_ptr<db::Database> database = Open(options, clock);
    if (database == nullptr) return nullptr;
    if (const auto migrated = db::Migrate(*database, clock); !migrated) {
      ADD_FAILURE() << "cannot migrate: " << migrated.error().detail();
      return nullptr;
    }
    return database;
  }

 private:
  static void Admin(const std::string& sql) {
    db::Options one;
    one.readers = 0;
    const auto database = db::Database::Open(PostgresUrl(), one, Clock::System());
    ASSERT_TRUE(database.has_value()) << database.error().detail();
    const auto body = [&sql](db::Tx& tx) {
      const db::Statement statement{"test.admin", sql};
      return tx.Run(statement);
    };
    const auto done = (*database)->WriteNow(body);
    EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().detail());
  }

  EngineKind kind_;
  std::string place_;
  std::string url_;
};

}  // namespace pontage::testing
