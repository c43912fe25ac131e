#!/usr/bin/env bash
# usage: install_dependencies.sh build|test|check
# Installs the Debian packages for building (build), for testing (test, with the Python oracles in .venv) or for the further checks (check,
# with clang for fuzzing and formatting). Each includes the one before. Does nothing if everything is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}

packages=(
    build-essential cmake ninja-build pkg-config
    libcli11-dev nlohmann-json3-dev libfmt-dev libexpected-dev libpcre2-dev libutf8proc-dev libxxhash-dev libedit-dev
)
[ "$purpose" = build ] || packages+=(libgtest-dev python3 python3-venv ca-certificates)
[ "$purpose" != check ] || packages+=(git clang libclang-rt-dev clang-format valgrind)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
    echo "installing ${missing[*]}"
    as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ "$purpose" != build ] || exit 0
# Independent oracles of the tests: pinned, so that a result can be repeated.
requirements=tools/requirements.txt
stamp=.venv/.installed
if ! cmp -s "$requirements" "$stamp"; then
    echo "installing the Python packages of $requirements into .venv"
    /usr/bin/python3 -m venv .venv
    .venv/bin/pip install -q -r "$requirements"
    cp "$requirements" "$stamp"
fi
