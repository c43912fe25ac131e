"""all-MiniLM-L6-v2, the encoder that many search programs use, as its authors published it: the vectors that invar embed makes.

  python tools/real/test_minilm.py build/release/invar [--short]

1. Their cosines with float64 vectors (minilm_float64.py, numpy) and with sentence-transformers' own are at least 0.99999, for 60 texts: words, sentences,
   scripts, code, emoji, almost nothing, and more than the model takes. The numbers of tokens are equal, too.
2. Every instruction set of this machine, thread count, chunk and batch gives the same bits.
3. What belongs together is nearer than what does not.
--short leaves out sentence-transformers, which needs torch, and compares the bits of every third text.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np

import minilm_float64
import packages

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAST = 0.99999
PAIRS = (("How do I reset my password?", "I forgot my password and want a new one.", "The moon orbits the Earth."),
         ("A man is playing a guitar.", "Someone plays a musical instrument.", "The stock market fell on Monday."),
         ("Der Hund schläft im Garten.", "Der Hund liegt schlafend im Garten.", "Quarterly revenue grew by ten percent."))


def texts():
    some = ["", " ", ".", "a", "\t", "Hello", "hello", "HELLO WORLD", "Hello, world!", "don't can't won't", "state-of-the-art", "3.14159", "1,000,000 dollars",
            "e=mc²", "naïve café résumé", "Zürich ist schön", "żółć gęślą jaźń", "Привет, мир", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया",
            "こんにちは世界", "你好，世界", "안녕하세요 세계", "สวัสดีชาวโลก", "🙂 👍🏽 👨‍👩‍👧", "ﬁne ﬂow", "Ａｂｃ １２３", "a\u0301e\u0300", "zero\u200bwidth",
            "[MASK] is a token", "between [SEP] them", "def f(x): return x ** 2", "<html><body>Hi</body></html>", "https://example.com/a?b=c&d=e", "user@example.com",
            "C:\\Windows\\System32", "SELECT * FROM t WHERE a = 'b';", "supercalifragilisticexpialidocious", "x" * 99, "x" * 101, "ab " * 120, "!?" * 60,
            "Dr. Smith went to Washington, D.C., on Jan. 5th.", "To be, or not to be: that is the question."]
    speeches = (ROOT / "tests/data/real/speeches.txt").read_text()
    sentences = [part.strip() + "." for part in speeches.replace("\n", " ").split(".") if len(part) > 40]
    some += sentences[:10] + [" ".join(sentences[:6]), " ".join(sentences[3:12])[:900], speeches[:4000], speeches[4000:9000]]
    # A line is a text, so that none has an end of line in it.
    return [text.replace("\n", " ").replace("\r", " ") for text in some]


def check(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def embed(binary, model, lines, *flags):
    """float32 [texts, 384] and the number of tokens of each."""
    done = subprocess.run([str(binary), "embed", str(model), "--truncate", "--json", *map(str, flags)], input="\n".join(lines) + "\n",
                          capture_output=True, text=True)
    check(done.returncode == 0, f"invar embed: {done.stderr}")
    read = [json.loads(line) for line in done.stdout.splitlines()]
    check(len(read) == len(lines), f"{len(read)} vectors of {len(lines)} texts")
    return np.array([one["embedding"] for one in read], np.float32), [one["tokens"] for one in read]


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def compare(name, ours, theirs, lines):
    found = cosines(ours, theirs)
    worst = int(found.argmin())
    print(f"| {name} | {len(lines)} | {1 - found.min():.2e} | {1 - np.median(found):.2e} | {np.abs(ours - theirs).max():.2e} |")
    check(found.min() >= LEAST, f"the vector of {lines[worst][:60]!r} has the cosine {found.min()} with that of {name}")


def sentence_transformers_vectors(model, lines):
    import sentence_transformers
    loaded = sentence_transformers.SentenceTransformer(str(model), device="cpu", local_files_only=True)
    return f"sentence-transformers {sentence_transformers.__version__}", loaded.encode(lines, batch_size=1, convert_to_numpy=True)


def check_equality(binary, model, lines, ours):
    said = json.loads(packages.run(binary, "models", "--json"))
    sets = [one["name"] for one in said["instruction_sets"] if one["runs_here"]]
    ways = [("--isa", name) for name in sets] + [("--threads", 1), ("--threads", 2), ("--threads", 3), ("--chunk", 256), ("--form", "as-stored")]
    for way in ways:
        again, _ = embed(binary, model, lines, *way)
        check(np.array_equal(ours.view(np.uint32), again.view(np.uint32)), f"{way} gives other bits")
    for i in range(0, len(lines), 7):
        alone, _ = embed(binary, model, lines[i:i + 1])
        check(np.array_equal(ours[i].view(np.uint32), alone[0].view(np.uint32)), f"text {i} alone has other bits than in a batch")
    backwards, _ = embed(binary, model, lines[::-1])
    check(np.array_equal(ours.view(np.uint32), backwards[::-1].view(np.uint32)), "the order of the texts changes bits")
    print(f"equal bits: {', '.join(sets)}; 1 to 3 threads; chunks of 256 and 512; alone, in a batch and in another order")


def check_meaning(binary, model):
    for one, near, far in PAIRS:
        vectors, _ = embed(binary, model, [one, near, far])
        to_near, to_far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
        print(f"cosine {to_near:.3f} of {one!r} with {near!r}, {to_far:.3f} with {far!r}")
        check(to_near > to_far + 0.3, "what belongs together is not nearer")


def test(binary, short):
    model, lines = packages.minilm(), texts()
    check(len(lines) >= 50, f"{len(lines)} texts are too few")
    ours, counts = embed(binary, model, lines)
    reference = minilm_float64.Bert(model)
    for line, count in zip(lines, counts):
        check(count == len(reference.tokens(line)), f"{line[:60]!r} has {count} tokens, but tokenizers makes {len(reference.tokens(line))}")
    check(max(counts) == reference.most, "no text is too long")
    exact = np.array([reference.vector(line) for line in lines])
    print("| against | texts | 1 - least cosine | median | largest difference |")
    print("|---|---|---|---|---|")
    compare("float64", ours, exact, lines)
    if not short:
        name, theirs = sentence_transformers_vectors(model, lines)
        compare(name, ours, theirs, lines)
        print(f"({name} against float64: 1 - least cosine is {1 - cosines(theirs, exact).min():.2e})")
    chosen = slice(0, None, 3) if short else slice(None)
    check_equality(binary, model, lines[chosen], ours[chosen])
    check_meaning(binary, model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    test(arguments.binary, arguments.short)
    print("passed")
