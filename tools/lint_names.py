#!/usr/bin/env python3
"""Checks that files which may be compiled together (invar_light() in cmake/invar.cmake: the light files of a LIGHT folder) give no two things
of their unnamed namespaces the same name. Functions may differ in what they take, and aliases are not looked at. Builds with ccache compile
each file alone and would not notice. Prints each finding; ends with 1 if there is one. Run by tools/lint.sh."""
import os
import re
import subprocess
import sys

BEGINNING = re.compile(r"^(?!template|//|namespace|using|#|\}|\s)"
                       r"(?:(?:struct|class|enum class|enum) (\w+)|[^\n=;{(]*?[\s*&](\w+)(\([^)]*\)|(?=\[| =|;|\{)))", re.M)


def light_files(text):
    """{folder: its files that are compiled together}."""
    found = {}
    for name, heavy in [("app", "main.cpp")] + re.findall(r"^ *invar_module\((\w+)\s+LIGHT\s+(?:HEAVY ([^)]*?))?\s*USES ", text, re.M):
        if re.search(rf"invar_{name} PROPERTIES UNITY_BUILD OFF", text):
            continue
        without = tuple(f"src/{name}/{one}" for one in heavy.split())
        files = subprocess.run(["git", "ls-files", f"src/{name}/*.cpp"], capture_output=True, text=True, check=True).stdout.split()
        found[name] = [file for file in files if not file.startswith(without or "no such")]
    return found


def names_in(file):
    for inside in re.findall(r"^namespace \{$(.*?)^\}  // namespace$", open(file, encoding="utf-8").read(), re.M | re.S):
        for kind, name, takes in BEGINNING.findall(inside):
            types = [re.sub(r"(?<=[\s*&>])\w+( = .*)?$", "", one.strip()) for one in takes.strip("()").split(",")]
            yield (kind or name) + ("(" + ",".join(types) + ")" if takes else "")


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    found, named = [], 0
    for files in light_files(open("CMakeLists.txt", encoding="utf-8").read()).values():
        first = {}
        for file in files:
            for name in set(names_in(file)):
                named += 1
                if first.setdefault(name, file) != file:
                    found.append(f"{first[name]} and {file} both have {name}; rename one, or declare it in a header that both include")
    if named < 300:
        found.append(f"only {named} names were found: the pattern of this script no longer fits the tree")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
