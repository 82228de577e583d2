#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"
#include "io/task.h"
#include "obs/metrics.h"

// How upstreams are spared and passed by: what one process knows of them beside its configuration.
// All of it is shared by the loops and outlives configurations.
namespace pontage::gateway {

// Of one upstream, from its configuration.
struct UpstreamLimits {
  size_t max_in_flight = 0;  // 0: no limit
  size_t max_waiting = 100;
  Millis wait_timeout{1'000};
  size_t max_connect_failures = 5;  // in a row; 0: never down for it
  size_t max_errors = 0;            // in a row; 0: never down for it
  Millis down_for{500};
};

// What came of asking.
enum class Outcome : uint8_t {
  kGood,       // an answer below 500
  kBad,        // 500 and above, or none
  kNoConnect,  // nobody took the connection: nothing was sent
};

// The health of one URL. Pure: a circuit breaker that lets one request through in each `down_for`
// until one of them is answered well.
struct Health {
  size_t connect_failures = 0;  // in a row
  size_t errors = 0;            // in a row
  bool down = false;
  bool for_connects = false;  // it is down because nobody takes connections
  SteadyMs retry_at;
};
enum class Ask : uint8_t { kYes, kTry, kNo };  // kTry: it is down, and this one finds out
Ask MayAsk(Health& health, const UpstreamLimits& limits, SteadyMs now);
enum class Change : uint8_t { kNone, kDown, kUp };
Change Note(Health& health, const UpstreamLimits& limits, Outcome outcome, SteadyMs now);

// A Health that all loops share. As long as nothing fails it is one flag that is only read.
class SharedHealth {
 public:
  // `down` is 1 while it is down.
  explicit SharedHealth(obs::Gauge& down) : down_(down) {}
  ~SharedHealth() { down_.Set(0); }
  // Certainly kYes.
  bool up() const { return clean_.load(std::memory_order_relaxed); }
  Ask MayAsk(const UpstreamLimits& limits, SteadyMs now);
  Change Note(const UpstreamLimits& limits, Outcome outcome, SteadyMs now);
  bool for_connects();

 private:
  obs::Gauge& down_;
  std::atomic<bool> clean_{true};
  std::mutex mutex_;
  Health health_;
};

// Lets so many requests at an upstream at once, the others wait in their order.
class Gate : public std::enable_shared_from_this<Gate> {
  struct Waiter;

 public:
  Gate(obs::Gauge& in_flight, obs::Gauge& waiting) : in_flight_(in_flight), waiting_(waiting) {}

  // One request's place; gives it back when it goes. Empty: none was needed.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
    Permit(Permit&& other) noexcept = default;
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        Release();
        gate_ = std::move(other.gate_);
      }
      return *this;
    }
    ~Permit() { Release(); }
    bool held() const { return gate_ != nullptr; }
    void Release() {
      if (const auto gate = std::exchange(gate_, nullptr)) gate->Leave();
    }

   private:
    std::shared_ptr<Gate> gate_;
  };

  // On any loop. kUpstreamBusy when too many wait already, or `limits.wait_timeout` has passed.
  Task<Permit> Enter(const UpstreamLimits& limits, const Clock& clock);

 private:
  class Place;
  void Leave();
  // Gives places to those who wait, as far as there are any. With the lock held; who got one hears
  // of it through the loop.
  void Grant();

  std::mutex mutex_;
  size_t most_ = 0;
  size_t used_ = 0;
  std::deque<std::shared_ptr<Waiter>> line_;
  obs::Gauge& in_flight_;
  obs::Gauge& waiting_;
};

// The gates and the healths of a process, by name and URL. From any thread.
class Upstreams {
 public:
  explicit Upstreams(obs::Registry& metrics) : metrics_(metrics) {}
  // The same object as long as somebody has it. `address` is its "host:port".
  std::shared_ptr<Gate> GateOf(const std::string& upstream);
  std::shared_ptr<SharedHealth> HealthOf(const std::string& upstream, const std::string& address);

 private:
  obs::Registry& metrics_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Gate>> gates_;
  std::map<std::pair<std::string, std::string>, std::weak_ptr<SharedHealth>> healths_;
};

}  // namespace pontage::gateway
