#pragma once

#include <string>

namespace pontage::obs {

// What Prometheus' own clients tell of a process, under their names, in the text format:
// process_open_fds, process_max_fds, process_resident_memory_bytes, process_cpu_seconds_total. Read
// anew at each call; one that the system does not tell is left out.
std::string ExposeProcess();

}  // namespace pontage::obs
