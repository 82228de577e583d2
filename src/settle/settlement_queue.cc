#include "settle/settlement_queue.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/check.h"
#include "chain/evm_calls.h"

namespace pontage::settle {
namespace {

// aggregate3's own loop, and a refund that an estimate counted and a batch does not get.
constexpr uint64_t kBatchOwnGas = 40'000;
// Of a transaction's 21,000 that is in every estimate a batch pays one; a call inside it has some
// 6,000 of its own (its words, copying them, a call).
constexpr uint64_t kSharedGas = 15'000;

uint64_t ShareOf(const SettleJob& job, uint64_t cap) {
  const uint64_t limit = GasLimitOf(job.gas, cap);
  return limit - std::min(limit, kSharedGas);
}

std::vector<chain::Call> CallsOf(std::span<const SettleJob* const> jobs) {
  std::vector<chain::Call> calls;
  for (const SettleJob* job : jobs) {
    chain::Call& call = calls.emplace_back();
    call.target = job->to;
    call.data = job->data;
    call.allow_failure = true;
  }
  return calls;
}

}  // namespace

std::vector<size_t> Affordable(std::span<const SettleJob* const> queue,
                               std::map<Purse, codec::Uint256> under_way) {
  std::vector<size_t> may;
  for (size_t i = 0; i < queue.size(); ++i) {
    const SettleJob& job = *queue[i];
    codec::Uint256& others = under_way[PurseOf(job)];
    const Result<codec::Uint256> all = Add(others, job.value);
    // The only one is judged by the chain: what was seen may be old.
    if (!others.IsZero() && (!all || *all > job.balance)) continue;
    others = all.value_or(codec::Uint256::Max());
    may.push_back(i);
  }
  return may;
}

std::vector<std::vector<size_t>> PlanGroups(std::span<const SettleJob* const> queue,
                                            const QueueLimits& limits, size_t in_flight) {
  const bool batching = limits.batch > 1;
  const size_t most = batching ? limits.in_flight : limits.in_flight_alone;
  const size_t room = most > in_flight ? most - in_flight : 0;
  std::vector<std::vector<size_t>> groups;
  std::set<std::string_view> keys;
  // The batch that is being filled, and the gas that is in it.
  size_t open = SIZE_MAX;
  uint64_t gas = 0;
  for (size_t i = 0; i < queue.size(); ++i) {
    const SettleJob& job = *queue[i];
    if (!keys.insert(job.key).second) continue;
    const bool own = !batching || job.alone;
    const uint64_t needs = ShareOf(job, UINT64_MAX);
    const bool fits = !own && open != SIZE_MAX && groups[open].size() < limits.batch &&
                      gas + needs <= limits.batch_gas;
    if (fits) {
      groups[open].push_back(i);
      gas += needs;
      continue;
    }
    if (groups.size() == room) {
      // The open batch may still take later ones that fit; nothing else may start.
      if (own || open == SIZE_MAX) continue;
      break;
    }
    groups.push_back({i});
    if (own) continue;
    open = groups.size() - 1;
    gas = kBatchOwnGas + needs;
  }
  return groups;
}

bool WaitForMore(std::span<const SettleJob* const> queue, const QueueLimits& limits,
                 size_t in_flight, Millis waited) {
  if (limits.batch <= 1 || in_flight == 0 || waited >= limits.gather) return false;
  if (queue.empty() || queue.size() >= limits.batch) return false;
  return std::ranges::none_of(queue, [](const SettleJob* job) { return job->alone; });
}

uint64_t GasLimitOf(uint64_t estimate, uint64_t cap) {
  return std::min(estimate + estimate / 4, cap);
}

chain::EvmTransaction CallFor(std::span<const SettleJob* const> jobs, uint64_t gas_cap) {
  PTG_CHECK(!jobs.empty());
  chain::EvmTransaction call;
  if (jobs.size() == 1) {
    call.to = jobs[0]->to;
    call.data = jobs[0]->data;
    call.gas_limit = GasLimitOf(jobs[0]->gas, gas_cap);
    return call;
  }
  const std::vector<chain::Call> calls = CallsOf(jobs);
  call.to = chain::Multicall3Address();
  call.data = chain::CallAggregate3(calls);
  call.gas_limit = kBatchOwnGas;
  for (const SettleJob* job : jobs) call.gas_limit += ShareOf(*job, gas_cap);
  return call;
}

chain::Call SimulationOf(std::span<const SettleJob* const> jobs) {
  chain::Call simulation;
  if (jobs.size() == 1) {
    simulation.target = jobs[0]->to;
    simulation.data = jobs[0]->data;
    return simulation;
  }
  const std::vector<chain::Call> calls = CallsOf(jobs);
  simulation.target = chain::Multicall3Address();
  simulation.data = chain::CallAggregate3(calls);
  return simulation;
}

std::vector<bool> Simulated(const chain::CallResult& answer, size_t jobs) {
  std::vector<bool> good(jobs, false);
  if (!answer.success) return good;
  if (jobs == 1) return {true};
  const Result<std::vector<chain::CallResult>> results = chain::ReturnedCalls(answer.data, jobs);
  if (!results) return good;
  for (size_t i = 0; i < jobs; ++i) good[i] = (*results)[i].success;
  return good;
}

}  // namespace pontage::settle
