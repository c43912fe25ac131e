#!/usr/bin/env python3
"""Makes synthetic directories of real shape, runs every command on them, and holds memory against plan and files.

  tools/real_shapes.py build/release/invar --folder /tmp/shapes [--emulated build/release/invar_emulated] [--seconds 8] [--only qwen3-4b]

Of each shape: `synth`, `inspect`, `audit`, `plan`, `plan --check`, `run`, `bench` and `verify`; with --emulated also `verify` of the emulated
device, on a directory of one layer, because it computes thousands of times slower. A directory is removed when it is done with (--keep:
not). It needs about 9 GB of disk and 10 GB of memory. Demanded, or the exit status is 1: no errors in the audit, every entry of the
plan as loaded, memory within 3 % of the plan, weights of the plan at most 2 % larger than the tensors of the files that they are made
of (counted here from the files' headers, independently), 0 differing bits, and no kernel row left out that this machine could run.
tests/e2e/shapes_test.py does the same with small shapes.
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

# Shape, format, layers (0: all).
REAL = (("mistral-small-3.2-24b", "hf-nvfp4", 4), ("qwen3-coder-30b-a3b", "hf-nvfp4-modelopt", 4), ("qwen3-4b", "hf-fp8-block", 0),
        ("qwen3-4b", "hf-bf16", 0))
MOST_MEMORY, MOST_WEIGHTS = 0.03, 0.02
LEAST_MEMORY = 512 * 1024  # what plan --check lets pass whatever the share
PROMPT = "A directory of real shape"


class Failed(Exception):
    pass


def demand(condition, sentence):
    if not condition:
        raise Failed(sentence)


def call(binary, *arguments, may_end_with=(0,)):
    done = subprocess.run([str(binary), *map(str, arguments)], capture_output=True, text=True)
    demand(done.returncode in may_end_with,
           f"{pathlib.Path(binary).name} {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr.strip()} {done.stdout[-2000:]}")
    return done.stdout


def call_json(binary, *arguments, may_end_with=(0,)):
    return json.loads(call(binary, *arguments, "--json", may_end_with=may_end_with))


def peak_memory(binary, *arguments):
    """Most bytes that the process had resident, mapped pages of the files included; this program's own size is the least seen."""
    with subprocess.Popen([str(binary), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    demand(process.returncode == 0 and text.strip(), f"{' '.join(map(str, arguments))} ended with {process.returncode} and {len(text)} bytes")
    return usage.ru_maxrss * 1024


def headers(folder):
    """What the headers of all .safetensors files say, by tensor."""
    tensors = {}
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            tensors |= json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    tensors.pop("__metadata__", None)
    return tensors


def weights_against_files(plan, folder, row, most=MOST_WEIGHTS):
    ignored = sum(one["bytes"] for one in plan["ignored"])
    row["files"] = sum(end - begin for begin, end in (one["data_offsets"] for one in headers(folder).values())) - ignored
    row["ignored"] = ignored
    row["plan"] = plan["weight_bytes"]
    demand(row["plan"] <= (1 + most) * row["files"], f"the plan's weights are {row['plan']} bytes, the files' {row['files']}")
    row["total"] = plan["total_bytes"]


def memory_against_plan(checked, row):
    memory = checked["memory"]
    demand(checked["differences"] == 0, f"{checked['differences']} entries of the plan differ from what is loaded")
    demand(sum(part["planned"] for part in memory["parts"]) == memory["planned"], "the parts of the plan are not its total")
    row["resident"], row["planned"] = memory["measured"], memory["planned"]
    off = abs(memory["measured"] - memory["planned"])
    demand(off <= max(LEAST_MEMORY, MOST_MEMORY * memory["planned"]), f"{memory['measured']} bytes are resident, {memory['planned']} planned")
    for part in memory["parts"]:  # line by line: nothing of a part but its pages
        resident = part["resident"]["written"]
        demand(abs(resident - part["planned"]) <= max(LEAST_MEMORY, MOST_MEMORY * part["planned"]),
               f"{part['name']}: {part['planned']} bytes are planned, {resident} resident")


def compared_bits(report, row, name):
    demand(report["equal"] and report["paths_different"] == report["paths_failed"] == 0, f"{name}: {json.dumps(report['paths'])[:2000]}")
    demand(report["differing_values"] == 0 and report["values"] > 0, f"{name}: {report['differing_values']} values differ of {report['values']}")
    row[f"{name} runs"], row[f"{name} values"], row[f"{name} hash"] = report["paths_equal"], report["values"], report["stages_hash"]


def verify(binary, folder, seconds, row):
    """Every path, and with it every kernel row that this machine can run on a format of the model."""
    models = call_json(binary, "models")
    runs_here = {one["name"] for one in models["instruction_sets"] if one["runs_here"]}
    report = call_json(binary, "verify", folder, "--no-accuracy", "--seconds", seconds, may_end_with=(0, 1))
    compared_bits(report, row, "verify")
    paths = [(path["name"].rsplit("kernel ", 1)[1], path) for path in report["paths"] if ", kernel " in path["name"]]
    ran = {kernel for kernel, path in paths if path["status"] == "equal"}
    fits_nothing = {kernel for kernel, path in paths if path["reason"].startswith("no weight of this model")}
    for kernel in models["linear_kernels"]:
        name = kernel["name"]
        demand(name in ran or name in fits_nothing or kernel["isa"] not in runs_here, f"kernel row {name} was left out")
    row["kernels"] = f"{len(ran)} of {len(models['linear_kernels'])}"
    row["verify seconds"] = report["seconds"]


def emulated_device(binary, folder, seconds, row):
    report = call_json(binary, "verify", folder, "--no-accuracy", "--only", "cuda*", "--seconds", seconds, may_end_with=(0, 1))
    compared_bits(report, row, "device")
    paths = {path["name"] for path in report["paths"] if path["name"].startswith("cuda") and path["status"] == "equal"}
    demand("cuda" in paths, f"of the device's paths only {sorted(paths)} ran")
    row["device seconds"] = report["seconds"]


def synth(invar, case, layers, folder):
    shape, form, _ = case
    call(invar, "synth", shape, form, folder, *(("--layers", layers) if layers else ()))


def measure(invar, case, folder, *, seconds=8, emulated=None, emulated_layers=1, context=4096, most_weights=MOST_WEIGHTS,
            with_audit=True, verify_layers=None, progress=None):
    """One line of the table; Failed says what was not as demanded. `folder` is a directory that is made."""
    row = {"shape": case[0], "format": case[1], "layers": case[2]}
    start = time.monotonic()
    synth(invar, case, case[2], folder)
    row["synth seconds"] = time.monotonic() - start
    limits = ("--context", context)
    shown = call(invar, "inspect", folder)
    plan = call_json(invar, "plan", folder, *limits)
    for one in plan["ignored"]:
        demand(one["rule"] in shown and one["because"], f"inspect does not show the rule {one['rule']}")
    if with_audit:
        audit = call_json(invar, "audit", folder, may_end_with=(0, 1))
        demand(audit["errors"] == 0, f"the audit finds {[one for one in audit['findings'] if one['severity'] == 'error']}")
    weights_against_files(plan, folder, row, most_weights)
    memory_against_plan(call_json(invar, "plan", folder, "--check", *limits, may_end_with=(0, 1)), row)
    row["peak"] = peak_memory(invar, "run", folder, PROMPT, "--raw", "--max-tokens", 8, "--temperature", 0, *limits)
    works = call_json(invar, "bench", folder, "--prompt", 64, "--generate", 16, "--runs", 1, *limits)["measurements"]
    row["bench"] = " / ".join(f"{one['tokens_per_second']:.1f}" for one in works)
    if progress:
        progress(row)
    made = case[2]

    def make_again(layers):
        if layers != made:
            shutil.rmtree(folder)
            synth(invar, case, layers, folder)
        return layers

    made = row["verify layers"] = make_again(made if verify_layers is None else verify_layers)
    verify(invar, folder, seconds, row)
    if emulated is not None:
        make_again(emulated_layers)
        emulated_device(emulated, folder, seconds, row)
    return row


def table(rows):
    """In Markdown."""
    text = ("| shape, format, layers | tensors used | plan's weights | | plan in all | resident | | peak of `run` | `verify`: layers, kernel rows, runs,"
            " values, differing | emulated device | prompt / decode tok/s |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
    for row in rows:
        device = f"{row['device runs']} runs, {row['device values']:,} values, 0" if "device runs" in row else "not asked for"
        layers = row["layers"] or "all"
        text += (f"| {row['shape']}, {row['format']}, {layers} | {row['files']:,} | {row['plan']:,} | {100 * (row['plan'] / row['files'] - 1):+.2f} % |"
                 f" {row['planned']:,} | {row['resident']:,} | {100 * (row['resident'] / row['planned'] - 1):+.2f} % | {row['peak']:,} |"
                 f" {row['verify layers'] or 'all'}, {row['kernels']}, {row['verify runs']}, {row['verify values']:,}, 0 | {device} | {row['bench']} |\n")
    return text


def show(row):
    print(json.dumps(row), file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("invar", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where the directories are made")
    parser.add_argument("--emulated", type=pathlib.Path, help="the program whose CUDA is the emulated device")
    parser.add_argument("--seconds", type=float, default=8, help="for a path of verify")
    parser.add_argument("--only", default="", help="shapes and formats whose name holds this")
    parser.add_argument("--verify-layers", type=int, help="for verify: the definition, scalar code, takes minutes for a real shape of all layers")
    parser.add_argument("--no-audit", action="store_true", help="which reads every weight, and takes longest")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows, failed = [], False
    for case in REAL:
        name = f"{case[0]}-{case[1]}"
        folder = arguments.folder / name
        if arguments.only not in name:
            continue
        try:
            rows.append(measure(arguments.invar, case, folder, seconds=arguments.seconds, emulated=arguments.emulated,
                                with_audit=not arguments.no_audit, verify_layers=arguments.verify_layers, progress=show))
            show(rows[-1])
        except Failed as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            failed = True
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(table(rows), end="")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
