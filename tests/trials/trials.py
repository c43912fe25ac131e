#!/usr/bin/env python3
"""What it takes to add something to this project, tried on a copy of it: each trial adds a toy, counts files and lines, builds, checks
that the toy works, and throws the copy away.

  tests/trials/trials.py                 every trial
  tests/trials/trials.py verb            one of them
  tests/trials/trials.py --count         applies and counts, builds nothing: seconds, for every change
  tests/trials/trials.py --list          the trials and their limits

A trial is a file NAME.py beside this one with
  SAYS    one line: what is added
  LIMIT   the most files it may touch
  EDITS   a list of insert(), replace() and new_file(): the toy
  check(copy)  builds and runs what shows that the toy works; raises Failure
Edits name a place by a text that stands there exactly once, so that a trial whose place has moved fails and says which.
"""
import argparse
import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.modules.setdefault("trials", sys.modules[__name__])  # trials import it by this name


class Failure(Exception):
    """A trial that took too much, could not be applied, or whose toy does not work."""


class Edit:
    def __init__(self, path, apply):
        self.path, self.apply = path, apply


def only_place(text, anchor, path):
    if text.count(anchor) != 1:
        raise Failure(f"{path}: the place {anchor!r} is there {text.count(anchor)} times, and once is expected")
    return text.index(anchor)


def insert(path, text, *, after=None, before=None):
    """`text` behind or in front of an anchor that stands in the file exactly once."""
    def apply(old):
        at = only_place(old, after or before, path) + (len(after) if after else 0)
        return old[:at] + text + old[at:]
    return Edit(path, apply)


def replace(path, old_text, new_text):
    def apply(old):
        at = only_place(old, old_text, path)
        return old[:at] + new_text + old[at + len(old_text):]
    return Edit(path, apply)


def new_file(path, text):
    def apply(old):
        if old is not None:
            raise Failure(f"{path}: there is such a file already")
        return text
    return Edit(path, apply)


class Copy:
    """A copy of the files that git knows, as they are in the working tree."""

    def __init__(self, folder):
        self.root = pathlib.Path(folder)
        names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                               capture_output=True, check=True).stdout
        for name in filter(None, names.decode().split("\0")):
            source = ROOT / name
            # Weights are large and are read only by what a trial does not run.
            if source.is_symlink() or not source.is_file() or name.startswith("models/"):
                continue
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)

    def apply(self, edits):
        """Returns {path: lines added and removed} of all edits."""
        before = {}
        for edit in edits:
            place = self.root / edit.path
            old = place.read_text() if place.exists() else None
            before.setdefault(edit.path, old)
            new = edit.apply(old)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(new)
        return {path: changed_lines(old, (self.root / path).read_text()) for path, old in before.items()}

    def run(self, *command, ends_with=0):
        """Output of a command in the copy; Failure with its last lines where it ends differently."""
        done = subprocess.run([str(part) for part in command], cwd=self.root, capture_output=True, text=True)
        if done.returncode != ends_with:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise Failure(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{tail}")
        return done.stdout

    def build(self, *targets):
        if not (self.root / "build").exists():
            self.run("cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DINVAR_CUDA=OFF",
                     "-DINVAR_TESTS=ON")
        self.run("ninja", "-C", "build", *targets)

    def add_program(self, name, sources, libraries):
        """A program of the trial's own, which does not count: `sources` are paths in the copy."""
        text = (f"add_executable({name} EXCLUDE_FROM_ALL {' '.join(sources)})\n"
                f"target_link_libraries({name} PRIVATE {' '.join(libraries)})\n"
                f"target_include_directories({name} PRIVATE ${{CMAKE_SOURCE_DIR}}/tests)\n")
        with (self.root / "CMakeLists.txt").open("a") as file:
            file.write(text)


def changed_lines(old, new):
    import difflib
    if old is None:
        return len(new.splitlines())
    return sum(1 for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[:2] in ("+ ", "- "))


def all_trials():
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("trials", "__init__"))


def try_one(name, count_only):
    trial = importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix=f"invar_trial_{name}_") as folder:
        copy = Copy(folder)
        touched = copy.apply(trial.EDITS)
        print(f"{name}: {trial.SAYS}: {len(touched)} files (at most {trial.LIMIT}), {sum(touched.values())} lines", flush=True)
        for path, lines in touched.items():
            print(f"  {lines:>4} {path}")
        if len(touched) > trial.LIMIT:
            raise Failure(f"{name} touches {len(touched)} files, and {trial.LIMIT} is the most")
        if not count_only:
            trial.check(copy)
            print(f"{name}: works", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", metavar="TRIAL")
    parser.add_argument("--count", action="store_true", help="apply and count, build nothing")
    parser.add_argument("--list", action="store_true", help="print the trials")
    arguments = parser.parse_args()
    wanted = arguments.trials or all_trials()
    if unknown := [name for name in wanted if name not in all_trials()]:
        parser.error(f"there is no trial {', '.join(unknown)}; the trials are {', '.join(all_trials())}")
    if arguments.list:
        for name in wanted:
            trial = importlib.import_module(name)
            print(f"{name}: {trial.SAYS} (at most {trial.LIMIT} files)")
        return 0
    failed = 0
    for name in wanted:
        try:
            try_one(name, arguments.count)
        except Failure as failure:
            failed += 1
            print(f"{name}: FAILED: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
