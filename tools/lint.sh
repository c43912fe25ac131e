#!/usr/bin/env bash
# Checks what no compiler checks: formatting, the direction of includes, that only src/app reads settings and prints, names that
# files compiled together share, the sizes of files, and that every file and section exists that a text mentions. Prints every finding and ends with 1 if there is one.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
report() { echo "lint: $*"; failed=1; }

mapfile -t sources < <(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')
unformatted=$(clang-format --dry-run "${sources[@]}" 2>&1 | grep -oE '^[^:]+\.(cpp|h|cu|cuh)' | sort -u)
[ -z "$unformatted" ] || report "not formatted (clang-format -i): $unformatted"

found=$(tools/lint_includes.py) || report "includes what CMakeLists.txt does not list: $found"
found=$(tools/lint_names.py) || report "one name twice in files compiled together: $found"
found=$(tools/lint_references.py) || report "mentions what is not there: $found"

found=$(git grep -nE '\bgetenv\(' -- src ':!src/app' || true)
[ -z "$found" ] || report "reads the environment below src/app: $found"
found=$(git grep -nE '\bstd::(cout|cerr|printf)\b|\bprintf\(' -- src ':!src/app' ':!src/base/check.cpp' || true)
[ -z "$found" ] || report "prints below src/app: $found"
found=$(git grep -nE 'TODO|FIXME|\bXXX\b' -- src fuzz tests tools ':!tools/lint.sh' || true)
[ -z "$found" ] || report "unfinished: $found"

# Budgets for the length of files. Kernels and tests may be longer.
while read -r file; do
    lines=$(wc -l <"$file")
    limit=400
    case "$file" in src/cpu/*|src/cuda/*|tests/*) limit=600 ;; *_constants.h|*_tables.*) limit=2000 ;; esac
    [ "$lines" -le "$limit" ] || report "$file has $lines lines (budget $limit)"
done < <(git ls-files 'src/*.cpp' 'src/*.h' 'src/*.cu' 'src/*.cuh' 'tests/*.cpp' 'tests/*.h')

if [ "$failed" = 0 ]; then echo "lint: ${#sources[@]} files, nothing to report"; fi
exit "$failed"
