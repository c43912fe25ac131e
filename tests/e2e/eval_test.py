"""invar eval against numpy. The windows are cut and scored here as its header describes, on logits that `invar logits` writes. For --against
reference64 the whole model is evaluated in float64. Stopping, resuming and refusals are tested too.
"""
import pathlib
import sys

import numpy as np

import engine

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo"))
import reference64  # noqa: E402
import world  # noqa: E402

CONTEXT, STRIDE = 128, 48


def sample_text(conversations):
    """Questions of the kind that the demonstration models know."""
    return "\n".join(turn for conversation in world.gate_conversations(conversations, 7) for turn in conversation["turns"])


def log_softmax(logits):
    x = logits.astype(np.float64)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def windows_of(count, context, stride):
    """(first, end, scored) without a beginning-of-sequence token."""
    scored, first, windows = 1, 0, []
    while scored < count:
        end = min(first + context, count)
        windows.append((first, end, scored))
        scored, first = end, first + stride
    return windows


def log_probabilities(rows_of, tokens):
    """log p [scored tokens, vocabulary] from rows_of(window's tokens)."""
    parts = []
    for first, end, scored in windows_of(len(tokens), CONTEXT, STRIDE):
        rows = log_softmax(rows_of(tokens[first:end]))
        parts.append(rows[scored - first - 1:end - first - 1])
    return np.concatenate(parts)


def check_numbers(report, ours, other, tokens):
    right = np.array(tokens[1:])
    picked = ours[np.arange(len(right)), right]
    close(report["perplexity"]["value"], np.exp(-picked.mean()), "perplexity")
    close(report["first_choice"]["value"], (ours.argmax(1) == right).mean(), "first choice")
    low, high = report["perplexity"]["interval"]
    assert low < report["perplexity"]["value"] < high
    if other is None:
        return
    against = report["against"]
    theirs = other[np.arange(len(right)), right]
    kl = (np.exp(other) * (other - ours)).sum(axis=1)
    change = np.exp(picked) - np.exp(theirs)
    close(against["perplexity"]["value"], np.exp(-theirs.mean()), "perplexity of the other")
    close(against["perplexity_ratio"]["value"], np.exp((theirs - picked).mean()), "ratio")
    close(against["kl_mean"]["value"], kl.mean(), "KL")
    close(against["kl_median"], np.quantile(kl, 0.5, method="inverted_cdf"), "KL median")
    close(against["kl_99"], np.quantile(kl, 0.99, method="inverted_cdf"), "KL 99 %")
    close(against["kl_max"], kl.max(), "KL max")
    assert against["kl_max_token"] == 1 + int(kl.argmax())
    close(against["same_first_choice"]["value"], (ours.argmax(1) == other.argmax(1)).mean(), "same first choice")
    close(against["change_mean"]["value"], change.mean(), "change")
    close(against["change_rms"], np.sqrt((change ** 2).mean()), "change RMS")
    close(abs(against["change_max"]), np.abs(change).max(), "change max")


def close(got, wanted, what):
    assert abs(got - wanted) <= 1e-9 * max(1.0, abs(wanted)), f"{what}: {got}, numpy has {wanted}"


def check_against_numpy(invar, folder, text):
    path = invar.folder / "text.txt"
    path.write_text(text)
    compared = 0
    for model in ("demo-dense", "demo-moe"):
        small, large = folder / f"{model}-q4_k_m.gguf", ROOT / "models" / f"{model}.gguf"
        tokens = [int(t) for t in invar.run("tokenize", small, text, "--ids", "--no-ends", "--no-specials").split()]
        flags = ("--context", CONTEXT, "--stride", STRIDE)
        report = invar.json("eval", small, path, "--against", large, *flags)
        assert report["text_tokens"] == len(tokens) and report["tokens"] == len(tokens) - 1
        ours = log_probabilities(lambda t: invar.logits(small, t), tokens)
        other = log_probabilities(lambda t: invar.logits(large, t), tokens)
        check_numbers(report, ours, other, tokens)
        again = invar.json("eval", small, path, "--against", large, *flags, "--threads", 1, "--chunk", 7)
        assert again == report, "threads or chunks change the report"
        alone = invar.json("eval", small, path, *flags)
        assert alone["perplexity"] == report["perplexity"] and "against" not in alone
        compared += ours.size
        print(f"[eval] {model}: {len(tokens)} tokens, perplexity {report['perplexity']['value']:.4f}, KL {report['against']['kl_mean']['value']:.5f}")
    print(f"[eval] {compared} log probabilities agree with numpy's")


def check_reference(invar, text):
    path = invar.folder / "short.txt"
    path.write_text(text)
    model = ROOT / "models" / "demo-dense.gguf"
    reference = reference64.Reference(str(model))
    tokens = [int(t) for t in invar.run("tokenize", model, text, "--ids", "--no-ends", "--no-specials").split()]
    report = invar.json("eval", model, path, "--against", "reference64", "--context", CONTEXT, "--stride", STRIDE, "--cache", "f32")
    other = log_probabilities(lambda t: np.asarray(reference.logits(t)), tokens)
    ours = log_probabilities(lambda t: invar.logits(model, t, "--cache", "f32"), tokens)
    kl = (np.exp(other) * (other - ours)).sum(axis=1)
    right = np.array(tokens[1:])
    wanted = float(np.exp(-other[np.arange(len(right)), right].mean()))
    got = report["against"]["perplexity"]["value"]
    assert abs(got / wanted - 1) < 1e-6, f"reference64's perplexity is {got}, the Python reference's {wanted}"
    assert report["against"]["kl_mean"]["value"] < 1e-8 and kl.mean() < 1e-8
    print(f"[eval] reference64: perplexity {got:.9f}, in Python {wanted:.9f}; KL of the engine {report['against']['kl_mean']['value']:.2e}")


def check_resuming(invar, folder, text):
    path, state = invar.folder / "text.txt", invar.folder / "state.safetensors"
    path.write_text(text)
    model, other = folder / "demo-moe-q4_k_m.gguf", folder / "demo-moe-q8_0.gguf"
    flags = ("--context", CONTEXT, "--stride", STRIDE, "--against", other)
    whole = invar.json("eval", model, path, *flags)
    first = invar.json("eval", model, path, *flags, "--state", state, "--windows", 2)
    assert first["windows_done"] == 2 < whole["windows_done"]
    rest = invar.json("eval", model, path, *flags, "--state", state, "--threads", 1)
    assert rest == whole, f"resumed: {rest}\nat once: {whole}"
    done = invar.json("eval", model, path, *flags, "--state", state)
    assert done == whole
    refusals = 0
    changed = invar.folder / "changed.txt"
    changed.write_text(text + " And more.")
    for word, arguments in (("model", (other, path, *flags)), ("text", (model, changed, *flags)),
                            ("stride", (model, path, "--context", CONTEXT, "--stride", 50, "--against", other)),
                            ("against", (model, path, "--context", CONTEXT, "--stride", STRIDE)),
                            ("cache", (model, path, *flags, "--cache", "f32"))):
        refused = invar.call("eval", *arguments, "--state", state)
        assert refused.returncode == 2 and f"its {word} is" in refused.stderr, f"{word}: {refused.returncode} {refused.stderr}"
        assert refused.stdout == "" and refused.stderr.count("\n") == 1
        refusals += 1
    print(f"[eval] resumed run equals the run at once; {refusals} states of other evaluations refused")


def check_refusals(invar, folder):
    model = folder / "demo-moe-q8_0.gguf"
    missing, empty, latin = invar.folder / "missing.txt", invar.folder / "empty.txt", invar.folder / "latin.txt"
    empty.write_bytes(b"")
    latin.write_bytes(b"caf\xe9")
    text = invar.folder / "text.txt"
    cases = (("missing.txt", (model, missing)), ("empty", (model, empty)), ("UTF-8", (model, latin)), ("--stride", (model, text, "--stride", 4096)),
             ("missing.gguf", (model, text, "--against", invar.folder / "missing.gguf")), ("--context", (model, text, "--context", 1)))
    for word, arguments in cases:
        done = invar.call("eval", *arguments)
        assert done.returncode == 2 and word in done.stderr and done.stdout == "", f"{arguments}: {done.returncode} {done.stderr}"
    print(f"[eval] {len(cases)} commands refused in one sentence")


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    check_against_numpy(invar, folder, sample_text(12))
    check_reference(invar, sample_text(2))
    check_resuming(invar, folder, sample_text(6))
    check_refusals(invar, folder)


if __name__ == "__main__":
    engine.main(test)
