#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"
#include "app/config_tree.h"

namespace pontage::app {

// What a value of the file may be. The finer forms (kMoney, kDuration, …) are strings here and are
// judged by whoever reads them.
enum class KeyType : uint8_t {
  kTable,        // [name]
  kTables,       // [[name]], or a list of inline tables
  kNamedTables,  // [name."any key"]
  kMap,          // any keys, values of the row below it
  kString,
  kStrings,       // a list of strings
  kStringOrList,  // one string or a list of them
  kInt,
  kInts,
  kBool,
  kMoney,     // "$0.001"
  kDuration,  // "30s"
  kSize,      // "1MiB" or a number of bytes
  kSecret,    // "env:NAME" or "file:path"
  kSecrets,
};

// One key of the file. `path` has dots between its parts; `*` stands for a name the writer chooses.
struct KeyRow {
  std::string_view path;
  KeyType type;
  std::string_view fallback;  // as it would be written; "" when there is none
  std::string_view meaning;
  // Empty: this version acts on it. Otherwise it is read and kept, and a warning says that nothing
  // comes of it yet.
  std::string_view later = {};
};

std::span<const KeyRow> KeyRows();
std::string_view Describe(KeyType type);

// Judges every key of the document: unknown ones and values of the wrong kind. Adds what later
// versions act on to `warnings`.
void CheckKeys(const TomlNode& root, const std::string& file, std::vector<ConfigFault>& faults,
               std::vector<std::string>& warnings);

// docs/reference/config.md.
std::string ConfigReferencePage();

}  // namespace pontage::app
