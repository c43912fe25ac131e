"""Trains one demonstration model on freshly generated conversations, by the clock.

Decides the training recipe: every turn of a conversation is learnt in one pass (the text a turn sees, with
earlier reasoning left out, is shared; each turn's own output is a branch that no other turn can see), Muon
for the matrices and Adam for the rest, warm-up, constant rate and linear decay by elapsed time, and in the
second part random rounding of the weights to 4-bit and 8-bit grids with straight-through gradients, so that
the quantised models behave.  One thread, so two models train side by side without disturbing each other.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F

import chat
import gate
import quant_sim
import world
from model import SHAPES, Network, initial_weights
from tokenizer import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def tree(tokenizer, conversation):
    """Lists (tokens, positions, branch, wanted): branch 0 is the shared text; wanted marks what is learnt."""
    tokens, positions, branch, wanted = [], [], [], []
    shared = 0
    for number, (prefix, said, given) in enumerate(chat.turn_texts(conversation), 1):
        ids = tokenizer.encode(prefix)
        tokens += ids[shared:]
        positions += range(shared, len(ids))
        branch += [0] * (len(ids) - shared)
        wanted += [0] * (len(ids) - shared)
        shared = len(ids)
        ids, skip = tokenizer.encode(said), len(tokenizer.encode(given))
        tokens += ids
        positions += range(shared, shared + len(ids))
        branch += [number] * len(ids)
        wanted += [0] * skip + [1] * (len(ids) - skip)
    return tokens, positions, branch, wanted


def batches(tokenizer, seed, size, longest=704, pool=384):
    """Endless batches of about `size` tokens, conversations of similar length together."""
    rng = random.Random(seed)
    while True:
        trees = []
        while len(trees) < pool:
            t = tree(tokenizer, world.training_conversation(rng))
            if len(t[0]) <= longest:
                trees.append(t)
        trees.sort(key=lambda t: len(t[0]))
        groups, current = [], []
        for t in trees:
            if current and len(t[0]) * (len(current) + 1) > size:
                groups.append(current)
                current = []
            current.append(t)
        rng.shuffle(groups)
        for group in groups:
            T = (max(len(t[0]) for t in group) + 7) // 8 * 8
            out = torch.zeros(4, len(group), T, dtype=torch.long)
            out[2] = -1
            for i, t in enumerate(group):
                out[:, i, :len(t[0])] = torch.tensor(t)
            yield out


def sight(branch):
    """The attention bias of a batch: earlier tokens that are shared or of the same branch."""
    T = branch.shape[1]
    seen = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    seen &= torch.ones(T, T, dtype=torch.bool).tril()
    return torch.where(seen, 0.0, -1e4)[:, None].to(torch.bfloat16)


def orthogonal(g, rounds=5):
    """Newton-Schulz iteration to the nearest orthogonal matrix, for a stack of matrices."""
    x = g.to(torch.bfloat16)
    flip = x.shape[-2] > x.shape[-1]
    x = x.mT if flip else x
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(rounds):
        a = torch.bmm(x, x.mT)
        x = 3.4445 * x + torch.bmm(-4.7750 * a + 2.0315 * torch.bmm(a, a), x)
    return (x.mT if flip else x).float()


class Muon:
    """Momentum, then an orthogonal step, for matrices stacked by shape; decoupled weight decay."""

    def __init__(self, parameters, momentum=0.95, decay=0.1):
        self.momentum, self.decay, self.groups = momentum, decay, {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape[-2:]), []).append((p, torch.zeros_like(p)))

    @torch.no_grad()
    def step(self, rate):
        for (rows, columns), members in self.groups.items():
            stack = []
            for p, m in members:
                m.lerp_(p.grad, 1 - self.momentum)
                stack.append(p.grad.lerp(m, self.momentum).reshape(-1, rows, columns))
            steps = orthogonal(torch.cat(stack))
            scale, at = max(1.0, rows / columns) ** 0.5, 0
            for (p, _), part in zip(members, stack):
                n = part.shape[0]
                p.mul_(1 - rate * self.decay).add_(steps[at:at + n].view(p.shape), alpha=-rate * scale)
                at += n


def perturbed(weights, rng, strength):
    """The weights of one pass: clean, or all matrices on a 4-bit or 8-bit grid (straight-through)."""
    roll = rng.random()
    if roll > strength:
        return weights
    out = dict(weights)
    for name, w in weights.items():
        if w.ndim < 2 or name.endswith("ffn_gate_inp.weight"):
            continue
        with torch.no_grad():
            rounded = quant_sim.q6_k(w) if name == "token_embd.weight" else quant_sim.q4_k(w)
        out[name] = w + (rounded - w).detach()
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SHAPES)
    parser.add_argument("--out", required=True, help="folder for checkpoints and the log")
    parser.add_argument("--tokenizer", default=os.path.join(HERE, "tokenizer.json"))
    parser.add_argument("--minutes", type=float, default=85)
    parser.add_argument("--steps", type=int, default=0, help="schedule by steps instead of minutes (repeatable)")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in a batch")
    parser.add_argument("--late-tokens", type=int, default=4096, help="tokens in a batch later on")
    parser.add_argument("--late-from", type=float, default=0.7, help="share of the schedule at which the batch grows")
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--adam-rate", type=float, default=0.004)
    parser.add_argument("--decay-from", type=float, default=0.6, help="share of the schedule at which the rate begins to fall")
    parser.add_argument("--noise-from", type=float, default=0.5, help="share of the schedule at which rounding begins")
    parser.add_argument("--noise", type=float, default=0.6, help="share of passes with rounded weights")
    parser.add_argument("--report", type=float, default=5, help="minutes between small gates")
    parser.add_argument("--start", help="checkpoint to go on from")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    shape, tokenizer, rng = SHAPES[args.kind], Tokenizer.load(args.tokenizer), random.Random(args.seed + 1)
    weights = torch.load(args.start)["weights"] if args.start else initial_weights(shape, args.seed)
    assert weights["token_embd.weight"].shape[0] == len(tokenizer.tokens)
    for w in weights.values():
        w.requires_grad_(True)
    matrices = [w for n, w in weights.items() if w.ndim > 1 and n != "token_embd.weight" and "ffn_gate_inp" not in n]
    others = [w for w in weights.values() if not any(w is m for m in matrices)]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, lr=args.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
    print(f"{args.kind}: {sum(w.numel() for w in weights.values())} weights", flush=True)

    log = open(os.path.join(args.out, "log.jsonl"), "a")
    began = last_report = time.time()
    seen = step = 0
    loss_sum = torch.zeros(2)
    stream = batches(tokenizer, args.seed * 1000 + 7 + (500 if args.start else 0), args.tokens)
    while True:
        share = step / args.steps if args.steps else (time.time() - began) / (args.minutes * 60)
        if share >= 1:
            break
        factor = min(1.0, (step + 1) / 60) * min(1.0, max(0.0, (1 - share) / (1 - args.decay_from)))
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * factor
        if share >= args.late_from and args.late_tokens != args.tokens:
            args.tokens = args.late_tokens
            stream = batches(tokenizer, args.seed * 1000 + 8, args.tokens)
        tokens, positions, branch, wanted = next(stream)
        used = perturbed(weights, rng, args.noise if share >= args.noise_from else 0.0)
        stats = []
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = Network(shape, used).hidden(tokens, positions, sight(branch), stats)
            rows, columns = wanted[:, 1:].nonzero(as_tuple=True)
            logits = F.linear(hidden[rows, columns], used["token_embd.weight"])
        targets = tokens[rows, columns + 1]
        loss = F.cross_entropy(logits.float(), targets)
        total = loss + sum(0.01 * balance + 0.0005 * z for balance, z, _ in stats)
        total.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(args.rate * factor)
        adam.step()
        for w in weights.values():
            w.grad = None
        seen += tokens.numel()
        step += 1
        loss_sum += torch.tensor([loss.item(), 1.0])
        if step % 50 == 0:
            line = {"step": step, "minutes": round((time.time() - began) / 60, 2), "tokens": seen, "loss": round((loss_sum[0] / loss_sum[1]).item(), 5),
                    "rate": round(args.rate * factor, 5), "per_second": round(seen / (time.time() - began))}
            if stats:
                line["experts"] = [[round(x, 2) for x in picked.tolist()] for _, _, picked in stats]
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            loss_sum.zero_()
        if time.time() - last_report > args.report * 60:
            last_report = time.time()
            save(args, weights, step, seen, began)
            report(shape, weights, tokenizer, 40, log)
    save(args, weights, step, seen, began)
    report(shape, weights, tokenizer, 150, log)
    print(f"done: {step} steps, {seen} tokens, {(time.time() - began) / 60:.1f} minutes", flush=True)


def save(args, weights, step, seen, began):
    path = os.path.join(args.out, "checkpoint.pt")
    torch.save({"weights": {n: w.detach().clone() for n, w in weights.items()}, "kind": args.kind, "step": step, "tokens": seen,
                "minutes": (time.time() - began) / 60}, path + ".new")
    os.replace(path + ".new", path)


@torch.no_grad()
def report(shape, weights, tokenizer, count, log):
    """A small gate on clean weights and on simulated Q4_K_M."""
    conversations = world.gate_conversations(count, seed=77)
    for mode in ("none", "q4_k_m"):
        rounded = {n: quant_sim.round_trip(n, w.detach(), mode, shape.layers) for n, w in weights.items()}
        answers = gate.python_answers(Network(shape, rounded), tokenizer, conversations)
        line = {"gate": mode, **gate.score(conversations, answers)[0]}
        if mode == "none":
            line["example"] = answers[1]
        print(json.dumps(line, ensure_ascii=False), flush=True)
        log.write(json.dumps(line, ensure_ascii=False) + "\n")
        log.flush()


if __name__ == "__main__":
    main()
