#include "app/cli/books.h"
#include "app/cli/commands.h"
#include "app/cli/text.h"
#include "base/try.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "ledger/ledger.h"
#include "ledger/outbox.h"
#include "settle/outgoing_store.h"
#include "settle/reorg_store.h"

// What the books say, for people and for scripts. Reads only.
namespace pontage::app {
namespace {

using codec::Json;
using ledger::Reservation;

std::string SymbolOf(const chain::AssetRegistry& assets, const Reservation& r) {
  const auto network = chain::ChainId::FromCaip2(r.network);
  const auto address = crypto::EvmAddress::Parse(r.asset);
  const chain::EvmAsset* asset = network && address ? assets.Find(*network, *address) : nullptr;
  return asset ? asset->symbol : std::string();
}

Json Parsed(const std::string& text) {
  codec::JsonLimits limits;
  limits.max_bytes = 1 << 20;
  auto json = codec::ParseJson(text, limits);
  return json ? *std::move(json) : Json(nullptr);
}

Json ToJson(const Reservation& r, const chain::AssetRegistry& assets) {
  Json json = Json::Object({{"id", r.id.str()},
                            {"request_id", r.request_id.str()},
                            {"state", ledger::ToString(r.state)},
                            {"stage", ledger::ToString(r.stage)},
                            {"delivery", ledger::ToString(r.delivery)},
                            {"route", r.route},
                            {"method", r.method},
                            {"resource", r.resource},
                            {"price", r.price.ToString()},
                            {"amount", r.amount.ToDecimal()},
                            {"asset", r.asset},
                            {"symbol", SymbolOf(assets, r)},
                            {"network", r.network},
                            {"rail", r.rail},
                            {"x402Version", r.protocol},
                            {"scheme", r.scheme},
                            {"payer", r.payer},
                            {"pay_to", r.pay_to},
                            {"nonce", r.nonce},
                            {"transaction", r.transaction},
                            {"upstream_status", r.upstream_status},
                            {"failure", r.failure},
                            {"created", r.created.Rfc3339()},
                            {"updated", r.updated.Rfc3339()},
                            {"valid_before", r.valid_before.Rfc3339()},
                            {"overdue", ledger::Ledger::IsOverdue(r, Clock::System().Now())}});
  return json;
}

std::string Short(const std::string& text, size_t head, size_t tail) {
  if (text.size() <= head + tail + 2) return text;
  return text.substr(0, head) + ".." + text.substr(text.size() - tail);
}

// A point of time, or how long ago.
Result<UnixMs> Since(const std::string& text, const Clock& clock) {
  if (const auto ago = ParseDuration(text)) return clock.Now() - *ago;
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  const int read = std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &year, &month, &day, &hour,
                               &minute, &second);
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const bool zoned = read == 3 || text.ends_with('Z') || text.ends_with("+00:00");
  if ((read != 3 && read != 6) || !date.ok() || !zoned || hour > 23 || minute > 59) {
    return Fail(Error(Code::kUsage, "--since " + text)
                    .Want("\"24h\", \"2026-11-21\" or \"2026-11-21T10:00:00Z\""));
  }
  const auto days = std::chrono::sys_days(date).time_since_epoch();
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(days).count() +
                          hour * 3'600 + minute * 60 + second;
  return UnixMs::FromSeconds(seconds);
}

Result<ledger::Ledger::Filter> FilterOf(const PaymentsOptions& options) {
  ledger::Ledger::Filter filter;
  if (!options.since.empty()) {
    PTG_TRY(filter.since, Since(options.since, Clock::System()));
  }
  if (!options.state.empty()) {
    const auto state = ledger::ParseState(options.state);
    if (!state) {
      return Fail(Error(Code::kUsage, "--state " + options.state)
                      .Want("held, settled, voided, expired or in_doubt"));
    }
    filter.state = *state;
  }
  filter.payer = options.payer;
  filter.route = options.route;
  filter.transaction = options.transaction;
  filter.limit = static_cast<size_t>(options.limit);
  return filter;
}

// Found rows, each with its history, the transactions signed for it (where our own facilitator
// settles), what the chain did to them later, and what others are to be told of it.
struct Told {
  Reservation row;
  std::vector<ledger::Ledger::Event> history;
  std::vector<settle::Attempt> attempts;
  std::vector<settle::ChainEvent> reorgs;
  std::optional<ledger::OutboxStatus> outbox;
};

Result<> ReadMore(db::Database& database, Told& told) {
  const std::string once = codec::ToHex(told.row.once_key);
  const std::string fact = "payment.settled:" + told.row.id.str();
  return database.ReadNow([&](db::Tx& tx) -> Result<> {
    PTG_TRY(told.attempts, settle::ReadAttempts(tx, once));
    PTG_TRY(told.reorgs, settle::ReadChainEvents(tx, once));
    PTG_TRY(told.outbox, ledger::ReadOutbox(tx, fact));
    return {};
  });
}

Task<std::vector<Told>> Tell(ledger::Ledger& books, std::string name, Deadline by) {
  PTG_CO_TRY(std::vector<Reservation> rows, co_await books.Find(std::move(name), by));
  std::vector<Told> out;
  for (Reservation& row : rows) {
    PTG_CO_TRY(auto history, co_await books.History(row.id, by));
    out.push_back({std::move(row), std::move(history), {}, {}, std::nullopt});
  }
  co_return out;
}

// How a transaction stands in its block.
std::string_view StandingOf(const settle::Attempt& a) {
  if (a.watch == "final") return ", final";
  if (a.watch == "watched" || a.watch == "moved") return ", not final yet";
  if (a.watch == "gone") return ", thrown out by the chain and sent again";
  return "";
}

void ExplainToPerson(const Told& told, const chain::AssetRegistry& assets) {
  const Reservation& r = told.row;
  PrintLine(r.id.str() + ": " + std::string(ledger::ToString(r.state)) + ", delivery " +
            std::string(ledger::ToString(r.delivery)));
  const std::vector<std::pair<std::string_view, std::string>> facts = {
      {"request", r.request_id.str()},
      {"what", r.method + ' ' + r.resource + "  (route " + r.route + ')'},
      {"price", r.price.ToString() + " = " + r.amount.ToDecimal() + ' ' + SymbolOf(assets, r) +
                    " on " + r.network},
      {"payer", r.payer},
      {"paid to", r.pay_to},
      {"transaction", r.transaction},
      {"upstream", r.upstream_status ? std::to_string(r.upstream_status) : ""},
      {"failure", r.failure}};
  for (const auto& [name, value] : facts) {
    if (!value.empty())
      PrintLine("  " + std::string(name) + std::string(13 - name.size(), ' ') + value);
  }
  if (ledger::Ledger::IsOverdue(r, Clock::System().Now())) {
    PrintLine("  overdue      it ran out " + r.valid_before.Rfc3339() +
              " and neither a chain nor the facilitator says whether it was charged");
  }
  PrintLine("  history");
  for (const auto& event : told.history) {
    PrintLine("    " + event.at.Rfc3339() + "  " + event.what +
              (event.detail.empty() ? "" : "  " + event.detail));
  }
  if (!told.attempts.empty()) PrintLine("  transactions");
  for (const settle::Attempt& a : told.attempts) {
    PrintLine(
        "    " + a.created.Rfc3339() + "  " + a.hash + "  nonce " + std::to_string(a.nonce) + "  " +
        a.state + (a.block ? " in block " + std::to_string(*a.block) : "") +
        (a.ok == false ? ", reverted" : "") + std::string(StandingOf(a)) +
        (a.payments > 1 ? ", with " + std::to_string(a.payments - 1) + " other payments" : ""));
  }
  if (!told.reorgs.empty()) PrintLine("  reorganisations of the chain");
  for (const settle::ChainEvent& event : told.reorgs) {
    PrintLine("    " + event.at.Rfc3339() + "  " + event.what +
              (event.detail.empty() ? "" : "  " + event.detail));
  }
  if (!told.outbox) return;
  PrintLine("  to tell\n    " + told.outbox->entry.created.Rfc3339() + "  " +
            told.outbox->entry.kind + "  " +
            (told.outbox->told ? "told " + told.outbox->told->Rfc3339() : "not told") + " after " +
            std::to_string(told.outbox->entry.attempts) + " attempts");
}

Json AttemptsJson(const std::vector<settle::Attempt>& attempts) {
  Json list = Json::Array();
  for (const settle::Attempt& a : attempts) {
    Json json = Json::Object({{"at", a.created.Rfc3339()},
                              {"transaction", a.hash},
                              {"signer", a.signer},
                              {"nonce", a.nonce},
                              {"state", a.state},
                              {"finality", a.watch},
                              {"payments", a.payments}});
    if (a.block) json.Set("block", *a.block);
    if (a.ok) json.Set("succeeded", *a.ok);
    list.Push(std::move(json));
  }
  return list;
}

Json OutboxJson(const std::optional<ledger::OutboxStatus>& status) {
  Json list = Json::Array();
  if (!status) return list;
  Json json = Json::Object({{"kind", status->entry.kind},
                            {"at", status->entry.created.Rfc3339()},
                            {"attempts", status->entry.attempts}});
  if (status->told) json.Set("told", status->told->Rfc3339());
  list.Push(std::move(json));
  return list;
}

}  // namespace

int Payments(const CommonOptions& common, const PaymentsOptions& options) {
  auto filter = FilterOf(options);
  if (!filter) return FailWith(common, filter.error());
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const auto database = OpenBooks(config->store.url);
  if (!database) return FailWith(common, database.error());
  Loop loop;
  ledger::Ledger books(**database, "cli", Clock::System(), Rng::System());
  const auto rows = loop.RunUntilDone(
      books.List(*std::move(filter), Deadline::In(Clock::System(), Millis(30'000))));
  if (!rows) return FailWith(common, rows.error());
  const chain::AssetRegistry assets = config->Assets();
  if (WantsJson(common)) {
    Json list = Json::Array();
    for (const Reservation& r : *rows) list.Push(ToJson(r, assets));
    PrintJson(Json::Object({{"payments", std::move(list)}}));
    return kDone;
  }
  std::vector<std::vector<std::string>> table;
  for (const Reservation& r : *rows) {
    table.push_back({r.created.Rfc3339(), r.id.str(), std::string(ledger::ToString(r.state)),
                     std::string(ledger::ToString(r.delivery)), r.price.ToString(), r.route,
                     Short(r.payer, 8, 4), Short(r.transaction, 10, 4)});
  }
  PrintLine(FormatTable(
      {"CREATED", "ID", "STATE", "DELIVERY", "PRICE", "ROUTE", "PAYER", "TRANSACTION"}, table));
  return kDone;
}

int Explain(const CommonOptions& common, const ExplainOptions& options) {
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  if (NamesLicense(options.name)) return ExplainLicense(common, *config, options.name);
  const auto database = OpenBooks(config->store.url);
  if (!database) return FailWith(common, database.error());
  Loop loop;
  ledger::Ledger books(**database, "cli", Clock::System(), Rng::System());
  auto told =
      loop.RunUntilDone(Tell(books, options.name, Deadline::In(Clock::System(), Millis(30'000))));
  if (!told) return FailWith(common, told.error());
  if (told->empty()) return FailWith(common, NothingUnder(options.name));
  for (Told& one : *told) {
    if (const auto more = ReadMore(**database, one); !more) return FailWith(common, more.error());
  }
  const chain::AssetRegistry assets = config->Assets();
  Json list = Json::Array();
  for (const Told& one : *told) {
    if (!WantsJson(common)) {
      ExplainToPerson(one, assets);
      continue;
    }
    Json json = ToJson(one.row, assets);
    json.Set("requirement", Parsed(one.row.requirement));
    json.Set("receipt", Parsed(one.row.receipt));
    Json history = Json::Array();
    for (const auto& event : one.history) {
      history.Push(Json::Object(
          {{"at", event.at.Rfc3339()}, {"what", event.what}, {"detail", event.detail}}));
    }
    json.Set("history", std::move(history));
    json.Set("transactions", AttemptsJson(one.attempts));
    Json reorgs = Json::Array();
    for (const settle::ChainEvent& event : one.reorgs) {
      reorgs.Push(Json::Object(
          {{"at", event.at.Rfc3339()}, {"what", event.what}, {"detail", event.detail}}));
    }
    json.Set("reorgs", std::move(reorgs));
    json.Set("outbox", OutboxJson(one.outbox));
    list.Push(std::move(json));
  }
  if (WantsJson(common)) PrintJson(Json::Object({{"payments", std::move(list)}}));
  return kDone;
}

}  // namespace pontage::app
