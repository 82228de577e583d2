# clang 19 is the compiler. g++ older than 13 destroys some temporaries of a co_await expression twice
# (docs/adr/0002-clang-19.md), which with other people's money is not a matter of taste.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR
    "g++ ${CMAKE_CXX_COMPILER_VERSION} destroys temporaries of co_await expressions twice (braced aggregates, "
    "owning lambdas). Use clang 19: cmake -DCMAKE_CXX_COMPILER=clang++-19, or run ./dev build, which does.")
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR "clang ${CMAKE_CXX_COMPILER_VERSION} does not know std::expected of libstdc++; use clang 19")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
# Broken invariants abort in every build; NDEBUG is never set.

find_program(PTG_CCACHE ccache)
if(PTG_CCACHE)
  # Without these two it keeps nothing that includes a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${PTG_CCACHE})
endif()
find_program(PTG_LLD ld.lld-19)
if(PTG_LLD)
  add_link_options(-fuse-ld=lld-19)
endif()

set(PTG_SANITIZE "" CACHE STRING "address (with undefined) or thread")
set(PTG_STATIC OFF CACHE BOOL "Link what Debian offers as an archive statically")
set(PTG_FAULTS OFF CACHE BOOL "Points at which a test makes the binary die or break a rule (base/fault.h)")
set(PTG_FUZZER OFF CACHE BOOL "Build *_fuzz.cc as libFuzzer targets instead of corpus replayers")

if(PTG_FUZZER)
  # Coverage of all that a target calls is what guides the search; the target itself links the fuzzer.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(PTG_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=address,undefined)
elseif(PTG_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=thread)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  # Hardening costs 5.7 % of the 8 % of time that is ours and not the kernel's: always on.
  add_compile_options(-D_GLIBCXX_ASSERTIONS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
                      -fstack-clash-protection -fcf-protection -ftrivial-auto-var-init=zero)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
if(PTG_FAULTS)
  add_compile_definitions(PTG_FAULTS)
endif()
add_compile_options(-fPIE)
add_link_options(-pie)
add_compile_definitions(BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE BOOST_ALLOW_DEPRECATED_HEADERS)

function(ptg_configure_target name)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Werror)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
endfunction()
