"""The demonstration models hold their conversation: a part of the gate (tools/demo/gate.py) in Q8_0 and Q4_K_M, the fixed conversation on
every instruction set with identical answers, and their logits against float64.
"""
import json
import pathlib
import subprocess
import sys

import numpy as np

import engine

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo"))
import gate  # noqa: E402
import reference64  # noqa: E402
import world  # noqa: E402

MODELS, MIXES = ("demo-moe", "demo-dense"), ("q8_0", "q4_k_m")
COUNT = 60        # conversations per file in this test; the README has the result for the script's 500
MARGIN = 8.0      # by chance, 60 conversations may be this many percentage points below the bars
LOGITS_BOUND = 3e-6


def check_gate(invar, folder):
    conversations = world.gate_conversations(COUNT, 2026)
    for model in MODELS:
        for mix in MIXES:
            path = folder / f"{model}-{mix}.gguf"
            answers = gate.engine_answers(invar.binary, str(path), conversations, [])
            figures, failed = gate.score(conversations, answers)
            print(f"[demo] {path.name:<24} {COUNT} conversations: " + ", ".join(f"{k} {v:g} %" for k, v in figures.items()))
            assert 0 not in failed, f"{path.name}: the fixed conversation failed: {json.dumps(answers[0], ensure_ascii=False)}"
            for name, bar in gate.BARS.items():
                assert figures[name] >= bar - MARGIN, f"{path.name}: {name} is {figures[name]} %, below {bar - MARGIN} %"


def check_instruction_sets(invar, folder):
    conversation = world.gate_conversations(1, 2026)
    compared = 0
    for model in MODELS:
        for mix in MIXES:
            path = str(folder / f"{model}-{mix}.gguf")
            answers = [gate.engine_answers(invar.binary, path, conversation, ["--isa", isa, "--threads", str(threads), "--chunk", str(chunk)])
                       for isa in invar.instruction_sets() for threads, chunk in ((1, 512), (2, 7))]
            assert all(answer == answers[0] for answer in answers), f"{path}: the answers depend on the instruction set: {answers}"
            compared += len(answers)
    print(f"[demo] the fixed conversation in {compared} runs over {', '.join(invar.instruction_sets())}: equal")


def check_logits(invar):
    for model in MODELS:
        path = ROOT / "models" / f"{model}.gguf"
        reference = reference64.Reference(str(path))
        text = "<|im_start|>user\nHi, I'm Mia and my favourite colour is teal. What is 23 * 17?<|im_end|>\n<|im_start|>assistant\n<think>\n23*17\n"
        tokens = [int(t) for t in invar.run("tokenize", path, text, "--ids").split()]
        expected = reference.logits(tokens)
        ours = invar.logits(path, tokens, "--cache", "f32")
        error = float(np.sqrt(((ours - expected) ** 2).mean() / (expected ** 2).mean()))
        best = int((ours.argmax(1) == expected.argmax(1)).sum())
        print(f"[demo] {model}: {expected.size} logits against float64, relative RMS {error:.2e}, same best token at {best} of {len(tokens)} positions")
        assert error < LOGITS_BOUND and best == len(tokens)


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    if not (ROOT / "models" / "demo-moe.gguf").exists():
        raise SystemExit("models/demo-moe.gguf is missing: the demonstration models are part of the repository")
    check_logits(invar)
    check_instruction_sets(invar, folder)
    check_gate(invar, folder)


if __name__ == "__main__":
    engine.main(test)
