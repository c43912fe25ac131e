"""Runs the program for the end-to-end tests: its path, a scratch folder, and the call of a command."""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np


class Engine:
    def __init__(self, binary, folder):
        self.binary, self.folder = str(binary), pathlib.Path(folder)

    def call(self, *arguments, stdin=""):
        """The finished process; nothing is checked."""
        return subprocess.run([self.binary, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=1200)

    def run(self, *arguments, stdin=""):
        done = self.call(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise AssertionError(f"invar {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments, stdin=""):
        return json.loads(self.run(*arguments, "--json", stdin=stdin))

    def logits(self, model, tokens, *flags):
        """float32 [tokens, vocabulary]."""
        out = self.folder / "logits.npy"
        self.run("logits", model, "--tokens", ",".join(map(str, tokens)), "--out", out, *flags)
        return np.load(out)

    def instruction_sets(self):
        return [one["name"] for one in self.json("models")["instruction_sets"] if one["runs_here"]]


def main(test):
    """Runs test(engine, arguments) with a scratch folder that is removed afterwards."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--models", help="folder of the demonstration models", default="")
    parser.add_argument("--emulated", help="the program whose CUDA is the emulated device", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="invar-e2e-") as folder:
        test(Engine(arguments.binary, folder), arguments)
