#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// FUZZ_TARGET(name) { ... uses `input` ... }: one law about one parser, broken by PTG_CHECK. Built
// as a libFuzzer target with -DPTG_FUZZER=ON, else as a replayer of test/corpus/<name>/
// (test/fuzz_replay.cc).
#define FUZZ_TARGET(name)                                                        \
  static void FuzzOne_##name(std::string_view input);                            \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);       \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {      \
    FuzzOne_##name(std::string_view(reinterpret_cast<const char*>(data), size)); \
    return 0;                                                                    \
  }                                                                              \
  static void FuzzOne_##name(std::string_view input)
