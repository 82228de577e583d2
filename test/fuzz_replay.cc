// Replays a corpus folder through a fuzz target, then small mutations of each entry (seeded, so
// that a failure repeats), so that every run of the tests gives the parsers some bad input.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void RunOne(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

std::string Mutate(std::string input, pontage::Rng& rng) {
  const uint64_t edits = 1 + rng.Next64() % 4;
  for (uint64_t i = 0; i < edits; ++i) {
    const size_t at = input.empty() ? 0 : rng.Next64() % input.size();
    switch (rng.Next64() % 4) {
      case 0:
        input.insert(at, 1, static_cast<char>(rng.Next64()));
        break;
      case 1:
        if (!input.empty()) input.erase(at, 1 + rng.Next64() % 8);
        break;
      case 2:
        if (!input.empty()) input[at] = static_cast<char>(input[at] ^ (1 << rng.Next64() % 8));
        break;
      default:
        input.insert(at, input.substr(at, rng.Next64() % 16));
        break;
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER (a missing folder is a failure)\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  if (files.empty()) {
    std::fprintf(stderr, "%s holds no corpus\n", argv[1]);
    return 2;
  }
  pontage::SeededRng rng(1);
  // However large the corpus grew, a replay takes some seconds, under the sanitizers too.
  constexpr size_t kRuns = 12'000;
  const size_t mutations = std::clamp<size_t>(kRuns / files.size(), 20, 300);
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    RunOne(input);
    for (size_t i = 0; i < mutations; ++i) RunOne(Mutate(input, rng));
  }
  std::printf("%zu entries, %zu runs\n", files.size(), files.size() * (mutations + 1));
  return 0;
}
