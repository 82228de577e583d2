#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/role.h"
#include "base/rng.h"
#include "base/time.h"

// The one place that knows how a process hangs together: it builds the objects of a process out of
// a configuration and takes them down again.
namespace pontage::app {

// A running process: store, ledger, chains, facilitator, gateway loops, sweeper, listeners.
class House {
 public:
  // Opens and migrates the store, asks the chains whether they are what the configuration says,
  // builds what `roles` need. Nothing listens yet. kConfig with what to change; kStore,
  // kChainUnreachable. An unreachable chain is a warning, not an error: the house starts and says
  // "not ready". `makers` are the roles beside gateway and facilitator that this binary has;
  // kConfig for another.
  static Result<std::unique_ptr<House>> Make(Config config, std::vector<std::string> roles,
                                             const RoleMakers& makers, const Clock& clock,
                                             Rng& rng);
  ~House();

  // Listens and starts the threads. kConnection when an address is taken.
  Result<> Start();
  // "http://127.0.0.1:8402": where buyers come in, with the real port.
  const std::vector<std::string>& urls() const;
  // "http://127.0.0.1:9402"; empty when metrics are off.
  const std::string& metrics_url() const;

  // Routes, prices, upstreams and proxies of `config` from the next request on. What needs a
  // restart (listeners, store, chains, keys) is named in the log and stays. kConfig leaves all as
  // it was.
  Result<> Reload(Config config);

  // Certificate and key from their files, for connections from now on. A pair that is no good is
  // named in the log and the one in force stays.
  void ReloadTls();
  // The files whose change asks for that; none without TLS.
  std::vector<std::string> tls_files() const;

  // Stops accepting, lets running exchanges finish for as long as the configuration allows, stops
  // the threads. Called once, from the thread that called Start. `hurry`, if any, is asked again
  // and again meanwhile, takes a short while each time, and ends the waiting when it says true:
  // what still runs is broken off.
  void Stop(const std::function<bool()>& hurry = {});

 private:
  struct Impl;
  explicit House(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// `pontage serve`: makes and starts a house and keeps it until SIGTERM or SIGINT; SIGHUP and a
// changed file reload the configuration. `roles` empty: all that the configuration has keys for.
Result<> Serve(const std::string& config_path, const std::vector<std::string>& roles,
               const RoleMakers& makers);

// Blocks SIGTERM, SIGINT and SIGHUP for this thread and those it starts. Before any thread is
// started.
void BlockSignals();
// Waits for one of them, or for `poll` to pass. 0 when none came.
int WaitForSignal(Millis poll);

}  // namespace pontage::app
