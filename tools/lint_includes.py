#!/usr/bin/env python3
"""Checks that a folder of src/ includes only itself and the folders that its line in CMakeLists.txt (invar_module(NAME USES ...)) names,
directly or through another line. The compiler refuses the same, because a target searches only the folders that its line allows, but only
in files that a build compiles. This check reads all files, and also finds folders without a line and circles. Prints each finding and ends
with 1 if there is one. Run by tools/lint.sh."""
import os
import re
import subprocess
import sys


def uses_by_folder(text):
    """{folder: folders that its target links} for all targets called invar_FOLDER."""
    uses = {}
    for name, arguments in re.findall(r"^ *invar_module\((\w+)\s(?:[^)]*\s)?USES ([^)]*)\)", text, re.M):
        uses[name] = set(re.findall(r"invar_(\w+)", arguments))
    for name, folder in (("emulated_cuda", "cuda"), ("no_cuda", "cuda"), ("app", "app")):
        for arguments in re.findall(rf"^ *invar_{name}\(USES ([^)]*)\)", text, re.M):
            linked = {one.removesuffix("_headers") for one in re.findall(r"invar_(\w+)", arguments)}
            uses.setdefault(folder, set()).update(linked)
    return uses


def reach(folder, uses):
    found, waiting = set(), [folder]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += uses.get(one, ())
    return found


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    uses = uses_by_folder(open("CMakeLists.txt", encoding="utf-8").read())
    folders = sorted(name for name in os.listdir("src") if os.path.isdir(f"src/{name}"))
    found = [f"CMakeLists.txt has no line for src/{folder}" for folder in folders if folder not in uses]
    found += [f"{folder} uses itself through others" for folder in folders if any(folder in reach(one, uses) for one in uses.get(folder, ()))]
    lines = subprocess.run(["git", "grep", "-nE", '#include "[a-z_0-9]+/', "--", "src"], capture_output=True, text=True, check=True).stdout
    checked = 0
    for line in lines.splitlines():
        place, folder, included = re.match(r'(src/([a-z_0-9]+)/[^:]*:\d+):.*#include "([a-z_0-9]+)/', line).groups()
        checked += 1
        if included in folders and included not in reach(folder, uses):
            found.append(f"{place} includes {included}")
    if checked < 100:
        found.append(f"only {checked} includes were found: the pattern of this script no longer fits the tree")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
