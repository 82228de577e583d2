// `pontage serve`: signals and the configuration file around a House.
#include <algorithm>
#include <csignal>
#include <ctime>
#include <malloc.h>
#include <utility>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "app/compose.h"
#include "base/log.h"
#include "base/try.h"

namespace pontage::app {
namespace {

// How often the file is looked at.
constexpr Millis kFilePoll{500};
// Tickets are sealed with a key that a certificate's reading makes: no older than this.
constexpr Millis kTicketKeyLife{86'400'000};
constexpr Millis kTrimEvery{60'000};
// How long a stopping process waits for a second signal before it looks whether it may end.
constexpr Millis kStopPoll{20};

bool Ends(int signal) { return signal == SIGTERM || signal == SIGINT; }

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

// What changes when a file is written or replaced.
struct FileMark {
  int64_t inode = 0, size = 0, seconds = 0, nanos = 0;
  friend bool operator==(const FileMark&, const FileMark&) = default;
};

FileMark MarkOf(const std::string& path) {
  struct stat s{};
  if (stat(path.c_str(), &s) != 0) return {};
  return {static_cast<int64_t>(s.st_ino), static_cast<int64_t>(s.st_size),
          static_cast<int64_t>(s.st_mtim.tv_sec), static_cast<int64_t>(s.st_mtim.tv_nsec)};
}

// Files that are read again when they have changed and are at rest: half of one may be valid too.
class Watched {
 public:
  explicit Watched(std::vector<std::string> paths)
      : paths_(std::move(paths)), loaded_(Look()), seen_(loaded_) {}

  // Asked again and again. True once for each change; a file that is away has not changed.
  bool Changed() {
    std::vector<FileMark> now = Look();
    const bool at_rest = now == seen_;
    seen_ = std::move(now);
    const bool away = std::ranges::find(seen_, FileMark{}) != seen_.end();
    if (!at_rest || seen_ == loaded_ || away) return false;
    loaded_ = seen_;
    return true;
  }
  // What is there now has been read.
  void Taken() { loaded_ = Look(); }
  bool Watches(const std::vector<std::string>& paths) const { return paths == paths_; }

 private:
  std::vector<FileMark> Look() const {
    std::vector<FileMark> marks;
    for (const std::string& path : paths_) marks.push_back(MarkOf(path));
    return marks;
  }
  std::vector<std::string> paths_;
  std::vector<FileMark> loaded_;
  std::vector<FileMark> seen_;
};

// `roles`: none for all that the file has keys for.
Result<Config> Load(const std::string& path, const std::vector<std::string>& roles) {
  auto config =
      LoadConfig(path, ConfigSources::System(), ConfigOptions{.secrets = true, .roles = roles});
  if (config) return *std::move(config);
  std::string text;
  for (const ConfigFault& fault : config.error()) text += (text.empty() ? "" : "\n") + fault.Text();
  return Fail(Code::kConfig, text);
}

// Two descriptors for each connection: the usual soft limit of 1024 ends at five hundred.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// A broken file changes nothing: the old configuration stays in force and the log says what is
// wrong.
void TryReload(House& house, const std::string& path, const std::vector<std::string>& roles) {
  Result<Config> config = Load(path, roles);
  const Result<> done =
      config ? house.Reload(*std::move(config)) : std::unexpected(std::move(config).error());
  if (!done) {
    Log(LogLevel::kError, "config.refused",
        {{"detail", done.error().detail()}, {"expected", done.error().expected()}});
  }
}

// Without this glibc learns from the largest piece that was ever freed (of a feed of many licenses
// some megabytes) to keep twice as much at the end of each thread's arena, where malloc_trim does
// not come.
void BoundSpareMemory() {
#ifdef __GLIBC__
  constexpr int kMost = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, kMost);
  mallopt(M_TRIM_THRESHOLD, kMost);
#endif
}

// The allocator keeps what the largest burst so far has taken, and fragments make that a little
// more each time. It gives pages in the middle of its arenas back only when it is told to.
void GiveMemoryBack() {
#ifdef __GLIBC__
  const SteadyMs began = Clock::System().Steady();
  malloc_trim(0);
  Log(LogLevel::kDebug, "memory.trimmed", {{"ms", (Clock::System().Steady() - began).count()}});
#endif
}

}  // namespace

void BlockSignals() {
  const sigset_t set = OurSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A client that hangs up while we write is an error code, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
}

int WaitForSignal(Millis poll) {
  const sigset_t set = OurSignals();
  const timespec wait{.tv_sec = poll.count() / 1000, .tv_nsec = poll.count() % 1000 * 1'000'000};
  const int got = sigtimedwait(&set, nullptr, &wait);
  return got > 0 ? got : 0;
}

Result<> Serve(const std::string& config_path, const std::vector<std::string>& roles,
               const RoleMakers& makers) {
  BlockSignals();
  // Keys are in this process: it leaves no core behind and nobody may look into it.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  RaiseDescriptorLimit();
  BoundSpareMemory();
  PTG_TRY(Config config, Load(config_path, roles));
  SetLogLevel(config.server.log_level);
  Watched file({config_path});
  PTG_TRY(const std::unique_ptr<House> house,
          House::Make(std::move(config), roles, makers, Clock::System(), Rng::System()));
  Watched keys(house->tls_files());
  PTG_RUN(house->Start());
  Deadline tickets = Deadline::In(Clock::System(), kTicketKeyLife);
  Deadline trim = Deadline::In(Clock::System(), kTrimEvery);
  while (true) {
    const int signal = WaitForSignal(kFilePoll);
    if (Ends(signal)) break;
    const bool told = signal == SIGHUP;
    if (file.Changed() || told) {
      if (told) file.Taken();
      TryReload(*house, config_path, roles);
    }
    const bool other_files = !keys.Watches(house->tls_files());
    if (other_files) keys = Watched(house->tls_files());
    if (keys.Changed() || other_files || told || tickets.Passed(Clock::System())) {
      if (told) keys.Taken();
      tickets = Deadline::In(Clock::System(), kTicketKeyLife);
      house->ReloadTls();
    }
    if (trim.Passed(Clock::System())) {
      GiveMemoryBack();
      trim = Deadline::In(Clock::System(), kTrimEvery);
    }
  }
  Log(LogLevel::kInfo, "server.draining");
  // Told a second time it does not wait for anybody.
  house->Stop([] { return Ends(WaitForSignal(kStopPoll)); });
  return {};
}

}  // namespace pontage::app
