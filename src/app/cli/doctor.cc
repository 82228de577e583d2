#include "app/cli/doctor.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

#include "app/chains.h"
#include "app/cli/commands.h"
#include "app/tls_files.h"
#include "base/try.h"
#include "chain/evm_rpc.h"
#include "crypto/secp256k1.h"
#include "db/db.h"
#include "db/migrate.h"
#include "io/runtime.h"
#include "ledger/ledger.h"
#include "net/client.h"
#include "settle/outgoing_store.h"
#include "settle/reorg_store.h"

// `pontage doctor`: asks everything the configuration leans on whether it is there and what it
// should be. Changes nothing.
namespace pontage::app {
namespace {

using codec::Json;

// A node whose latest block is further behind than this is not following the chain, or nothing is
// mined on it.
constexpr int64_t kBlockBehindS = 120;
// Payments of clients whose clock is ahead of the chain's are refused as not yet valid.
constexpr int64_t kClockAheadS = 15;
// About ten settlements on a busy day of a cheap chain: 0.0005 ether.
constexpr uint64_t kLowBalanceWei = 500'000'000'000'000;

// SQLite writes the file and, beside it, its log: both must be allowed to whoever asks. False when
// that settles the matter, for better or worse.
bool ExamineFile(Exam& exam, const std::string& file, const std::string& shown) {
  const std::filesystem::path parent = std::filesystem::path(file).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    exam.Bad("store", "no file can be made in " + folder + ": " + std::strerror(errno),
             "make the folder, owned by whoever runs this, or change store.url");
    return false;
  }
  if (!std::filesystem::exists(file)) {
    exam.Ok("store", shown + " is made at the first start");
    return false;
  }
  if (access(file.c_str(), R_OK | W_OK) != 0) {
    exam.Bad("store", "cannot write " + file + ": " + std::strerror(errno),
             "run as its owner, or change store.url");
    return false;
  }
  return true;
}

void ExamineStore(Exam& exam) {
  const std::string& url = exam.config.store.url;
  const std::string shown = RedactUrl(url);
  const auto parsed = db::ParseUrl(url);
  if (parsed && parsed->engine == db::Engine::kSqlite && parsed->where != ":memory:" &&
      !ExamineFile(exam, parsed->where, shown)) {
    return;
  }
  auto database = db::Database::Open(url, {}, Clock::System());
  if (!database) {
    exam.Bad("store", database.error().detail(), "check store.url or DATABASE_URL");
    return;
  }
  const auto version = db::SchemaVersion(**database);
  const int64_t known = db::AllMigrations().back().version;
  if (!version) {
    exam.Bad("store", version.error().detail(), "check that the database answers and may be read");
  } else if (*version > known) {
    exam.Bad("store", shown + " is at version " + std::to_string(*version),
             "it was written by a newer Pontage: run that one");
  } else if (*version < known) {
    exam.Warn("store", shown + " is at version " + std::to_string(*version),
              "`pontage migrate`, or just start: serve does it");
  } else {
    exam.Ok("store", shown + " at version " + std::to_string(known));
  }
}

std::string NameOf(const chain::ChainId& network) {
  const auto name = network.V1Name();
  return name ? std::string(*name) : network.Caip2();
}

// What is paid with on that network: its default and whatever the file lists.
std::vector<chain::EvmAsset> AssetsOn(const Config& config, const ChainConfig& chain) {
  if (!chain.assets.empty()) return chain.assets;
  const chain::AssetRegistry all = config.Assets();
  const chain::EvmAsset* asset = all.DefaultOf(chain.network);
  return asset ? std::vector<chain::EvmAsset>{*asset} : std::vector<chain::EvmAsset>{};
}

// The books, where there are some of our version. ExamineStore complains of those that cannot be
// read.
std::unique_ptr<db::Database> Books(const Config& config) {
  const auto parsed = db::ParseUrl(config.store.url);
  // A store that is not made yet knows nothing, and is not made now.
  if (!parsed ||
      (parsed->engine == db::Engine::kSqlite && !std::filesystem::exists(parsed->where))) {
    return nullptr;
  }
  auto database = db::Database::Open(config.store.url, {}, Clock::System());
  if (!database) return nullptr;
  const auto version = db::SchemaVersion(**database);
  if (!version || *version != db::AllMigrations().back().version) return nullptr;
  return *std::move(database);
}

// What the key has spent within the last hour, of what it may.
void ExamineGas(Exam& exam, const ChainConfig& chain, const crypto::EvmAddress& signer) {
  const std::optional<int64_t> most = GweiPerHour(chain);
  if (!most) return;
  const auto database = Books(exam.config);
  if (!database) return;
  const std::string what = "gas on " + NameOf(chain.network);
  const settle::Signer of{chain.network.Caip2(), signer.ToLower()};
  const auto read = [&of](db::Tx& tx) {
    return settle::GasOfLastHour(tx, of, Clock::System().Now());
  };
  const int64_t spent = database->ReadNow(read).value_or(0);
  const std::string detail = signer.ToChecksum() + " spent " + std::to_string(spent) + " of " +
                             std::to_string(*most) + " gwei in the last hour";
  if (spent < *most - *most / 5) {
    exam.Ok(what, detail);
  } else {
    exam.Warn(what, detail, "payments hear 503 when it is spent: raise gas_per_hour, or wait");
  }
}

// Settled transactions that the chain has thrown out and not taken back yet.
void ExamineGone(Exam& exam, const ChainConfig& chain, const crypto::EvmAddress& signer) {
  const auto database = Books(exam.config);
  if (!database) return;
  const settle::Signer of{chain.network.Caip2(), signer.ToLower()};
  const auto read = [&of](db::Tx& tx) { return settle::CountGone(tx, of); };
  const int64_t gone = database->ReadNow(read).value_or(0);
  if (gone == 0) return;
  exam.Warn("reorganisation of " + NameOf(chain.network),
            std::to_string(gone) + " settled transactions of " + signer.ToChecksum() +
                " are in no block any more",
            "they are sent again while pontage runs; look again in a minute");
}

// Payments that were settled and that a reorganisation has undone for good.
void ExamineLost(Exam& exam) {
  const auto database = Books(exam.config);
  if (!database) return;
  constexpr Millis kWeek{7 * 86'400'000LL};
  const UnixMs since = Clock::System().Now() - kWeek;
  const auto read = [since](db::Tx& tx) { return settle::CountLost(tx, since); };
  const int64_t lost = database->ReadNow(read).value_or(0);
  if (lost == 0) return;
  exam.Warn("reorganisations",
            std::to_string(lost) + " settled payments were undone by the chain within a week",
            "settle.reorg_lost in the log names them, `pontage explain` says what became of each; "
            "more confirmations make it rarer");
}

// Payments in doubt whose time is over: nobody can say what became of them.
void ExamineOverdue(Exam& exam) {
  const auto database = Books(exam.config);
  if (!database) return;
  Loop loop;
  ledger::Ledger books(*database, "doctor", Clock::System(), Rng::System());
  const auto rows = loop.RunUntilDone(books.Overdue(Deadline::In(Clock::System(), Millis(10'000))));
  if (!rows || rows->empty()) return;
  exam.Warn("payments in doubt",
            std::to_string(rows->size()) + " ran out and nobody says whether they were charged, " +
                rows->front().id.str() + " among them",
            "give their network an rpc in [chain] and restart: the chain's word closes them; "
            "`pontage payments --state in_doubt` lists them");
}

Task<> ExamineSigner(Exam& exam, const ChainConfig& chain, const Secret& signer,
                     chain::EvmView& view, Deadline by) {
  const std::string what = "signer on " + NameOf(chain.network);
  const auto key = crypto::PrivateKey::FromHex(signer.Reveal());
  if (!key) {
    exam.Bad(what, "no key", "set the variable that signer names");
    co_return {};
  }
  const crypto::EvmAddress address = key->address();
  const auto balance = co_await view.Balance(address, by);
  if (!balance) {
    exam.Bad(what, balance.error().detail(), "check the rpc");
  } else if (*balance < codec::Uint256(kLowBalanceWei)) {
    const std::string detail = address.ToChecksum() + " has " + balance->ToDecimal() + " wei";
    if (balance->IsZero()) {
      exam.Bad(what, detail, "send it some ether: it pays the gas of settlements");
    } else {
      exam.Warn(what, detail, "send it more ether: it pays the gas of settlements");
    }
  } else {
    exam.Ok(what, address.ToChecksum() + " has " + balance->ToDecimal() + " wei");
  }
  ExamineGas(exam, chain, address);
  ExamineGone(exam, chain, address);
  co_return {};
}

Task<> ExamineClock(Exam& exam, const ChainConfig& chain, chain::EvmView& view, Deadline by) {
  const std::string what = "clock on " + NameOf(chain.network);
  const auto block = co_await view.Block(std::nullopt, by);
  if (!block) {
    exam.Bad(what, block.error().detail(), "check the rpc");
    co_return {};
  }
  const int64_t behind = Clock::System().Now().seconds() - block->time_s;
  const std::string detail = "block " + std::to_string(block->number) + " is " +
                             std::to_string(behind < 0 ? -behind : behind) + " s " +
                             (behind < 0 ? "ahead of" : "behind") + " our clock";
  if (behind < -kClockAheadS) {
    exam.Bad(what, detail, "set this machine's clock (NTP)");
  } else if (behind > kBlockBehindS) {
    exam.Warn(what, detail, "the node is behind, or nothing is mined on this chain");
  } else {
    exam.Ok(what, detail);
  }
  co_return {};
}

Task<> ExamineChain(Exam& exam, const ChainConfig& chain, Deadline by) {
  const std::string name = NameOf(chain.network);
  if (chain.network.family() != chain::Family::kEvm) {
    exam.Warn("chain " + name, "Solana is not in this version", "nothing is offered on it");
    co_return {};
  }
  for (const std::string& url : chain.rpc) {
    const std::string what = "rpc of " + name;
    const auto origin = net::ParseUrl(url);
    const std::string host = origin ? origin->Authority() : std::string("?");
    const std::vector<std::string> one{url};
    auto view = chain::EvmRpc::Make(chain.network, one, Clock::System());
    if (!view) {
      exam.Bad(what, view.error().detail(), "an http:// or https:// URL");
      continue;
    }
    const auto number = co_await (*view)->ChainNumber(by);
    if (!number) {
      exam.Bad(what, host + ": " + number.error().detail(), "check the URL and that the node runs");
      continue;
    }
    if (*number != chain.network.number()) {
      exam.Bad(what, host + " is chain " + std::to_string(*number),
               "use a node of chain " + std::to_string(chain.network.number()));
      continue;
    }
    exam.Ok(what, host + " is chain " + std::to_string(*number));
    std::vector<chain::EvmAsset> assets = AssetsOn(exam.config, chain);
    const size_t count = assets.size();
    const Result<> domain = co_await chain::CheckEvmChain(**view, std::move(assets), by);
    if (!domain) {
      exam.Bad("tokens on " + name, domain.error().detail(),
               domain.error().expected().empty() ? "check address, name and version"
                                                 : domain.error().expected());
    } else {
      exam.Ok("tokens on " + name, std::to_string(count) + " with code and the right domain");
    }
    for (const Secret& signer : chain.signers) {
      PTG_CO_RUN(co_await ExamineSigner(exam, chain, signer, **view, by));
    }
    PTG_CO_RUN(co_await ExamineClock(exam, chain, **view, by));
  }
  co_return {};
}

// The certificate of our own listeners.
void ExamineTls(Exam& exam) {
  if (!exam.config.server.tls) return;
  const auto loaded = LoadTls(exam.config);
  if (!loaded) {
    exam.Bad("certificate", loaded.error().Text(), "nothing starts with it");
    return;
  }
  const UnixMs end = (*loaded)->not_after();
  const std::string detail = exam.config.server.tls->cert + " ends on " + end.Rfc3339();
  constexpr Millis kSoon{14 * 86'400'000LL};
  if (end < Clock::System().Now() + kSoon) {
    exam.Warn("certificate", detail, "renew it; the new one is taken without a restart");
  } else {
    exam.Ok("certificate", detail);
  }
}

Task<> ExamineHttp(Exam& exam, net::Client& client, std::string what, std::string url,
                   std::string method, Deadline by, const net::TlsClientContext* tls = nullptr) {
  const auto parsed = net::ParseUrl(url);
  if (!parsed) {
    exam.Bad(what, "no URL", "an http:// or https:// URL");
    co_return {};
  }
  net::RequestHead head;
  head.method = std::move(method);
  head.target = parsed->path;
  constexpr size_t kMostAnswer = 4u << 20;
  std::string nothing;
  const auto answer =
      co_await client.Fetch(*parsed, std::move(head), std::move(nothing), kMostAnswer, by, tls);
  if (!answer) {
    exam.Bad(what, parsed->Authority() + ": " + answer.error().detail(),
             "check that it runs and that the URL is right");
  } else if (answer->head.status >= 500) {
    exam.Warn(what, parsed->Authority() + " answers " + std::to_string(answer->head.status),
              "look into its log");
  } else {
    exam.Ok(what, parsed->Authority() + " answers");
  }
  co_return {};
}

Task<> ExamineAll(Loop& loop, Exam& exam) {
  constexpr Millis kPatience{10'000};
  for (const ChainConfig& chain : exam.config.chains) {
    PTG_CO_RUN(co_await ExamineChain(exam, chain, Deadline::In(Clock::System(), kPatience)));
  }
  net::Client client(loop);
  for (const UpstreamConfig& upstream : exam.config.upstreams) {
    const auto authorities = LoadAuthorities(exam.config, upstream);
    if (!authorities) {
      exam.Bad("upstream " + upstream.name, authorities.error().Text(), "mend the file");
      continue;
    }
    for (std::string url : upstream.urls) {
      std::string what = "upstream " + upstream.name;
      std::string method = "HEAD";
      PTG_CO_RUN(co_await ExamineHttp(exam, client, std::move(what), std::move(url),
                                      std::move(method), Deadline::In(Clock::System(), kPatience),
                                      authorities->get()));
    }
  }
  for (const std::string& base : exam.config.x402.facilitator_urls) {
    std::string what = "facilitator";
    std::string url = base + "/supported";
    std::string method = "GET";
    PTG_CO_RUN(co_await ExamineHttp(exam, client, std::move(what), std::move(url),
                                    std::move(method), Deadline::In(Clock::System(), kPatience)));
  }
  co_return co_await ExamineSales(exam, Deadline::In(Clock::System(), kPatience));
}

int Report(const CommonOptions& common, const std::vector<Finding>& findings) {
  bool good = true;
  Json list = Json::Array();
  for (const Finding& f : findings) {
    good = good && f.level != "fail";
    list.Push(Json::Object(
        {{"level", f.level}, {"what", f.what}, {"detail", f.detail}, {"advice", f.advice}}));
    if (WantsJson(common)) continue;
    PrintLine(f.level + std::string(6 - f.level.size(), ' ') + f.what + ": " + f.detail);
    if (!f.advice.empty()) PrintLine("      -> " + f.advice);
  }
  if (WantsJson(common)) PrintJson(Json::Object({{"ok", good}, {"checks", std::move(list)}}));
  return good ? kDone : kFailed;
}

}  // namespace

int Doctor(const CommonOptions& common) {
  const auto config = LoadConfig(common.config);
  if (!config) {
    std::vector<Finding> findings;
    for (const ConfigFault& fault : config.error()) {
      findings.push_back({"fail", "config", fault.Text(), ""});
    }
    return Report(common, findings);
  }
  Exam exam{.config = *config, .findings = {}};
  exam.Ok("config", config->file);
  for (const std::string& warning : config->warnings) exam.Warn("config", warning, "");
  ExamineStore(exam);
  ExamineLost(exam);
  ExamineOverdue(exam);
  ExamineTls(exam);
  Loop loop;
  if (const auto done = loop.RunUntilDone(ExamineAll(loop, exam)); !done) {
    exam.Bad("doctor", done.error().detail(), "");
  }
  return Report(common, exam.findings);
}

}  // namespace pontage::app
