"""Writes seeds for the fuzzers of models and recordings: the smallest files that pass every check, so that mutations reach the code behind.

Writes fuzz/corpus/model/*.gguf (one layer, widths of 32, a vocabulary of 8) and fuzz/corpus/recording/*.safetensors, and the
files of fuzz/corpus/{answer,embedding_config,comparison_files,shard_index,config_json,model_directory,checkpoint_directory}. Needs numpy and gguf. Seeds of the file formats alone come from tools/fixtures.
"""
import json
import pathlib
import struct

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A template for each way to write reasoning, and an answer, in which small bytes are marks of the format.
ANSWERS = {
    "tags": (0x80, "{% for m in messages %}{{ m.role }}{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% endfor %}", b"\x00a\x01b"),
    "named": (0x80, "{% for m in messages %}<|turn>{{ m.role }}\n{% if m.reasoning and m.tool_calls %}<|channel>thought\n{{ m.reasoning }}<channel|>{% endif %}"
                    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}{{ m.content }}<turn|>{% endfor %}", b"\x00thought\na\x01b"),
    "messages": (0x80, "{% for m in messages %}{% if m.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
                       "<|start|>{{ m.role }}<|channel|>final<|message|>{{ m.content }}<|end|>{% endfor %}",
                 b"\x01analysis\x02a\x03\x00assistant to=functions.f\x01commentary\x02{}\x03\x00assistant\x01final\x02b"),
    "parts": (0x80, "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ '[THINK]' + p.thinking + '[/THINK]' "
                    "if p.thinking else p.text }}{% endfor %}{% endif %}{% endfor %}", b"\x00a\x01b"),
    "words": (0x80, "{{ 'between <think></think> and <response></response>' }}", b"<think>a</think><response>b</response>"),
    "text": (0x21, "", b"<think>a</think> <response>b</response>c"),
    "made": (0x1A, "<|start|>assistant", b"\x01analysis\x02a\x03\x00assistant\x01commentary to=functions.f \x04json\x02{}"),
}


def write_answers():
    folder = ROOT / "fuzz/corpus/answer"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (choice, template, answer) in ANSWERS.items():
        (folder / name).write_bytes(bytes([choice]) + template.encode() + b"\xff" + answer)


def write(path, arch, experts=0):
    width, heads, head, ffn, tokens = 32, 2, 16, 32, ["a", "b", "c", "ab", "Ġ", "<|s|>", "<|e|>", "d"]
    w = gguf.GGUFWriter(str(path), arch)
    w.add_block_count(1)
    w.add_context_length(128)
    w.add_embedding_length(width)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(1)
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(1)
        w.add_expert_feed_forward_length(ffn)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([1, 1, 1, 1, 1, 3, 3, 1])
    w.add_token_merges(["a b"])
    w.add_eos_token_id(6)
    w.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")

    def tensor(name, *shape):
        if len(shape) == 1:
            w.add_tensor(name, np.ones(shape, np.float32))
        else:
            rows = np.zeros(shape[:-1] + (shape[-1] // 32 * 34,), np.uint8)
            w.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    tensor("token_embd.weight", len(tokens), width)
    tensor("output_norm.weight", width)
    b = "blk.0."
    tensor(b + "attn_norm.weight", width)
    tensor(b + "attn_q.weight", heads * head, width)
    tensor(b + "attn_k.weight", head, width)
    tensor(b + "attn_v.weight", head, width)
    tensor(b + "attn_output.weight", width, heads * head)
    if arch == "qwen2":
        for part, size in (("q", heads * head), ("k", head), ("v", head)):
            tensor(f"{b}attn_{part}.bias", size)
    if arch.startswith("qwen3"):
        tensor(b + "attn_q_norm.weight", head)
        tensor(b + "attn_k_norm.weight", head)
    tensor(b + "ffn_norm.weight", width)
    if experts:
        tensor(b + "ffn_gate_inp.weight", experts, width)
        for part in ("gate", "up", "down"):
            tensor(f"{b}ffn_{part}_exps.weight", experts, width, ffn)
    else:
        for part in ("gate", "up", "down"):
            tensor(f"{b}ffn_{part}.weight", width, ffn)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_recording(path, metadata, tensors):
    """tensors: {name: (dtype, array)}"""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(path)


def write_recordings(folder):
    values, ids = ("F32", np.ones((2, 3), np.float32)), ("I32", np.array([[3, 1], [0, 2]], np.int32))
    write_recording(folder / "values.safetensors",
                    {"recording": "1", "tokens": "[4, 5]", "positions:logits": "[1, 7]", "model": "m",
                     "stages": json.dumps([{"name": "layer.0.query", "verb": "linear", "kernel": "k"}, {"name": "layer.0.expert_ids"},
                                           {"name": "logits"}])},
                    {"logits": values, "layer.0.query": values, "layer.0.expert_ids": ids})
    write_recording(folder / "part.safetensors", {"elements:a": '{"shape": [4, 2], "indices": [0, 1, 7]}'}, {"a": values})
    write_recording(folder / "statistics.safetensors", {"stages": '[{"name": "a", "type": "F64", "shape": [3]}]'},
                    {"statistics:a": ("F64", np.zeros((2, 5))), "hash:a": ("U8", np.zeros((2, 16), np.uint8))})
    write_recording(folder / "foreign.safetensors", {},
                    {"model.layers.0.q": ("BF16", np.ones((1, 4), np.uint16)), "topk": ("I64", np.ones((1, 2), np.int64))})


def write_comparison_files(folder):
    """The first byte chooses what the fuzzer reads: 1 a map, 0 tolerances."""
    entries = [{"theirs": "layer.{layer}.q", "ours": "layer.{layer}.key", "layout": "adjacent_to_halves", "head_width": 8, "rotary_width": 4},
               {"theirs": "a", "ours": "embedding", "transpose": [2, 8], "shape": [16]}, {"theirs": "b", "drop": "why"}]
    bounds = [{"stage": "layer.*", "relative_rms": 1e-6, "worst": 1, "absolute": 0.5, "reason": "order"},
              {"stage": "a", "set": True, "routing_margin": 0.1, "missing": True, "reason": "ties"}]
    for name, kind, value in (("map", b"\1", {"stages": entries}), ("tolerances", b"\0", {"tolerances": bounds})):
        (folder / name).write_bytes(kind + json.dumps(value).encode())
        print(folder / name)


def safetensors_of(*names):
    header = {name: {"dtype": "U8", "shape": [2], "data_offsets": [2 * i, 2 * i + 2]} for i, name in enumerate(names)}
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(2 * len(names))


def write_directories(corpus):
    """A directory is written as its files in a row, each after a byte for its name and two for its length (fuzz/model_directory.cpp)."""
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    index = json.dumps({"metadata": {"total_size": 6}, "weight_map": {"a": first, "b": first, "c": second}}).encode()
    fp8 = {"quant_method": "modelopt", "quant_algo": "FP8", "group_size": 16, "quantized_layers": {"a": {"quant_algo": "FP8"}}}
    config = json.dumps({"model_type": "m", "text_config": {"rope_theta": 1e6, "quantization_config": fp8}}).encode()
    hf_quant = json.dumps({"producer": {"name": "modelopt"}, "quantization": fp8}).encode()
    shards = {2: safetensors_of("a", "b"), 3: safetensors_of("c")}
    directories = {"sharded": {0: config, 1: index, **shards, 5: hf_quant, 6: b"{}", 9: b"{}"},
                   "numbered": {0: b"{}", **shards}, "single": {0: config, 4: safetensors_of("a", "b")},
                   "mistral": {7: b'{"dim": 4}', 8: safetensors_of("wq")},
                   "mistral-beside-an-empty-config": {7: b'{"dim": 4}', 8: safetensors_of("wq"), 0: b""}, "pytorch": {0: b"{}", 11: b"PK"}}
    for name, files in directories.items():
        folder = corpus / "model_directory"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"".join(struct.pack("<BH", kind, len(text)) + text for kind, text in files.items()))
        print(folder / name)
    nested = json.dumps({"compression_config": {"a": 1}, "layer_types": ["x", "y"], "limit": [0.0, float("inf"), float("nan")]}).encode()
    for kind, name, text in (("shard_index", "index.json", index), ("config_json", "config.json", config), ("config_json", "nested.json", nested)):
        folder = corpus / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
        print(folder / name)


def write_checkpoint_directories(folder):
    """config.json behind its length, then the SafeTensors file (fuzz/checkpoint_directory.cpp): tiny models of tests/data, the last in
    Mistral's own layout, which the highest bit of the length says."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("llama-linear", "qwen2-yarn"):
        source = ROOT / "tests" / "data" / "goldens_hf" / name
        config = json.dumps(json.loads((source / "config.json").read_text()), separators=(",", ":")).encode()
        (folder / name).write_bytes(struct.pack("<H", len(config)) + config + (source / "model.safetensors").read_bytes())
        print(folder / name)
    source = ROOT / "tests" / "data" / "goldens_mistral" / "mistral-fp8"
    params = json.dumps(json.loads((source / "params.json").read_text()), separators=(",", ":")).encode()
    (folder / "mistral-own").write_bytes(struct.pack("<H", len(params) | 0x8000) + params + (source / "consolidated.safetensors").read_bytes())
    print(folder / "mistral-own")


def write_gguf_vocabularies(folder):
    """The first byte says which file of a directory it is (fuzz/gguf_vocabulary.cpp): tokenizers of each kind that becomes a GGUF vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    added = [{"id": 5, "content": "<|end|>", "special": True}, {"id": 6, "content": "<x>", "special": False}]
    bos = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}
    pattern = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
    byte_level = {"added_tokens": added, "post_processor": bos, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, {"type": "ByteLevel", "use_regex": False}]},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120": 3}, "merges": ["a b"]}}
    vocab = {"<unk>": 0, "\u2581": 1, "a": 2, "b": 3, "ab": 4} | {f"<0x{byte:02X}>": 7 + byte for byte in range(256)}
    characters = {"added_tokens": added, "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True, "vocab": vocab, "merges": [["a", "b"]]}}
    config = {"add_bos_token": True, "add_prefix_space": False, "bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ x }}",
              "added_tokens_decoder": {"7": {"content": "<y>", "special": True}}}
    pieces = b"".join(b"\x0a" + bytes([len(piece)]) + piece for piece in (b"\x0a\x01a\x15\x00\x00\x80\xbf", b"\x0a\x01b", b"\x0a\x03<s>\x18\x03"))
    seeds = {"byte_level": b"\0" + json.dumps(byte_level).encode(), "characters": b"\0" + json.dumps(characters).encode(),
             "sentence_piece": b"\1" + pieces + b"\x12\x02\x18\x02\x1a\x02\x20\x00", "config": b"\2" + json.dumps(config).encode(),
             "config_of_model": b"\2 " + json.dumps(config).encode(), "added": b"\3" + json.dumps({"<z>": 9}).encode()}
    for name, data in seeds.items():
        (folder / name).write_bytes(data)
        print(folder / name)


def write_tokenizer_files(folder):
    """The first byte says which file it is; 0xFF ends the file and begins the text. The files are those of the tokenizer tests' jobs."""
    jobs = ROOT / "tests" / "data" / "tokenizer" / "jobs"
    text = b"\xffthe cafe\xcc\x81 \xe6\x9d\xb1 <|end|> Hello\n"
    for job in sorted(jobs.iterdir()):
        for name, kind, tail in (("tokenizer.json", b"\0", text), ("tekken.json", b"\1", text), ("tiktoken.model", b"\2", text),
                                 ("tokenizer.model", b"\3", b""), ("tokenizer_config.json", b"\7", b""), ("vocab.txt", b"\x0f", text)):
            if (job / name).exists():
                (folder / f"{job.name}-{name}").write_bytes(kind + (job / name).read_bytes() + tail)
    steps = {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "StripAccents"}, {"type": "Nmt"},
        {"type": "Prepend", "prepend": "x"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"}, {"type": "ByteLevel"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\\\s+(?!\\\\S)"}, "behavior": "MergedWithNext", "invert": True}, {"type": "Digits", "individual_digits": True},
            {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": True}, {"type": "Punctuation", "behavior": "Contiguous"}]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"},
                                                     {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 1}]},
        "post_processor": {"type": "BertProcessing", "cls": ["a", 0], "sep": ["b", 1]},
        "added_tokens": [{"id": 5, "content": "<|end|>", "lstrip": True, "rstrip": True, "single_word": True, "normalized": True, "special": True}],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "u": 3, "_": 4}, "merges": [["a", "b"]], "unk_token": "u", "fuse_unk": True}}
    (folder / "steps.json").write_bytes(b"\0" + json.dumps(steps).encode() + text)
    (folder / "vocab").write_bytes(b"\4" + json.dumps({chr(c): c for c in range(33, 127)}).encode() + b"\x1e#version\na b\n" + text)
    (folder / "charsmap").write_bytes(b"\5" + struct.pack("<I", 8) + struct.pack("<2I", 1 << 10, 0x100 | 0x61) + b"ab\0c\0")
    for i, expression in enumerate((r"[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}+|(?i:'s|'t)|[^\s\p{L}]|\b\w\h", r"(?<!\d)\d{3}(?=(?:\d{3})*+)|^a$|\G.")):
        (folder / f"expression{i}").write_bytes(b"\6" + expression.encode() + b"\xffthe 12345 cafe's")


def write_embedding_configs(folder):
    """A directory's configs, each with its length in front, and GGUF files with a pooling type."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [{"type": "sentence_transformers.models." + kind, "path": path} for kind, path in
              (("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize"))]
    dense = {"in_features": 4, "out_features": 2, "bias": False, "activation_function": "torch.nn.modules.activation.Tanh"}
    prompts = {"prompts": {"query": "q: "}, "default_prompt_name": "query", "similarity_fn_name": "cosine"}
    for name, pooling in (("flags", {"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}),
                          ("names", {"embedding_dimension": 2, "pooling_mode": ["cls", "mean"], "include_prompt": True})):
        parts = (listed, pooling, dense, {}, {"max_seq_length": 256, "do_lower_case": False}, prompts)
        texts = [json.dumps(part).encode() for part in parts]
        (folder / name).write_bytes(b"\1" + b"".join(struct.pack("<H", len(text)) + text for text in texts))
    for pooling in (1, 4):
        path = folder / f"gguf{pooling}"
        w = gguf.GGUFWriter(str(path), "bert")
        w.add_pooling_type(gguf.PoolingType(pooling))
        w.add_tensor("dense_2.weight", np.zeros((2, 4), np.float32))
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        path.write_bytes(b"\0" + path.read_bytes())


if __name__ == "__main__":
    folder = ROOT / "fuzz" / "corpus" / "tokenizer_files"
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer_files(folder)
    write_answers()
    write_embedding_configs(ROOT / "fuzz" / "corpus" / "embedding_config")
    write_directories(ROOT / "fuzz" / "corpus")
    write_gguf_vocabularies(ROOT / "fuzz" / "corpus" / "gguf_vocabulary")
    write_checkpoint_directories(ROOT / "fuzz" / "corpus" / "checkpoint_directory")
    folder = ROOT / "fuzz" / "corpus" / "comparison_files"
    folder.mkdir(parents=True, exist_ok=True)
    write_comparison_files(folder)
    folder = ROOT / "fuzz" / "corpus" / "recording"
    folder.mkdir(parents=True, exist_ok=True)
    write_recordings(folder)
    folder = ROOT / "fuzz" / "corpus" / "model"
    folder.mkdir(parents=True, exist_ok=True)
    for arch in ("llama", "qwen2", "qwen3", "qwen3moe"):
        write(folder / f"{arch}.gguf", arch, experts=2 if arch == "qwen3moe" else 0)
        print(folder / f"{arch}.gguf")
