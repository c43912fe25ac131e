#!/usr/bin/env python3
"""Times llama.cpp on a GGUF file, alone or in alternation with invar: the public yardstick of docs/performance.md.

  python3 -m venv /tmp/yardstick && /tmp/yardstick/bin/pip install xllamacpp
  /tmp/yardstick/bin/python tools/yardstick_llama_cpp.py model.gguf --threads 2 --against build/release/invar
  ... --prompt 256,512 --generate 64 --sequences 4,8,16,32 --depth 0,16384 --runs 5

llama.cpp comes as the wheel xllamacpp, which contains all of it; its C functions are called directly, as its own llama-bench does. The
works are those of `invar bench`: a prompt in an empty context or at a depth, tokens generated one by one, and one token each of several
sequences together. With --against, both programs hold the model and take turns run by run (invar bench --paced). The one that goes first
alternates, so that whatever slows the machine slows both. Both keep keys and values in f16 and compute prompts 512 tokens at a time. The
instruction sets that the wheel was built for are printed first; if that is AVX2 alone, compare with --flag=--isa=avx2 too.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

from llama_cpp import BATCH, load_library, open_context, open_model

SEQUENCE_STEPS = 8  # as invar bench
REST = 0.05         # seconds between runs, until the other side's threads have stopped spinning


class LlamaCpp:
    """A model and one context for all works."""

    def __init__(self, path, threads, positions, sequences):
        self.lib, self.version = load_library()
        self.model = open_model(self.lib, path)
        self.vocabulary = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))
        self.context = open_context(self.lib, self.model, positions, sequences, threads)
        self.memory = self.lib.llama_get_memory(self.context)
        self.batch = self.lib.llama_batch_init(BATCH, 0, 1)
        self.held = [0] * sequences

    def decode(self, rows, wanted):
        """rows: (sequence, position); logits of the last row, or of all."""
        self.batch.n_tokens = len(rows)
        for i, (sequence, position) in enumerate(rows):
            self.batch.token[i] = (position * 7919 + sequence * 104729 + 13) % self.vocabulary
            self.batch.pos[i], self.batch.n_seq_id[i], self.batch.seq_id[i][0] = position, 1, sequence
            self.batch.logits[i] = 1 if wanted == "all" or i + 1 == len(rows) else 0
        code = self.lib.llama_decode(self.context, self.batch)
        if code != 0:
            sys.exit(f"llama_decode gave {code}")
        self.lib.llama_synchronize(self.context)

    def extend(self, sequence, to):
        while self.held[sequence] < to:
            count = min(BATCH, to - self.held[sequence])
            self.decode([(sequence, self.held[sequence] + i) for i in range(count)], "last")
            self.held[sequence] += count

    def run(self, work):
        """Seconds."""
        depth = work["depth"]
        for sequence in range(len(self.held)):
            used = sequence < work["sequences"]
            if self.held[sequence] > depth or (not used and self.held[sequence]):
                keep = depth if used else min(depth, self.held[sequence])
                self.lib.llama_memory_seq_rm(self.memory, sequence, keep, -1)
                self.held[sequence] = keep
            if used:
                self.extend(sequence, depth)
        start = time.perf_counter()
        if work["work"] == "prompt":
            self.extend(0, depth + work["tokens"])
        else:
            for _ in range(work["tokens"]):
                self.decode([(s, self.held[s]) for s in range(work["sequences"])], "all")
                for s in range(work["sequences"]):
                    self.held[s] += 1
        return time.perf_counter() - start


class Invar:
    """invar bench --paced as a child process: a line to it starts a run, and a line from it reports the run."""

    def __init__(self, binary, path, arguments):
        flags = ["--prompt", arguments.prompt, "--generate", arguments.generate, "--depth", arguments.depth]
        if arguments.sequences:
            flags += ["--sequences", arguments.sequences]
        flags += ["--threads", str(arguments.threads), "--runs", str(arguments.runs), "--paced", "--json", *arguments.flag]
        self.process = subprocess.Popen([binary, "bench", path, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            sys.exit(f"invar bench ended with {self.process.wait()}; see its message above")
        return json.loads(text)

    def run(self, work):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told = self.line()
        if any(told[key] != work[key] for key in work):
            sys.exit(f"invar bench measured {told} where {work} was due")
        return told["seconds"]

    def report(self):
        return self.line()


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def works_of(arguments):
    works = []
    for depth in sorted(numbers(arguments.depth)):
        for kind, counts in (("prompt", arguments.prompt), ("generation", arguments.generate)):
            works += [{"work": kind, "tokens": n, "sequences": 1, "depth": depth} for n in numbers(counts) if n]
        works += [{"work": "sequences", "tokens": SEQUENCE_STEPS, "sequences": n, "depth": depth}
                  for n in numbers(arguments.sequences)]
    return works


def describe(work):
    what = f"{work['sequences']} sequences" if work["work"] == "sequences" else f"{work['work']} of {work['tokens']}"
    return what + (f" at depth {work['depth']}" if work["depth"] else "")


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def measure(work, sides, runs):
    """Tokens per second of each side, in pairs. The first run of each side warms up."""
    speeds = {name: [] for name in sides}
    for run in range(runs + 1):
        for name in list(sides) if run % 2 else list(sides)[::-1]:
            time.sleep(REST)
            seconds = sides[name].run(work)
            if run:
                speeds[name].append(work["tokens"] * work["sequences"] / seconds)
    return speeds


def row(work, speeds, share):
    rival = spread(speeds["llama.cpp"])
    text = f"{describe(work):<30} {rival['median']:>10.2f} {rival['low']:>9.2f} .. {rival['high']:<9.2f}"
    if "invar" in speeds:
        ours = spread(speeds["invar"])
        ratios = spread([b / a for a, b in zip(speeds["llama.cpp"], speeds["invar"])])
        text += f" {ours['median']:>10.2f} {ours['low']:>9.2f} .. {ours['high']:<9.2f} {ours['median'] / rival['median']:>6.2f}"
        text += f" {ratios['median']:>6.2f} {ratios['low']:>6.2f} .. {ratios['high']:<6.2f} {share}"
    return text


def share_of(measurement):
    if "share_of_read_probe" in measurement:
        return f"{100 * measurement['share_of_read_probe']['median']:.0f} % of reads"
    return f"{100 * measurement['share_of_int8_probe']['median']:.0f} % of int8"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--against", metavar="INVAR", help="path of the program to alternate with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each work, after one that warms up")
    parser.add_argument("--prompt", default="512")
    parser.add_argument("--generate", default="64")
    parser.add_argument("--sequences", default="")
    parser.add_argument("--depth", default="0")
    parser.add_argument("--flag", action="append", default=[], help="handed to invar bench as it is, e.g. --flag=--isa=avx2")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    works = works_of(arguments)
    if not works:
        sys.exit("there is nothing to measure; give --prompt, --generate or --sequences a number")
    positions = max(w["depth"] + w["tokens"] for w in works)
    sides = {}
    sides["llama.cpp"] = LlamaCpp(arguments.model, arguments.threads, positions, max(w["sequences"] for w in works))
    if arguments.against:
        sides["invar"] = Invar(arguments.against, arguments.model, arguments)
    rival = sides["llama.cpp"]
    build = f"xllamacpp {rival.version}, {rival.lib.llama_print_system_info().decode().strip(' |')}"
    all_speeds = [measure(work, sides, arguments.runs) for work in works]
    report = sides["invar"].report() if arguments.against else None
    shares = [share_of(m) for m in report["measurements"]] if report else [""] * len(works)
    if arguments.json:
        print(json.dumps({"rival": build, "threads": arguments.threads, "works": [
            {**work, "tokens_per_second": speeds} for work, speeds in zip(works, all_speeds)], "invar": report}))
        return
    print(f"llama.cpp: {build}; {arguments.threads} threads")
    head = f"{'work':<30} {'llama.cpp':>10} {'low .. high':>22}"
    print(head + (f" {'invar':>10} {'low .. high':>22} {'ratio':>6} {'pairs':>6} {'low .. high':>16} share" if report else ""))
    for work, speeds, share in zip(works, all_speeds, shares):
        print(row(work, speeds, share))


if __name__ == "__main__":
    main()
