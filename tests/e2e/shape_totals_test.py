"""The plans of six shapes against a calculation from the numbers of their configs: weights and bytes by part, keys and values, states.

Nothing of the engine is used but what `invar plan --shape` prints, so a tensor that the engine forgot, a window that it did not see or a
state of the wrong size shows here. The same numbers are in docs/plan.md, whose tables this test reads and compares.
"""
import json
import pathlib
import re
import time

import engine

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONTEXT, CHUNK, PAGE, SNAPSHOT_BYTES, MOST_SNAPSHOTS = 32768, 512, 64, 512 << 20, 16
CASES = {"gemma-4-26b-a4b": "q8_0", "qwen3.5-35b-a3b": "q8_0", "gpt-oss-20b": "mxfp4", "deepseek-v3": "q8_0", "glm-4.6": "q8_0", "nemotron-3-nano": "q8_0"}
BYTES = {"f32": 4.0, "q8_0": 34 / 32, "mxfp4": 17 / 32}
ATTENTION, EXPERTS, DENSE, VECTORS = "attention", "experts", "dense and shared", "norms and vectors"
RECURRENCE, ROUTER, TABLES = "recurrence", "routers", "embedding and head"


def up(number, multiple):
    return -(-number // multiple) * multiple


class Parts:
    """Weights and bytes in memory of each part. Packed matrices have rows in fours and columns in records of 256."""

    def __init__(self, matrices, experts):
        self.of, self.matrix_format, self.expert_format = {}, matrices, experts

    def add(self, part, weights, size):
        before = self.of.get(part, (0, 0))
        self.of[part] = (before[0] + weights, before[1] + round(size))

    def matrix(self, part, rows, columns, count=1, form=None):
        form = form or (self.expert_format if part == EXPERTS else self.matrix_format)
        self.add(part, count * rows * columns, count * up(rows, 4) * up(columns, 256) * BYTES[form])

    def table(self, rows, columns):
        """Only looked up: as in the file."""
        self.add(TABLES, rows * columns, rows * columns * BYTES[self.matrix_format])

    def vector(self, size):
        self.add(VECTORS, size, 4 * size)

    def gated(self, part, width, inner, count=1):
        for rows, columns in ((inner, width), (inner, width), (width, inner)):
            self.matrix(part, rows, columns, count)


def attention(parts, c, heads, kv_heads, width, gated=False, values=True, biases=False, norms=False):
    d = c["hidden_size"]
    parts.matrix(ATTENTION, heads * width * (2 if gated else 1), d)
    for _ in range(2 if values else 1):
        parts.matrix(ATTENTION, kv_heads * width, d)
    parts.matrix(ATTENTION, d, heads * width)
    if biases:
        parts.vector((heads + 2 * kv_heads) * width)
    if norms:
        parts.vector(2 * width)


def kv_bytes(layers, kv_heads, width):
    return layers * kv_heads * 2 * width * 2


def full_pages():
    return CONTEXT // PAGE


def window_pages(window):
    """Of W - 1 + chunk consecutive positions, wherever they begin."""
    return -(-(window - 1 + CHUNK - 1) // PAGE) + 1


def gemma4(c, parts):
    d = c["hidden_size"]
    parts.matrix(TABLES, c["vocab_size"], d)  # the head too, so it is packed
    cache = 0
    for kind in c["layer_types"]:
        slides = kind == "sliding_attention"
        heads, width = (c["num_key_value_heads"], c["head_dim"]) if slides else (c["num_global_key_value_heads"], c["global_head_dim"])
        attention(parts, c, c["num_attention_heads"], heads, width, values=slides, norms=True)
        cache += PAGE * kv_bytes(1, heads, width) * (window_pages(c["sliding_window"]) if slides else full_pages())
        parts.gated(DENSE, d, c["intermediate_size"])
        parts.gated(EXPERTS, d, c["moe_intermediate_size"], c["num_experts"])
        parts.matrix(ROUTER, c["num_experts"], d, form="f32")
        parts.vector(7 * d + d + 1)  # seven norms, the router's scale, the layer's scalar
        parts.add("factors of experts", 0, 4 * c["num_experts"])
    parts.vector(d)
    return cache, 0


def qwen35(c, parts):
    d = c["hidden_size"]
    parts.table(c["vocab_size"], d)
    parts.matrix(TABLES, c["vocab_size"], d)
    key = c["linear_num_key_heads"] * c["linear_key_head_dim"]
    values = c["linear_num_value_heads"] * c["linear_value_head_dim"]
    channels, full, recurrent = 2 * key + values, 0, 0
    for kind in c["layer_types"]:
        if kind == "full_attention":
            full += 1
            attention(parts, c, c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], gated=True, norms=True)
        else:
            recurrent += 1
            for rows in (channels, values, c["linear_num_value_heads"], c["linear_num_value_heads"]):
                parts.matrix(RECURRENCE, rows, d)
            parts.matrix(RECURRENCE, d, values)
            parts.vector(channels * c["linear_conv_kernel_dim"] + 2 * c["linear_num_value_heads"] + c["linear_value_head_dim"])
        parts.gated(EXPERTS, d, c["moe_intermediate_size"], c["num_experts"])
        parts.gated(DENSE, d, c["shared_expert_intermediate_size"])
        parts.matrix(ROUTER, c["num_experts"], d, form="f32")
        parts.matrix(ROUTER, 1, d, form="f32")  # the gate of the shared expert
        parts.vector(2 * d)
    parts.vector(d)
    state = c["linear_num_value_heads"] * c["linear_key_head_dim"] * c["linear_value_head_dim"] + (c["linear_conv_kernel_dim"] - 1) * channels
    return full_pages() * PAGE * kv_bytes(full, c["num_key_value_heads"], c["head_dim"]), recurrent * state * 4


def gpt_oss(c, parts):
    d, f, experts = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
    parts.table(c["vocab_size"], d)
    parts.matrix(TABLES, c["vocab_size"], d)
    cache = 0
    for kind in c["layer_types"]:
        attention(parts, c, c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], biases=True)
        pages = window_pages(c["sliding_window"]) if kind == "sliding_attention" else full_pages()
        cache += pages * PAGE * kv_bytes(1, c["num_key_value_heads"], c["head_dim"])
        parts.gated(EXPERTS, d, f, experts)
        parts.matrix(ROUTER, experts, d, form="f32")
        parts.vector(d + c["num_attention_heads"])        # output bias, sinks
        parts.vector(experts + experts * (2 * f + d))     # biases of router and experts
        parts.vector(2 * d)
    parts.vector(d)
    return cache, 0


def mixture_layers(c, parts, layers):
    d = c["hidden_size"]
    for layer in range(layers):
        if layer < c["first_k_dense_replace"]:
            parts.gated(DENSE, d, c["intermediate_size"])
        else:
            parts.gated(EXPERTS, d, c["moe_intermediate_size"], c["n_routed_experts"])
            parts.gated(DENSE, d, c["n_shared_experts"] * c["moe_intermediate_size"])
            parts.matrix(ROUTER, c["n_routed_experts"], d, form="f32")
            parts.vector(c["n_routed_experts"])
        parts.vector(2 * d)
    parts.vector(d)


def deepseek(c, parts):
    d, heads, layers = c["hidden_size"], c["num_attention_heads"], c["num_hidden_layers"]
    plain, turned, latent, rank = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["kv_lora_rank"], c["q_lora_rank"]
    parts.table(c["vocab_size"], d)
    parts.matrix(TABLES, c["vocab_size"], d)
    for _ in range(layers):
        parts.matrix(ATTENTION, rank, d)
        parts.matrix(ATTENTION, heads * (plain + turned), rank)
        parts.matrix(ATTENTION, latent + turned, d)
        parts.matrix(ATTENTION, latent, plain, heads)               # attn_k_b
        parts.matrix(ATTENTION, c["v_head_dim"], latent, heads)     # attn_v_b
        parts.matrix(ATTENTION, d, heads * c["v_head_dim"])
        parts.vector(rank + latent)
    mixture_layers(c, parts, layers)
    return full_pages() * PAGE * layers * (latent + turned) * 2, 0


def glm(c, parts):
    layers = c["num_hidden_layers"]
    parts.table(c["vocab_size"], c["hidden_size"])
    parts.matrix(TABLES, c["vocab_size"], c["hidden_size"])
    for _ in range(layers):
        attention(parts, c, c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], biases=True, norms=True)
    mixture_layers(c, parts, layers)
    return full_pages() * PAGE * kv_bytes(layers, c["num_key_value_heads"], c["head_dim"]), 0


def nemotron(c, parts):
    d, pattern = c["hidden_size"], c["hybrid_override_pattern"]
    heads, inner, groups = c["mamba_num_heads"], c["mamba_num_heads"] * c["mamba_head_dim"], 2 * c["n_groups"] * c["ssm_state_size"]
    channels, experts = inner + groups, c["n_routed_experts"]
    parts.table(c["vocab_size"], d)
    parts.matrix(TABLES, c["vocab_size"], d)
    for kind in pattern:
        parts.vector(d)
        if kind == "M":
            parts.matrix(RECURRENCE, inner + channels + heads, d)
            parts.matrix(RECURRENCE, d, inner)
            parts.vector(channels * (c["conv_kernel"] + 1) + 3 * heads + inner)
        elif kind == "*":
            attention(parts, c, c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"])
        else:
            for part, count, width in ((EXPERTS, experts, c["moe_intermediate_size"]), (DENSE, 1, c["moe_shared_expert_intermediate_size"])):
                parts.matrix(part, width, d, count)
                parts.matrix(part, d, width, count)
            parts.matrix(ROUTER, experts, d, form="f32")
            parts.vector(experts)
    parts.vector(d)
    state = heads * c["mamba_head_dim"] * c["ssm_state_size"] + (c["conv_kernel"] - 1) * channels
    return full_pages() * PAGE * kv_bytes(pattern.count("*"), c["num_key_value_heads"], c["head_dim"]), pattern.count("M") * state * 4


BY_HAND = {"gemma-4-26b-a4b": gemma4, "qwen3.5-35b-a3b": qwen35, "gpt-oss-20b": gpt_oss, "deepseek-v3": deepseek, "glm-4.6": glm,
           "nemotron-3-nano": nemotron}


def part_of(entry, recurrent):
    role = entry["role"]
    if entry["form"] == "binary32":
        return VECTORS
    if role in ("token_embedding", "output_head"):
        return TABLES
    if role in ("router", "shared_expert_gate"):
        return ROUTER
    if role.startswith("expert_"):
        return EXPERTS
    if role in ("gate", "up", "down", "shared_gate", "shared_up", "shared_down"):
        return DENSE
    return RECURRENCE if entry["layer"] in recurrent else ATTENTION


def parts_of_plan(plan):
    recurrent = {one["layer"] for one in plan["entries"] if one["role"].startswith(("delta_", "state_"))}
    parts = {}
    for entry in plan["entries"]:
        weights = 1
        for extent in entry["shape"]:
            weights *= extent
        before = parts.get(part_of(entry, recurrent), (0, 0))
        shared = "shares the storage" in entry["reason"]
        parts[part_of(entry, recurrent)] = (before[0] + (0 if shared else weights), before[1] + entry["bytes"])
    beside = plan["weight_bytes"] - sum(size for _, size in parts.values())
    return {**parts, "factors of experts": (0, beside)} if beside else parts


def documented(name):
    """The rows of the shape's table in docs/plan.md: the first and the last two columns."""
    text = (ROOT / "docs/plan.md").read_text()
    section = text.split(f"**{name}**", 1)[1].split("\n\n**")[0]
    rows = {}
    for line in section.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"\d+", cells[3]):
            rows[cells[0]] = (int(cells[2] or 0), int(cells[3]))
    return rows


def compare(invar, name):
    form = CASES[name]
    document = json.loads((ROOT / f"src/make/shapes/{name}.json").read_text())["config"]
    parts = Parts("q8_0", "mxfp4" if form == "mxfp4" else "q8_0")
    cache, state = BY_HAND[name](document.get("text_config", document), parts)
    start = time.monotonic()
    plan = invar.json("plan", "--shape", name, "--format", form, "--context", CONTEXT, "--memory", "4000G")
    seconds = time.monotonic() - start
    assert parts_of_plan(plan) == parts.of, (name, parts_of_plan(plan), parts.of)
    reserves = {one["name"]: one["bytes"] for one in plan["reserves"]}
    assert reserves["kv_cache"] == cache, (name, reserves, cache)
    states = state and state * (1 + max(1, min(MOST_SNAPSHOTS, SNAPSHOT_BYTES // state)))
    assert reserves.get("recurrent_state", 0) == states, (name, reserves, states)
    lines = {**parts.of, "weights in all": tuple(map(sum, zip(*parts.of.values()))), "keys and values": (0, cache)}
    if states:
        lines["states"] = (0, states)
    assert plan["weight_bytes"] == lines["weights in all"][1]
    return lines, seconds


def test(invar, arguments):
    for name in CASES:
        lines, seconds = compare(invar, name)
        assert documented(name) == lines, (name, documented(name), lines)
        print(f"{name}: {len(lines)} lines agree by hand, plan and docs/plan.md; {lines['weights in all'][0]} weights; planned in {1000 * seconds:.0f} ms")


if __name__ == "__main__":
    engine.main(test)
