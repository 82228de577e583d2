#pragma once

#include <string_view>

namespace pontage {

// What `top -H`, perf and a debugger call the calling thread: at most 15 bytes, the rest is cut
// off.
void NameThread(std::string_view name);

}  // namespace pontage
