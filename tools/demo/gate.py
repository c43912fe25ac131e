"""The gate of the demonstration models: 500 generated conversations that must go right.

Decides when a model is good enough to ship: in turn 1 the answer greets by name and names the capital,
in turn 2 it gives name and colour, in turn 3 the product and the country.  Every criterion but the
product must hold in 95 % of the conversations or more, the product in 90 %, and conversation 0, the
fixed one, must pass outright.  Nothing in the conversations (pairs of name and colour, invented names,
products) was seen together in training.  Two backends: the weights evaluated here in torch, optionally
rounded as by quantisation, and the engine's own program.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import world

HERE = os.path.dirname(os.path.abspath(__file__))
BARS = {"greeting and capital": 95.0, "name and colour": 95.0, "product": 90.0, "country": 95.0}
GREETING = "|".join(world.HELLOS)


def has_word(text, word):
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def judge(expect, answers):
    """Which criteria one conversation meets."""
    first, second, third = (a["content"] for a in answers)
    country = has_word(third, expect["country"]) and not any(
        has_word(third, other) for other in world.CAPITALS if other != expect["country"])
    return {
        "greeting and capital": re.search(rf"({GREETING}),? {re.escape(expect['name'])}(?!\w)", first) is not None and has_word(first, expect["capital"]),
        "name and colour": has_word(second, expect["name"]) and has_word(second, expect["colour"]),
        "product": has_word(third, str(expect["product"])),
        "country": country,
        "product in the reasoning": has_word(answers[2]["reasoning"], str(expect["product"])),
    }


def score(conversations, answers):
    """Percentages by criterion, and the conversations that failed."""
    marks = [judge(c["expect"], a) for c, a in zip(conversations, answers)]
    figures = {name: round(100 * sum(m[name] for m in marks) / len(marks), 2) for name in marks[0]}
    whole = [all(m[name] for name in BARS) for m in marks]
    figures["all three turns"] = round(100 * sum(whole) / len(whole), 2)
    return figures, [i for i, good in enumerate(whole) if not good]


def split_output(text):
    """(reasoning, answer) of a model's raw output."""
    if "</think>" not in text:
        return text.replace("<think>", "").strip(), ""
    reasoning, answer = text.split("</think>", 1)
    return reasoning.replace("<think>", "").strip(), answer.strip()


def python_answers(network, tokenizer, conversations, at_once=100):
    """All answers, many conversations at a time."""
    stop = tokenizer.ids["<|im_end|>"]
    out = []
    for begin in range(0, len(conversations), at_once):
        part = conversations[begin:begin + at_once]
        texts, answers = [""] * len(part), [[] for _ in part]
        for turn in range(3):
            texts = [f"{t}<|im_start|>user\n{c['turns'][turn]}<|im_end|>\n<|im_start|>assistant\n" for t, c in zip(texts, part)]
            said = network.greedy([tokenizer.encode(t) for t in texts], stop)
            for i, ids in enumerate(said):
                reasoning, answer = split_output(tokenizer.decode(ids))
                answers[i].append({"content": answer, "reasoning": reasoning})
                texts[i] += f"{answer}<|im_end|>\n"
        out.extend(answers)
    return out


def engine_answers(binary, model, conversations, extra):
    """The same from the engine: one JSON line per conversation in, one out."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
        for c in conversations:
            f.write(json.dumps({"id": c["id"], "turns": c["turns"]}) + "\n")
    try:
        command = [binary, "run", model, "--conversations", f.name, "--temperature", "0", "--json", *extra]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        os.unlink(f.name)
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            item = json.loads(line)
            found[item["id"]] = [{"content": a.get("content") or "", "reasoning": a.get("reasoning") or ""} for a in item["answers"]]
    missing = [c["id"] for c in conversations if len(found.get(c["id"], ())) != 3]
    if missing:
        sys.exit(f"the engine gave no three answers for conversations {missing[:10]}")
    return [found[c["id"]] for c in conversations]


def load_network(path, quantise, int8):
    """The network of a GGUF file (any type) or of a training checkpoint."""
    import torch

    import quant_sim
    from model import SHAPES, Network
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if path.endswith(".pt"):
        data = torch.load(path)
        shape, weights = SHAPES[data["kind"]], data["weights"]
    else:
        from export import read_gguf
        shape, weights = read_gguf(path)
    weights = {n: quant_sim.round_trip(n, w, quantise, shape.layers) for n, w in weights.items()}
    return Network(shape, weights, int8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["python", "invar"], default="python")
    parser.add_argument("--model", required=True, help="GGUF file (python: also a training checkpoint)")
    parser.add_argument("--binary", help="the engine's program (backend invar)")
    parser.add_argument("--extra", action="append", default=[], help="another argument for the engine, repeatable")
    parser.add_argument("--quantise", choices=["none", "q8_0", "q4_k_m"], default="none", help="simulated rounding (backend python)")
    parser.add_argument("--int8", action="store_true", help="simulate 8-bit activations too (backend python)")
    parser.add_argument("--tokenizer", default=os.path.join(HERE, "tokenizer.json"))
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--show", type=int, default=0, help="print this many failed conversations")
    parser.add_argument("--out", help="write conversations and answers as JSON lines")
    args = parser.parse_args()

    conversations = world.gate_conversations(args.count, args.seed)
    if args.backend == "invar":
        if not args.binary:
            parser.error("--backend invar needs --binary")
        answers = engine_answers(args.binary, args.model, conversations, args.extra)
    else:
        from tokenizer import Tokenizer
        answers = python_answers(load_network(args.model, args.quantise, args.int8), Tokenizer.load(args.tokenizer), conversations)
    figures, failed = score(conversations, answers)
    if args.out:
        with open(args.out, "w") as f:
            for c, a in zip(conversations, answers):
                f.write(json.dumps({**c, "answers": a}, ensure_ascii=False) + "\n")
    print(f"{args.model}: {args.count} conversations, seed {args.seed}")
    for name, figure in figures.items():
        bar = f"  (bar {BARS[name]:g} %)" if name in BARS else ""
        print(f"  {name:26} {round(figure * args.count / 100):4} of {args.count}  {figure:6.2f} %{bar}")
    for i in [0] + [i for i in failed if i][:args.show]:
        print(f"conversation {i}{' FAILED' if i in failed else ''}:")
        for text, answer in zip(conversations[i]["turns"], answers[i]):
            thoughts = " / ".join(answer["reasoning"].split("\n"))
            print(f"    user:      {text}\n    reasoning: {thoughts}\n    answer:    {answer['content']}")
    passed = all(figures[name] >= bar for name, bar in BARS.items()) and 0 not in failed
    print("gate passed" if passed else "gate FAILED")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
