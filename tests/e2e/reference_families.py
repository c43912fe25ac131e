"""float64 evaluation of every architecture that the engine supports. tools/demo/reference64.py has qwen3 and qwen3moe; this file adds
the llama and qwen2 families with biases, neighbouring rope pairs, scaled rope and windows.  It is an oracle and shares nothing with
the engine but the file.  Formulas: RoPE (Su et al. 2021), YaRN (Peng et al. 2023), as transformers folds its attention factor.
"""
import math
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "demo"))
import reference64  # noqa: E402


class FamilyReference(reference64.Reference):
    supported = ("llama", "qwen2", "qwen3", "qwen3moe")

    def frequencies(self):
        """The radians per position for each pair, and the factor on cos and sin."""
        pairs = self.value("rope.dimension_count", self.head_dim) // 2
        base = self.rope_base
        plain = base ** (-np.arange(pairs) / pairs)
        kind = self.value("rope.scaling.type", "none")
        factor = float(self.value("rope.scaling.factor", 1.0))
        if "rope_freqs.weight" in self.w:
            plain = plain / self.w["rope_freqs.weight"]
        if kind == "linear":
            return plain / factor, 1.0
        if kind == "yarn":
            original = self.value("rope.scaling.original_context_length")

            def pair_of(turns):
                return pairs * math.log(original / (turns * 2 * math.pi)) / math.log(base)

            low, high = max(math.floor(pair_of(32)), 0), min(math.ceil(pair_of(1)), 2 * pairs - 1)
            ramp = np.clip((np.arange(pairs) - low) / max(high - low, 0.001), 0, 1)
            return plain / factor * ramp + plain * (1 - ramp), 0.1 * math.log(factor) + 1
        return plain, 1.0

    def rope(self, x):
        frequencies, factor = self.frequencies()
        angles = np.arange(x.shape[0])[:, None] * frequencies
        cos, sin = factor * np.cos(angles)[:, None, :], factor * np.sin(angles)[:, None, :]
        out = x.copy()
        pairs = len(frequencies)
        first = slice(0, 2 * pairs, 2) if self.arch == "llama" else slice(0, pairs)
        second = slice(1, 2 * pairs, 2) if self.arch == "llama" else slice(pairs, 2 * pairs)
        out[..., first] = x[..., first] * cos - x[..., second] * sin
        out[..., second] = x[..., second] * cos + x[..., first] * sin
        return out

    def project(self, x, name):
        bias = self.w.get(name.replace(".weight", ".bias"), 0)
        return x @ self.w[name].T + bias

    def attention(self, x, block):
        n, d = x.shape[0], self.head_dim
        q = self.project(x, block + "attn_q.weight").reshape(n, self.heads, d)
        k = self.project(x, block + "attn_k.weight").reshape(n, self.kv_heads, d)
        v = self.project(x, block + "attn_v.weight").reshape(n, self.kv_heads, d)
        if block + "attn_q_norm.weight" in self.w:
            q, k = self.norm(q, block + "attn_q_norm.weight"), self.norm(k, block + "attn_k_norm.weight")
        q, k = self.rope(q), self.rope(k)
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
        visible = np.tril(np.ones((n, n), bool))
        window = self.value("attention.sliding_window", 0)
        if window:
            visible &= np.triu(np.ones((n, n), bool), 1 - window)
        scores = np.where(visible, np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d), -np.inf)
        mixed = np.einsum("hij,jhd->ihd", reference64.softmax(scores), v).reshape(n, self.heads * d)
        return mixed @ self.w[block + "attn_output.weight"].T
