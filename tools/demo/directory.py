"""Writes the model of a demonstration GGUF file as a model directory, as transformers would save it.

The numbers are the same in another container: matrices in BF16, norms and the router in F32, one tensor per expert, the config.json of
Qwen3 or Qwen3-MoE, and a tokenizer.json made of the vocabulary in the file.  `invar quantize DIRECTORY OUT MIX` turns it into GGUF files.  Needs numpy and gguf.
"""
import argparse
import json
import pathlib
import struct

import gguf

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
         "ffn_gate_exps": "mlp.experts.{}.gate_proj", "ffn_up_exps": "mlp.experts.{}.up_proj", "ffn_down_exps": "mlp.experts.{}.down_proj"}
DTYPES = {gguf.GGMLQuantizationType.F32: "F32", gguf.GGMLQuantizationType.BF16: "BF16", gguf.GGMLQuantizationType.F16: "F16"}


def tensors_of(reader):
    """(name, dtype, shape, bytes) under the names of transformers; a stack of experts is cut into experts."""
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        name = NAMES[parts[-2]]
        if parts[0] == "blk":
            name = f"model.layers.{parts[1]}.{name}"
        shape, raw = [int(n) for n in tensor.shape[::-1]], tensor.data.tobytes()
        if "{}" not in name:
            yield f"{name}.weight", DTYPES[tensor.tensor_type], shape, raw
            continue
        size = len(raw) // shape[0]
        for expert in range(shape[0]):
            yield f"{name.format(expert)}.weight", DTYPES[tensor.tensor_type], shape[1:], raw[expert * size:(expert + 1) * size]


def write_safetensors(path, tensors):
    tensors = sorted(tensors, key=lambda each: (each[1] != "F32", each[0]))  # wider elements first: all are aligned
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, raw in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(raw for *_, raw in tensors))


def config_of(value, tokens):
    """config.json; `value` gives the metadata of the architecture."""
    experts = value("expert_count", 0)
    config = {"architectures": ["Qwen3MoeForCausalLM" if experts else "Qwen3ForCausalLM"],
              "model_type": "qwen3_moe" if experts else "qwen3", "attention_bias": False, "attention_dropout": 0.0,
              "bos_token_id": value("tokenizer.ggml.bos_token_id"), "eos_token_id": value("tokenizer.ggml.eos_token_id"),
              "head_dim": value("attention.key_length"), "hidden_act": "silu", "hidden_size": value("embedding_length"),
              "intermediate_size": value("feed_forward_length"), "max_position_embeddings": value("context_length"),
              "num_attention_heads": value("attention.head_count"), "num_hidden_layers": value("block_count"),
              "num_key_value_heads": value("attention.head_count_kv"), "rms_norm_eps": 1e-6, "rope_scaling": None,
              "rope_theta": value("rope.freq_base"), "sliding_window": None, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
              "use_cache": True, "use_sliding_window": False, "vocab_size": len(tokens)}
    assert abs(value("attention.layer_norm_rms_epsilon") - 1e-6) < 1e-13
    if experts:
        config |= {"num_experts": experts, "num_experts_per_tok": value("expert_used_count"),
                   "moe_intermediate_size": value("expert_feed_forward_length"), "decoder_sparse_step": 1, "mlp_only_layers": [],
                   "norm_topk_prob": True}
    return config


def tokenizer_of(tokens, types, merges):
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": types[i] == gguf.TokenType.CONTROL}
             for i, text in enumerate(tokens) if types[i] != gguf.TokenType.NORMAL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    vocabulary = {text: i for i, text in enumerate(tokens) if types[i] == gguf.TokenType.NORMAL}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]}, "post_processor": byte_level, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary,
                      "merges": [merge.split(" ") for merge in merges]}}


def check(path, reader):
    """Refuses a file that this program cannot write as a directory, before anything is written."""
    architecture = reader.fields["general.architecture"].contents() if "general.architecture" in reader.fields else None
    if architecture not in ("qwen3", "qwen3moe"):
        raise ValueError(f"{path}: the architecture is {architecture}, but only qwen3 and qwen3moe are written; give a demonstration model")
    for tensor in reader.tensors:
        if tensor.tensor_type not in DTYPES:
            raise ValueError(f"{path}: tensor '{tensor.name}' is {tensor.tensor_type.name}, but only {', '.join(DTYPES.values())} are written; "
                             "give the file that was not quantised, such as models/demo-dense.gguf")
        if ("?." + tensor.name).split(".")[-2] not in NAMES:
            raise ValueError(f"{path}: tensor '{tensor.name}' has no name in a directory; give a demonstration model")


def write_directory(path, folder):
    """`path`: a GGUF file of the architectures qwen3 or qwen3moe in F32, F16 or BF16. Raises ValueError for another, before it writes."""
    try:
        reader = gguf.GGUFReader(path)
    except ValueError as error:
        raise ValueError(f"{path}: this is no GGUF file ({error})") from error
    check(path, reader)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    arch = fields["general.architecture"]

    def value(key, default=None):
        return fields.get(key if key.startswith("tokenizer.") else f"{arch}.{key}", default)

    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, content):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    write("config.json", config_of(value, tokens))
    write("generation_config.json", {"bos_token_id": value("tokenizer.ggml.bos_token_id"), "eos_token_id": [value("tokenizer.ggml.eos_token_id")]})
    write("tokenizer.json", tokenizer_of(tokens, types, value("tokenizer.ggml.merges")))
    write("tokenizer_config.json", {"add_bos_token": False, "bos_token": tokens[value("tokenizer.ggml.bos_token_id")],
                                    "eos_token": tokens[value("tokenizer.ggml.eos_token_id")],
                                    "pad_token": tokens[value("tokenizer.ggml.padding_token_id")],
                                    "chat_template": value("tokenizer.chat_template"), "model_max_length": value("context_length"),
                                    "tokenizer_class": "PreTrainedTokenizerFast"})
    write_safetensors(folder / "model.safetensors", list(tensors_of(reader)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("folder")
    arguments = parser.parse_args()
    try:
        write_directory(arguments.model, arguments.folder)
    except OSError as error:
        raise SystemExit(f"directory.py: {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise SystemExit(f"directory.py: {error}") from None
