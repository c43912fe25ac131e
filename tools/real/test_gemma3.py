"""Gemma 3 270M as Google trained it and llama.cpp quantised it: what invar makes of it.

  python tools/real/test_gemma3.py build/release/invar [--short]

1. invar verify computes every stage on every path of this machine and finds no bit that differs.
2. Greedy continuations of prompts with one right answer have that answer.
3. Over 2,000 tokens of public-domain text (tests/data/real/speeches.txt, windows of 250 tokens): the distributions of invar and of
   llama.cpp (the wheel xllamacpp) beside those of transformers in float64 with the dequantised weights. invar must be at least as close.
--short leaves out the oracles that need torch and compares invar with llama.cpp alone, over two windows; verify takes a second a path.
"""
import argparse
import ctypes
import pathlib
import re
import sys
import tempfile

import numpy as np

import packages

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import llama_cpp  # noqa: E402

TEXT = ROOT / "tests/data/real/speeches.txt"
WINDOW, TOKENS = 250, 2000
PROMPTS = (("Paris is the capital of", "France"), ("1, 2, 3, 4, 5, 6,", "7"), ("Monday, Tuesday, Wednesday, Thursday,", "Friday"),
           ("The opposite of hot is", "cold"))


def check(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def verify(binary, model, short):
    flags = ["--seconds", "1", "--no-accuracy"] if short else []
    said = packages.run(binary, "verify", model, *flags, check=False)
    found = re.search(r"hash of all these stages: (\S+)", said)
    equal = next((line for line in said.splitlines() if line.startswith("EQUAL:") and "differing values: 0;" in line), None)
    check(found is not None and equal is not None, f"invar verify:\n{said[-3000:]}")
    print(f"verify: {found.group(1)}; {equal}")


def continue_greedily(binary, model):
    for prompt, wanted in PROMPTS:
        text = packages.run(binary, "run", model, prompt, "--raw", "--temperature", "0", "--max-tokens", "12")
        print(f"greedy: {prompt!r} -> {text.strip()!r}")
        check(wanted in text, f"{wanted!r} should follow {prompt!r}")


class Invar:
    def __init__(self, binary, model):
        self.binary, self.model = binary, model

    def logits(self, tokens):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "logits.npy"
            packages.run(self.binary, "logits", self.model, "--tokens", ",".join(map(str, tokens)), "--out", out, "--top", "1")
            return np.load(out).astype(np.float64)


class LlamaCpp:
    def __init__(self, model):
        self.lib, self.version = llama_cpp.load_library()
        self.model = llama_cpp.open_model(self.lib, model)
        self.vocabulary = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))

    def logits(self, tokens):
        context = llama_cpp.open_context(self.lib, self.model, len(tokens), 1, 2)
        batch = self.lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
        code = self.lib.llama_decode(context, batch)
        check(code == 0, f"llama_decode gave {code}")
        rows = [np.ctypeslib.as_array(ctypes.cast(self.lib.llama_get_logits_ith(context, i), ctypes.POINTER(ctypes.c_float)),
                                      (self.vocabulary,)).astype(np.float64) for i in range(len(tokens))]
        self.lib.llama_free(context)
        return np.array(rows)


class Transformers:
    def __init__(self, model):
        import gemma3_float64
        self.module, self.model = gemma3_float64, gemma3_float64.load(model)

    def logits(self, tokens):
        return self.module.logits(self.model, tokens)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class Score:
    """Of one engine against the reference, over all positions."""

    def __init__(self):
        self.divergences, self.agreements, self.surprisals = [], [], []

    def add(self, reference, ours, following):
        p, q = log_softmax(reference), log_softmax(ours)
        self.divergences += list((np.exp(p) * (p - q)).sum(axis=1))
        self.agreements += list(p.argmax(axis=1) == q.argmax(axis=1))
        self.surprisals += [-q[i, token] for i, token in enumerate(following)]

    def row(self, name):
        kl = np.array(self.divergences)
        return (f"| {name} | {kl.mean():.3e} | {np.quantile(kl, 0.99):.3e} | {100 * np.mean(self.agreements):.2f} % "
                f"| {np.exp(np.mean(self.surprisals)):.4f} |")


def windows_of(binary, model, count):
    text = packages.tokens_of(binary, model, TEXT.read_text(), ends=False)
    bos = packages.tokens_of(binary, model, "")[:1]
    check(len(text) >= TOKENS and len(bos) == 1, f"{TEXT} has {len(text)} tokens, and the model {len(bos)} at the start")
    for first in range(0, count * WINDOW, WINDOW):
        yield bos + text[first:first + WINDOW]


def compare(binary, model, short):
    invar, rival = Invar(binary, model), LlamaCpp(model)
    scores = {"invar": Score(), f"llama.cpp ({rival.version})": Score()}
    reference_score, reference = Score(), None if short else Transformers(model)
    for tokens in windows_of(binary, model, 2 if short else TOKENS // WINDOW):
        ours, theirs = invar.logits(tokens)[:-1], rival.logits(tokens)[:-1]
        exact = theirs if short else reference.logits(tokens)[:-1]
        reference_score.add(exact, exact, tokens[1:])
        for score, values in zip(scores.values(), (ours, theirs)):
            score.add(exact, values, tokens[1:])
    print("| engine | mean KL from " + ("llama.cpp" if short else "float64") + " | 99th percentile | same first token | perplexity |")
    print("|---|---|---|---|---|")
    if not short:
        print(reference_score.row("transformers, float64"))
    for name, score in scores.items():
        print(score.row(name))
    ours, theirs = scores.values()
    if short:
        check(np.mean(ours.divergences) < 0.1 and np.mean(ours.agreements) > 0.85, "invar and llama.cpp disagree")
        return
    check(np.mean(ours.divergences) <= np.mean(theirs.divergences), "llama.cpp is closer to float64 than invar")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/real", help="where the joined file is kept")
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    path = packages.gemma(arguments.folder)
    continue_greedily(arguments.binary, path)
    compare(arguments.binary, path, arguments.short)
    verify(arguments.binary, path, arguments.short)
    print("passed")
