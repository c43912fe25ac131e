"""The two small models in torch: shapes, the training forward pass, and batched greedy decoding.

Decides the shapes (SHAPES) and names every parameter as the GGUF file does, so that exporting and
loading are one loop.  The architectures are qwen3 (dense) and qwen3moe (mixture of experts).
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F

import quant_sim


@dataclass
class Shape:
    arch: str
    layers: int
    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 512            # width of a dense feed-forward block
    experts: int = 0
    used: int = 0
    expert_ffn: int = 0
    vocab: int = 768
    rope_base: float = 10000.0
    epsilon: float = 1e-6
    context: int = 2048


SHAPES = {
    "dense": Shape("qwen3", 5, ffn=512),
    "moe": Shape("qwen3moe", 4, ffn=512, experts=4, used=2, expert_ffn=256),
}


def parameter_shapes(s):
    """Every tensor's name and shape; matrices are [out, in], experts are [expert, out, in]."""
    out = {"token_embd.weight": (s.vocab, s.width), "output_norm.weight": (s.width,)}
    for i in range(s.layers):
        b = f"blk.{i}."
        out.update({b + "attn_norm.weight": (s.width,), b + "ffn_norm.weight": (s.width,),
                    b + "attn_q.weight": (s.heads * s.head_dim, s.width), b + "attn_k.weight": (s.kv_heads * s.head_dim, s.width),
                    b + "attn_v.weight": (s.kv_heads * s.head_dim, s.width), b + "attn_output.weight": (s.width, s.heads * s.head_dim),
                    b + "attn_q_norm.weight": (s.head_dim,), b + "attn_k_norm.weight": (s.head_dim,)})
        if s.experts:
            out.update({b + "ffn_gate_inp.weight": (s.experts, s.width),
                        b + "ffn_gate_exps.weight": (s.experts, s.expert_ffn, s.width),
                        b + "ffn_up_exps.weight": (s.experts, s.expert_ffn, s.width),
                        b + "ffn_down_exps.weight": (s.experts, s.width, s.expert_ffn)})
        else:
            out.update({b + "ffn_gate.weight": (s.ffn, s.width), b + "ffn_up.weight": (s.ffn, s.width),
                        b + "ffn_down.weight": (s.width, s.ffn)})
    return out


def initial_weights(s, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in parameter_shapes(s).items():
        if len(shape) == 1:
            weights[name] = torch.ones(shape)
        else:
            std = shape[-1] ** -0.5
            if name == "token_embd.weight":
                std = 0.05
            elif "ffn_gate_inp" in name:
                std = 0.02
            elif "output" in name or "down" in name:
                std *= 0.3
            weights[name] = torch.randn(shape, generator=generator) * std
    return weights


def rope_tables(s, positions):
    """Cosines and sines for the rotate-half form, shape [..., head_dim]."""
    half = s.head_dim // 2
    rates = s.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = (positions.to(torch.float64)[..., None] * rates)
    return torch.cat([angles.cos(), angles.cos()], -1).float(), torch.cat([-angles.sin(), angles.sin()], -1).float()


def rotate(x, cos, sin):
    """x: [B, T, heads, head_dim]; the sign of the first half is in `sin`."""
    return x * cos + torch.roll(x, x.shape[-1] // 2, -1) * sin


class Network:
    """Functional model over a dict of weights. `linear` can be swapped to simulate other arithmetic."""

    def __init__(self, shape, weights, int8=False):
        self.s, self.w, self.int8 = shape, weights, int8

    def linear(self, x, weight):
        return F.linear(quant_sim.int8_activations(x) if self.int8 else x, weight)

    def norm(self, x, weight):
        return F.rms_norm(x, weight.shape, weight, self.s.epsilon)

    def feed_forward(self, x, b, stats):
        w, s = self.w, self.s
        if not s.experts:
            return self.linear(F.silu(self.linear(x, w[b + "ffn_gate.weight"])) * self.linear(x, w[b + "ffn_up.weight"]), w[b + "ffn_down.weight"])
        flat = x.reshape(-1, s.width)
        with torch.autocast("cpu", enabled=False):
            logits = flat.float() @ w[b + "ffn_gate_inp.weight"].t()
            probabilities = logits.softmax(-1)
            share, chosen = probabilities.topk(s.used, dim=-1)
            share = share / share.sum(-1, keepdim=True)
        if stats is not None:
            picked = F.one_hot(chosen, s.experts).sum(1).float()
            stats.append((s.experts * (picked.mean(0) / s.used * probabilities.mean(0)).sum(), logits.logsumexp(-1).square().mean(), picked.mean(0)))
        out = torch.zeros(flat.shape, dtype=torch.float32)
        for e in range(s.experts):
            rows, slot = (chosen == e).nonzero(as_tuple=True)
            if rows.numel() == 0:
                continue
            part = flat.index_select(0, rows)
            y = self.linear(F.silu(self.linear(part, w[b + "ffn_gate_exps.weight"][e])) * self.linear(part, w[b + "ffn_up_exps.weight"][e]),
                            w[b + "ffn_down_exps.weight"][e])
            out = out.index_add(0, rows, y.float() * share[rows, slot, None])
        return out.view(x.shape)

    def qkv(self, h, b, cos, sin):
        w, s = self.w, self.s
        shape = h.shape[:-1]
        q = self.linear(h, w[b + "attn_q.weight"]).view(*shape, s.heads, s.head_dim)
        k = self.linear(h, w[b + "attn_k.weight"]).view(*shape, s.kv_heads, s.head_dim)
        v = self.linear(h, w[b + "attn_v.weight"]).view(*shape, s.kv_heads, s.head_dim)
        q = rotate(self.norm(q.float(), w[b + "attn_q_norm.weight"]), cos, sin)
        k = rotate(self.norm(k.float(), w[b + "attn_k_norm.weight"]), cos, sin)
        return q, k, v

    def attend(self, q, k, v, bias):
        """q [B,T,H,d], k and v [B,S,G,d], bias [B,1,T,S] -> [B,T,H*d]; query heads share k and v in groups."""
        s = self.s
        B, T, S, r = q.shape[0], q.shape[1], k.shape[1], s.heads // s.kv_heads
        kind = v.dtype
        q = (q * s.head_dim ** -0.5).to(kind).view(B, T, s.kv_heads, r, s.head_dim).permute(0, 2, 3, 1, 4).reshape(B * s.kv_heads, r * T, s.head_dim)
        k = k.to(kind).permute(0, 2, 3, 1).reshape(B * s.kv_heads, s.head_dim, S)
        v = v.permute(0, 2, 1, 3).reshape(B * s.kv_heads, S, s.head_dim)
        scores = torch.bmm(q, k).view(B, s.heads, T, S) + bias.to(kind)
        y = torch.bmm(scores.softmax(-1, dtype=kind).view(B * s.kv_heads, r * T, S), v)
        return y.view(B, s.kv_heads, r, T, s.head_dim).permute(0, 3, 1, 2, 4).reshape(B, T, -1)

    def hidden(self, tokens, positions, bias, stats=None):
        """The final normalised states of a batch; bias is 0 where a token may look and very negative elsewhere."""
        w, s = self.w, self.s
        cos, sin = (t[:, :, None, :] for t in rope_tables(s, positions))
        x = F.embedding(tokens, w["token_embd.weight"])
        for i in range(s.layers):
            b = f"blk.{i}."
            q, k, v = self.qkv(self.norm(x, w[b + "attn_norm.weight"]), b, cos, sin)
            x = x + self.linear(self.attend(q, k, v, bias), w[b + "attn_output.weight"])
            x = x + self.feed_forward(self.norm(x, w[b + "ffn_norm.weight"]), b, stats)
        return self.norm(x, w["output_norm.weight"])

    def step(self, tokens, start, cache):
        """Runs tokens [B, T] placed at positions start[B]..; fills the cache; returns logits [B, T, vocab]."""
        w, s = self.w, self.s
        B, T = tokens.shape
        positions = start[:, None] + torch.arange(T)
        rows = torch.arange(B)[:, None]
        limit = int(positions.max()) + 1
        bias = torch.where(torch.arange(limit) <= positions[..., None], 0.0, -1e9)[:, None]
        cos, sin = (t[:, :, None, :] for t in rope_tables(s, positions))
        x = F.embedding(tokens, w["token_embd.weight"])
        for i in range(s.layers):
            b = f"blk.{i}."
            q, k, v = self.qkv(self.norm(x, w[b + "attn_norm.weight"]), b, cos, sin)
            cache[i][0][rows, positions] = k
            cache[i][1][rows, positions] = v
            x = x + self.linear(self.attend(q, cache[i][0][:, :limit], cache[i][1][:, :limit], bias), w[b + "attn_output.weight"])
            x = x + self.feed_forward(self.norm(x, w[b + "ffn_norm.weight"]), b, None)
        return self.linear(self.norm(x, w["output_norm.weight"]), w["token_embd.weight"])

    @torch.no_grad()
    def greedy(self, prompts, stop, longest=320):
        """The greedy continuations of a list of token lists, each up to and without the stop token."""
        s = self.s
        lengths = torch.tensor([len(p) for p in prompts])
        B, room = len(prompts), int(lengths.max()) + longest + 1
        tokens = torch.zeros(B, int(lengths.max()), dtype=torch.long)
        for i, p in enumerate(prompts):
            tokens[i, :len(p)] = torch.tensor(p)
        cache = [[torch.zeros(B, room, s.kv_heads, s.head_dim) for _ in range(2)] for _ in range(s.layers)]
        logits = self.step(tokens, torch.zeros(B, dtype=torch.long), cache)
        following = logits[torch.arange(B), lengths - 1].argmax(-1)
        out, live = [[] for _ in prompts], torch.arange(B)
        for n in range(longest):
            keep = []
            for row, token in enumerate(following.tolist()):
                if token != stop:
                    out[int(live[row])].append(token)
                    keep.append(row)
            if not keep:
                break
            if len(keep) < len(live):
                keep = torch.tensor(keep)
                live, following = live[keep], following[keep]
                cache = [[t[keep] for t in layer] for layer in cache]
            following = self.step(following[:, None], lengths[live] + n, cache)[:, 0].argmax(-1)
        return out
