#pragma once

#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/error.h"

// Files that commands write beside a configuration.
namespace pontage::app {

// Creates `path` with `mode`; kConflict when there is one already, which stays as it is. kConfig,
// and nothing is left behind, when it cannot be written.
Result<> WriteNewFile(const std::string& path, std::string_view text, mode_t mode);
// The same in the place of what is there: whoever reads it sees the one or the other, whole.
Result<> ReplaceFile(const std::string& path, std::string_view text, mode_t mode);
// `from` takes the place of `to`.
Result<> MoveFile(const std::string& from, const std::string& to);

}  // namespace pontage::app
