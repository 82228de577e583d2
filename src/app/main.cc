#include "app/cli/cli.h"

int main(int argc, char** argv) { return pontage::app::RunCommandLine(argc, argv); }
