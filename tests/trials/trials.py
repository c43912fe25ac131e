#!/usr/bin/env python3
"""What it takes to add something to this project, tried on a copy of it: each trial adds a toy, counts files and lines, builds, compares
what the toy computes with what it must be, removes the toy, and shows that the copy is as it was.

  tests/trials/trials.py                 every trial: about half an hour on two cores, a few minutes where ccache knows the objects
  tests/trials/trials.py verb            one of them
  tests/trials/trials.py --count         applies, counts and removes, builds nothing: a second, for every change
  tests/trials/trials.py --list          the trials and their limits

A trial is a file NAME.py beside this one with
  SAYS    one line: what is added
  LIMIT   the most files it may touch
  EDITS   a list of insert(), replace() and new_file(): the toy
  check(copy)  builds, runs, and calls copy.compared(count, what) for everything that was compared; raises Failure where something differs
Edits name a place by a text that stands there exactly once, so that a trial whose place has moved fails and says which.
The script ends with 1 if a trial takes more files than its limit, differs somewhere, compares nothing, or leaves something behind.
"""
import argparse
import difflib
import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TRIALS = ("verb", "format", "enumerator", "setting", "architecture", "row")
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
    """A copy of the files that git knows, as they are in the working tree, and its build in build/release."""

    def __init__(self, folder):
        self.root = pathlib.Path(folder)
        self.binaries = self.root / "build" / "release"
        self.before = self.root / "build" / "before"  # programs without any toy
        self.results = []  # (count, what) of the trial that runs
        self.originals = {}  # path: its text before the edits, None where there was no file
        names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                               capture_output=True, check=True).stdout
        for name in filter(None, names.decode().split("\0")):
            source = ROOT / name
            # Weights are large: what needs them reads those of the tree.
            if source.is_symlink() or not source.is_file() or name.startswith("models/"):
                continue
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
        self.contents = self.read_all()

    def read_all(self):
        """{path: bytes} of every file outside build/."""
        files = {}
        for folder, names, entries in os.walk(self.root):
            if pathlib.Path(folder) == self.root and "build" in names:
                names.remove("build")
            for entry in entries:
                path = pathlib.Path(folder) / entry
                files[str(path.relative_to(self.root))] = path.read_bytes()
        return files

    def apply(self, edits):
        """Returns {path: (lines added, lines removed)} of all edits."""
        before = {}
        for edit in edits:
            place = self.root / edit.path
            old = place.read_text() if place.exists() else None
            before.setdefault(edit.path, old)
            self.originals.setdefault(edit.path, old)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(edit.apply(old))
        return {path: changed_lines(old, (self.root / path).read_text()) for path, old in before.items()}

    def remove_edits(self):
        for path, text in self.originals.items():
            place = self.root / path
            if text is not None:
                place.write_text(text)
                continue
            place.unlink()
            if not any(place.parent.iterdir()):
                place.parent.rmdir()
        self.originals = {}
        now = self.read_all()
        left = sorted(path for path in now.keys() | self.contents.keys() if now.get(path) != self.contents.get(path))
        if left:
            raise Failure(f"the edits were removed, and these files are not as they were: {', '.join(left)}")
        return len(now)

    def call(self, program, *arguments):
        """The finished process of a program of this build, run in the copy; nothing is checked."""
        command = [str(part) for part in (self.binaries / program, *arguments)]  # an absolute path stays itself
        return subprocess.run(command, cwd=self.root, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def run(self, program, *arguments):
        done = self.call(program, *arguments)
        if done.returncode != 0:
            raise Failure(f"{program} {' '.join(map(str, arguments))} ended with {done.returncode}:\n{tail(done)}")
        return done.stdout

    def json(self, program, *arguments):
        return json.loads(self.run(program, *arguments, "--json"))

    def refused(self, program, *arguments, naming=()):
        """The one sentence with which a program refuses what it is asked."""
        done = self.call(program, *arguments)
        sentence = done.stderr.strip()
        command = f"{program} {' '.join(map(str, arguments))}"
        if done.returncode != 2 or len(sentence.splitlines()) != 1 or not sentence.startswith("invar: "):
            raise Failure(f"{command} must be refused in one sentence, and ended with {done.returncode}:\n{tail(done)}")
        for part in naming:
            if part not in sentence:
                raise Failure(f"{command}: '{part}' is not in: {sentence}")
        return sentence

    def compared(self, count, what):
        print(f"  compared {count:,}: {what}", flush=True)
        self.results.append((count, what))

    def run_check(self, program, *arguments, only=""):
        """Runs a test program. Its lines "[equality] ... N ... compared" in which `only` (a regular expression) is found are results."""
        found = 0
        for line in self.run(program, *arguments).splitlines():
            counted = re.match(r"\[equality\] (?:(.*): )?(\d+) (.*)", line)
            if counted and re.search(only, line):
                found += 1
                self.compared(int(counted[2]), ": ".join(filter(None, (counted[1], counted[3]))))
        if found == 0:
            raise Failure(f"{program} {' '.join(arguments)} compared nothing")

    def verify(self, model, *flags):
        """Every path of this machine and of the emulated device computes the same bits in every stage."""
        report = self.json("invar_emulated", "verify", model, "--no-accuracy", *flags)
        equal = [path for path in report["paths"] if path["status"] == "equal"]
        device = [path for path in equal if path["name"].startswith("cuda")]
        if not report["equal"] or report["differing_values"] != 0 or not device:
            raise Failure(f"verify: {report['differing_values']} values differ; {len(device)} paths of the device are equal")
        self.compared(report["values"], f"values of every stage on {len(equal)} paths, {len(device)} of them of the emulated device, "
                                        "with the scalar one")

    def build(self, *targets):
        # As in the tree, so that ccache knows the objects: names in a command are taken relative to the copy.
        environment = {**os.environ, "CCACHE_BASEDIR": str(self.root), "CCACHE_NOHASHDIR": "1"}
        commands = [["ninja", "-C", self.binaries, *targets]]
        if not self.binaries.exists():
            commands.insert(0, ["cmake", "--preset", "release", "-DINVAR_CUDA=OFF", "-DINVAR_TESTS=ON"])
        for command in commands:
            done = subprocess.run(list(map(str, command)), cwd=self.root, env=environment, capture_output=True, text=True)
            if done.returncode != 0:
                raise Failure(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{tail(done)}")

    def build_before(self):
        """The programs as they are without a toy."""
        if not self.before.exists():
            self.build("invar", "invar_emulated")
            self.before.mkdir()
            for program in ("invar", "invar_emulated"):
                shutil.copy(self.binaries / program, self.before / program)

    def dependencies(self):
        """Every object of the build with the files it was made from, as ninja prints them."""
        return subprocess.run(["ninja", "-C", self.binaries, "-t", "deps"], capture_output=True, text=True, check=True).stdout

    def add_program(self, name, sources, libraries):
        """A program of the trial's own, which does not count: `sources` are paths in the copy."""
        text = (f"add_executable({name} EXCLUDE_FROM_ALL {' '.join(sources)})\n"
                f"target_link_libraries({name} PRIVATE {' '.join(libraries)})\n"
                f"target_include_directories({name} PRIVATE ${{CMAKE_SOURCE_DIR}}/tests)\n"
                f'target_compile_definitions({name} PRIVATE INVAR_TEST_DATA="${{CMAKE_SOURCE_DIR}}/tests/data")\n')
        self.apply([insert("CMakeLists.txt", text, before="if(INVAR_FUZZ)\n  invar_fuzz_targets()")])


def tail(done):
    return "\n".join((done.stdout + done.stderr).splitlines()[-40:])


def changed_lines(old, new):
    if old is None:
        return len(new.splitlines()), 0
    changes = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    return sum(line.startswith("+ ") for line in changes), sum(line.startswith("- ") for line in changes)


def try_one(name, copy, count_only):
    trial = importlib.import_module(name)
    copy.results = []
    if not count_only:
        copy.build_before()
    try:
        touched = copy.apply(trial.EDITS)
        added, removed = (sum(lines[i] for lines in touched.values()) for i in (0, 1))
        print(f"{name}: {trial.SAYS}", flush=True)
        print(f"  {len(touched)} files (at most {trial.LIMIT}), {added} lines added, {removed} removed", flush=True)
        for path, lines in touched.items():
            print(f"    +{lines[0]} -{lines[1]} {path}", flush=True)
        if len(touched) > trial.LIMIT:
            raise Failure(f"{len(touched)} files are touched, and {trial.LIMIT} is the most")
        if not count_only:
            trial.check(copy)
            if not copy.results or not all(count > 0 for count, _ in copy.results):
                raise Failure("something was to be compared, and nothing was")
            print(f"  compared {sum(count for count, _ in copy.results):,} in all, 0 differ", flush=True)
    finally:
        files = copy.remove_edits()
    print(f"  removed: all {files} files of the copy are as before", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", metavar="TRIAL")
    parser.add_argument("--count", action="store_true", help="apply, count and remove; build nothing")
    parser.add_argument("--list", action="store_true", help="print the trials")
    arguments = parser.parse_args()
    wanted = arguments.trials or TRIALS
    if unknown := [name for name in wanted if name not in TRIALS]:
        parser.error(f"there is no trial {', '.join(unknown)}; the trials are {', '.join(TRIALS)}")
    if arguments.list:
        for name in wanted:
            trial = importlib.import_module(name)
            print(f"{name}: {trial.SAYS} (at most {trial.LIMIT} files)")
        return 0
    failed = []
    with tempfile.TemporaryDirectory(prefix="invar_trials_") as folder:
        copy = Copy(folder)
        for name in wanted:
            try:
                try_one(name, copy, arguments.count)
            except Failure as failure:
                failed.append(name)
                print(f"{name}: FAILED: {failure}", file=sys.stderr, flush=True)
    print(f"{len(wanted) - len(failed)} of {len(wanted)} trials succeeded" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
