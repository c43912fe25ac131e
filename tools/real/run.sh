#!/usr/bin/env bash
# Installs the real models of tools/real/requirements.txt into build/real/venv and runs the tests on them. With --short: without the
# oracles that need torch, so that only invar and llama.cpp are compared.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "$1")
shift
folder=$here/../../build/real
[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet -r "$here/requirements.txt"
[ "${1:-}" = --short ] || "$folder/venv/bin/pip" install --quiet -r "$here/requirements_oracles.txt"
"$folder/venv/bin/python" "$here/test_gemma3.py" "$binary" --folder "$folder" "$@"
