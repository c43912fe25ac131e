#!/usr/bin/env python3
"""Compiles the device code for every architecture and reports what each kernel costs: registers, shared memory, spilled bytes.

  tools/cuda_report.py --write          compiles and writes docs/gpu_registers.txt
  tools/cuda_report.py --check          compiles and fails if a kernel spills more than that file says
  tools/cuda_report.py --check --built build/release/cuda     the same for the objects of a build
  tools/cuda_report.py --loops NAME...  counts the instructions of the busiest loop of the kernels whose names contain NAME
                                        (needs cuobjdump), for one architecture

Needs nvcc on PATH or in /usr/local/cuda/bin; without it --check says so and ends with 0.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs/gpu_registers.txt"
ARCHITECTURES = ["sm_80", "sm_90a", "sm_120"]
# Without contraction, a fused multiply-add occurs only where the source says fma. The define makes fmt use constexpr under nvcc.
FLAGS = ["-x", "cu", "-std=c++20", "-O3", "-fmad=false", "--expt-relaxed-constexpr", "-DFMT_USE_CONSTEXPR=1",
         "-Xcompiler", "-ffp-contract=off,-fPIC", "-Xptxas", "-v"]
FORMATS = re.findall(r"FORMAT\((\w+)\)", (ROOT / "src/formats/list.h").read_text().split("#define INVAR_FORMATS(FORMAT)")[1].split("#include")[0])
CACHE_TYPES = ["f16", "bf16", "f32"]


def find_nvcc():
    return shutil.which("nvcc") or (shutil.which("/usr/local/cuda/bin/nvcc"))


def nvcc_version(nvcc):
    return re.search(r"V([\d.]+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout).group(1)


def readable(symbol):
    name = subprocess.run(["c++filt", symbol], capture_output=True, text=True).stdout.strip()
    name = re.sub(r"^void ", "", name).replace("invar::cuda::", "").replace("invar::", "")
    name = re.sub(r"\((?:FormatId)\)(\d+)", lambda m: FORMATS[int(m.group(1))], name)
    name = re.sub(r"\((?:CacheType)\)(\d+)", lambda m: CACHE_TYPES[int(m.group(1))], name)
    return re.sub(r"\(.*\)$", "", name)


def costs_in(text):
    """{architecture: {kernel: (registers, shared bytes, spilled bytes)}} from the output of ptxas."""
    kernels = collections.defaultdict(dict)
    for block in text.split("Compiling entry function ")[1:]:
        symbol, architecture = re.match(r"'(\w+)' for '(\w+)'", block).groups()
        stores, loads = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", block).groups()
        used = re.search(r"Used (\d+) registers", block).group(1)
        shared = re.search(r"(\d+) bytes smem", block)
        kernels[architecture][readable(symbol)] = (int(used), int(shared.group(1)) if shared else 0, int(stores) + int(loads))
    return kernels


def read_built(folder):
    kernels = collections.defaultdict(dict)
    sources = {s.stem for s in (ROOT / "src/cuda").glob("*.cu")}
    logs = {log.name.split(".")[0]: log for log in pathlib.Path(folder).glob("*.o.log")}
    if not sources <= set(logs):
        sys.exit(f"{folder} has no logs of {', '.join(sorted(sources - set(logs)))}; build the program with CUDA first")
    for name in sorted(sources):
        for architecture, found in costs_in(logs[name].read_text()).items():
            for kernel, cost in found.items():
                kernels[kernel][architecture] = cost
    return kernels


def compile_one(nvcc, source, architecture, folder):
    output = pathlib.Path(folder) / f"{source.stem}.{architecture}.o"
    run = subprocess.run([nvcc, *FLAGS, f"-arch={architecture}", "-I", str(ROOT / "src"), "-c", str(source), "-o", str(output)],
                         capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{source.name} does not compile for {architecture}:\n{run.stdout}{run.stderr}")
    return architecture, costs_in(run.stderr)[architecture], output


def compile_all(nvcc, architectures, folder, only=None):
    sources = [s for s in sorted((ROOT / "src/cuda").glob("*.cu")) if only is None or s.stem in only]
    kernels = collections.defaultdict(dict)
    outputs = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = [pool.submit(compile_one, nvcc, s, a, folder) for s in sources for a in architectures]
        for job in jobs:
            architecture, found, output = job.result()
            outputs.append(output)
            for name, cost in found.items():
                kernels[name][architecture] = cost
    return kernels, outputs


def report_lines(nvcc, kernels):
    yield f"# Made by tools/cuda_report.py with nvcc {nvcc_version(nvcc)}: registers a thread / bytes of shared memory a block / bytes spilled."
    yield f"{'kernel':44}" + "".join(f"{a:>20}" for a in ARCHITECTURES)
    for name in sorted(kernels):
        costs = [kernels[name].get(a) for a in ARCHITECTURES]
        yield f"{name:44}" + "".join(f"{'%d / %d / %d' % c if c else '-':>20}" for c in costs)


def check(nvcc, kernels):
    spilled = {}
    lines = REPORT.read_text().splitlines()
    for line in lines[2:]:
        name, costs = line[:44].strip(), re.findall(r"\d+ / \d+ / (\d+)", line)
        spilled[name] = dict(zip(ARCHITECTURES, map(int, costs)))
    failures = []
    for name, by_architecture in kernels.items():
        for architecture, (_, _, bytes_spilled) in by_architecture.items():
            if name not in spilled:
                failures.append(f"{name} is not in {REPORT.name}; run tools/cuda_report.py --write")
            elif bytes_spilled > spilled[name].get(architecture, 0):
                failures.append(f"{name} spills {bytes_spilled} bytes on {architecture}, {spilled[name].get(architecture, 0)} before")
    if f"nvcc {nvcc_version(nvcc)}" not in lines[0]:
        print(f"cuda: compiled with nvcc {nvcc_version(nvcc)}, another one than the report's: spills are not compared")
        failures = []
    total = sum(len(v) for v in kernels.values())
    with_spills = sum(c[2] > 0 for v in kernels.values() for c in v.values())
    print(f"cuda: {len(kernels)} kernels, {total} instances for {', '.join(ARCHITECTURES)} compiled, {with_spills} spill")
    for failure in sorted(set(failures)):
        print("cuda:", failure)
    return 1 if failures else 0


def operation(instruction):
    parts = instruction.split()
    return (parts[1] if parts[0].startswith("@") else parts[0]).split(".")[0]


def busiest_loop(body):
    best = []
    for address, text in body:
        target = re.search(r"0x([0-9a-f]+)", text)
        if operation(text) != "BRA" or not target or int(target.group(1), 16) >= address:
            continue
        loop = [operation(t) for a, t in body if int(target.group(1), 16) <= a <= address]
        work = [op for op in loop if op in ("IDP", "IMMA", "FFMA")]
        if (len(work), -len(loop)) > (len([op for op in best if op in ("IDP", "IMMA", "FFMA")]), -len(best)):
            best = loop
    return best


def print_loops(objects, wanted):
    for output in objects:
        symbol, body = None, []
        listing = subprocess.run(["cuobjdump", "-sass", str(output)], capture_output=True, text=True).stdout.splitlines()
        for line in listing + ["Function : end"]:
            start = re.search(r"Function : (\S+)", line)
            if start:
                if symbol and any(w in readable(symbol) for w in wanted):
                    loop = busiest_loop(body)
                    counts = ", ".join(f"{op} {n}" for op, n in collections.Counter(loop).most_common(16))
                    print(f"{readable(symbol)}: {len(loop)} instructions: {counts}")
                symbol, body = start.group(1), []
            instruction = re.match(r"\s+/\*([0-9a-f]{4,})\*/\s+(.*?);", line)
            if instruction:
                body.append((int(instruction.group(1), 16), instruction.group(2).strip()))


def report(nvcc, kernels, options):
    if options.write:
        REPORT.write_text("\n".join(report_lines(nvcc, kernels)) + "\n")
        print(f"cuda: {REPORT.relative_to(ROOT)} has {len(kernels)} kernels")
    return check(nvcc, kernels) if options.check else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--built", metavar="FOLDER", help="read the logs of this build instead of compiling")
    parser.add_argument("--loops", nargs="+", metavar="NAME")
    parser.add_argument("--arch", default="sm_90a", help="for --loops")
    parser.add_argument("--sources", nargs="+", metavar="STEM", help="for --loops: only these files of src/cuda",
                        default=["linear_decode", "linear_tiles", "linear_float_tiles", "cuda_ops"])
    options = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None:
        print("cuda: skipped, there is no nvcc on PATH or in /usr/local/cuda/bin")
        return 0
    if options.built:
        return report(nvcc, read_built(options.built), options)
    with tempfile.TemporaryDirectory() as folder:
        if options.loops:
            _, outputs = compile_all(nvcc, [options.arch], folder, options.sources)
            print_loops(outputs, options.loops)
            return 0
        kernels, _ = compile_all(nvcc, ARCHITECTURES, folder)
        return report(nvcc, kernels, options)


if __name__ == "__main__":
    sys.exit(main())
