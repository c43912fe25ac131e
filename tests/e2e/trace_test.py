"""`invar trace` on the demonstration model, from outside. numpy and the safetensors package read the recordings, its figures equal those of
numpy, every path gives the same recording, an injected fault is found at its place, and recordings of transformers and llama.cpp can be
compared.
"""
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import safetensors
import safetensors.numpy

import engine

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "demo-moe.gguf"
PROMPT = "Hello, who are you?"
NUMPY_TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "U8": np.uint8}


def read_recording(path):
    """(metadata, {name: array}) by the format's definition alone."""
    raw = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    metadata, data = header.pop("__metadata__"), raw[8 + length:]
    assert sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header.values()) == len(data)
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[first:last], NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return metadata, arrays


def diff(invar, a, b, *flags, wanted):
    done = invar.call("trace", "diff", a, b, "--json", *flags)
    assert done.returncode == wanted, f"trace diff ended with {done.returncode}: {done.stdout[:500]} {done.stderr}"
    return json.loads(done.stdout)


def check_file(invar):
    path = invar.folder / "a.safetensors"
    summary = invar.json("trace", "record", MODEL, PROMPT, "--out", path, "--generate", 4, "--scores")
    metadata, arrays = read_recording(path)
    tokens = json.loads(metadata["tokens"])
    prompt = [int(t) for t in invar.run("tokenize", MODEL, metadata["prompt"], "--ids").split()]
    assert tokens[:len(prompt)] == prompt and len(tokens) == len(prompt) + 4 and summary["tokens"] == tokens
    for key in ("model", "model_hash", "arithmetic", "backend", "isa", "threads", "chunk", "cache", "runner"):
        assert metadata[key], key
    stages = json.loads(metadata["stages"])
    assert [s["name"] for s in stages][:2] == ["embedding", "layer.0.attention_norm"]
    assert {s["name"] for s in stages} == set(arrays) and all(s["verb"] for s in stages)
    assert all(s["kernel"] for s in stages if s["verb"] == "linear")
    package = safetensors.numpy.load_file(path)
    assert set(package) == set(arrays) and all(np.array_equal(package[n], arrays[n], equal_nan=True) for n in arrays)
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata() == metadata

    logits = invar.logits(MODEL, tokens)
    assert arrays["logits"].tobytes() == logits.tobytes(), "the recorded logits are not those of `invar logits`"
    experts = 0
    for layer in range(4):
        router, ids = arrays[f"layer.{layer}.router"].astype(np.float64), arrays[f"layer.{layer}.expert_ids"]
        assert np.array_equal(np.argsort(-router, axis=1, kind="stable")[:, :2], ids)
        probabilities = np.sort(np.exp(router) / np.exp(router).sum(1, keepdims=True), axis=1)[:, ::-1]
        margin = arrays[f"layer.{layer}.routing_margin"][:, 0]
        assert np.abs(probabilities[:, 1] - probabilities[:, 2] - margin).max() < 1e-6
        experts += ids.size
        scores = arrays[f"layer.{layer}.attention_scores"]
        assert scores.shape == (len(tokens), 4, len(tokens))
        assert np.array_equal(np.isfinite(scores), np.broadcast_to(np.tri(len(tokens), dtype=bool)[:, None], scores.shape))
    generated = list(range(len(prompt) - 1, len(tokens) - 1))
    assert json.loads(metadata["positions:sampler.chosen"]) == generated
    assert arrays["sampler.chosen"][:, 0].tolist() == tokens[len(prompt):] == logits[generated].argmax(1).tolist()
    values = sum(array.size for array in arrays.values())
    print(f"[trace] {len(arrays)} stages, {values} values read by numpy and by the safetensors package; {logits.size} logits and "
          f"{experts} expert ids are what they should be")
    return path, tokens, arrays


def check_paths(invar, path, tokens):
    text = ",".join(map(str, tokens))
    compared = runs = 0
    for isa in invar.instruction_sets():
        for threads, chunk, form in ((1, 512, "repacked"), (2, 7, "as-stored"), (2, 1, "auto")):
            other = invar.folder / "other.safetensors"
            invar.run("trace", "record", MODEL, "--tokens", text, "--out", other, "--isa", isa, "--threads", threads, "--chunk", chunk,
                      "--form", form, "--scores")
            result = diff(invar, path, other, "--allow-missing", wanted=0)
            assert result["differing"] == 0 and result["counts"]["equal"] == 108, result["counts"]
            compared += result["values"]
            runs += 1
    # A stage that only one side has does not count as passed.
    assert not diff(invar, path, other, wanted=1)["complete"]
    statistics = invar.folder / "statistics.safetensors"
    invar.run("trace", "record", MODEL, "--tokens", text, "--out", statistics, "--statistics", "--chunk", 5, "--scores")
    result = diff(invar, path, statistics, "--allow-missing", wanted=0)
    assert result["counts"]["equal"] == 108 and statistics.stat().st_size < path.stat().st_size / 10
    print(f"[trace] {runs} recordings over {', '.join(invar.instruction_sets())}: {compared} values compared, 0 differ; by statistics too")
    return statistics


def check_faults(invar, path, tokens, statistics):
    text = ",".join(map(str, tokens))
    other = invar.folder / "fault.safetensors"
    painted = 0
    faults = (("skipped_norm@layer=1,stage=ffn_norm", "layer.1.ffn_norm"), ("wrong_expert@layer=2,position=5,slot=0", None),
              ("dropped_expert@layer=0,position=3", None))
    for fault, where in faults:
        invar.run("trace", "record", MODEL, "--tokens", text, "--out", other, "--inject", fault, "--scores")
        assert read_recording(other)[0]["injected"]
        result = diff(invar, path, other, "--allow-missing", wanted=1)
        first = result["first"]
        assert where in (None, first) and f"layer.{fault.split('layer=')[1][0]}." in first, (fault, first)
        painted += result["counts"]["different"]
        by_hash = diff(invar, statistics, other, wanted=1)
        assert by_hash["first"] == first, "statistics name another stage"
        done = invar.call("trace", "replay", MODEL, path, "--inject", fault, "--json", "--chunk", 6)
        replayed = json.loads(done.stdout)
        assert done.returncode == 1 and replayed["first"] == first, done.stdout[:400]
        assert replayed["counts"]["different"] <= 2, f"{fault}: {replayed['counts']} verbs are named"
    assert painted > 100
    # A run that ends in a NaN is recorded all the same.
    done = invar.call("trace", "record", MODEL, "--tokens", text, "--out", other, "--inject", "late_nan@layer=3,stage=attention,position=5")
    assert done.returncode == 1 and "layer 3" in read_recording(other)[0]["failure"], done.stderr
    result = diff(invar, path, other, "--allow-missing", wanted=1)
    assert result["first"] == "layer.3.attention" and result["counts"]["non-finite"] > 5, result["counts"]
    done = invar.call("trace", "replay", MODEL, path)
    assert done.returncode == 0 and " 0 differing" in done.stdout, done.stdout
    assert invar.call("trace", "replay", MODEL, path, "--force", "routing").returncode == 0
    print(f"[trace] {len(faults)} faults: a diff names {painted} stages, the faulty one first; a replay names the faulty ones alone")


def check_reference(invar, path, tokens):
    exact = invar.folder / "exact.safetensors"
    invar.run("trace", "record", MODEL, "--tokens", ",".join(map(str, tokens)), "--out", exact, "--reference", "--scores")
    assert read_recording(exact)[1]["layer.2.query"].dtype == np.float64
    result = diff(invar, exact, path, "--allow-missing", "--all", wanted=1)
    # Independently: the relative RMS of a stage and its worst element.
    ours, theirs = (read_recording(p)[1]["layer.3.residual_after_ffn"].astype(np.float64) for p in (path, exact))
    stage = next(s for s in result["stages"] if s["stage"] == "layer.3.residual_after_ffn")
    assert np.isclose(stage["relative_rms"], np.sqrt(((ours - theirs) ** 2).sum() / (theirs ** 2).sum()), rtol=1e-9)
    assert np.isclose(stage["greatest_difference"], np.abs(ours - theirs).max(), rtol=1e-12)
    worst = np.unravel_index(np.abs(ours - theirs).argmax(), ours.shape)
    assert (stage["worst"]["position"], stage["worst"]["element"]) == worst
    tolerance = invar.folder / "tolerance.json"
    bound = {"stage": "*", "relative_rms": 1e-3, "reason": "the cache holds binary16: 2^-11 of each key and value"}
    tolerance.write_text(json.dumps({"tolerances": [bound]}))
    assert diff(invar, exact, path, "--allow-missing", "--tolerance", tolerance, wanted=0)["counts"]["tolerated"] > 90
    tolerance.write_text(json.dumps({"tolerances": [{**bound, "reason": ""}]}))
    done = invar.call("trace", "diff", exact, path, "--tolerance", tolerance)
    assert done.returncode == 2 and "has no reason" in done.stderr
    print(f"[trace] against float64: {result['counts']['different']} stages differ, within a tolerance that has a reason")


def check_show(invar, path, arrays):
    shown = 0
    for name in ("layer.1.expert_ids", "layer.2.attention", "logits"):
        value = invar.json("trace", "show", path, name, "--values", "--position", "2-3", "--element", "0-5,100")
        assert value["stage"] == name and [row["position"] for row in value["rows"]] == [2, 3]
        for row in value["rows"]:
            flat = arrays[name][row["position"]].ravel()
            for element, number in row["values"]:
                assert number == float(flat[element])
                shown += 1
            assert row["least"] == flat.min() and row["greatest"] == flat.max()
            assert np.isclose(row["rms"], np.sqrt((flat.astype(np.float64) ** 2).mean()), rtol=1e-12)
    listing = invar.run("trace", "show", path)
    assert all(name in listing for name in arrays)
    assert shown == 2 * 2 + 2 * 7 + 2 * 7
    some = invar.folder / "some.safetensors"
    invar.run("trace", "record", MODEL, PROMPT, "--out", some, "--layer", "1,3", "--stage", "expert_*", "--position", "2-4")
    metadata, chosen = read_recording(some)
    assert {n.split(".")[1] for n in chosen} == {"1", "3"} and all(".expert_" in n for n in chosen) and len(chosen) == 14
    assert all(len(array) == 3 for array in chosen.values()) and json.loads(metadata["positions:layer.1.expert_up"]) == [2, 3, 4]
    print(f"[trace] show: {shown} values and their statistics are numpy's; a selection keeps {len(chosen)} stages of 3 positions")


def check_transformers(invar):
    """Recordings that record_transformers.py made in float64, against our float64 reference of the same file."""
    tolerance = invar.folder / "float64.json"
    tolerance.write_text(json.dumps({"tolerances": [
        {"stage": "*.expert_*", "relative_rms": 1e-9, "missing": True, "reason": "the same sums in another order"},
        {"stage": "*", "relative_rms": 1e-9, "missing": True,
         "reason": "the same sums in another order; transformers has no cache stages and ours no rows before the last norm of theirs"}]}))
    compared = engine_values = 0
    for golden in sorted((ROOT / "tests" / "data" / "goldens").glob("*.safetensors")):
        tokens = json.loads(read_recording(golden)[0]["tokens"])
        ours = invar.folder / "golden.safetensors"
        invar.run("trace", "record", golden.with_suffix(".gguf"), "--tokens", ",".join(map(str, tokens)), "--out", ours, "--reference")
        result = diff(invar, golden, ours, "--tolerance", tolerance, "--allow-missing", wanted=0)
        assert result["counts"]["equal"] + result["counts"]["tolerated"] > 15, f"{golden.name}: {result['counts']}"
        compared += result["values"]
        # The engine is compared with the shipped tolerances; only the stages that they name may be missing.
        invar.run("trace", "record", golden.with_suffix(".gguf"), "--tokens", ",".join(map(str, tokens)), "--out", ours, "--cache", "f32")
        result = diff(invar, golden, ours, "--tolerance", ROOT / "tools" / "tolerances_transformers.json", wanted=0)
        engine_values += result["values"]
    assert compared > 100_000
    print(f"[trace] {compared} values of transformers' recordings in float64 agree with the reference's to 1e-9, {engine_values} with the "
          "engine's within the shipped tolerances")


def check_families(invar):
    """Recordings of other families by their modules (tools/fixtures/recordings_families.py): every stage of theirs is within the shipped
    tolerances of ours, from both containers, and a fault is the first difference."""
    ours, data, shipped = invar.folder / "family.safetensors", ROOT / "tests" / "data", ROOT / "tools" / "tolerances_transformers.json"
    faults = {"gemma4-moe": ("skipped_norm@layer=1,stage=expert_post_norm", "layer.1.expert_post_norm"),
              "gemma4-e2b": ("wrong_cache_layer@layer=7,position=4", "layer.7.attention"),
              "qwen35moe": ("misordered_value_heads@layer=1", "layer.1.delta_rule"), "gpt-oss": ("dropped_sinks@layer=1", "layer.1.attention"),
              "deepseek-v3": ("missing_route_factor@layer=2", "layer.2.expert_sum"), "deepseek-v2-lite": ("skipped_norm@layer=0,stage=latent_norm", "layer.0.latent_norm")}
    recordings, compared = sorted((data / "recordings_hf").glob("*.safetensors")), 0
    for theirs in recordings:
        metadata, arrays = read_recording(theirs)
        tokens = ",".join(map(str, json.loads(metadata["tokens"])))
        model = data / "goldens_hf" / theirs.stem
        for one in (model, model.with_name(model.name + ".gguf")):
            invar.run("trace", "record", one, "--tokens", tokens, "--out", ours, "--cache", "f32")
            result = diff(invar, theirs, ours, "--tolerance", shipped, "--allow-missing", wanted=0)
            assert result["counts"]["equal"] + result["counts"]["tolerated"] == len(arrays) > 40, (one, result["counts"])
            compared += result["values"]
        fault, where = faults[theirs.stem]
        invar.run("trace", "record", model, "--tokens", tokens, "--out", ours, "--cache", "f32", "--inject", fault)
        result = diff(invar, theirs, ours, "--tolerance", shipped, "--allow-missing", wanted=1)
        assert result["first"] == where, (theirs.stem, result["first"])
    assert {one.stem for one in recordings} == set(faults) and compared > 100_000, compared
    print(f"[trace] {compared} values of {len(recordings)} families' recordings are within the shipped tolerances; {len(faults)} faults are found first")


def check_llama_cpp(invar):
    """A dump of llama.cpp itself (tools/fixtures/llama_cpp_dump.py), imported. It rounds activations to bfloat16 before BF16 weights."""
    tokens = "764,268,198,356,11,559,78,475"
    theirs, ours = invar.folder / "theirs.safetensors", invar.folder / "ours.safetensors"

    def convert(source, target):
        script = ROOT / "tools" / "import_llama_cpp_dump.py"
        return subprocess.run([sys.executable, script, source, target, "--tokens", tokens], capture_output=True, text=True)
    done = convert(ROOT / "tests" / "data" / "llama_cpp" / "demo-moe.txt.gz", theirs)
    assert done.returncode == 0, done.stderr
    tolerance = invar.folder / "llama_cpp.json"
    tolerance.write_text(json.dumps({"tolerances": [
        {"stage": "embedding", "absolute": 5e-5, "reason": "printed with four decimals"},
        {"stage": "*", "relative_rms": 8e-3, "missing": True, "reason": "activations in bfloat16: 2^-9 a product, four layers"}]}))
    invar.run("trace", "record", MODEL, "--tokens", tokens, "--out", ours)
    result = diff(invar, theirs, ours, "--tolerance", tolerance, "--allow-missing", "--all", wanted=0)
    assert result["counts"]["tolerated"] == 87 and result["counts"]["equal"] == 4, result["counts"]
    assert [s["outcome"] for s in result["stages"] if s["stage"].endswith("expert_ids")] == ["equal"] * 4
    assert result["values"] == 4236
    invar.run("trace", "record", MODEL, "--tokens", tokens, "--out", ours, "--inject", "skipped_norm@layer=2,stage=ffn_norm")
    result = diff(invar, theirs, ours, "--tolerance", tolerance, "--allow-missing", wanted=1)
    assert result["first"] == "layer.2.ffn_norm", result["first"]

    # A folder of whole tensors; here it holds our own values under llama.cpp's names.
    invar.run("trace", "record", MODEL, "--tokens", tokens, "--out", ours)
    folder, arrays = invar.folder / "npy", read_recording(ours)[1]
    folder.mkdir()
    names = {"embd": "embedding", "l_out-0": "layer.0.residual_after_ffn", "Qcur-1": "layer.1.query_rope", "ffn_moe_topk-2": "layer.2.expert_ids",
             "ffn_moe_down-2": "layer.2.expert_down", "result_output": "logits"}
    for name, stage in names.items():
        array = arrays[stage][-1:] if name == "result_output" else arrays[stage]
        np.save(folder / f"{name}.npy", array.reshape(8, 4, 64) if name == "Qcur-1" else array)
    np.save(folder / "KQ_mask.npy", np.zeros((8, 8), np.float32))
    done = convert(folder, theirs)
    assert done.returncode == 0 and "KQ_mask" in done.stderr, done.stderr
    result = diff(invar, theirs, ours, "--allow-missing", "--all", wanted=0)
    assert result["counts"]["equal"] == 6 and result["values"] == 8 * (256 * 3 + 2 + 512) + 768, result["values"]
    print("[trace] llama.cpp: 4236 values of 91 stages of its dump agree within bfloat16, expert ids exactly; a skipped norm is found")


def check_bad_input(invar, path):
    text = invar.folder / "text.safetensors"
    text.write_text("this is not a recording, not at all")
    cut = invar.folder / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    out = invar.folder / "never.safetensors"
    cases = [(("cut.safetensors", "damaged"), ("trace", "show", cut)), (("limit",), ("trace", "show", text)),
             (("no stage 'nonsense'",), ("trace", "show", path, "nonsense")), (("--position", "range"), ("trace", "show", path, "logits", "--position", "5-2")),
             (("missing.safetensors",), ("trace", "diff", path, invar.folder / "missing.safetensors")),
             (("--force", "routing"), ("trace", "replay", MODEL, path, "--force", "some")),
             (("--layer", "range"), ("trace", "record", MODEL, "x", "--out", out, "--layer", "a")),
             (("neither a prompt nor --tokens",), ("trace", "record", MODEL, "--out", out)),
             (("--out",), ("trace", "record", MODEL, "x")), (("token 99999",), ("trace", "record", MODEL, "--tokens", "99999", "--out", out)),
             (("nothing was recorded",), ("trace", "record", MODEL, "x", "--out", out, "--stage", "none")),
             (("--context",), ("trace", "record", MODEL, "x", "--out", out, "--generate", "100000")),
             (("--reference",), ("trace", "record", MODEL, "x", "--out", out, "--reference", "--isa", "avx2")),
             (("directory",), ("trace", "record", MODEL, "x", "--out", invar.folder / "no" / "x.safetensors")),
             (("other model",), ("trace", "replay", ROOT / "tests/data/goldens/qwen3.gguf", path)),
             (("another model", "of architecture"), ("trace", "replay", ROOT / "models" / "demo-dense.gguf", path))]
    for wanted, command in cases:
        done = invar.call(*command)
        message = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2 and done.stdout == "" and all(part in message for part in wanted), f"{command}: {done.returncode} {done.stderr}"
    assert not out.exists()
    print(f"[trace] {len(cases)} bad inputs: one sentence each")


def test(invar, arguments):
    path, tokens, arrays = check_file(invar)
    statistics = check_paths(invar, path, tokens)
    check_faults(invar, path, tokens, statistics)
    check_reference(invar, path, tokens)
    check_show(invar, path, arrays)
    check_transformers(invar)
    check_families(invar)
    check_llama_cpp(invar)
    check_bad_input(invar, path)


if __name__ == "__main__":
    engine.main(test)
