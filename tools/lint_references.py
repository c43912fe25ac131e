#!/usr/bin/env python3
"""Checks that every file and every numbered section exists that documents and comments mention. Prints each finding and ends with 1 if
there is one. Run by tools/lint.sh.

A mention of a file is a word that ends in one of SUFFIXES, or a path below one of FOLDERS. The path may start at the root, at src/, at tests/
or at the folder of the file that mentions it; a bare name may be that of any file. NAME, * and <...> stand for anything. A mention of a
section is "section 3" or "sections 3 to 5". It refers to the document named last before it in the same paragraph, and otherwise to the
document that contains it."""
import fnmatch
import os
import re
import subprocess
import sys

SUFFIXES = "cpp|h|cuh|cu|md|py|sh|cmake"
FOLDERS = "src|docs|tests|tools|fuzz|cmake"
FILE = re.compile(rf"(?<![\w/.<-])((?:\.\./|\./)?(?:[\w*{{}},-]+/)*[\w*{{}},-]+\.(?:{SUFFIXES}))(?![\w/])")
FOLDER = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/[\w*/-]*[\w*])/?(?![\w.*/-])")
SECTION = re.compile(r"[Ss]ections? (\d+)(?:(?: to |, | and )(\d+))?(?! ?[%\w])")
HEADING = re.compile(r"^#+ (\d+)\. ", re.M)
# Files of other projects and files that users name in examples.
ELSEWHERE = re.compile(r"llama\.cpp|README\.md|ggml[\w-]*\.(c|h|cpp|py)|convert_hf_to_gguf\.py|conversation\.py|\w*intrin\.h|\w+_bf16\.h|CLI\.hpp|conv\.py")


def comments(path, text):
    """(line number, prose) paragraphs: whole documents, the comments of code, the docstrings and comments of scripts."""
    if path.endswith(".md"):
        pattern = r"(?:^.*\S.*\n?)+"
        for match in re.finditer(pattern, text, re.M):
            yield text.count("\n", 0, match.start()) + 1, match.group(0)
        return
    if path.endswith((".py", ".sh", ".cmake")) or path.endswith("CMakeLists.txt"):
        marker, block = "#", r'"""(?:.|\n)*?"""'
    else:
        marker, block = "//", r"/\*(?:.|\n)*?\*/"
    for match in re.finditer(rf"(?:^[ \t]*{marker}(?!!).*\n)+|{marker} .*$|{block}", text, re.M):
        yield text.count("\n", 0, match.start()) + 1, re.sub(rf"^[ \t]*{marker} ?", " ", match.group(0), flags=re.M)


def expand(mention):
    """Expands a{b,c}.h to ab.h and ac.h."""
    match = re.search(r"\{([^{}]*)\}", mention)
    if not match:
        return [mention]
    return [one for part in match.group(1).split(",") for one in expand(mention[: match.start()] + part + mention[match.end() :])]


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True).stdout.split("\n")
    files = [name for name in files if name and os.path.exists(name)]
    every = set(files)
    for name in files:
        while (name := os.path.dirname(name)):
            every.add(name)
    names = {os.path.basename(name) for name in every}
    headings = {name: {int(n) for n in HEADING.findall(open(name, encoding="utf-8").read())} for name in files if name.endswith(".md")}

    def exists(mention, folder):
        wanted = re.sub(r"NAME|<[^>]*>|\bX\b", "*", mention)
        if "/" not in wanted:
            return bool(fnmatch.filter(names, wanted))
        tried = [os.path.normpath(os.path.join(start, wanted)) for start in ("", "src", "tests", "tools", folder)]
        return any(one in every or ("*" in one and fnmatch.filter(every, one)) for one in tried)

    def document(mention, folder):
        for start in ("", "docs", folder):
            path = os.path.normpath(os.path.join(start, mention))
            if path in headings:
                return path
        return None

    found = 0
    checked = 0
    for path in files:
        if not re.search(rf"\.({SUFFIXES})$|CMakeLists\.txt$|^\.ci/run$|^Makefile$", path):
            continue
        if path in ("tools/lint_references.py",):
            continue
        folder = os.path.dirname(path)
        text = open(path, encoding="utf-8").read()
        for line, prose in comments(path, text):
            for match in list(FILE.finditer(prose)) + list(FOLDER.finditer(prose)):
                mention = match.group(1)
                if ELSEWHERE.search(mention):
                    continue
                checked += 1
                missing = [one for one in expand(mention) if not exists(one, folder)]
                if missing:
                    found += 1
                    print(f"{path}:{line + prose.count(chr(10), 0, match.start())}: there is no file {missing[0]}")
            for match in SECTION.finditer(prose):
                named = [document(one.group(1), folder) for one in FILE.finditer(prose, 0, match.start()) if one.group(1).endswith(".md")]
                after = re.match(r"[ ,]*of `?([\w./]+\.md)", prose[match.end() :])
                target = document(after.group(1), folder) if after else named[-1] if named else path if path.endswith(".md") else None
                if target is None:
                    continue
                checked += 1
                for number in match.groups():
                    if number and int(number) not in headings[target]:
                        found += 1
                        print(f"{path}:{line + prose.count(chr(10), 0, match.start())}: {target} has no section {number}")
    if checked < 100:
        print(f"only {checked} mentions were found: the patterns of this script no longer fit the tree")
        found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
