// The program as a value: its commands, in the order in which --help lists them, its version and its examples.
#pragma once

#include "app/command_line.h"

namespace invar::app {

Program program();

}  // namespace invar::app
