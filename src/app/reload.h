#pragma once

#include <string>
#include <vector>

#include "app/config.h"

// What a new configuration changes in a running process, and what it does not.
namespace pontage::app {

// The keys that differ between what a process runs with and what its file says now, and that are
// read only at its start; in the order of docs/reference/config.md, each once. With `gateway` false
// (a facilitator alone) that is every key but the files of the certificate. Pure.
std::vector<std::string> KeysForNextStart(const Config& running, const Config& wanted,
                                          bool gateway = true);

// `wanted` with those keys as they are in `running`, which is left without them: what the process
// runs with once the rest has been applied.
Config Applied(Config running, Config wanted);

}  // namespace pontage::app
