#pragma once

namespace pontage::app {
// The whole program: reads the arguments, runs one command, gives its exit code (terminal.h).
int RunCommandLine(int argc, const char* const* argv);
}  // namespace pontage::app
