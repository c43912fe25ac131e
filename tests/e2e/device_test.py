"""--device in the whole program, on two builds. The shipped one is tested for errors, exit codes and `auto`, on a machine that may have no
device. The one with the emulated CUDA device is tested for equal bits, plans, splits, verify and recordings.
"""
import pathlib

import numpy as np

import engine
import tiny_models

GOLDENS = pathlib.Path(__file__).parent.parent / "data" / "goldens"
SMALL = ("--context", "128", "--chunk", "16", "--threads", "2")


def one_sentence(done, *parts):
    text = done.stderr.strip()
    assert done.returncode == 2, f"exit code {done.returncode}: {text}"
    assert len(text.splitlines()) == 1 and text.startswith("invar: "), text
    for part in parts:
        assert part in text, f"'{part}' is not in: {text}"


def errors(invar, model):
    """Wrong uses of the device flags, on a machine with or without a device."""
    count = 0
    for flags, part in ((("--device", "gpu"), "must be cpu, cuda, auto"),
                        (("--device", "cuda:x"), "must be cpu, cuda, auto"),
                        (("--device", "cuda:99"), "--device cpu" if "cuda" not in invar.devices else "there is no"),
                        (("--gpu-layers", "2"), "add --device cuda or auto"),
                        (("--cpu-experts",), "add --device cuda or auto"),
                        (("--device", "cuda", "--gpu-layers", "many"), "must be auto or a whole number"),
                        (("--device", "cuda", "--gpu-memory", "lots"), "must be an amount of memory")):
        for command in ("plan", "bench"):
            one_sentence(invar.call(command, model, *flags), part)
            count += 1
    return count


def without_a_device(invar, model):
    """If this machine has no device: cuda is an error, auto uses the CPU and says so, and verify names the reason."""
    one_sentence(invar.call("plan", model, "--device", "cuda"), "--device cpu")
    done = invar.call("plan", model, "--device", "auto", "--summary")
    assert done.returncode == 0 and "using the CPU: " in done.stderr, done.stderr
    assert done.stdout == invar.run("plan", model, "--summary")
    done = invar.call("verify", model, "--only", "cuda*", "--no-accuracy", "--json")
    paths = engine.json.loads(done.stdout)["paths"]
    cuda = [p for p in paths if p["name"].startswith("cuda")]
    assert len(cuda) == 1 and cuda[0]["status"] == "skipped" and "--device cpu" in cuda[0]["reason"], cuda


def equal_bits(emulated, folder):
    """verify compares every stage of every path of the device with the CPU."""
    stages = 0
    for name, paths in (("qwen3moe", 4), ("qwen3", 3)):
        model = GOLDENS / f"{name}.gguf"
        done = emulated.call("verify", model, "--no-accuracy", "--only", "cuda*", "--seconds", "6", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        cuda = [p for p in engine.json.loads(done.stdout)["paths"] if p["name"].startswith("cuda")]
        assert len({p["name"] for p in cuda}) == paths, [p["name"] for p in cuda]
        for path in cuda:
            assert path["status"] == "equal" and path["differing_values"] == 0, path
            assert path["stages"] > (30 if path["name"].endswith("recorded passes") else 100), path
            stages += path["stages"]
        assert "passes replayed" in cuda[-1]["note"] and int(cuda[-1]["note"].split()[0]) > 10, cuda[-1]
    return stages


def splits(emulated, model):
    """The logits of every split are equal, and the plan describes it."""
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    expected = emulated.logits(model, tokens, *SMALL)
    values = 0
    for flags in (("--gpu-layers", "1"), ("--gpu-layers", "2"), ("--gpu-layers", "99"), ("--cpu-experts",), ()):
        device = ("--device", "cuda", *flags)
        actual = emulated.logits(model, tokens, *SMALL, *device)
        assert np.array_equal(expected.view(np.uint32), actual.view(np.uint32)), flags
        values += actual.size
        plan = emulated.json("plan", model, *SMALL, *device)
        there = [e for e in plan["entries"] if e["place"] == "device"]
        on_device = sum(e["bytes"] for e in there) + sum(r["bytes"] for r in plan["reserves"] if r["place"] == "device")
        assert there and on_device == plan["device_bytes"] and plan["host_bytes"] + on_device == plan["total_bytes"]
        assert plan["placement"].count(" MiB") >= 3, plan["placement"]
        # The memory of the emulated device is host memory, which the check of the host rightly counts as too much: exit code 1.
        checked = engine.json.loads(emulated.call("plan", model, *SMALL, *device, "--check", "--json").stdout)
        assert checked["device_memory"]["within"] and checked["device_memory"]["planned"] == on_device, checked["device_memory"]
        assert checked["differences"] == 0
    # As many as fit in less memory, with the reason.
    plan = emulated.json("plan", model, *SMALL, "--device", "cuda")
    done = emulated.call("plan", model, *SMALL, "--device", "cuda", "--gpu-memory", str(plan["device_bytes"] - 1), "--summary")
    assert done.returncode == 0 and "one layer more on the device would need" in done.stdout, done.stdout + done.stderr
    return values


def faults_and_recordings(emulated, folder):
    """A recording made on the device equals that of the CPU, replay runs on the device, and a fault injected there is found."""
    model = GOLDENS / "qwen3moe.gguf"
    record = ("trace", "record", model, "--tokens", "3,1,4,1,5,9", *SMALL, "--out")
    emulated.run(*record, folder / "cpu.safetensors")
    emulated.run(*record, folder / "device.safetensors", "--device", "cuda")
    same = emulated.call("trace", "diff", folder / "cpu.safetensors", folder / "device.safetensors")
    assert same.returncode == 0, same.stdout + same.stderr
    replayed = emulated.call("trace", "replay", model, folder / "cpu.safetensors", *SMALL, "--device", "cuda")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    done = emulated.call("verify", model, "--no-accuracy", "--only", "cuda", "--seconds", "4", "--json",
                         "--inject", "wrong_expert@layer=1")
    different = [p for p in engine.json.loads(done.stdout)["paths"] if p["status"] == "different"]
    assert done.returncode == 1 and different and "layer.1" in str(different[0]["first"]), done.stdout[-800:]


def bench(emulated, model):
    """The printed shares and gaps follow from the printed times, bytes and ceilings; an emulated device is named as such first."""
    flags = ("bench", model, *SMALL, "--prompt", "6", "--generate", "1", "--runs", "1", "--device", "cuda")
    report = emulated.json(*flags)
    device = report["accelerator"]
    assert device["emulated"] and "no time, speed or share here is a GPU's" in device["note"], device
    assert device["compute_capability"] == "8.0" and device["total_bytes"] > device["free_bytes"] > 0 and device["driver"]
    memory = max(report["machine"][f"{what}_gigabytes_per_second"]["median"] for what in ("read", "copy"))
    int8 = report["machine"]["int8_giga_multiply_adds_per_second"]
    assert int8["instruction"].startswith("mma.sync"), int8
    generation = report["measurements"][1]
    run = generation["runs"][0]
    moved = (generation["per_token"]["weight_bytes"] + generation["per_token"]["cache_bytes"]) / 1e9 / run["seconds"]
    ceiling = max(run["read_probe_gigabytes_per_second"], run["copy_probe_gigabytes_per_second"])
    assert np.isclose(generation["share_of_read_probe"]["median"], moved / ceiling)
    kernels = 0
    assert [(s["work"], s["rows"]) for s in report["steps"]] == [("prompt", 6), ("generation", 1)], report["steps"]
    for step in report["steps"]:
        assert sum(line["launches"] for line in step["lines"]) == step["launches"]
        total = sum(line["milliseconds"] for line in step["lines"])
        assert np.isclose(total, step["kernel_milliseconds"])
        for how in ("as_run", "one_by_one"):
            assert np.isclose(step[how]["milliseconds"] - step[how]["gap_milliseconds"], total)
        for line in step["lines"]:
            assert np.isclose(line["share_of_memory_probe"], line["bytes"] / line["milliseconds"] / 1e6 / memory)
            assert ("share_of_int8_probe" in line) == (line["formats"] not in ("", "f32")), line
        kernels += step["launches"]
    text = emulated.run(*flags, "--gpu-layers", "1")
    assert text.startswith("EMULATED: "), text
    for part in ("device 0: emulation, compute capability 8.0", "shares of one machine's ceilings are left out", "are in no kernel",
                 "what the CPU computes", "attention"):
        assert part in text, f"'{part}' is not in:\n{text}"
    part = emulated.json(*flags, "--gpu-layers", "1")
    assert "share_of_read_probe" not in part["measurements"][1] and not part["accelerator"]["does_everything"]
    return kernels


def proofs(emulated, golden, with_tokenizer):
    """eval and verify --faults give the same on the device as on the CPU (audit reads a file and uses no device)."""
    text = emulated.folder / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog, and then it does so again, slower.")
    flags = ("eval", with_tokenizer, text, "--context", "24", "--stride", "12", "--windows", "1", "--chunk", "16", "--threads", "2")
    cpu, device = emulated.json(*flags), emulated.json(*flags, "--device", "cuda")
    scored = cpu["tokens"]
    assert cpu["perplexity"]["value"] > 1 and scored > 20 and cpu == device, (cpu, device)
    flags = ("verify", golden, *SMALL, "--faults", "--places", "1")
    cpu, device = emulated.json(*flags), emulated.json(*flags, "--device", "cuda")
    assert "cuda" in device["runner"] and "cuda" not in cpu["runner"], (cpu["runner"], device["runner"])
    counts = lambda table: [(f["fault"], f["struck"], f["caught"], f["located"]) for f in table["faults"]]
    assert counts(cpu) == counts(device) and device["differing_without_fault"] == 0, (counts(cpu), counts(device))
    assert (cpu["stages"], cpu["values"]) == (device["stages"], device["values"])
    return scored, sum(struck for _, struck, _, _ in counts(device))


def wide_heads(emulated):
    """A model that the kernels cannot index is refused before loading; the CPU computes it."""
    model = emulated.folder / "wide.gguf"
    tiny_models.write_model(model, arch="llama", width=640, layers=1, heads=1, kv=1, head=640, ffn=256)
    for command in ("plan", "bench"):
        one_sentence(emulated.call(command, model, "--device", "cuda"),
                     "has heads of 640 elements, but the device computes at most 512; use --device cpu")
    assert emulated.call("plan", model, "--summary").returncode == 0


def test(invar, arguments):
    model = GOLDENS / "qwen3moe.gguf"
    emulated = engine.Engine(arguments.emulated, invar.folder)
    for each in (invar, emulated):
        probe = each.call("plan", model, "--device", "cuda", "--summary")
        each.devices = ["cuda"] if probe.returncode == 0 else []
    assert emulated.devices, "the emulated device can always be opened"
    count = errors(invar, model) + errors(emulated, model)
    if invar.devices:
        print("[device] SKIPPED: errors of a machine without a device, because this one has one")
    else:
        without_a_device(invar, model)
    print(f"[device] {count} errors are one sentence each")
    with_tokenizer = tiny_models.write_all(invar.folder, ["qwen3moe"])["qwen3moe"]
    print(f"[device] {splits(emulated, with_tokenizer)} logits of splits equal the CPU's")
    faults_and_recordings(emulated, invar.folder)
    print(f"[device] {bench(emulated, model)} kernels of two passes timed, their shares recomputed")
    tokens, faults = proofs(emulated, model, with_tokenizer)
    print(f"[device] eval of {tokens} tokens and {faults} faults tell the same there")
    wide_heads(emulated)
    print(f"[device] {equal_bits(emulated, invar.folder)} stages verified on the emulated device")


if __name__ == "__main__":
    engine.main(test)
