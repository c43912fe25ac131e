"""The plainest evaluation of a qwen3 or qwen3moe GGUF file, in numpy and float64, without a cache.

The oracle that the engine is compared with.  Any tensor type is dequantised by the `gguf` package; then
every operation is float64.  Needs only numpy and gguf.
"""
import argparse
import json

import gguf
import numpy as np


class Reference:
    supported = ("qwen3", "qwen3moe")

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
        self.arch = self.fields["general.architecture"]
        if self.arch not in self.supported:
            raise SystemExit(f"{path}: architecture {self.arch} is not one of {self.supported}")
        self.w = {}
        for t in reader.tensors:
            data = t.data if t.tensor_type == gguf.GGMLQuantizationType.F32 else gguf.quants.dequantize(t.data, t.tensor_type)
            self.w[t.name] = np.asarray(data, np.float64).reshape([int(n) for n in t.shape[::-1]])
        self.layers = self.value("block_count")
        self.heads, self.kv_heads = self.value("attention.head_count"), self.value("attention.head_count_kv")
        self.head_dim = self.value("attention.key_length")
        self.epsilon = float(np.float32(self.value("attention.layer_norm_rms_epsilon")))
        self.rope_base = float(self.value("rope.freq_base"))
        self.used = self.value("expert_used_count", 0)
        self.eos = self.fields.get("tokenizer.ggml.eos_token_id")

    def value(self, key, default=None):
        return self.fields.get(f"{self.arch}.{key}", default)

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.w[name]

    def rope(self, x):
        """x: [tokens, heads, head_dim]; the first half pairs with the second half."""
        half = self.head_dim // 2
        angles = np.arange(x.shape[0])[:, None] * self.rope_base ** (-np.arange(half) / half)
        cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def attention(self, x, block):
        n, d = x.shape[0], self.head_dim
        q = (x @ self.w[block + "attn_q.weight"].T).reshape(n, self.heads, d)
        k = (x @ self.w[block + "attn_k.weight"].T).reshape(n, self.kv_heads, d)
        v = (x @ self.w[block + "attn_v.weight"].T).reshape(n, self.kv_heads, d)
        q = self.rope(self.norm(q, block + "attn_q_norm.weight"))
        k = self.rope(self.norm(k, block + "attn_k_norm.weight"))
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d)
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
        mixed = np.einsum("hij,jhd->ihd", softmax(scores), v).reshape(n, self.heads * d)
        return mixed @ self.w[block + "attn_output.weight"].T

    def feed_forward(self, x, block):
        if not self.used:
            gate, up = x @ self.w[block + "ffn_gate.weight"].T, x @ self.w[block + "ffn_up.weight"].T
            return (silu(gate) * up) @ self.w[block + "ffn_down.weight"].T
        probabilities = softmax(x @ self.w[block + "ffn_gate_inp.weight"].T)
        out = np.zeros_like(x)
        for i, p in enumerate(probabilities):
            chosen = np.argsort(-p, kind="stable")[:self.used]
            for e in chosen:
                hidden = silu(self.w[block + "ffn_gate_exps.weight"][e] @ x[i]) * (self.w[block + "ffn_up_exps.weight"][e] @ x[i])
                out[i] += p[e] / p[chosen].sum() * (self.w[block + "ffn_down_exps.weight"][e] @ hidden)
        return out

    def logits(self, tokens):
        """Logits [tokens, vocabulary] of one sequence."""
        x = self.w["token_embd.weight"][np.asarray(tokens)]
        for i in range(self.layers):
            block = f"blk.{i}."
            x = x + self.attention(self.norm(x, block + "attn_norm.weight"), block)
            x = x + self.feed_forward(self.norm(x, block + "ffn_norm.weight"), block)
        x = self.norm(x, "output_norm.weight")
        return x @ self.w.get("output.weight", self.w["token_embd.weight"]).T


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tokens", help="token ids separated by commas, or @FILE with a JSON list of ids")
    parser.add_argument("--save", help="write all logits to this .npy file (float64, tokens by vocabulary)")
    parser.add_argument("--top", type=int, default=5, help="how many of the last position's logits to print")
    parser.add_argument("--greedy", type=int, default=0, help="append up to this many greedy tokens and print their ids")
    args = parser.parse_args()
    reference = Reference(args.model)
    if args.tokens.startswith("@"):
        with open(args.tokens[1:]) as f:
            tokens = json.load(f)
    else:
        tokens = [int(t) for t in args.tokens.split(",")]
    logits = reference.logits(tokens)
    if args.save:
        np.save(args.save, logits)
    vocabulary = reference.fields["tokenizer.ggml.tokens"]
    for t in np.argsort(-logits[-1], kind="stable")[:args.top]:
        print(f"{t:6} {vocabulary[t]!r:20} {logits[-1, t]:.12g}")
    added = []
    for n in range(args.greedy):
        best = int(np.argmax(logits[-1]))
        added.append(best)
        if best == reference.eos:
            break
        logits = reference.logits(tokens + added)
    if added:
        print(json.dumps(added))


if __name__ == "__main__":
    main()
