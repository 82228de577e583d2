#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/config.h"
#include "app/config_tree.h"

namespace pontage::app {

// What reading one file needs everywhere: where things come from and where faults go.
struct ConfigContext {
  std::string file;
  const ConfigSources& sources;
  const ConfigOptions& options;
  std::vector<ConfigFault>& faults;
  std::vector<std::string>& warnings;
  std::vector<MissingSecret>& missing;

  void Fault(int line, std::string key, std::string found, std::string expected) {
    faults.push_back({file, line, std::move(key), std::move(found), std::move(expected)});
  }
  // `path`, from the file's directory when it is relative.
  std::string FromHere(std::string_view path) const;
};

// What a table's secrets are to this process.
enum class Secrecy : uint8_t {
  kNeeded,   // one that is missing is a fault
  kLenient,  // of a later version: a missing one is no fault
  kUnread,   // of a role that does not run here: none is looked up
};

// Reads the values of one table. CheckKeys has already named whatever is of the wrong kind, so that
// a getter is silent about it and gives nothing; faults of the finer forms are added here.
class Section {
 public:
  // `node` may be null: everything is absent then.
  Section(ConfigContext& context, const TomlNode* node, std::string shown,
          Secrecy secrecy = Secrecy::kNeeded)
      : context_(context), node_(node), shown_(std::move(shown)), secrecy_(secrecy) {}

  bool present() const { return node_ != nullptr; }
  int line() const { return node_ ? node_->line : 0; }
  ConfigContext& context() const { return context_; }
  // As faults name it.
  std::string Path(std::string_view key) const;
  int LineOf(std::string_view key) const;
  bool Has(std::string_view key) const { return node_ != nullptr && node_->Find(key) != nullptr; }
  Section Child(std::string_view key) const;
  std::vector<Section> Children(std::string_view key) const;
  // The members of a table with free keys.
  std::vector<std::pair<std::string, const TomlNode*>> Members() const;

  void Fault(std::string_view key, std::string found, std::string expected) const;
  // As the writer wrote it; "nothing" when absent.
  std::string Found(std::string_view key) const;

  std::optional<std::string> String(std::string_view key) const;
  std::string StringOr(std::string_view key, std::string fallback) const;
  // Absent or empty is a fault.
  std::string RequiredString(std::string_view key, std::string_view expected) const;
  std::string OneOf(std::string_view key, std::string fallback,
                    std::initializer_list<std::string_view> allowed) const;
  std::vector<std::string> Strings(std::string_view key) const;  // one string counts as a list
  std::optional<int64_t> Int(std::string_view key, int64_t least, int64_t most) const;
  std::vector<int64_t> Ints(std::string_view key) const;
  bool BoolOr(std::string_view key, bool fallback) const;
  std::optional<Money> Price(std::string_view key) const;
  std::optional<Millis> Duration(std::string_view key, Millis least, Millis most) const;
  std::optional<size_t> Size(std::string_view key, size_t least, size_t most) const;
  std::optional<Allowance> Rate(std::string_view key) const;
  // An http or https URL; `env:NAME` is looked up. nullopt after a fault.
  std::optional<std::string> Url(std::string_view key, const std::string& text) const;
  std::string UrlOr(std::string_view key, std::string fallback) const;
  Secret OneSecret(std::string_view key) const;
  std::vector<Secret> Secrets(std::string_view key) const;
  // A value in which each word that is a reference stands for its secret.
  Secret Expand(std::string_view key, const TomlNode& value) const;

 private:
  const TomlNode* Find(std::string_view key, TomlNode::Kind kind) const;
  std::optional<Secret> Resolve(std::string_view key, int line, std::string_view reference) const;

  ConfigContext& context_;
  const TomlNode* node_;
  std::string shown_;
  Secrecy secrecy_;
};

// "127.0.0.1:8402", "[::1]:0", "localhost:80", ":8402".
bool IsListenAddress(std::string_view text);
// "10.0.0.0/8", "::1/128", or a bare address.
bool IsCidr(std::string_view text);
// "1MiB", "64KiB", "1GiB", "512".
std::optional<uint64_t> ParseSize(std::string_view text);
// "100/day": s, min, h, day.
std::optional<Allowance> ParseAllowance(std::string_view text);

}  // namespace pontage::app
