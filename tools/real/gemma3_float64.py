"""Gemma 3 of a GGUF file, evaluated by transformers in float64 with the dequantised weights.

The weights are those of the gguf package, widened. transformers' code is made to compute everything in float64: its norms, ropes and
softmax convert to float32 otherwise.
"""
import numpy as np
import torch

torch.float32 = torch.float64
torch.float = torch.float64
torch.Tensor.float = lambda self, *args, **kwargs: self.double()
torch.set_default_dtype(torch.float64)
import gguf  # noqa: E402
import transformers  # noqa: E402

LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
         "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
         "post_ffw_norm": "post_feedforward_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
WHOLE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def name_of(tensor):
    if tensor in WHOLE:
        return WHOLE[tensor]
    _, layer, part, end = tensor.split(".")
    return f"model.layers.{layer}.{LAYER[part]}.{end}"


def config_of(reader):
    def key(name):
        return reader.fields[f"gemma3.{name}"].contents()

    layers = key("block_count")
    vocabulary = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight").shape[1]
    rope = {"rope_type": "default", "rope_theta": key("rope.freq_base")}
    local = {"rope_type": "default", "rope_theta": 10000.0}  # what GGUF files without rope.freq_base_swa mean
    return transformers.Gemma3TextConfig(
        vocab_size=int(vocabulary), hidden_size=key("embedding_length"), intermediate_size=key("feed_forward_length"),
        num_hidden_layers=layers, num_attention_heads=key("attention.head_count"), num_key_value_heads=key("attention.head_count_kv"),
        head_dim=key("attention.key_length"), query_pre_attn_scalar=key("attention.key_length"), rms_norm_eps=1e-6,
        sliding_window=key("attention.sliding_window"), max_position_embeddings=key("context_length"),
        layer_types=["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)],
        rope_parameters={"full_attention": rope, "sliding_attention": local}, tie_word_embeddings=True, attn_implementation="eager")


def load(path):
    reader = gguf.GGUFReader(path)
    model = transformers.Gemma3ForCausalLM(config_of(reader)).double().eval()
    state = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        if tensor.name.endswith("norm.weight"):
            values = values - 1  # the file holds 1 + weight
        state[name_of(tensor.name)] = torch.from_numpy(values.reshape([int(n) for n in reversed(tensor.shape)]))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise SystemExit(f"{path}: tensors do not fit the model: missing {missing}, left over {unexpected}")
    return model


def logits(model, tokens):
    """[tokens, vocabulary] in float64"""
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].numpy()
