"""invar bench: the cost it states for a token equals that of the file as the gguf package reads it; its JSON has the expected fields;
comparisons work over one engine and against another program. Nothing here depends on the speed of the machine.
"""
import json
import math
import pathlib
import stat
import subprocess

import gguf

import engine

FAST = ("--runs", "2", "--threads", "2", "--form", "as-stored")


def cost_of_token(path, depth):
    """Bytes of weights, bytes of cache, multiply-adds of weights and of attention for the token at position `depth`."""
    reader = gguf.GGUFReader(str(path))
    value = lambda key: reader.fields[key].contents() if key in reader.fields else None
    arch = value("general.architecture")
    count, used = value(f"{arch}.expert_count"), value(f"{arch}.expert_used_count")
    tied = not any(t.name == "output.weight" for t in reader.tensors)
    weight_bytes = multiply_adds = 0
    for tensor in reader.tensors:
        shape = [int(n) for n in tensor.shape]
        elements, size = math.prod(shape), int(tensor.n_bytes)
        if len(shape) == 1:
            weight_bytes += 4 * elements
            continue
        if tensor.name == "token_embd.weight" and not tied:
            weight_bytes += size // shape[1]
            continue
        if "_exps" in tensor.name:
            elements, size = elements // count * used, size // count * used
        weight_bytes += size
        multiply_adds += elements
    layers, heads = value(f"{arch}.block_count"), value(f"{arch}.attention.head_count")
    kv_heads = value(f"{arch}.attention.head_count_kv")
    head = value(f"{arch}.attention.key_length") or value(f"{arch}.embedding_length") // heads
    seen = depth + 1
    return weight_bytes, seen * layers * kv_heads * 2 * head * 2, multiply_adds, seen * layers * heads * 2 * head


def check_costs(invar, folder):
    checked = 0
    for model in ("demo-dense-q8_0", "demo-dense-q4_k_m", "demo-moe-q8_0", "demo-moe-q4_k_m"):
        path = folder / f"{model}.gguf"
        report = invar.json("bench", path, "--prompt", "0", "--generate", "1", "--depth", "0,37", *FAST)
        for one, depth in zip(report["measurements"], (0, 37), strict=True):
            expected = cost_of_token(path, depth)
            told = one["per_token"]
            got = tuple(told[k] for k in ("weight_bytes", "cache_bytes", "weight_multiply_adds", "attention_multiply_adds"))
            assert got == expected, f"{model} at {depth}: {got}, but the file says {expected}"
            assert (one["work"], one["tokens"], one["depth"], one["sequences"]) == ("generation", 1, depth, 1)
            checked += len(got)
    return checked


def check_shape(invar, path):
    report = invar.json("bench", path, "--prompt", "24", "--generate", "3", "--sequences", "2,5", "--depth", "70,0", *FAST)
    works = [(m["work"], m["tokens"], m["sequences"], m["depth"]) for m in report["measurements"]]
    at = lambda depth: [("prompt", 24, 1, depth), ("generation", 3, 1, depth), ("sequences", 8, 2, depth), ("sequences", 8, 5, depth)]
    assert works == at(0) + at(70), works
    machine = report["machine"]
    assert machine["int8_giga_multiply_adds_per_second"]["instruction"]
    for one in report["measurements"]:
        assert len(one["runs"]) == 2 and one["low"] <= one["tokens_per_second"] <= one["high"]
        seconds = sorted(run["seconds"] for run in one["runs"])
        computed = one["tokens"] * one["sequences"]
        assert math.isclose(one["high"], computed / seconds[0], rel_tol=1e-9)
        # The share refers to each run's own probe; it is computed again from the runs.
        done = one["per_token"]["weight_multiply_adds"] * computed / 1e9
        shares = sorted(done / r["seconds"] / r["int8_probe_giga_multiply_adds_per_second"] for r in one["runs"])
        assert math.isclose(one["share_of_int8_probe"]["low"], shares[0], rel_tol=1e-6)
        assert math.isclose(one["share_of_int8_probe"]["median"], sum(shares) / 2, rel_tol=1e-6)
        assert ("share_of_read_probe" in one) == (one["work"] != "prompt")
        assert ("first_token_seconds" in one) == (one["work"] == "prompt")
        if one["work"] == "prompt":
            assert all(r["first_token_seconds"] >= r["seconds"] for r in one["runs"] + [one["first_run"]])
        else:
            moved = (one["per_token"]["weight_bytes"] + one["per_token"]["cache_bytes"]) * computed / 1e9
            shares = sorted(moved / r["seconds"] / r["read_probe_gigabytes_per_second"] for r in one["runs"])
            assert math.isclose(one["share_of_read_probe"]["high"], shares[1], rel_tol=1e-6)
    uses = {(k["verb"], k["shape"]) for k in report["kernels"]}
    for verb in ("linear", "attention", "rms_norm"):
        for shape in ("1 token", "2 to 8 tokens", "more than 8 tokens"):
            assert (verb, shape) in uses, f"no kernel is told for {verb} with {shape}"
    text = invar.run("bench", path, "--prompt", "24", "--generate", "3", *FAST)
    for part in ("tok/s", "of read", "of int8", "first token", "right after loading", "kernels, 1 token in a pass", "arithmetic"):
        assert part in text, f"'{part}' is not in the table:\n{text}"
    return len(report["measurements"])


def check_comparisons(invar, path):
    works = ("--prompt", "20", "--generate", "2", "--runs", "3", "--threads", "2")
    compared = 0
    for what in ("threads=1", "isa=scalar"):
        report = invar.json("bench", path, *works, "--compare", what)
        for one in report["comparisons"]:
            assert len(one["a_runs"]) == len(one["b_runs"]) == 3
            ratios = sorted(b / a for a, b in zip(one["a_runs"], one["b_runs"]))
            assert math.isclose(one["ratio_of_pairs"]["median"], ratios[1], rel_tol=1e-9)
            median = lambda runs: sorted(runs)[1]
            assert math.isclose(one["ratio_of_medians"], median(one["b_runs"]) / median(one["a_runs"]), rel_tol=1e-9)
            compared += 1
    assert "1 thread," in invar.run("bench", path, *works, "--compare", "threads=1").split("\nb: ")[1].splitlines()[0]
    return compared


def check_builds(invar, path):
    """Compares with another program, which records its arguments and reports made-up speeds."""
    log, other = invar.folder / "calls", invar.folder / "other-invar"
    answer = {"measurements": [{"work": "generation", "tokens": 2, "tokens_per_second": 1e-3, "depth": 0},
                               {"work": "prompt", "tokens": 20, "tokens_per_second": 2e-3}]}
    other.write_text(f"#!/bin/sh\necho \"$@\" >>{log}\necho '{json.dumps(answer)}'\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    flags = ("--prompt", "20", "--generate", "2", "--threads", "1")
    report = invar.json("bench", path, *flags, "--runs", "3", "--compare", f"build={other}")
    calls = log.read_text().splitlines()
    assert calls == [f"bench {path} --prompt 20 --generate 2 --threads 1 --runs 1 --json"] * 3, calls
    assert [one["b_runs"] for one in report["comparisons"]] == [[2e-3] * 3, [1e-3] * 3]
    assert all(run > 1 for one in report["comparisons"] for run in one["a_runs"])
    for script, message in (("exit 3", "ended with 3"), ("echo no json", "JSON"), ("echo '{}'", "has no 'prompt of 20'")):
        other.write_text(f"#!/bin/sh\n{script}\n")
        done = invar.call("bench", path, *flags, "--runs", "1", "--compare", f"build={other}")
        assert done.returncode == 2 and message in done.stderr and str(other) in done.stderr, done.stderr
    return len(calls)


def check_paced(invar, path):
    """A line on standard input starts a run, and a line is printed after it, so that another program can take turns."""
    flags = ("--prompt", "20", "--generate", "2", "--runs", "2", "--threads", "1", "--paced", "--json")
    child = subprocess.Popen([invar.binary, "bench", path, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    told = []
    for _ in range(6):
        child.stdin.write("\n")
        child.stdin.flush()
        told.append(json.loads(child.stdout.readline()))
    report = json.loads(child.stdout.readline())
    child.stdin.close()
    assert child.wait() == 0 and [t["work"] for t in told] == ["prompt"] * 3 + ["generation"] * 3
    seconds = [r["seconds"] for m in report["measurements"] for r in [m["first_run"]] + m["runs"]]
    assert seconds == [t["seconds"] for t in told]
    done = invar.call("bench", path, *flags, stdin="\n\n")
    assert done.returncode == 2 and "has ended" in done.stderr and len(done.stdout.splitlines()) == 2
    return len(told)


def check_once(invar, path):
    """--once runs every work without a clock, for instruction counters."""
    lines = invar.run("bench", path, "--once", "--prompt", "20", "--generate", "1", "--depth", "9", "--threads", "1").splitlines()
    assert lines[:2] == ["prompt of 20 at depth 9", "generation of 1 at depth 9"], lines
    assert lines[2].startswith("kernels, more than 8 tokens") and not any("tok/s" in line for line in lines)


def check_refusals(invar, path):
    for flags, message in ((("--compare", "kernel"), "write kernel=NAME"), (("--compare", "isa=mmx"), "choose one of scalar"),
                           (("--compare", "threads=none"), "between 1 and 4096"), (("--compare", "kernel=none"), "the kernels are"),
                           (("--compare", "build=/nowhere/invar"), "cannot be run"), (("--prompt", "0", "--generate", "0"), "nothing to measure"),
                           (("--compare", "build=/bin/true"), "/bin/true: what bench --json printed is empty, so this program is no invar"),
                           (("--prompt", "99999"), "a prompt of 99999 needs a context of 99999 tokens, but the model was trained for"),
                           (("--sequences", "0"), "between 1 and 4096"), (("--depth", "-1"), "between 0 and"), (("--runs", "0"), "--runs is"),
                           (("--prompt", "20", "--generate", "0", "--sequences", "40", "--chunk", "32"), "raise --chunk"),
                           (("--prompt", "0", "--generate", "2", "--compare", "kernel=avx2_tiles", "--isa", "scalar"), "")):
        done = invar.call("bench", path, *flags)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, f"{flags}: {done.stderr}"


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    costs = check_costs(invar, folder)
    measured = check_shape(invar, folder / "demo-moe-q8_0.gguf")
    compared = check_comparisons(invar, folder / "demo-dense-q4_k_m.gguf")
    calls = check_builds(invar, folder / "demo-dense-q4_k_m.gguf")
    paced = check_paced(invar, folder / "demo-dense-q8_0.gguf")
    check_once(invar, folder / "demo-dense-q8_0.gguf")
    check_refusals(invar, folder / "demo-dense-q8_0.gguf")
    print(f"[bench] {costs} costs equal the file's, {measured} works measured, {compared} compared, {calls} turns of another program, "
          f"{paced} runs paced from outside")


if __name__ == "__main__":
    engine.main(test)
