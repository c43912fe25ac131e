#!/usr/bin/env python3
"""Counts the instructions of one decode step and one prompt chunk in every weight format, and compares them with those recorded.

  tools/instruction_counts.py --write    counts and writes docs/instruction_counts.txt
  tools/instruction_counts.py --check    counts and fails where a count is more than 2 % away from that file
  tools/instruction_counts.py --check q4_k q6_k    checks these formats only

Seconds say little on a busy machine; instructions are the same on every run. They are counted by valgrind (callgrind), inside one
function of `invar bench --once` (src/bench/counted_run.h), with the AVX2 kernels (valgrind knows no AVX-512) and one thread, on a model
of one layer with random weights (invar synth tiny). The counts do not show waiting for memory or the AVX-512 kernels.
Another compiler makes other instructions. If the compiler differs or valgrind is missing, nothing is compared and the script says so.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs/instruction_counts.txt"
TOLERANCE = 0.02
# Row of the record -> shape and mix of invar synth. In these mixes most weights have the row's format.
MODELS = {"f32": ("tiny", "f32"), "f16": ("tiny", "f16"), "bf16": ("tiny", "bf16"), "q4_0": ("tiny", "q4_0"), "q4_1": ("tiny", "q4_1"),
          "q5_0": ("tiny", "q5_0"), "q5_1": ("tiny", "q5_1"), "q8_0": ("tiny", "q8_0"), "q2_k": ("tiny", "q2_k"),
          "q3_k": ("tiny", "q3_k_s"), "q4_k": ("tiny", "q4_k_s"), "q5_k": ("tiny", "q5_k_s"), "q6_k": ("tiny", "q6_k"),
          "iq4_nl": ("tiny", "iq4_nl"), "iq4_xs": ("tiny", "iq4_xs"), "mxfp4": ("tiny", "mxfp4"), "nvfp4": ("tiny", "nvfp4"),
          "q4_k experts": ("tiny-moe", "q4_k_s")}
WORKS = ["prompt chunk", "decode step"]
FLAGS = ["--once", "--isa", "avx2", "--threads", "1", "--prompt", "32", "--generate", "1", "--depth", "40"]
COUNTED = "invar::counted_work(invar::Work const&, invar::Subject&)"  # entered once for each work


def compiler_of(binary):
    """The compiler that the program itself names, e.g. "GCC 12.2.0"; the compilers of libraries are left out."""
    comment = subprocess.run(["readelf", "-p", ".comment", binary], capture_output=True, text=True).stdout
    found = re.findall(r"\]\s+(GCC|clang)[^\n]*?([\d.]+)\s*$", comment, re.M) or re.findall(r"(clang) version ([\d.]+)", comment)
    return " ".join(found[-1]) if found else "an unknown compiler"


def count(binary, model, folder):
    out = pathlib.Path(folder) / f"{model.stem}.callgrind"
    command = ["valgrind", "--tool=callgrind", f"--toggle-collect={COUNTED}", f"--dump-before={COUNTED}",
               f"--callgrind-out-file={out}", binary, "bench", str(model), *FLAGS]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"instructions: {' '.join(command)} ended with {run.returncode}: {run.stderr[-600:]}")
    # The first dump covers what came before the prompt and is empty; each of the others ends where the next work begins.
    dumps = [pathlib.Path(f"{out}.{i + 2}") for i in range(len(WORKS) - 1)] + [out]
    totals = [re.search(r"^totals: (\d+)", dump.read_text(), re.M) if dump.exists() else None for dump in dumps]
    if not all(total and int(total.group(1)) for total in totals):
        sys.exit(f"instructions: {binary} has no function {COUNTED}, or it was stripped of names; nothing was counted")
    return dict(zip(WORKS, (int(total.group(1)) for total in totals))), run.stdout


def count_row(binary, row, folder):
    shape, mix = MODELS[row]
    model = pathlib.Path(folder) / f"{shape}-{mix}.gguf"
    subprocess.run([binary, "synth", shape, mix, str(model)], check=True, capture_output=True)
    counts, kernels = count(binary, model, folder)
    verb = "expert_linear" if "experts" in row else "linear"
    if len(re.findall(rf"\b{verb}[^,\n]* {row.split()[0]}\b", kernels)) < len(WORKS):
        sys.exit(f"instructions: products of {row} did not run in every work, so a count says nothing about them:\n{kernels}")
    return counts


def count_all(binary, rows):
    with tempfile.TemporaryDirectory(prefix="invar-instructions-") as folder:
        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            jobs = {row: pool.submit(count_row, binary, row, folder) for row in rows}
            return {row: job.result() for row, job in jobs.items()}


def write(counts, compiler):
    lines = [f"# Made by tools/instruction_counts.py --write from a release build by {compiler}: instructions of 32 tokens of a",
             "# prompt and of one token, each after 40; model of one layer (invar synth tiny), AVX2 kernels, one thread.",
             f"{'format':<16}" + "".join(f"{work:>16}" for work in WORKS)]
    lines += [f"{row:<16}" + "".join(f"{counts[row][work]:>16}" for work in WORKS) for row in counts]
    RECORD.write_text("\n".join(lines) + "\n")


def recorded():
    lines = RECORD.read_text().splitlines()
    compiler = re.search(r"release build by (.*?):", lines[0]).group(1)
    return compiler, {line[:16].strip(): dict(zip(WORKS, map(int, line[16:].split()))) for line in lines[3:]}


def failures(counts, before):
    for row, works in counts.items():
        if row not in before:
            yield f"{row} is not in {RECORD.name}; record it with tools/instruction_counts.py --write"
            continue
        for work, now in works.items():
            then = before[row][work]
            change = 100 * (now - then) / then
            if now > then * (1 + TOLERANCE):
                yield f"{row}, {work}: {now} instructions, {then} recorded, {change:.1f} % more; find what got slower, or record it with --write"
            elif now < then * (1 - TOLERANCE):
                yield f"{row}, {work}: {now} instructions, {then} recorded, {-change:.1f} % fewer; keep the gain by recording it with --write"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true")
    mode.add_argument("--check", action="store_true")
    parser.add_argument("--binary", default=str(ROOT / "build/release/invar"))
    parser.add_argument("formats", nargs="*", help="of the record; default: all")
    arguments = parser.parse_args()
    if any(row not in MODELS for row in arguments.formats):
        sys.exit(f"instructions: choose formats of {', '.join(MODELS)}")
    if not shutil.which("valgrind") or not shutil.which("readelf"):
        print("instructions: SKIPPED, valgrind or readelf is not installed (tools/install_dependencies.sh check)")
        return 1 if arguments.write else 0
    compiler = compiler_of(arguments.binary)
    if arguments.check:
        of_record, before = recorded()
        if compiler != of_record:
            print(f"instructions: SKIPPED, not compared: this build is by {compiler}, the record by {of_record}")
            return 0
    counts = count_all(arguments.binary, arguments.formats or MODELS)
    if arguments.write:
        write({**(recorded()[1] if RECORD.exists() and arguments.formats else {}), **counts}, compiler)
        print(f"instructions: {len(counts)} formats written to {RECORD.relative_to(ROOT)}")
        return 0
    found = list(failures(counts, before))
    if not arguments.formats:
        found += [f"{row} is recorded but no longer counted; write the record anew" for row in before if row not in counts]
    compared = sum(len(works) for works in counts.values())
    print(f"instructions: {compared} counts of {len(counts)} formats compared with those recorded ({compiler}), {len(found)} differ by more than 2 %")
    for failure in found:
        print("instructions:", failure)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
