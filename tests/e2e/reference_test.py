"""The engine's F32 path against a float64 evaluation of the same file, for every architecture: logits of every position.

Bound: relative RMS 2e-6 (binary32 has a rounding unit of 6e-8; a few hundred roundings lie between a token and its logits).
A planted error (one weight changed by 1 %) must exceed it.
"""
import shutil

import numpy as np

import engine
import tiny_models
from reference_families import FamilyReference

BOUND = 2e-6


def relative_rms(ours, reference):
    return float(np.sqrt(((ours - reference) ** 2).mean() / (reference ** 2).mean()))


def damage(path, copy):
    """A copy of the file in which one weight of the last layer is changed by 1 % of its row's size."""
    import gguf
    shutil.copy(path, copy)
    reader = gguf.GGUFReader(str(copy), "r+")
    tensor = [t for t in reader.tensors if t.name.endswith("attn_output.weight")][-1]
    row = tensor.data.reshape(-1)[:256]
    row[7] += 0.01 * np.sqrt((row ** 2).mean())
    del reader


def test(invar, arguments):
    paths = tiny_models.write_all(invar.folder)
    compared, worst = 0, 0.0
    for name, path in paths.items():
        tokens = np.random.default_rng(3).integers(0, 260, 90).tolist()
        reference = FamilyReference(str(path)).logits(tokens)
        error = relative_rms(invar.logits(path, tokens, "--cache", "f32"), reference)
        compared += reference.size
        worst = max(worst, error)
        print(f"[reference] {name:<14} {reference.size} logits, relative RMS {error:.2e}")
        assert error < BOUND, f"{name}: relative RMS {error} is above {BOUND}"
        damaged = invar.folder / "damaged.gguf"
        damage(path, damaged)
        seen = relative_rms(invar.logits(damaged, tokens, "--cache", "f32"), reference)
        assert seen > BOUND, f"{name}: a planted error of 1 % of one weight went unseen ({seen})"
    print(f"[reference] {compared} logits of {len(paths)} models compared with float64, worst relative RMS {worst:.2e} (bound {BOUND})")


if __name__ == "__main__":
    engine.main(test)
