#pragma once

#include <expected>
#include <utility>

// Early return of a failed Result. PTG_TRY declares, PTG_RUN only runs; the CO_ forms are for
// coroutines. They are declarations, not expressions: a statement expression around co_await
// crashes g++ (style guide), so each stands on a line of its own.
//
//   PTG_TRY(const Money price, ParseMoney(text));
//   PTG_CO_TRY(const Hold hold, co_await ledger.Reserve(grant));

#define PTG_CAT_(a, b) a##b
#define PTG_CAT(a, b) PTG_CAT_(a, b)

#define PTG_TRY_IMPL_(tmp, ret, decl, ...)       \
  auto tmp = (__VA_ARGS__);                      \
  if (!tmp) [[unlikely]]                         \
    ret std::unexpected(std::move(tmp).error()); \
  decl = *std::move(tmp)

#define PTG_RUN_IMPL_(ret, ...)                              \
  do {                                                       \
    if (auto ptg_run = (__VA_ARGS__); !ptg_run) [[unlikely]] \
      ret std::unexpected(std::move(ptg_run).error());       \
  } while (false)

#define PTG_TRY(decl, ...) PTG_TRY_IMPL_(PTG_CAT(ptg_try_, __COUNTER__), return, decl, __VA_ARGS__)
#define PTG_RUN(...) PTG_RUN_IMPL_(return, __VA_ARGS__)
#define PTG_CO_TRY(decl, ...) \
  PTG_TRY_IMPL_(PTG_CAT(ptg_try_, __COUNTER__), co_return, decl, __VA_ARGS__)
#define PTG_CO_RUN(...) PTG_RUN_IMPL_(co_return, __VA_ARGS__)
