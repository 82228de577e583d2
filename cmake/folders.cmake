# ptg_folder(name LINK libs… PRIVATE libs… [PARTS n]): the library ptg_<name> out of src/<name>/**.cc, the
# test binary <name>_test out of *_test.cc (run in n parts beside each other), one replayer (or libFuzzer
# target) per *_fuzz.cc and <name>_bench out of *_bench.cc. A folder without sources yet is an interface
# library.
function(ptg_folder name)
  cmake_parse_arguments(A "" "PARTS" "LINK;PRIVATE" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${all})
  set(fuzzers ${all})
  set(benches ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  list(FILTER all EXCLUDE REGEX "(_test|_fuzz|_bench|/main)\\.cc$")

  set(lib ptg_${name})
  if(all)
    add_library(${lib} STATIC ${all})
    ptg_configure_target(${lib})
    target_link_libraries(${lib} PUBLIC ${A_LINK} PRIVATE ${A_PRIVATE} Threads::Threads)
  else()
    add_library(${lib} INTERFACE)
    target_include_directories(${lib} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(${lib} INTERFACE ${A_LINK})
  endif()

  if(tests)
    add_executable(${name}_test ${tests})
    ptg_configure_target(${name}_test)
    target_link_libraries(${name}_test PRIVATE ${lib} ptg_testing_main)
    ptg_compile_quickly(${name}_test)
    ptg_unit_test(${name}_test "${A_PARTS}")
  endif()
  foreach(source ${fuzzers})
    ptg_fuzz_target(${lib} ${source})
  endforeach()
  if(benches AND TARGET benchmark::benchmark)
    add_executable(${name}_bench ${benches})
    ptg_configure_target(${name}_bench)
    # gtest, because the helpers of src/testing report through it.
    target_link_libraries(${name}_bench PRIVATE ${lib} benchmark::benchmark benchmark::benchmark_main
                          GTest::gtest)
    set_target_properties(${name}_bench PROPERTIES EXCLUDE_FROM_ALL ON)
    add_dependencies(bench ${name}_bench)
  endif()
endfunction()

# A gtest binary in ctest: whole, or as <name>_1 to <name>_<parts>, each with its share of the cases. The
# parts start first: a binary that is split waits for long.
function(ptg_unit_test name parts)
  if(NOT parts)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 300)
    return()
  endif()
  math(EXPR last "${parts} - 1")
  foreach(index RANGE ${last})
    math(EXPR number "${index} + 1")
    set(part ${name}_${number})
    # A name for each report: gtest would give them all the binary's.
    add_test(NAME ${part}
             COMMAND ${name} --gtest_output=xml:${CMAKE_BINARY_DIR}/results-unit/${part}.xml)
    set_tests_properties(${part} PROPERTIES LABELS unit TIMEOUT 300 COST 100 ENVIRONMENT
                         "GTEST_TOTAL_SHARDS=${parts};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()

# src/<folder>/<name>_fuzz.cc, corpus in test/corpus/<name>/. As a libFuzzer target with PTG_FUZZER, else as
# a program that replays the corpus and a fixed number of mutations of it (test/fuzz_replay.cc), in ctest.
function(ptg_fuzz_target lib source)
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" subject ${stem})
  set(corpus ${CMAKE_SOURCE_DIR}/test/corpus/${subject})
  if(PTG_FUZZER)
    add_executable(${stem} ${source})
    target_compile_options(${stem} PRIVATE -fsanitize=fuzzer)
    target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${stem} ${source} ${CMAKE_SOURCE_DIR}/test/fuzz_replay.cc)
    add_test(NAME ${stem} COMMAND ${stem} ${corpus})
    set_tests_properties(${stem} PROPERTIES LABELS fuzz TIMEOUT 300)
  endif()
  ptg_configure_target(${stem})
  target_link_libraries(${stem} PRIVATE ${lib})
endfunction()

# test/sim/*.cc, one gtest binary with a label of its own.
function(ptg_simulation name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/sim/*.cc)
  add_executable(${name} ${sources})
  ptg_configure_target(${name})
  target_link_libraries(${name} PRIVATE ptg_paywall ptg_testing_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS sim TIMEOUT 1200)
endfunction()

find_package(benchmark QUIET)
add_custom_target(bench)

# gtest's main plus our own listener-free defaults; a library so that each test binary links it once.
add_library(ptg_testing_main INTERFACE)
target_link_libraries(ptg_testing_main INTERFACE GTest::gmock GTest::gtest GTest::gtest_main)
target_compile_definitions(ptg_testing_main INTERFACE PTG_SOURCE_DIR="${CMAKE_SOURCE_DIR}")

# What every unit test includes, read once for all of them.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/test_headers.cc CONTENT "")
add_library(ptg_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cc)
target_link_libraries(ptg_test_headers PRIVATE ptg_testing_main Threads::Threads)

# For sources of unit tests: half of what a clean build compiles. They are not optimised, which takes a third of
# the time, while what they test is as in the binary; and their common headers come read already. Sources of the
# product go without: there it gains nothing.
set(PTG_QUICK_OPTIONS -O0 -U_FORTIFY_SOURCE -Xclang -fno-pch-timestamp)
function(ptg_compile_quickly name)
  target_compile_options(${name} PRIVATE ${PTG_QUICK_OPTIONS})
  target_precompile_headers(${name} REUSE_FROM ptg_test_headers)
endfunction()
ptg_configure_target(ptg_test_headers)
target_compile_options(ptg_test_headers PRIVATE ${PTG_QUICK_OPTIONS})
target_precompile_headers(ptg_test_headers PRIVATE
  <algorithm> <array> <atomic> <chrono> <coroutine> <cstdint> <deque> <expected> <functional> <map> <memory> <mutex>
  <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
  <gmock/gmock.h> <gtest/gtest.h>)

# The SQL of migrations/ as a source of `target`.
function(ptg_embed_migrations target)
  file(GLOB sql CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/migrations/*.sql)
  set(out ${CMAKE_BINARY_DIR}/migrations.cc)
  # Their names are part of the command: a file that was renamed is no newer than before.
  string(SHA256 names "${sql}")
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DNAMES=${names} -DDIR=${CMAKE_SOURCE_DIR}/migrations
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake
    DEPENDS ${sql} ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
