"""Writes tiny random models of every supported architecture as F32 GGUF files, for tests of the whole engine.

The shapes are awkward on purpose (head widths 64, 80 and 128, grouped heads, tied and untied embeddings, biases, scaled rope,
windows, experts).  Weights are seeded noise, so the text means nothing, but the numbers must agree.  Needs numpy and gguf.
"""
import argparse
import pathlib
import zlib

import gguf
import numpy as np

CONTEXT = 512

MODELS = {
    # width, layers, heads, kv heads, head width, ffn; then what is special
    "llama": dict(arch="llama", width=256, layers=2, heads=4, kv=2, head=64, ffn=512, rope_freqs=True),
    "llama-linear": dict(arch="llama", width=256, layers=2, heads=4, kv=4, head=64, ffn=512, tied=True, scaling=("linear", 4.0)),
    "llama-yarn": dict(arch="llama", width=256, layers=2, heads=2, kv=1, head=128, ffn=256, scaling=("yarn", 4.0)),
    "llama-window": dict(arch="llama", width=256, layers=2, heads=4, kv=1, head=64, ffn=256, window=20),
    "mixtral": dict(arch="llama", width=256, layers=2, heads=4, kv=2, head=64, experts=(8, 2, 256)),
    "qwen2": dict(arch="qwen2", width=256, layers=2, heads=4, kv=2, head=64, ffn=512, biases=True, tied=True),
    "qwen3": dict(arch="qwen3", width=256, layers=3, heads=4, kv=2, head=128, ffn=768, head_norms=True, tied=True),
    "qwen3-head80": dict(arch="qwen3", width=320, layers=2, heads=4, kv=2, head=80, ffn=320, head_norms=True),
    "qwen3moe": dict(arch="qwen3moe", width=256, layers=2, heads=4, kv=2, head=64, experts=(16, 4, 256), head_norms=True),
}


def byte_tokens():
    """The 256 printable stand-ins that byte-level vocabularies use for bytes, in byte order."""
    kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for byte in range(256):
        if byte in kept:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return [table[byte] for byte in range(256)]


def vocabulary():
    tokens = byte_tokens() + ["Ġt", "he", "Ġthe", "in", "er"]
    merges = ["Ġ t", "h e", "Ġt he", "i n", "e r"]
    specials = ["<|start|>", "<|end|>"]
    kinds = [1] * len(tokens) + [3] * len(specials)
    return tokens + specials, kinds, merges


def write_model(path, arch, width, layers, heads, kv, head, ffn=0, experts=None, tied=False, biases=False, head_norms=False,
                rope_freqs=False, scaling=None, window=0):
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    tokens, kinds, merges = vocabulary()
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_name(path.stem)
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ffn or experts[2])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(head)
    if window:
        writer.add_sliding_window(window)
    if scaling:
        kind, factor = scaling
        writer.add_string(f"{arch}.rope.scaling.type", kind)
        writer.add_float32(f"{arch}.rope.scaling.factor", factor)
        if kind == "yarn":
            writer.add_uint32(f"{arch}.rope.scaling.original_context_length", CONTEXT // 4)
    if experts:
        writer.add_expert_count(experts[0])
        writer.add_expert_used_count(experts[1])
        writer.add_expert_feed_forward_length(experts[2])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe" if arch == "llama" else "qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index("<|start|>"))
    writer.add_eos_token_id(tokens.index("<|end|>"))
    writer.add_add_bos_token(True)
    writer.add_chat_template("{% for m in messages %}<|start|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}<|start|>assistant: ")

    def matrix(name, *shape):
        writer.add_tensor(name, (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32))

    def vector(name, size, centre):
        writer.add_tensor(name, (centre + 0.1 * rng.standard_normal(size)).astype(np.float32))

    writer.add_tensor("token_embd.weight", rng.standard_normal((len(tokens), width)).astype(np.float32))
    vector("output_norm.weight", width, 1)
    if not tied:
        matrix("output.weight", len(tokens), width)
    if rope_freqs:
        vector("rope_freqs.weight", head // 2, 2)
    for i in range(layers):
        block = f"blk.{i}."
        vector(block + "attn_norm.weight", width, 1)
        matrix(block + "attn_q.weight", heads * head, width)
        matrix(block + "attn_k.weight", kv * head, width)
        matrix(block + "attn_v.weight", kv * head, width)
        matrix(block + "attn_output.weight", width, heads * head)
        if biases:
            vector(block + "attn_q.bias", heads * head, 0)
            vector(block + "attn_k.bias", kv * head, 0)
            vector(block + "attn_v.bias", kv * head, 0)
        if head_norms:
            vector(block + "attn_q_norm.weight", head, 1)
            vector(block + "attn_k_norm.weight", head, 1)
        vector(block + "ffn_norm.weight", width, 1)
        if experts:
            count, _, expert_width = experts
            matrix(block + "ffn_gate_inp.weight", count, width)
            matrix(block + "ffn_gate_exps.weight", count, expert_width, width)
            matrix(block + "ffn_up_exps.weight", count, expert_width, width)
            matrix(block + "ffn_down_exps.weight", count, width, expert_width)
        else:
            matrix(block + "ffn_gate.weight", ffn, width)
            matrix(block + "ffn_up.weight", ffn, width)
            matrix(block + "ffn_down.weight", width, ffn)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_all(folder, names=None):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in names or MODELS:
        paths[name] = folder / f"{name}.gguf"
        write_model(paths[name], **MODELS[name])
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(MODELS)}; default: all")
    arguments = parser.parse_args()
    for written in write_all(arguments.folder, arguments.names or None).values():
        print(written)
