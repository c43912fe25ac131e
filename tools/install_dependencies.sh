#!/usr/bin/env bash
# Installs the Debian packages the build and the tests need, and the Python oracles of the tests into .venv. Does nothing
# when everything is there. As root directly, else through sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    build-essential cmake ninja-build pkg-config git ca-certificates
    libcli11-dev nlohmann-json3-dev libfmt-dev libexpected-dev libpcre2-dev libutf8proc-dev libxxhash-dev libedit-dev
    libgtest-dev clang clang-format clang-tidy
    python3 python3-venv
)
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

# Independent oracles of the tests: pinned, so that a result can be repeated.
requirements=tools/requirements.txt
stamp=.venv/.installed
if ! cmp -s "$requirements" "$stamp"; then
    echo "installing the Python packages of $requirements into .venv"
    /usr/bin/python3 -m venv .venv
    .venv/bin/pip install -q -r "$requirements"
    cp "$requirements" "$stamp"
fi
