"""Whole models give the same bits whatever computes them: every architecture in every weight format, on each instruction set, with
1 and 2 threads, with prompts in chunks of 1, 7 and 512, and with packed weights and weights as stored.  They are compared with ==.
"""
import itertools
import pathlib

import numpy as np

import engine
import tiny_models

FORMATS = ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "iq4_nl", "iq4_xs",
           "mxfp4", "nvfp4"]
# Every format on one dense and one mixture model; the other architectures with a mix of k-quants.
MODELS = {"qwen3": FORMATS, "qwen3moe": FORMATS, "llama": ["q4_k_m"], "llama-yarn": ["q4_k_m"], "llama-window": ["q8_0"], "mixtral": ["q4_k_m"],
          "qwen2": ["q4_0", "q4_k_m"], "qwen3-head80": ["q8_0"]}


# Beside them the tiny models of every other family that makes logits, as the converter wrote them and with activations in 8 bits.
GOLDENS = pathlib.Path(__file__).resolve().parents[1] / "data" / "goldens_hf"
ENCODERS = {"bert", "nomic-bert", "modernbert", "embedding-gemma"}


def check_families(invar, sets):
    """Blocks of 32 fit some of their matrices only, so that products of both kinds meet."""
    compared = families = 0
    for path in sorted(GOLDENS.glob("*.gguf")):
        if path.stem in ENCODERS or path.stem == "deepseek-v2-legacy":
            continue
        quantized = invar.folder / "family.gguf"
        invar.run("quantize", path, quantized, "q8_0", "--allow-requantize")
        tokens = np.random.default_rng(7).integers(0, 41, 24).tolist()
        expected = invar.logits(quantized, tokens, "--chunk", 16).view(np.uint32)
        assert np.isfinite(expected.view(np.float32)).all() and np.ptp(expected.view(np.float32)) > 0, path.stem
        ways = [("--isa", isa, "--chunk", 7) for isa in sets] + [("--threads", 1, "--chunk", 1), ("--form", "as-stored", "--chunk", 5)]
        for flags in ways:
            got = invar.logits(quantized, tokens, *flags).view(np.uint32)
            assert (got == expected).all(), f"{path.stem} {flags}: {int((got != expected).sum())} of {got.size} logits differ"
            compared += got.size
        families += 1
    assert families > 55, families
    print(f"[equality] {compared} logits of {families} families in q8_0: 0 differ")


def variants(instruction_sets):
    first = True
    for isa in reversed(instruction_sets):
        for threads, chunk in itertools.product((1, 2), (1, 7, 512)):
            if isa == "scalar" and (threads, chunk) not in ((2, 7), (2, 512)):
                continue  # slow; threads and chunks are covered by the vector rows
            yield ("--isa", isa, "--threads", threads, "--chunk", chunk)
            if first:
                yield ("--isa", isa, "--threads", threads, "--chunk", chunk, "--form", "as-stored")
                first = False


def test(invar, arguments):
    tokens = np.random.default_rng(5).integers(0, 260, 70).tolist()
    paths = tiny_models.write_all(invar.folder, MODELS)
    sets = invar.instruction_sets()
    compared = runs = 0
    for name, formats in MODELS.items():
        for kind in formats:
            path = paths[name] if kind == "f32" else invar.folder / f"{name}-{kind}.gguf"
            if kind != "f32":
                invar.run("quantize", paths[name], path, kind)
            expected = None
            for flags in variants(sets):
                got = invar.logits(path, tokens, *flags).view(np.uint32)
                if expected is None:
                    expected = got
                differing = int((got != expected).sum())
                assert differing == 0, f"{name} {kind} {flags}: {differing} of {got.size} logits differ"
                compared += got.size
                runs += 1
    check_families(invar, sets)
    print(f"[equality] {compared} logits of {runs} runs compared on {', '.join(sets)}: 0 differ")


if __name__ == "__main__":
    engine.main(test)
