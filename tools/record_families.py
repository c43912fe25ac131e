"""Which module of transformers makes which stage, for the families that record_transformers.py records by their modules alone.

An entry is (path of a module, what of it, stage).  Paths are those below a layer, or below the model; "" is the layer itself.  What: "out" is
the result, "in" the first input, "projection" the result without the bias and with it.  "chosen" stands for the experts that the module of
experts gets, "routing" for their weights too.  "out by value heads" and "in by value heads" are those whose last elements are value heads, which
the engine has in another order.  Layers differ, so a path need not be in every layer, but it must be in one.
"""

QUERY, KEY, VALUE = (f"self_attn.{one}_proj" for one in "qkv")
ATTENTION = [(QUERY, "projection", "query"), (KEY, "projection", "key"), (VALUE, "projection", "value"),
             ("self_attn.q_norm", "out", "query_norm"), ("self_attn.k_norm", "out", "key_norm")]
OUTPUT = ("self_attn.o_proj", "projection", "attention_output")
DENSE = [("mlp.gate_proj", "out", "gate"), ("mlp.up_proj", "out", "up"), ("mlp.down_proj", "in", "activation"), ("mlp.down_proj", "out", "down")]
NORMS = [("input_layernorm", "out", "attention_norm"), ("post_attention_layernorm", "in", "residual_after_attention"),
         ("post_attention_layernorm", "out", "ffn_norm"), ("", "out", "residual_after_ffn")]
ENDS = [("model.embed_tokens", "out", "embedding"), ("model.norm", "out", "output_norm"), ("lm_head", "out", "logits")]


def shared_expert(name):
    return [(f"mlp.{name}.gate_proj", "out", "shared_gate"), (f"mlp.{name}.up_proj", "out", "shared_up"),
            (f"mlp.{name}.down_proj", "in", "shared_activation"), (f"mlp.{name}.down_proj", "out", "shared_down")]


GEMMA4_ENDS = [("model.embed_tokens", "out", "embedding_scaled"), ("model.norm", "out", "output_norm"), ("lm_head", "out", "logits"),
               ("", "logits", "logits_capped")]
GEMMA4_INPUTS = [("model.embed_tokens_per_layer", "out", "input_embedding_scaled"), ("model.per_layer_model_projection", "out", "input_projection"),
                 ("model.per_layer_projection_norm", "in", "input_projection_scaled"), ("model.per_layer_projection_norm", "out", "input_norm")]
# The weights of experts have a scale of each expert, which is a verb of its own here.  Where keys are the values, the norm of values has the only module that sees them.
GEMMA4 = [("input_layernorm", "out", "attention_norm"), (QUERY, "out", "query"), (KEY, "out", "key"), ("self_attn.v_norm", "in", "value"),
          ("self_attn.q_norm", "out", "query_norm"), ("self_attn.k_norm", "out", "key_norm"), ("self_attn.v_norm", "out", "value_norm"),
          ("self_attn.o_proj", "in", "attention"), OUTPUT, ("post_attention_layernorm", "out", "attention_post_norm"),
          ("pre_feedforward_layernorm", "in", "residual_after_attention"), ("pre_feedforward_layernorm", "out", "ffn_norm"), *DENSE,
          ("post_feedforward_layernorm", "out", "ffn_post_norm"), ("", "out", "layer_scaled")]
GEMMA4_EXPERTS = [("post_feedforward_layernorm_1", "out", "dense_post_norm"), ("router.proj", "in", "router_input"),
                  ("router.proj", "out", "router"), ("pre_feedforward_layernorm_2", "out", "expert_norm"), ("experts", "chosen", "expert"),
                  ("experts", "out", "expert_sum"), ("post_feedforward_layernorm_2", "out", "expert_post_norm"),
                  ("post_feedforward_layernorm", "in", "dense_and_experts")]
GEMMA4_LAYER_INPUTS = [("per_layer_input_gate", "in", "residual_after_ffn"), ("per_layer_input_gate", "out", "input_gate"),
                       ("per_layer_projection", "in", "input_gated"), ("per_layer_projection", "out", "input_branch"),
                       ("post_per_layer_input_norm", "out", "input_post_norm")]

BY_HEADS = "out by value heads"
DELTA = [("linear_attn.in_proj_qkv", BY_HEADS, "delta_inputs"), ("linear_attn.in_proj_z", BY_HEADS, "delta_gate"),
         ("linear_attn.in_proj_b", BY_HEADS, "delta_beta"), ("linear_attn.in_proj_a", BY_HEADS, "delta_decay"),
         ("linear_attn.norm", "in by value heads", "delta_rule"), ("linear_attn.norm", BY_HEADS, "delta_gated"),
         ("linear_attn.out_proj", "out", "attention_output")]
QWEN35 = [*NORMS, *ATTENTION, ("self_attn.o_proj", "in", "attention_gated"), OUTPUT, *DELTA]
QWEN35_EXPERTS = [("mlp.gate", "out", "router"), ("mlp.experts", "routing", "expert"), ("mlp.experts", "out", "expert_sum"),
                  *shared_expert("shared_expert"), ("mlp.shared_expert_gate", "out", "shared_expert_gate"), ("mlp", "out", "expert_sum_with_shared")]

# Its router chooses in no order, so that only the sum of its experts can be compared.
DEEPSEEK = [*NORMS, ("self_attn.kv_a_proj_with_mqa", "out", "latent"), ("self_attn.kv_a_layernorm", "out", "latent_norm"),
            ("self_attn.o_proj", "in", "attention_values"), OUTPUT, *DENSE, ("mlp.gate", "out", "router"), ("mlp.experts", "out", "expert_sum"),
            *shared_expert("shared_experts")]
QUERY_RANK = [("self_attn.q_a_proj", "out", "query_down"), ("self_attn.q_a_layernorm", "out", "query_down_norm"), ("self_attn.q_b_proj", "out", "query")]

GPT_OSS = [*NORMS, *ATTENTION[:3], ("self_attn.o_proj", "in", "attention"), OUTPUT, ("mlp.router", "projection", "router"),
           ("mlp.experts", "routing", "expert"), ("mlp.experts", "out", "expert_sum")]


def gemma4(config):
    experts, inputs = config.enable_moe_block, config.hidden_size_per_layer_input > 0
    return GEMMA4_ENDS + GEMMA4_INPUTS * inputs, GEMMA4 + GEMMA4_EXPERTS * experts + GEMMA4_LAYER_INPUTS * inputs


def deepseek(config):
    return ENDS, DEEPSEEK + (QUERY_RANK if config.q_lora_rank else [(QUERY, "out", "query")])


# Type of the text model -> (entries of the model, entries of a layer) for its config.
FAMILIES = {
    "gemma4_text": gemma4,
    "qwen3_5_text": lambda config: (ENDS, QWEN35 + DENSE),
    "qwen3_5_moe_text": lambda config: (ENDS, QWEN35 + QWEN35_EXPERTS),
    "gpt_oss": lambda config: (ENDS, GPT_OSS),
    "deepseek_v2": deepseek,
    "deepseek_v3": deepseek,
}
# Those that call eager_attention_forward with queries and keys as they are compared.
TURNED = {"gemma4_text", "qwen3_5_text", "qwen3_5_moe_text", "gpt_oss"}
