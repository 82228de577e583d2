#include "buyer/spend_ledger.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/try.h"
#include "codec/hex.h"
#include "crypto/hash.h"

namespace pontage::buyer {
namespace {

using codec::Json;
using codec::JsonReader;

Error Broken(const std::string& what, const std::string& path) {
  return {Code::kStore, what + ' ' + path + ": " + std::strerror(errno)};
}

bool Alive(int64_t process) {
  return process > 0 && (kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM);
}

Json ToJson(const SpendLedger::Entry& e) {
  const auto& a = e.payment.authorization;
  return Json::Object({{"event", "signed"},
                       {"request", e.request},
                       {"url", e.url},
                       {"process", e.process},
                       {"header_name", e.payment.header_name},
                       {"header", e.payment.header},
                       {"network", e.payment.network.Caip2()},
                       {"asset", e.payment.asset.ToChecksum()},
                       {"from", a.from.ToChecksum()},
                       {"to", a.to.ToChecksum()},
                       {"value", a.value.ToDecimal()},
                       {"valid_after", a.valid_after.ToDecimal()},
                       {"valid_before", a.valid_before.ToDecimal()},
                       {"nonce", codec::Hex0x(a.nonce)},
                       {"accepted", e.accepted},
                       {"price_micros", e.price.micros()}});
}

Result<crypto::EvmAddress> Address(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::string_view text, r.String(key));
  return crypto::EvmAddress::Parse(text);
}

Result<codec::Uint256> Number(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::string_view text, r.String(key));
  return codec::Uint256::FromDecimal(text);
}

Result<SpendLedger::Entry> FromJson(const JsonReader& r) {
  SpendLedger::Entry e;
  PTG_TRY(e.request, r.String("request"));
  PTG_TRY(e.url, r.String("url"));
  PTG_TRY(e.process, r.Int("process"));
  PTG_TRY(e.payment.header_name, r.String("header_name"));
  PTG_TRY(e.payment.header, r.String("header"));
  PTG_TRY(const std::string_view network, r.String("network"));
  PTG_TRY(e.payment.network, chain::ChainId::FromCaip2(network));
  PTG_TRY(e.payment.asset, Address(r, "asset"));
  auto& a = e.payment.authorization;
  PTG_TRY(a.from, Address(r, "from"));
  PTG_TRY(a.to, Address(r, "to"));
  PTG_TRY(a.value, Number(r, "value"));
  PTG_TRY(a.valid_after, Number(r, "valid_after"));
  PTG_TRY(a.valid_before, Number(r, "valid_before"));
  PTG_TRY(const std::string_view nonce, r.String("nonce"));
  PTG_TRY(a.nonce, codec::FromHex0x<32>(nonce));
  PTG_TRY(const int64_t micros, r.Int("price_micros"));
  e.price = Money::Micros(micros);
  const auto until = a.valid_before.ToU64();
  if (!until || *until > static_cast<uint64_t>(INT64_MAX) / 1000) {
    return Fail(r.Bad("valid_before", "is no time"));
  }
  e.payment.valid_before = UnixMs::FromSeconds(static_cast<int64_t>(*until));
  PTG_TRY(const Json* accepted, r.Any("accepted"));
  e.accepted = *accepted;
  return e;
}

Result<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Fail(Broken("cannot open", path));
  std::string text;
  char buffer[64 * 1024];
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof buffer)) > 0 && text.size() <= SpendLedger::kMaxBytes) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  if (n < 0) return Fail(Broken("cannot read", path));
  if (text.size() > SpendLedger::kMaxBytes) return Fail(Code::kStore, path + " is too large");
  return text;
}

}  // namespace

std::string SpendLedger::DigestOf(std::string_view method, std::string_view url,
                                  std::string_view body, const crypto::EvmAddress& payer) {
  // The lengths keep two different requests from running together.
  const std::string head = std::string(method) + ' ' + std::to_string(url.size()) + ' ' +
                           std::to_string(body.size()) + '\n' + std::string(url) + '\n';
  return codec::ToHex(crypto::Sha256({codec::AsBytes(head), codec::AsBytes(body), payer.bytes}));
}

Result<SpendLedger> SpendLedger::Open(std::string path, int64_t process) {
  std::error_code failure;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (!parent.empty() && !std::filesystem::exists(parent, failure)) {
    std::filesystem::create_directories(parent, failure);
    if (failure) {
      return Fail(Code::kStore, "cannot create " + parent.string() + ": " + failure.message());
    }
    chmod(parent.c_str(), 0700);
  }
  PTG_TRY(const std::string text, ReadFile(path));
  SpendLedger ledger;
  ledger.path_ = std::move(path);
  ledger.process_ = process;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    if (const auto line = codec::ParseJson(rest.substr(0, end))) ledger.Read(*line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return ledger;
}

void SpendLedger::Read(const Json& line) {
  const auto r = JsonReader::Of(line);
  if (!r) return;
  const auto event = r->String("event");
  if (event && *event == "signed") {
    if (auto entry = FromJson(*r)) entries_.push_back(*std::move(entry));
    return;
  }
  const auto nonce = r->String("nonce");
  const auto transaction = r->String("transaction");
  if (!event || *event != "closed" || !nonce || !transaction) return;
  for (Entry& entry : entries_) {
    if (codec::Hex0x(entry.payment.authorization.nonce) != *nonce) continue;
    entry.open = false;
    entry.transaction = *transaction;
  }
}

Result<> SpendLedger::Append(const Json& line) const {
  if (path_.empty()) return {};
  const int fd = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Fail(Broken("cannot open", path_));
  // A line before it that a crash cut short must not take this one with it.
  const std::string text = '\n' + codec::ToString(line) + '\n';
  const bool whole = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                     fdatasync(fd) == 0;
  const Error failure = Broken("cannot write", path_);
  close(fd);
  if (!whole) return Fail(failure);
  return {};
}

const SpendLedger::Entry* SpendLedger::FindOpen(std::string_view request, UnixMs now) const {
  for (const Entry& entry : entries_) {
    if (!entry.open || entry.request != request || entry.payment.valid_before <= now) continue;
    if (entry.process != process_ && Alive(entry.process)) continue;
    return &entry;
  }
  return nullptr;
}

Result<> SpendLedger::Signed(Entry entry) {
  entry.process = process_;
  PTG_RUN(Append(ToJson(entry)));
  entries_.push_back(std::move(entry));
  return {};
}

Result<> SpendLedger::Close(const codec::Bytes32& nonce, std::string transaction) {
  PTG_RUN(Append(Json::Object(
      {{"event", "closed"}, {"nonce", codec::Hex0x(nonce)}, {"transaction", transaction}})));
  for (Entry& entry : entries_) {
    if (entry.payment.authorization.nonce != nonce) continue;
    entry.open = false;
    entry.transaction = transaction;
  }
  return {};
}

Result<Money> SpendLedger::Spent() const {
  Money sum;
  for (const Entry& entry : entries_) {
    if (entry.open || entry.transaction.empty()) continue;
    PTG_TRY(sum, Add(sum, entry.price));
  }
  return sum;
}

}  // namespace pontage::buyer
