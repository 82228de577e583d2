#include "obs/process.h"

#include <charconv>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace pontage::obs {
namespace {

uint64_t ValueOf(const std::string& text, const std::string& name) {
  const size_t at = text.find('\n' + name + ' ');
  EXPECT_NE(at, std::string::npos) << name << " is not in\n" << text;
  if (at == std::string::npos) return 0;
  uint64_t value = 0;
  std::from_chars(text.data() + at + name.size() + 2, text.data() + text.size(), value);
  return value;
}

TEST(ProcessTest, CountsDescriptorsAndMemory) {
  const std::string before = ExposeProcess();
  std::vector<int> open(20);
  for (int& fd : open) fd = dup(0);
  constexpr size_t kSize = 64 << 20;
  void* const memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const std::string after = ExposeProcess();
  for (const int fd : open) close(fd);
  munmap(memory, kSize);
  EXPECT_EQ(ValueOf(after, "process_open_fds"), ValueOf(before, "process_open_fds") + 20);
  EXPECT_GE(ValueOf(after, "process_max_fds"), ValueOf(after, "process_open_fds"));
  EXPECT_GE(ValueOf(after, "process_resident_memory_bytes"),
            ValueOf(before, "process_resident_memory_bytes") + (kSize / 2));
  EXPECT_EQ(ValueOf(ExposeProcess(), "process_open_fds"), ValueOf(before, "process_open_fds"));
}

TEST(ProcessTest, CpuSecondsHaveSixDecimalsAndGrow) {
  const auto shown = [] {
    const std::string text = ExposeProcess();
    const std::string_view name = "\nprocess_cpu_seconds_total ";
    const size_t at = text.find(name) + name.size();
    return text.substr(at, text.find('\n', at) - at);
  };
  const std::string first = shown();
  ASSERT_NE(first.find('.'), std::string::npos);
  EXPECT_EQ(first.size() - first.find('.'), 7u) << first;
  std::string last = first;
  for (int i = 0; i < 100'000 && last == first; ++i) last = shown();
  EXPECT_TRUE(last.size() > first.size() || last > first) << first << " and then " << last;
}

}  // namespace
}  // namespace pontage::obs
