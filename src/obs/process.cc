#include "obs/process.h"

#include <dirent.h>
#include <fstream>
#include <memory>
#include <optional>
#include <unistd.h>

#include <sys/resource.h>

namespace pontage::obs {
namespace {

std::optional<uint64_t> OpenDescriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/proc/self/fd"), closedir);
  if (!dir) return std::nullopt;
  uint64_t entries = 0;
  while (readdir(dir.get()) != nullptr) ++entries;
  constexpr uint64_t kNoneOfOurs = 3;  // ".", ".." and the descriptor that reads the folder
  return entries > kNoneOfOurs ? entries - kNoneOfOurs : 0;
}

std::optional<uint64_t> ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  if (!(in >> total >> resident)) return std::nullopt;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void Add(std::string& out, const std::string& name, const char* kind, const char* help,
         const std::string& value) {
  out += "# HELP " + name + ' ' + help + "\n# TYPE " + name + ' ' + kind + '\n';
  out += name + ' ' + value + '\n';
}

}  // namespace

std::string ExposeProcess() {
  std::string out;
  if (const auto open = OpenDescriptors()) {
    Add(out, "process_open_fds", "gauge", "Open file descriptors.", std::to_string(*open));
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    Add(out, "process_max_fds", "gauge", "The most descriptors that may be open.",
        std::to_string(limit.rlim_cur));
  }
  if (const auto bytes = ResidentBytes()) {
    Add(out, "process_resident_memory_bytes", "gauge", "Memory that is in use and not swapped.",
        std::to_string(*bytes));
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    constexpr int64_t kMicros = 1'000'000;
    const int64_t us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * kMicros +
                       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    std::string fraction = std::to_string(kMicros + us % kMicros);
    fraction[0] = '.';
    Add(out, "process_cpu_seconds_total", "counter", "Time of a core, user and system.",
        std::to_string(us / kMicros) + fraction);
  }
  return out;
}

}  // namespace pontage::obs
