#!/usr/bin/env python3
"""Compares invar's tokenizers with independent ones, more than a million strings where all vocabularies are there, and prints a table of what was compared.

    python3.11 -m venv venv && venv/bin/pip install tokenizers==0.23.3 sentencepiece==0.2.3 tiktoken==0.14.0 mistral-common==1.13.1 protobuf
    venv/bin/python tools/tokenizer_oracle --test build/release/test_text [FOLDER_OF_VOCABULARIES ...] [--strings 14000] [--trained-strings 6000] [--seed 1]

or `cmake --build build/release --target tokenizer_oracle` (docs/tokenizers.md says which variables it has). Vocabularies: some eighty
are trained here; real ones are taken from the packages that ship them (real.py names them) and from the folders given: any
tokenizer.json, *.model, tekken*.json and *.gguf. What is not there is printed as skipped.

Every string is encoded, and the ids of the oracle are decoded, by both sides. For each hundred strings one that is no UTF-8 is
given to invar, which must refuse it. Vocabularies go one after the other: while the test program compares one, the oracle
works at the next, so two processors are busy. Ends with 1 where anything differs.

--short FOLDER writes the small jobs of the repository and compares nothing (tests/data/tokenizer/jobs).
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # one process a processor, not one thread for each of its own
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from jobs import Jobs  # noqa: E402
from unicode_difference import common_alphabet  # noqa: E402

LINE = re.compile(r"\[oracle\] \S+: (\d+) texts, (\d+) ids, (\d+) differ in ids, (\d+) in text; (\d+) not UTF-8, (\d+) taken")


class Comparison:
    """Runs the test program on one job while the next is made, and adds up what it finds."""

    def __init__(self, test, keep):
        self.test, self.keep, self.running, self.rows, self.failed = test, keep, None, {}, False

    def give(self, job, group, oracle, strings):
        self.wait()
        environment = {**os.environ, "INVAR_TOKENIZER_JOBS": str(job)}
        process = subprocess.Popen([self.test, "--gtest_filter=TokenizerOracle.*"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.running = (job, group, oracle, strings, process)

    def wait(self):
        if self.running is None:
            return
        job, group, oracle, strings, process = self.running
        self.running = None
        output = process.communicate()[0]
        found = LINE.search(output)
        numbers = [int(n) for n in found.groups()] if found else [0] * 6
        wrong = process.returncode != 0 or numbers[0] != strings
        print(f"{job.name}: {numbers[0]} strings, {numbers[1]} ids, {numbers[2]} + {numbers[3]} differ", flush=True)
        if wrong:
            self.failed = True
            print(output, flush=True)
        row = self.rows.setdefault((group, oracle), [0] * 7)
        row[0] += 1
        for i, number in enumerate(numbers):
            row[i + 1] += number
        if not (wrong and self.keep):
            shutil.rmtree(job)


def table(rows):
    lines = ["| vocabularies | oracle | number | strings | tokens | ids differ | texts differ |", "|---|---|---|---|---|---|---|"]
    sums = [0] * 7
    for (group, oracle), row in rows.items():
        lines.append(f"| {group} | {oracle} | {row[0]} | {row[1]:,} | {row[2]:,} | {row[3]} | {row[4]} |")
        sums = [a + b for a, b in zip(sums, row)]
    lines.append(f"| **all** | | {sums[0]} | {sums[1]:,} | {sums[2]:,} | {sums[3]} | {sums[4]} |")
    return "\n".join(lines), sums


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", help="with vocabularies of real models; also INVAR_TOKENIZER_FILES, separated by ':'")
    parser.add_argument("--test", help="the program test_text")
    parser.add_argument("--strings", type=int, default=14000, help="for each vocabulary of a real model; 0 leaves them out")
    parser.add_argument("--trained-strings", type=int, default=6000, help="for each vocabulary that is trained here; 0 leaves them out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="vocabularies with this in their name")
    parser.add_argument("--keep", help="folder for the jobs that differ")
    parser.add_argument("--short", help="writes the small jobs of the repository into this folder")
    arguments = parser.parse_args()
    alphabet = common_alphabet()
    if arguments.short:
        from short import every_short_job
        jobs = Jobs(arguments.short, arguments.seed, alphabet, lambda job, group, oracle, strings: print(job, oracle, strings))
        jobs.begin("", 60)
        return every_short_job(jobs)
    if not arguments.test:
        parser.error("--test is needed")
    from real import every_real_job
    from trained import every_trained_job
    folders = arguments.folders + [f for f in os.environ.get("INVAR_TOKENIZER_FILES", "").split(":") if f]

    def make(jobs, real, strings):
        jobs.begin("", strings)
        every_real_job(jobs, folders) if real else every_trained_job(jobs)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        comparison = Comparison(arguments.test, arguments.keep)
        jobs = Jobs(arguments.keep or temporary, arguments.seed, alphabet, comparison.give)
        jobs.wanted = arguments.only
        for real in (False, True):
            if strings := arguments.strings if real else arguments.trained_strings:
                make(jobs, real, strings)
        comparison.wait()
    text, sums = table(comparison.rows)
    print("\n" + text + "\n")
    for name, reason in jobs.skipped:
        print(f"skipped: {name}: {reason}")
    print(f"{sums[0]} vocabularies, {sums[1]} strings, {sums[3]} differ in ids, {sums[4]} in text; {sums[5]} that are no UTF-8, {sums[6]} of them taken; "
          f"seed {arguments.seed}, {time.monotonic() - start:.0f} s")
    return 1 if comparison.failed or sums[1] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
