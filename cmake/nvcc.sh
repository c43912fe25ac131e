#!/bin/sh
# nvcc.sh LOG COMMAND...: runs the compiler and keeps what it says of registers and spills (tools/cuda_report.py reads it).
log=$1
shift
"$@" 2>"$log" || { cat "$log" >&2; exit 1; }
