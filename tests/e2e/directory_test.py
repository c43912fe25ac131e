"""Model directories. Their logits equal those of their GGUF twins and are near those of transformers in float64. `quantize` turns a directory
into the tensors and keys that llama.cpp's converter wrote (tests/data/goldens_hf), and the demonstration models' directories into the same
weights as their GGUF files.  The tiny models have no tokenizer, so the test adds one of its own."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from safetensors import safe_open

import engine

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo"))
import directory  # noqa: E402

GOLDENS = ROOT / "tests" / "data" / "goldens_hf"
# Of these, `quantize` makes the converter's file, tensor by tensor and key by key; check_family() has the other families.
NAMES = ("llama", "llama-biases", "llama-linear", "mistral", "mistral-small", "mistral-window", "mixtral", "qwen2", "qwen2-yarn", "qwen3", "qwen3moe")
# What a GGUF file of the architecture cannot say, or what would be quantised twice.
REFUSED = {"gemma3-scale": "scale of scores is 0.2236068, but a GGUF file of architecture 'gemma3' has no key that says it",
           "llama4-chunked": "a GGUF file of architecture 'llama4' cannot hold this model", "gpt-oss-mxfp4": "is mxfp4 already",
           "qwen3next-dense": "layer 0's feed-forward part is dense, but a GGUF file of architecture 'qwen3next' has no key that says it"}
# Keys that the converter does not write, because a reader can derive them.
OURS_ONLY = {"vocab_size", "rope.dimension_count", "expert_feed_forward_length", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"}


def read_gguf(path):
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {t.name: (t.tensor_type.name, [int(n) for n in t.shape], t.data.tobytes()) for t in reader.tensors}
    return keys, tensors


def add_tokenizer(folder, count):
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    model = {"type": "BPE", "vocab": {chr(33 + i): i for i in range(count)}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": step, "decoder": step, "model": model}))


def model_keys(keys):
    """The keys of the model alone, without the architecture's name in front (the converter calls Mistral-Small's text model mistral3)."""
    arch = keys["general.architecture"] + "."
    return {name.removeprefix(arch): value for name, value in keys.items() if name.startswith(arch)}


def logits(invar, model, tokens, folder):
    out = folder / "logits.npy"
    invar.run("logits", model, "--tokens", ",".join(map(str, tokens)), "--cache", "f32", "--out", out)
    return np.load(out)


def check_quantized(invar, directory, made, twin):
    """`quantize` makes of a directory the tensors and the model's keys that llama.cpp's converter made."""
    keys, tensors = read_gguf(twin)
    invar.run("quantize", directory, made, "f32" if keys["general.file_type"] == 0 else "bf16", "--quiet")
    our_keys, our_tensors = read_gguf(made)
    assert our_tensors == tensors, (twin.name, [t for t in tensors.keys() | our_tensors.keys() if tensors.get(t) != our_tensors.get(t)])
    theirs, mine = model_keys(keys), model_keys(our_keys)
    assert theirs.items() <= mine.items() and set(mine) - set(theirs) <= OURS_ONLY, (twin.name, theirs.items() ^ mine.items())


def check_golden(invar, name, folder):
    copy, made = folder / name, folder / f"{name}.gguf"
    shutil.copytree(GOLDENS / name, copy)
    with safe_open(GOLDENS / f"{name}.safetensors", "np") as file:
        tokens, wanted = json.loads(file.metadata()["tokens"]), file.get_tensor("logits")
    add_tokenizer(copy, wanted.shape[-1])
    ours = logits(invar, copy, tokens, folder)
    error = (ours.astype(np.float64) - wanted.reshape(ours.shape)) / np.sqrt(np.mean(wanted ** 2))
    assert np.sqrt(np.mean(error ** 2)) < 1e-6 and np.abs(error).max() < 8e-6, (name, np.abs(error).max())
    twin = GOLDENS / f"{name}.gguf"
    if not twin.exists():
        return
    check_quantized(invar, copy, made, twin)
    assert np.array_equal(logits(invar, made, tokens, folder), ours), name


def check_family(invar, name, folder):
    """The file that `quantize` makes of a directory is the same model as the directory and as the converter's file, to the bit, or is refused."""
    copy, made, twin = folder / name, folder / f"{name}.gguf", GOLDENS / f"{name}.gguf"
    shutil.copytree(GOLDENS / name, copy)
    add_tokenizer(copy, 41)
    done = invar.call("quantize", copy, made, "bf16", "--quiet")
    if name in REFUSED:
        assert done.returncode == 2 and REFUSED[name] in done.stderr and done.stderr.count("\n") == 1 and not made.exists(), (name, done.stderr)
        return
    assert done.returncode == 0, (name, done.stderr)
    for other in (copy, twin) if twin.exists() else (copy,):
        told = invar.json("diff", made, other, "--tokens", "1,7,23,4,40,12,9,3,33,21,5")
        assert told["suspicions"] == 0 and told["drift"]["equal_bits"], (name, other, told["verdict"])


def check_other_senses(invar, folder):
    """What is left out of a model that also sees or hears is named with one line; what it computes is that of the text model alone."""
    for name, parts in (("gemma4-e2b", "model.embed_vision.*, model.vision_tower.* (2 tensors, 704 bytes)"),
                        ("mistral-small", "multi_modal_projector.*, vision_tower.* (2 tensors, 704 bytes)")):
        done = invar.call("run", folder / name, "ABC", "--raw", "-n", "3", "--temperature", "0")
        lines = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
        assert done.returncode == 0 and lines == [f"left out: {parts}, which is not part of the text model"], done.stderr
        ignored = [line for line in invar.run("plan", folder / name).splitlines() if line.endswith("not part of the text model")]
        assert len(ignored) == parts.count(".*"), ignored
    done = invar.call("run", folder / "qwen3", "ABC", "--raw", "-n", "3")
    assert done.returncode == 0 and "left out" not in done.stderr, done.stderr


def check_mistral_layout(invar, name, folder):
    """Every tool on Mistral's own layout, against the GGUF file of the same numbers."""
    copy, made = folder / f"own-{name}", folder / f"own-{name}.gguf"
    shutil.copytree(ROOT / "tests" / "data" / "goldens_mistral" / name, copy)
    twin = GOLDENS / f"{name}.gguf"
    with safe_open(GOLDENS / f"{name}.safetensors", "np") as file:
        tokens = json.loads(file.metadata()["tokens"])
    add_tokenizer(copy, 41)
    check_quantized(invar, copy, made, twin)
    assert np.array_equal(logits(invar, copy, tokens, folder), logits(invar, twin, tokens, folder)), name
    assert invar.json("diff", copy, twin, "--tokens", ",".join(map(str, tokens)))["drift"]["equal_bits"], name
    plan = invar.run("plan", copy)
    assert "rope's pairs are neighbouring rows" in plan and (name != "mistral" or "vision_encoder.*" in plan), plan
    assert "layers.0.attention.wq.weight" in invar.run("inspect", copy, "--tensors")
    assert invar.call("audit", copy).returncode in (0, 1), name


def check_demo(invar, models, kind, folder):
    path = ROOT / "models" / f"demo-{kind}.gguf"
    directory.write_directory(path, folder / kind)
    invar.run("quantize", folder / kind, folder / f"{kind}.gguf", "q4_k_m", "--quiet")
    ours, theirs = read_gguf(folder / f"{kind}.gguf"), read_gguf(models / f"demo-{kind}-q4_k_m.gguf")
    assert ours[1] == theirs[1], kind
    differ = {key for key in ours[0].keys() | theirs[0].keys() if ours[0].get(key) != theirs[0].get(key)}
    assert all(key.startswith("general.") or key.split(".", 1)[1] in OURS_ONLY for key in differ), (kind, differ)


def check_refused(models, folder):
    """The tool that writes directories refuses a quantised file in one sentence and leaves nothing behind."""
    for given, wanted in ((models / "demo-dense-q8_0.gguf", "is Q8_0, but only"), (folder / "missing.gguf", "No such file"),
                          (pathlib.Path(__file__), "this is no GGUF file")):
        done = subprocess.run([sys.executable, ROOT / "tools" / "demo" / "directory.py", given, folder / "refused"], capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and wanted in done.stderr and str(given) in done.stderr, done.stderr
        assert not (folder / "refused").exists()


def check_names(invar, folder):
    """Tables and errors use a directory's own names of tensors: the columns of a plan stay columns, and quantize names what the user has."""
    lines = invar.run("plan", folder / "moe").splitlines()
    at, rows = lines[2].index("format"), lines[3:lines.index("", 3)]
    assert len(rows) > 20 and max(len(row.split()[0]) for row in rows) > 0
    for row in rows:
        assert row[at - 1] == " " and row[at:at + 4] in ("bf16", "f32 "), row
    packed = folder / "packed"
    invar.run("synth", "tiny", "hf-int4-g128", packed, "--layers", "1")
    done = invar.call("quantize", packed, folder / "never.gguf", "q4_k_m")
    assert done.returncode == 2 and "tensor 'model.layers.0." in done.stderr and "--allow-requantize" in done.stderr, done.stderr
    assert not (folder / "never.gguf").exists()


def check_sources(invar, folder):
    """`inspect` and `run --verbose` name the files that the tokenizer, the template and the end tokens were taken from."""
    text = invar.json("inspect", folder, "--json")["text"]
    assert text["tokenizer"]["taken_from"] == f"{folder}/tokenizer.json", text
    assert text["chat_template"]["taken_from"] == f"{folder}/tokenizer_config.json", text
    said = invar.call("run", folder, "Hi", "--verbose", "--temperature", "0")
    for line in (f"taken from {folder}/tokenizer.json", f"taken from {folder}/tokenizer_config.json", "ends an answer: 765 <|im_end|>"):
        assert line in said.stderr, said.stderr
    assert said.stdout == invar.run("run", folder, "Hi", "--temperature", "0"), said.stdout
    # A template in a file of its own goes before the one in tokenizer_config.json.
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    text = invar.json("inspect", folder, "--json")["text"]
    assert text["chat_template"] == {"taken_from": f"{folder}/chat_template.jinja", "bytes": 62, "variables": ["messages"],
                                     "answers": "reasoning between <think> and </think>"}, text


def test(invar, arguments):
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            check_golden(invar, name, pathlib.Path(folder))
        others = sorted(path.name for path in GOLDENS.iterdir() if path.is_dir() and path.name not in NAMES)
        for name in others:
            check_family(invar, name, pathlib.Path(folder))
        check_other_senses(invar, pathlib.Path(folder))
        for name in ("mistral", "mixtral"):
            check_mistral_layout(invar, name, pathlib.Path(folder))
        for kind in ("moe", "dense"):
            check_demo(invar, pathlib.Path(arguments.models), kind, pathlib.Path(folder))
        check_sources(invar, pathlib.Path(folder) / "dense")
        check_refused(pathlib.Path(arguments.models), pathlib.Path(folder))
        check_names(invar, pathlib.Path(folder))
    assert len(others) >= 57 and set(REFUSED) < set(others), others
    print(f"{len(NAMES)} directories and {len(others)} of other families, 2 in Mistral's own layout, and both demonstration models: equal in both containers")


if __name__ == "__main__":
    engine.main(test)
