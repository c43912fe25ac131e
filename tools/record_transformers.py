#!/usr/bin/env python3
"""Records every stage of a Hugging Face model as `transformers` computes it, in the container that `invar trace` reads.

    record_transformers.py models/Qwen3-0.6B out.safetensors --prompt "The capital of France is"
    record_transformers.py models/Qwen3-0.6B out.safetensors --tokens 785,6722,315,9625,374 --dtype float32
    record_transformers.py models/Qwen3-0.6B out.safetensors --tokens 1,2,3 --stages 'layer.3.*' logits --attention-scores

Supported, as transformers names them: LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM, Qwen2ForCausalLM,
Qwen3ForCausalLM, Qwen3MoeForCausalLM, and the text models of Gemma 4, Qwen3.5, gpt-oss and DeepSeek V2 and V3.  Of the latter, stages
that have no module of their own are left out, so compare with --allow-missing; record_families.py lists the others.  The engine has more
architectures; of those, tests/data/goldens_hf holds the logits.  The folder is read from disk, nothing is fetched.

The file is SafeTensors (NumPy and PyTorch open it): one tensor a stage, [positions, ...], under the names that models of this
project use ("layer.0.query_rope", "logits"); the metadata holds the tokens, the stages in forward order, and the
versions.  Compare it with a recording of ours of the same tokens (`invar trace record`) by `invar trace diff OURS THEIRS` with the
tolerances of tools/tolerances_transformers.json, which say how far binary32 may be from float64 and why.  They hold for
checkpoints whose weights are the same numbers on both sides (F32, F16 and BF16 files), with ours recorded at --cache f32;
quantised weights or caches differ by more.

Hooks record the results of the model's modules.  Three things have no module and are computed in a hook from the model's results: a
projection before its bias, router probabilities, and the parts of single experts (their sum is checked against the module's).  The elements of queries and keys are in transformers' own order (rope's pairs are the halves
of a head), which is also the engine's, whatever the order of the rows in a file.

With float64 everything is computed in float64.  transformers casts to float32 by name inside norms, softmax and rope, so those names mean
float64 during such a run.  Rope's frequencies are computed anew, and the run fails if a single operation returns another float type.
Versions: tools/requirements_goldens.txt.
"""
import argparse
import contextlib
import fnmatch
import json
import pathlib
import struct
import sys
import unittest.mock

import numpy as np
import torch
import transformers
import record_families
from torch.utils._python_dispatch import TorchDispatchMode

# transformers' model type -> does GGUF interleave the halves of its query and key heads?
FAMILIES = {"llama": True, "mistral": True, "mixtral": True, "qwen2": False, "qwen3": False, "qwen3_moe": False}

# Forward order, with the verb that makes each stage.
LAYER_STAGES = [
    ("attention_norm", "rms_norm"), ("delta_inputs", "linear"), ("delta_gate", "linear"), ("delta_decay", "linear"), ("delta_beta", "linear"),
    ("delta_rule", "delta_rule"), ("delta_gated", "activate"), ("query_down", "linear"), ("latent", "linear"), ("query_down_norm", "rms_norm"),
    ("query", "linear"), ("key", "linear"), ("value", "linear"), ("latent_norm", "rms_norm"),
    ("query_biased", "add_bias"), ("key_biased", "add_bias"), ("value_biased", "add_bias"),
    ("query_norm", "rms_norm"), ("key_norm", "rms_norm"), ("value_norm", "rms_norm"), ("query_rope", "rope"), ("key_rope", "rope"),
    ("attention_scores", "attention"), ("attention", "attention"), ("attention_gated", "gate_rows"), ("attention_values", "head_linear"),
    ("attention_output", "linear"), ("attention_output_biased", "add_bias"), ("attention_post_norm", "rms_norm"),
    ("residual_after_attention", "add"), ("ffn_norm", "rms_norm"),
    ("gate", "linear"), ("up", "linear"), ("activation", "activate"), ("down", "linear"), ("dense_post_norm", "rms_norm"),
    ("router_norm", "rms_norm"), ("router_input", "multiply"), ("expert_norm", "rms_norm"), ("router", "linear"), ("router_biased", "add_bias"),
    ("router_probabilities", "route"), ("expert_weights", "route"), ("routing_margin", "route"),
    ("expert_ids", "route"), ("expert_gate", "expert_linear"), ("expert_up", "expert_linear"),
    ("expert_activation", "activate"), ("expert_down", "expert_linear"), ("expert_sum", "combine_experts"), ("expert_post_norm", "rms_norm"),
    ("dense_and_experts", "add"), ("shared_gate", "linear"), ("shared_up", "linear"), ("shared_activation", "activate"), ("shared_down", "linear"),
    ("shared_expert_gate", "linear"), ("expert_sum_with_shared", "add"), ("ffn_post_norm", "rms_norm"), ("residual_after_ffn", "add"),
    ("input_gate", "linear"), ("input_gated", "activate"), ("input_branch", "linear"), ("input_post_norm", "rms_norm"), ("layer_scaled", "multiply"),
]
FIRST_STAGES = [("embedding", "embed"), ("embedding_scaled", "scale"), ("input_embedding_scaled", "scale"), ("input_projection", "linear"),
                ("input_projection_scaled", "scale"), ("input_norm", "rms_norm")]
LAST_STAGES = [("output_norm", "rms_norm"), ("logits", "linear"), ("logits_capped", "softcap")]


class OnlyFloat64(TorchDispatchMode):
    """Fails at the first operation whose result is a float of another width."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, torch.Tensor) and one.is_floating_point() and one.dtype != torch.double:
                raise TypeError(f"{function} gave {one.dtype} in a float64 run; has transformers changed?")
        return result


@contextlib.contextmanager
def everything_in_float64():
    """In this context torch.float32, torch.float and Tensor.float() mean float64, which OnlyFloat64 verifies."""
    with (unittest.mock.patch.object(torch, "float32", torch.float64), unittest.mock.patch.object(torch, "float", torch.float64),
          unittest.mock.patch.object(torch.Tensor, "float", torch.Tensor.double), OnlyFloat64()):
        yield


def widen(model):
    """Turns a model into a float64 one, rope's frequencies (which no checkpoint holds) included."""
    model = model.double()
    with everything_in_float64():
        model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    return model


def check_family(model_type):
    supported = [*FAMILIES, *record_families.FAMILIES]
    if model_type not in supported:
        raise SystemExit(f"model type '{model_type}' is not supported (supported: {', '.join(supported)})")


def gguf_head_order(model_type, width):
    """Which element of a transformers head is at each place of a GGUF head."""
    check_family(model_type)
    order = np.arange(width)
    return order.reshape(2, width // 2).T.reshape(-1) if FAMILIES[model_type] else order


class Hooks:
    """Hooks on the modules of one model; `values` fills during a pass."""

    def __init__(self, model):
        self.model, self.values, self.handles = model, {}, []

    def hook(self, module, function):
        self.handles.append(module.register_forward_hook(function))

    def remove(self):
        for handle in self.handles:
            handle.remove()

    def put(self, name, value):
        """value: [1, positions, ...] or [positions, ...] of any shape behind."""
        positions = self.positions
        value = value.detach().reshape(positions, *value.shape[value.shape.index(positions) + 1:])
        self.values[name] = value.cpu().numpy().copy()

    def watch_projection(self, module, name, put):
        def record(m, x, y):
            put(name, y if m.bias is None else torch.nn.functional.linear(x[0], m.weight))
            if m.bias is not None:
                put(name + "_biased", y)
        self.hook(module, record)

    def watch_attention(self):
        """Wraps the function that the attention modules call with queries and keys after rope, while a pass runs."""
        library = sys.modules[type(self.model.model.layers[0]).__module__]
        inner = library.eager_attention_forward

        def recorded(module, query, key, value, attention_mask, scaling, **rest):
            self.record_attention(module, query, key, attention_mask, scaling)
            return inner(module, query, key, value, attention_mask, scaling=scaling, **rest)
        return unittest.mock.patch.object(library, "eager_attention_forward", recorded)

    def run(self, tokens):
        """{stage: array [positions, ...]} of one pass over the tokens."""
        self.positions, self.values = len(tokens), {}
        in_float64 = self.model.dtype == torch.double
        with torch.no_grad(), self.watch_attention(), everything_in_float64() if in_float64 else contextlib.nullcontext():
            self.model(torch.tensor([tokens]), use_cache=False)
        return self.values


class ModuleRecorder(Hooks):
    """Records what the modules make that record_families.py names."""

    def __init__(self, model):
        super().__init__(model)
        ends, parts = record_families.FAMILIES[model.config.model_type](model.config)
        found = self.watch(model, "", ends)
        layers = [self.watch(layer, f"layer.{index}.", parts) for index, layer in enumerate(model.model.layers)]
        lost = {path for path, _, _ in [*ends, *parts]} - found.union(*layers)
        if lost:
            raise ValueError(f"{model.config.model_type} has no modules {', '.join(sorted(lost))}; has transformers changed?")
        for index, layer in enumerate(model.model.layers):
            if hasattr(layer, "self_attn"):
                layer.self_attn.recorder_prefix = f"layer.{index}."

    def watch(self, module, prefix, entries):
        """The paths that the module has."""
        modules = dict(module.named_modules())
        for path, what, stage in entries:
            if path in modules:
                self.watch_part(modules[path], what, prefix + stage)
        return {path for path, _, _ in entries if path in modules}

    def watch_part(self, module, what, stage):
        def first(value):
            return value[0] if isinstance(value, tuple) else value
        if what == "projection":
            self.watch_projection(module, stage, lambda name, value: self.put_flat(name, first(value)))
        elif what in ("routing", "chosen"):
            self.hook(module, lambda m, x, y: self.record_routing(stage, what, *x[1:]))
        else:
            ordered = self.by_value_heads if what.endswith("by value heads") else lambda value: value
            part = {"in": lambda x, y: x[0], "logits": lambda x, y: y.logits}.get(what.split()[0], lambda x, y: first(y))
            self.hook(module, lambda m, x, y: self.put_flat(stage, ordered(part(x, y))))

    def put_flat(self, name, value):
        self.put(name, value.reshape(self.positions, -1))

    def by_value_heads(self, value):
        """Value head h reads key head h / group in transformers and h mod key heads in the engine; keys and queries stand before the values."""
        config, flat = self.model.config, value.reshape(self.positions, -1)
        keys, values = config.linear_num_key_heads, config.linear_num_value_heads
        before = flat.shape[1] - values * config.linear_value_head_dim if flat.shape[1] > values * config.linear_value_head_dim else 0
        heads = flat[:, before:].reshape(self.positions, keys, values // keys, -1).transpose(1, 2)
        return torch.cat([flat[:, :before], heads.reshape(self.positions, -1)], 1)

    def record_routing(self, stage, what, experts, weights):
        self.put(stage + "_ids", experts.to(torch.int32))
        if what == "routing":
            self.put(stage + "_weights", weights)

    def record_attention(self, module, query, key, attention_mask, scaling):
        if self.model.config.model_type in record_families.TURNED:
            self.put_flat(module.recorder_prefix + "query_rope", query.transpose(1, 2))
            if not getattr(module, "is_kv_shared_layer", False):
                self.put_flat(module.recorder_prefix + "key_rope", key.transpose(1, 2))


class Recorder(Hooks):
    """Records every stage.  `order` permutes the elements of query and key heads."""

    def __init__(self, model, order, scores=False):
        super().__init__(model)
        self.order, self.scores = torch.as_tensor(order), scores
        self.hook(model.model.embed_tokens, lambda m, x, y: self.put("embedding", y))
        for index, layer in enumerate(model.model.layers):
            self.watch_layer(f"layer.{index}.", layer)
        self.hook(model.model.norm, lambda m, x, y: self.put("output_norm", y))
        self.hook(model.lm_head, lambda m, x, y: self.put("logits", y))

    def put_heads(self, name, value):
        """value: any shape that is [1, positions, heads * width] in memory order. It is stored flat, in the recorder's order of elements."""
        heads = value.reshape(1, self.positions, -1, len(self.order))
        self.put(name, heads[..., self.order].flatten(2))

    def watch_layer(self, prefix, layer):
        attention, mlp = layer.self_attn, layer.mlp
        self.hook(layer.input_layernorm, lambda m, x, y: self.put(prefix + "attention_norm", y))
        for module, name, put in ((attention.q_proj, "query", self.put_heads), (attention.k_proj, "key", self.put_heads),
                                  (attention.v_proj, "value", self.put), (attention.o_proj, "attention_output", self.put)):
            self.watch_projection(module, prefix + name, put)
        for part, name in (("q_norm", "query_norm"), ("k_norm", "key_norm")):
            if hasattr(attention, part):
                self.hook(getattr(attention, part), lambda m, x, y, name=name: self.put_heads(prefix + name, y))
        self.hook(attention.o_proj, lambda m, x, y: self.put(prefix + "attention", x[0]))
        attention.recorder_prefix = prefix
        self.hook(layer.post_attention_layernorm, lambda m, x, y: self.put(prefix + "residual_after_attention", x[0]))
        self.hook(layer.post_attention_layernorm, lambda m, x, y: self.put(prefix + "ffn_norm", y))
        if hasattr(mlp, "experts"):
            self.hook(mlp.gate, lambda m, x, y: self.record_routing(prefix, m, y))
            self.hook(mlp.experts, lambda m, x, y: self.record_experts(prefix, m, x, y))
        else:
            self.watch_projection(mlp.gate_proj, prefix + "gate", self.put)
            self.watch_projection(mlp.up_proj, prefix + "up", self.put)
            self.hook(mlp.down_proj, lambda m, x, y: self.put(prefix + "activation", x[0]))
            self.watch_projection(mlp.down_proj, prefix + "down", self.put)
        self.hook(layer, lambda m, x, y: self.put(prefix + "residual_after_ffn", y[0] if isinstance(y, tuple) else y))

    def record_attention(self, module, query, key, attention_mask, scaling):
        prefix = module.recorder_prefix
        self.put_heads(prefix + "query_rope", query.transpose(1, 2).contiguous())
        self.put_heads(prefix + "key_rope", key.transpose(1, 2).contiguous())
        if self.scores:
            shared = key.repeat_interleave(module.num_key_value_groups, dim=1)
            hidden = attention_mask < 0
            scores = (query @ shared.transpose(2, 3) * scaling).masked_fill(hidden, -torch.inf)
            self.put(prefix + "attention_scores", scores.transpose(1, 2).contiguous())

    def record_routing(self, prefix, module, result):
        logits, weights, experts = result
        probabilities = torch.softmax(logits, -1)
        ranked = probabilities.sort(-1, descending=True).values
        left_out = ranked[:, module.top_k] if module.top_k < ranked.shape[1] else 0
        self.put(prefix + "router", logits)
        self.put(prefix + "router_probabilities", probabilities)
        self.put(prefix + "expert_weights", weights)
        self.put(prefix + "routing_margin", (ranked[:, module.top_k - 1] - left_out)[:, None])
        self.put(prefix + "expert_ids", experts.to(torch.int32))

    def record_experts(self, prefix, module, inputs, result):
        x, experts, weights = inputs
        gate, up = torch.einsum("tkoi,ti->tko", module.gate_up_proj[experts], x).chunk(2, -1)
        activation = module.act_fn(gate) * up
        down = torch.einsum("tkoi,tki->tko", module.down_proj[experts], activation)
        total = (weights[..., None] * down).sum(1)
        tolerance = 1e-12 if x.dtype == torch.double else 1e-5
        if (total - result).abs().max() > tolerance * result.abs().max():
            raise ValueError(f"{prefix}expert_sum: the module's sum is not that of its experts")
        for name, value in (("gate", gate), ("up", up), ("activation", activation), ("down", down)):
            self.put(f"{prefix}expert_{name}", value.contiguous())
        self.put(prefix + "expert_sum", result)


def forward_order(names):
    layers = sorted({int(name.split(".")[1]) for name in names if name.startswith("layer.")})
    every = FIRST_STAGES + [(f"layer.{i}.{name}", verb) for i in layers for name, verb in LAYER_STAGES] + LAST_STAGES
    return [(name, verb) for name, verb in every if name in names]


def write_safetensors(path, tensors, metadata):
    """Writes the file without the safetensors package, which orders the metadata by chance: the same recording gives the same bytes.  The
    widest types come first, so that every tensor is aligned."""
    header, data, end = {"__metadata__": dict(sorted(metadata.items()))}, [], 0
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        data.append(value.astype(value.dtype.newbyteorder("<")).tobytes())
        header[name] = {"dtype": {"f": "F", "i": "I"}[value.dtype.kind] + str(8 * value.itemsize), "shape": list(value.shape),
                        "data_offsets": [end, end + len(data[-1])]}
        end += len(data[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def save(path, values, tokens, metadata):
    stages = [{"name": name, "verb": verb, "kernel": ""} for name, verb in forward_order(values)]
    if len(stages) != len(values):
        raise ValueError(f"stages without a place in the forward order: {set(values) - {s['name'] for s in stages}}")
    text = {"recording": "1", "tokens": json.dumps(list(map(int, tokens))), "stages": json.dumps(stages), **metadata}
    write_safetensors(path, values, text)


def versions(dtype):
    return {"backend": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, {dtype}"}


def open_model(folder, dtype):
    """The text model alone: of one that also sees, the names of its tensors have a part more."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    text = config.get_text_config()
    check_family(text.model_type)  # refuses a family that is not supported before the weights are read
    names = {} if text is config else {"key_mapping": {r"^model\.language_model\.": "model.", r"^language_model\.model\.": "model."}}
    model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=text, local_files_only=True, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
        output_loading_info=True, **names)
    if loaded["missing_keys"]:
        raise SystemExit(f"{folder}: lacks the tensors {', '.join(sorted(loaded['missing_keys'])[:3])}")
    return widen(model.eval()) if dtype == "float64" else model.eval()


def head_width(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="folder with config.json and *.safetensors")
    parser.add_argument("out", type=pathlib.Path, help="the recording to write")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokens", help="token ids, separated by commas")
    what.add_argument("--prompt", help="text for the folder's own tokenizer, without a chat template")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--stages", nargs="+", metavar="GLOB", help="only stages whose whole name matches, as 'layer.3.*'")
    parser.add_argument("--attention-scores", action="store_true", help="also scores before the softmax, [heads, positions] a position")
    arguments = parser.parse_args()
    if not (arguments.model / "config.json").is_file():
        raise SystemExit(f"{arguments.model}: is no folder with a config.json; name the folder of a Hugging Face model")
    if arguments.tokens is not None:
        try:
            tokens = [int(token) for token in arguments.tokens.split(",")]
        except ValueError:
            raise SystemExit(f"--tokens {arguments.tokens}: token ids are whole numbers separated by commas") from None
    else:
        tokens = transformers.AutoTokenizer.from_pretrained(arguments.model, local_files_only=True)(arguments.prompt)["input_ids"]
    model = open_model(arguments.model, arguments.dtype)
    config = model.config
    if not tokens or min(tokens) < 0 or max(tokens) >= config.vocab_size:
        raise SystemExit(f"{arguments.model}: the tokens {tokens} are not all within its vocabulary of {config.vocab_size}")
    if config.model_type in FAMILIES:
        recorder = Recorder(model, np.arange(head_width(config)), arguments.attention_scores)
    elif arguments.attention_scores:
        raise SystemExit(f"--attention-scores: not recorded of model type '{config.model_type}'")
    else:
        recorder = ModuleRecorder(model)
    values = recorder.run(tokens)
    if arguments.stages:
        values = {name: value for name, value in values.items() if any(fnmatch.fnmatch(name, glob) for glob in arguments.stages)}
        if not values:
            raise SystemExit(f"--stages {' '.join(arguments.stages)}: no stage has such a name; layers are named like 'layer.0.query'")
    save(arguments.out, values, tokens, {"model": arguments.model.name, **versions(arguments.dtype)})
    print(f"{arguments.out}: {len(values)} stages, {len(tokens)} positions, {sum(v.size for v in values.values())} values")


if __name__ == "__main__":
    main()
