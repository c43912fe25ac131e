"""Writes a training checkpoint as a GGUF file, and reads GGUF files back for the gate.

Decides the shipped format: matrices in BF16 (rounded here, so the file is exact), norms and the router in
F32, and the metadata that converters write for the architectures qwen3 and qwen3moe, with the tokenizer and
the chat template inside.
"""
import argparse
import os

import gguf
import numpy as np
import torch

import chat
import directory
from model import SHAPES, Shape, parameter_shapes
from tokenizer import CONTROL, SPECIALS, Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {"dense": "invar demo dense", "moe": "invar demo moe"}


def is_plain(name, tensor):
    """True for the tensors that stay in F32."""
    return tensor.ndim < 2 or name.endswith("ffn_gate_inp.weight")


def to_bf16(x):
    """float32 to bfloat16 bits, rounding to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_gguf(path, kind, weights, tokenizer):
    s, arch = SHAPES[kind], SHAPES[kind].arch
    w = gguf.GGUFWriter(path, arch)
    w.add_name(NAMES[kind])
    w.add_uint32("general.alignment", 32)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    w.add_block_count(s.layers)
    w.add_context_length(s.context)
    w.add_embedding_length(s.width)
    w.add_feed_forward_length(s.ffn)
    w.add_head_count(s.heads)
    w.add_head_count_kv(s.kv_heads)
    w.add_key_length(s.head_dim)
    w.add_value_length(s.head_dim)
    w.add_layer_norm_rms_eps(s.epsilon)
    w.add_rope_freq_base(s.rope_base)
    if s.experts:
        w.add_expert_count(s.experts)
        w.add_expert_used_count(s.used)
        w.add_expert_feed_forward_length(s.expert_ffn)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokenizer.tokens)
    types = [gguf.TokenType.CONTROL if t in CONTROL else gguf.TokenType.USER_DEFINED if t in SPECIALS else gguf.TokenType.NORMAL
             for t in tokenizer.tokens]
    w.add_token_types(types)
    w.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    w.add_eos_token_id(tokenizer.ids["<|im_end|>"])
    w.add_pad_token_id(tokenizer.ids["<|endoftext|>"])
    w.add_bos_token_id(tokenizer.ids["<|endoftext|>"])
    w.add_add_bos_token(False)
    w.add_chat_template(chat.TEMPLATE)
    for name, shape in parameter_shapes(s).items():
        x = weights[name].detach().float().numpy()
        assert x.shape == tuple(shape), (name, x.shape, shape)
        if is_plain(name, x):
            w.add_tensor(name, np.ascontiguousarray(x, np.float32))
        else:
            bits = to_bf16(x)
            w.add_tensor(name, bits.view(np.uint8), raw_shape=list(bits.shape[:-1]) + [bits.shape[-1] * 2],
                         raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_gguf(path):
    """(Shape, weights as torch tensors) of a GGUF file of either architecture, any tensor type."""
    reader = gguf.GGUFReader(path)

    def value(key, default=None):
        field = reader.fields.get(key)
        return default if field is None else field.contents()

    arch = value("general.architecture")
    get = lambda key, default=None: value(f"{arch}.{key}", default)  # noqa: E731
    shape = Shape(arch, get("block_count"), get("embedding_length"), get("attention.head_count"), get("attention.head_count_kv"),
                  get("attention.key_length"), get("feed_forward_length"), get("expert_count", 0), get("expert_used_count", 0),
                  get("expert_feed_forward_length", 0), len(value("tokenizer.ggml.tokens")), get("rope.freq_base"),
                  get("attention.layer_norm_rms_epsilon"), get("context_length"))
    weights = {}
    for t in reader.tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type) if t.tensor_type != gguf.GGMLQuantizationType.F32 else t.data
        weights[t.name] = torch.from_numpy(np.array(x, np.float32).reshape([int(n) for n in t.shape[::-1]]))
    return shape, weights


def main():
    parser = argparse.ArgumentParser(description="Write a checkpoint as GGUF.")
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--tokenizer", default=os.path.join(HERE, "tokenizer.json"))
    parser.add_argument("--directory", help="write a model directory, too (directory.py)")
    args = parser.parse_args()
    data = torch.load(args.checkpoint)
    write_gguf(args.out, data["kind"], data["weights"], Tokenizer.load(args.tokenizer))
    shape, weights = read_gguf(args.out)
    for name, w in data["weights"].items():
        exact = w.float() if is_plain(name, w) else w.to(torch.bfloat16).float()
        assert torch.equal(weights[name], exact), name
    if args.directory:
        directory.write_directory(args.out, args.directory)
    print(f"{args.out}: {os.path.getsize(args.out)} bytes, {sum(w.numel() for w in weights.values())} weights, "
          f"trained {data['step']} steps, {data['tokens']} tokens, {data['minutes']:.1f} minutes")


if __name__ == "__main__":
    main()
