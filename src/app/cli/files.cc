#include "app/cli/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/try.h"

namespace pontage::app {

Result<> WriteNewFile(const std::string& path, std::string_view text, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) {
    if (errno == EEXIST) return Fail(Code::kConflict, path + " is there already");
    return Fail(Code::kConfig, "cannot create " + path + ": " + std::strerror(errno));
  }
  bool whole = fchmod(fd, mode) == 0;
  while (whole && !text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    whole = n > 0;
    if (whole) text.remove_prefix(static_cast<size_t>(n));
  }
  // A key that signs must not be gone after a power cut.
  whole = whole && fsync(fd) == 0;
  whole = close(fd) == 0 && whole;
  if (whole) return {};
  unlink(path.c_str());
  return Fail(Code::kConfig, "cannot write " + path + ": " + std::strerror(errno));
}

Result<> MoveFile(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return {};
  return Fail(Code::kConfig, "cannot replace " + to + ": " + std::strerror(errno));
}

Result<> ReplaceFile(const std::string& path, std::string_view text, mode_t mode) {
  const std::string beside = path + ".new";
  unlink(beside.c_str());
  PTG_RUN(WriteNewFile(beside, text, mode));
  struct stat old{};
  // The server that reads it may be somebody else than who types the command.
  if (stat(path.c_str(), &old) == 0) (void)!chown(beside.c_str(), old.st_uid, old.st_gid);
  return MoveFile(beside, path);
}

}  // namespace pontage::app
