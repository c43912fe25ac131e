"""Runs the gate's conversations through a llama.cpp build (the package xllamacpp) and compares.

Shows whether independent code reads our files and gives the same texts: every conversation is
generated greedily by llama.cpp and by the torch evaluation here (or, with --binary, by the engine), from the same
GGUF file, and the texts (reasoning and answer) must be equal.  llama.cpp itself renders our chat template.
"""
import argparse
import json
import os
import sys

import xllamacpp

import gate
import world
from tokenizer import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def make_server(path, threads):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 2048
    params.n_parallel = 1
    params.warmup = False
    params.use_jinja = True
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_DEEPSEEK
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    return xllamacpp.Server(params)


def llama_answers(server, conversation):
    messages, answers = [], []
    for text in conversation["turns"]:
        messages.append({"role": "user", "content": text})
        reply = server.handle_chat_completions({"messages": messages, "temperature": 0, "top_k": 1, "max_tokens": 320})
        if isinstance(reply, (str, bytes)):
            reply = json.loads(reply)
        if "choices" not in reply:
            raise SystemExit(f"llama.cpp answered {reply}")
        message = reply["choices"][0]["message"]
        answer = {"content": (message.get("content") or "").strip(), "reasoning": (message.get("reasoning_content") or "").strip()}
        answers.append(answer)
        messages.append({"role": "assistant", "content": answer["content"]})
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file, of any type")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--binary", help="compare with this build of the engine instead of torch")
    parser.add_argument("--gate-only", action="store_true", help="only the gate's figures, no comparison")
    args = parser.parse_args()
    conversations = world.gate_conversations(args.count, args.seed)
    server = make_server(args.model, args.threads)
    theirs = [llama_answers(server, c) for c in conversations]
    print(json.dumps({"model": args.model, "llama.cpp": gate.score(conversations, theirs)[0]}))
    if args.gate_only:
        return
    if args.binary:
        ours = gate.engine_answers(args.binary, args.model, conversations, [])
    else:
        tokenizer = Tokenizer.load(os.path.join(HERE, "tokenizer.json"))
        ours = gate.python_answers(gate.load_network(args.model, "none", False), tokenizer, conversations)
    equal = sum(a == b for a, b in zip(ours, theirs))
    for c, a, b in zip(conversations, ours, theirs):
        if a != b:
            print(f"conversation {c['id']} differs:\n  ours:   {a}\n  theirs: {b}")
    print(f"{equal} of {args.count} conversations have the same greedy text")
    sys.exit(0 if equal == args.count else 1)


if __name__ == "__main__":
    main()
