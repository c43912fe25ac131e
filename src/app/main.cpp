// This file holds main() alone, so that tests can link everything else. The commands are listed in app/program.cpp.
#include "app/program.h"

int main(int argc, char** argv) { return invar::app::run_command_line(invar::app::program(), argc, argv); }
