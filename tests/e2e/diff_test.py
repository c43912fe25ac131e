"""invar diff against numpy and the gguf package's own dequantisation: distances and best factors of every tensor, KL divergence on
exported logits. A file with one planted mistake is distinguished from quantisation by exit code and sentence.
"""
import pathlib
import shutil

import gguf
import numpy as np

import engine

ROOT = pathlib.Path(__file__).resolve().parents[2]


def decoded(path):
    """{name: float64 array}, by the gguf package."""
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in gguf.GGUFReader(str(path)).tensors}


def diff(invar, a, b, *flags, expected=0):
    done = invar.call("diff", a, b, "--json", *flags)
    assert done.returncode == expected, f"diff {a} {b}: exit code {done.returncode}, expected {expected}: {done.stderr}{done.stdout[:300]}"
    return engine.json.loads(done.stdout)


def log_softmax(logits):
    x = logits.astype(np.float64)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def check_quantised(invar, folder):
    tokens = np.random.default_rng(11).integers(0, 600, 60).tolist()
    compared = weights = 0
    for model in ("demo-dense", "demo-moe"):
        original = ROOT / "models" / f"{model}.gguf"
        x = decoded(original)
        for mix in ("q8_0", "q4_k_m"):
            path = folder / f"{model}-{mix}.gguf"
            report = diff(invar, original, path, "--tokens", ",".join(map(str, tokens)))
            assert report["suspicions"] == 0
            y = decoded(path)
            assert {t["a"]["tensor"] for t in report["tensors"]} == x.keys()
            for tensor in report["tensors"]:
                p, q = x[tensor["a"]["tensor"]].ravel(), y[tensor["b"]["tensor"]].ravel()
                rms = np.sqrt(((p - q) ** 2).sum() / (p ** 2).sum())
                assert abs(tensor["relative_rms"] - rms) <= 1e-9 + 1e-6 * rms, f"{path} {tensor['weight']}: {tensor['relative_rms']}, numpy has {rms}"
                assert abs(tensor["scale"] - (p @ q) / (q @ q)) < 1e-6
                # The distance of the block that the report calls the worst, computed here.
                worst = tensor["worst_block"]
                columns = x[tensor["a"]["tensor"]].shape[-1]
                start = worst["row"] * columns + worst["column"]
                d = (p - q)[start:start + worst["weights"]]
                size = max(np.sqrt((p[start:start + worst["weights"]] ** 2).mean()), 0.1 * np.sqrt((p ** 2).mean()))
                assert abs(np.sqrt((d ** 2).mean()) / size - worst["relative"]) < 1e-3 + 1e-2 * worst["relative"]
                compared, weights = compared + 1, weights + p.size
            p, q = (log_softmax(invar.logits(m, tokens)) for m in (original, path))
            kl = (np.exp(p) * (p - q)).sum(axis=1)
            drift = report["drift"]
            assert np.allclose([one["kl"] for one in drift["positions"]], kl, rtol=1e-6, atol=1e-9)
            assert [one["same_first_choice"] for one in drift["positions"]] == (p.argmax(1) == q.argmax(1)).tolist()
            again = diff(invar, original, path, "--tokens", ",".join(map(str, tokens)), "--threads", 1, "--chunk", 9)
            assert again == report, "threads or chunks change the report"
    print(f"[diff] {compared} tensors, {weights} weights: distances and factors agree with numpy's on the gguf package's weights")


def scaled_tensor(path, copy, name, factor):
    """A copy in which every block scale (binary16 at the start of a Q8_0 block) of one tensor is multiplied."""
    shutil.copy(path, copy)
    tensor = next(t for t in gguf.GGUFReader(str(path)).tensors if t.name == name)
    assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
    blocks = np.memmap(copy, np.uint8, "r+", offset=int(tensor.data_offset), shape=(int(tensor.n_bytes) // 34, 34))
    scales = blocks[:, :2].copy().view(np.float16)
    blocks[:, :2] = (scales * np.float16(factor)).view(np.uint8)
    blocks.flush()


def check_planted(invar, folder):
    original, path, copy = ROOT / "models" / "demo-dense.gguf", folder / "demo-dense-q8_0.gguf", invar.folder / "planted.gguf"
    scaled_tensor(path, copy, "blk.2.attn_v.weight", 16)
    report = diff(invar, original, copy, expected=1)
    found = {t["weight"]: t["suspicions"] for t in report["tensors"] if t["suspicions"]}
    assert list(found) == ["layer 2 value"] and "A is 0.0625" in found["layer 2 value"][0], found
    assert report["drift"]["first_jump"] == 2, f"the jump is not seen in layer 2: {report['drift']['layers']}"
    text = invar.call("diff", original, copy, "--weights-only")
    assert text.returncode == 1 and "SUSPICIOUS: layer 2 value" in text.stdout and "residual" not in text.stdout
    other = invar.call("diff", original, ROOT / "models" / "demo-moe.gguf")
    assert other.returncode == 2 and "not two checkpoints of one model" in other.stderr and other.stdout == ""
    print("[diff] a scale sixteen times too large is found in its tensor, and its effect in its layer")


def check_without_tokenizer(invar):
    """A pair of which neither has a tokenizer: all weights, and logits on random ids."""
    goldens = ROOT / "tests" / "data" / "goldens_hf"
    for name in ("llama", "qwen3"):
        report = diff(invar, goldens / name, goldens / f"{name}.gguf")
        assert report["suspicions"] == 0 and all(t["equal_bits"] for t in report["tensors"])
        assert len(report["tensors"]) == sum(not t.name.startswith("rope") for t in gguf.GGUFReader(str(goldens / f"{name}.gguf")).tensors)
        assert report["drift"]["equal_bits"] and len(report["drift"]["positions"]) == 64
        assert len(report["not_compared"]) == 1 and report["not_compared"][0].startswith("text, for which neither has a usable tokenizer"), report["not_compared"]
        text = invar.run("diff", goldens / name, goldens / f"{name}.gguf")
        assert text.count("random token ids below 41") == 1 and "all logits of 64 tokens are equal to the bit" in text, text
    print("[diff] 2 pairs without tokenizers: weights and logits on random ids are equal to the bit")


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    check_without_tokenizer(invar)
    check_quantised(invar, folder)
    check_planted(invar, folder)


if __name__ == "__main__":
    engine.main(test)
