"""The model of the trial "architecture": random weights, written as a GGUF file and as a directory, and its logits in float64 by numpy,
from the equations and not from the toy's code."""
import json

import gguf
import numpy as np
from safetensors.numpy import save_file

SEED = 20261130
WIDTH, FFN, LAYERS, HEADS, KV_HEADS, HEAD, VOCABULARY = 72, 52, 6, 4, 2, 32, 41
WINDOW, BASE, LOCAL_BASE, SCORE_SCALE = 5, 10000.0, 500.0, 0.25
EPSILON = float(np.float32(1e-5))  # the number that a GGUF file can hold
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9, 7, 9, 32, 38]
FEATURES = ("norms behind branches", "windows", "local rope", "scaled embedding", "scale of scores")

# our word: GGUF's name, the directory's, shape
LAYER_TENSORS = {
    "attention norm": ("attn_norm", "input_layernorm", (WIDTH,)),
    "query": ("attn_q", "self_attn.q_proj", (HEADS * HEAD, WIDTH)),
    "key": ("attn_k", "self_attn.k_proj", (KV_HEADS * HEAD, WIDTH)),
    "value": ("attn_v", "self_attn.v_proj", (KV_HEADS * HEAD, WIDTH)),
    "output": ("attn_output", "self_attn.o_proj", (WIDTH, HEADS * HEAD)),
    "query norm": ("attn_q_norm", "self_attn.q_norm", (HEAD,)),
    "key norm": ("attn_k_norm", "self_attn.k_norm", (HEAD,)),
    "after attention norm": ("post_attention_norm", "after_attention_norm", (WIDTH,)),
    "ffn norm": ("ffn_norm", "post_attention_layernorm", (WIDTH,)),
    "gate": ("ffn_gate", "mlp.gate_proj", (FFN, WIDTH)),
    "up": ("ffn_up", "mlp.up_proj", (FFN, WIDTH)),
    "down": ("ffn_down", "mlp.down_proj", (WIDTH, FFN)),
    "after ffn norm": ("post_ffw_norm", "after_ffn_norm", (WIDTH,)),
}


def draw_weights():
    """{(layer, word): binary32 array}; layer -1 for the whole model."""
    rng = np.random.default_rng(SEED)
    weights = {(-1, "embedding"): rng.standard_normal((VOCABULARY, WIDTH)) / np.sqrt(WIDTH),
               (-1, "output norm"): 1 + 0.1 * rng.standard_normal(WIDTH)}
    for layer in range(LAYERS):
        for word, (_, _, shape) in LAYER_TENSORS.items():
            noise = rng.standard_normal(shape)
            weights[layer, word] = 1 + 0.3 * noise if len(shape) == 1 else 2 * noise / np.sqrt(shape[-1])
    return {key: value.astype(np.float32) for key, value in weights.items()}


def write_gguf(path, weights):
    writer = gguf.GGUFWriter(str(path), "toyar")
    writer.add_name("toy")
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(BASE)
    writer.add_float32("toyar.rope.local_freq_base", LOCAL_BASE)
    writer.add_sliding_window(WINDOW)
    whole = {"embedding": "token_embd", "output norm": "output_norm"}
    for (layer, word), value in weights.items():
        writer.add_tensor(f"{whole[word] if layer < 0 else f'blk.{layer}.{LAYER_TENSORS[word][0]}'}.weight", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_directory(folder, weights):
    folder.mkdir()
    config = {"architectures": ["ToyForCausalLM"], "model_type": "toyar", "hidden_size": WIDTH, "intermediate_size": FFN,
              "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD,
              "vocab_size": VOCABULARY, "max_position_embeddings": 256, "rms_norm_eps": EPSILON, "hidden_act": "silu",
              "rope_theta": BASE, "rope_local_base_freq": LOCAL_BASE, "sliding_window": WINDOW, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    whole = {"embedding": "embed_tokens", "output norm": "norm"}
    tensors = {f"model.{whole[word] if layer < 0 else f'layers.{layer}.{LAYER_TENSORS[word][1]}'}.weight": value
               for (layer, word), value in weights.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def reference_logits(weights, leave_out=None):
    """[tokens, vocabulary] in float64; `leave_out` is one of FEATURES."""
    w = {key: value.astype(np.float64) for key, value in weights.items()}
    positions = np.arange(len(TOKENS))

    def norm(x, layer, word):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * w[layer, word]

    def after(branch, layer, word):
        return branch if leave_out == "norms behind branches" else norm(branch, layer, word)

    def turn(x, base):
        """x: [tokens, heads, HEAD]; element i of the first half of a head turns with element i of the second."""
        angles = positions[:, None, None] * base ** (-np.arange(HEAD // 2) / (HEAD // 2))
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)

    def attention(x, layer):
        local = layer % 3 != 2
        base = LOCAL_BASE if local and leave_out != "local rope" else BASE
        q, k, v = ((x @ w[layer, word].T).reshape(len(TOKENS), -1, HEAD) for word in ("query", "key", "value"))
        q, k = turn(norm(q, layer, "query norm"), base), turn(norm(k, layer, "key norm"), base)
        k, v = (np.repeat(one, HEADS // KV_HEADS, 1) for one in (k, v))
        distance = positions[:, None] - positions
        visible = distance >= 0
        if local and leave_out != "windows":
            visible &= distance < WINDOW
        scale = HEAD ** -0.5 if leave_out == "scale of scores" else SCORE_SCALE
        scores = np.where(visible, np.einsum("ihd,jhd->hij", q, k) * scale, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return np.einsum("hij,jhd->ihd", shares, v).reshape(len(TOKENS), -1) @ w[layer, "output"].T

    def feed_forward(x, layer):
        gate = x @ w[layer, "gate"].T
        return (gate / (1 + np.exp(-gate)) * (x @ w[layer, "up"].T)) @ w[layer, "down"].T

    x = w[-1, "embedding"][TOKENS]
    if leave_out != "scaled embedding":
        x = x * float(np.float32(np.sqrt(WIDTH)))
    for layer in range(LAYERS):
        x = x + after(attention(norm(x, layer, "attention norm"), layer), layer, "after attention norm")
        x = x + after(feed_forward(norm(x, layer, "ffn norm"), layer), layer, "after ffn norm")
    return norm(x, -1, "output norm") @ w[-1, "embedding"].T
