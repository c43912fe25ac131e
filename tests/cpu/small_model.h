// A small two-layer model written in the verbs, one dense layer and one mixture of experts, and prompts for it. The
// tests of whole passes run it on every machine.
#pragma once

#include <algorithm>

#include "cpu/verb_case.h"

namespace invar {

inline constexpr int64_t kWidth = 256, kHidden = 320, kVocabulary = 50;
inline constexpr int kHeads = 4, kKvHeads = 2, kHeadWidth = 64, kExperts = 5, kExpertsPerRow = 2;

struct SmallLayer {
    std::vector<float> attention_norm, query_norm, ffn_norm, key_bias;
    OwnedMatrix query, key, value, output;
    OwnedMatrix gate, up, down, router;
    OwnedStack expert_gate, expert_up, expert_down;
};

class SmallModel {
  public:
    explicit SmallModel(uint32_t seed) : random_(seed), rope_(rope_spec()) {
        using enum FormatId;
        embedding_ = matrix(q8_0, kVocabulary, kWidth, 16.0f);
        for (int i = 0; i < 2; ++i) {
            SmallLayer& layer = layers_.emplace_back();
            layer.attention_norm = make_inputs(random_, kWidth);
            layer.query_norm = make_inputs(random_, kHeadWidth);
            layer.ffn_norm = make_inputs(random_, kWidth);
            layer.key_bias = make_inputs(random_, kKvHeads * kHeadWidth);
            layer.query = matrix(q4_k, kHeads * kHeadWidth, kWidth);
            layer.key = matrix(q4_k, kKvHeads * kHeadWidth, kWidth);
            layer.value = matrix(q6_k, kKvHeads * kHeadWidth, kWidth);
            layer.output = matrix(bf16, kWidth, kHeads * kHeadWidth);
            if (i == 0) {
                layer.gate = matrix(q4_0, kHidden, kWidth);
                layer.up = matrix(q5_1, kHidden, kWidth);
                layer.down = matrix(q8_0, kWidth, kHidden);
            } else {
                layer.router = matrix(f32, kExperts, kWidth);
                layer.expert_gate = make_stack(random_, q4_k, StoredForm::rows4, kExperts, kHidden, kWidth);
                layer.expert_up = make_stack(random_, q4_k, StoredForm::rows4, kExperts, kHidden, kWidth);
                layer.expert_down = make_stack(random_, q5_0, StoredForm::rows4, kExperts, kWidth, kHidden);
            }
        }
    }

    static std::vector<KvGeometry> geometry() {
        return {{.kv_heads = kKvHeads, .key_width = kHeadWidth, .value_width = kHeadWidth, .window = 0},
                {.kv_heads = kKvHeads, .key_width = kHeadWidth, .value_width = kHeadWidth, .window = 70}};
    }

    // The hidden state of every row.
    Tensor forward(Ops& ops, const Batch& batch, SequenceState& cache) const {
        const int64_t rows = batch.size();
        const Tensor x = ops.scratch(rows, kWidth), normed = ops.scratch(rows, kWidth),
                     branch = ops.scratch(rows, kWidth);
        const Tensor query = ops.scratch(rows, kHeads * kHeadWidth), key = ops.scratch(rows, kKvHeads * kHeadWidth);
        const Tensor value = ops.scratch(rows, kKvHeads * kHeadWidth),
                     attended = ops.scratch(rows, kHeads * kHeadWidth);
        const Tensor gate = ops.scratch(rows * kExpertsPerRow, kHidden),
                     up = ops.scratch(rows * kExpertsPerRow, kHidden);
        const Tensor slots_out = ops.scratch(rows * kExpertsPerRow, kWidth), logits = ops.scratch(rows, kExperts);
        const ExpertSlots slots = ops.scratch_slots(rows, kExpertsPerRow);
        ops.embed({-1, "embedding"}, embedding_.view, batch, x);
        for (int i = 0; i < 2; ++i) {
            const SmallLayer& layer = layers_[static_cast<size_t>(i)];
            ops.rms_norm({i, "attention_norm"}, x, vector(layer.attention_norm), 1e-6f, normed);
            const LinearJob jobs[3] = {{{i, "query"}, &layer.query.view, query},
                                       {{i, "key"}, &layer.key.view, key},
                                       {{i, "value"}, &layer.value.view, value}};
            ops.linear_many(jobs, normed);
            ops.add_bias({i, "key_biased"}, key, vector(layer.key_bias));
            ops.rms_norm({i, "query_norm"}, query, vector(layer.query_norm), 1e-6f, query);
            ops.rope({i, "query_rope"}, rope_, batch, query);
            ops.rope({i, "key_rope"}, rope_, batch, key);
            ops.store_kv({i, "stored"}, i, batch, key, value, cache);
            ops.attention({i, "attention"},
                          {.layer = i, .heads = kHeads, .scale = 0.125f, .softcap = i == 0 ? 0.0f : 20.0f}, batch,
                          query, cache, attended);
            ops.linear({i, "output"}, layer.output.view, attended, branch);
            ops.add({i, "residual"}, x, branch);
            ops.rms_norm({i, "ffn_norm"}, x, vector(layer.ffn_norm), 1e-6f, normed);
            if (i == 0) {
                const LinearJob pair[2] = {{{i, "gate"}, &layer.gate.view, gate.row_range(0, rows)},
                                           {{i, "up"}, &layer.up.view, up.row_range(0, rows)}};
                ops.linear_many(pair, normed);
                ops.activate({i, "activation"}, {}, pair[0].out, pair[1].out, pair[0].out);
                ops.linear({i, "down"}, layer.down.view, pair[0].out, branch);
            } else {
                ops.linear({i, "router"}, layer.router.view, normed, logits);
                ops.route({i, "routing"}, {.experts_per_row = kExpertsPerRow, .renormalise = true}, logits, slots);
                ops.expert_linear_pair({i, "expert_gate"}, layer.expert_gate.view, gate, {i, "expert_up"},
                                       layer.expert_up.view, up, slots, SlotInput::row_of_slot, normed);
                ops.activate({i, "expert_activation"}, {}, gate, up, gate);
                ops.expert_linear({i, "expert_down"}, layer.expert_down.view, slots, SlotInput::slot, gate, slots_out);
                ops.combine_experts({i, "expert_sum"}, slots, slots_out, branch);
            }
            ops.add({i, "residual_after_ffn"}, x, branch);
        }
        return x;
    }

  private:
    static RopeSpec rope_spec() {
        RopeSpec spec;
        spec.pairing = RopePairing::halves;
        spec.rotary_width = spec.head_width = kHeadWidth;
        spec.base = 1e4;
        return spec;
    }
    static WeightVector vector(const std::vector<float>& values) {
        return {.id = {}, .data = values.data(), .size = static_cast<int64_t>(values.size())};
    }
    OwnedMatrix matrix(FormatId id, int64_t rows, int64_t columns, float size = 1.0f) {
        return make_matrix(random_, id, StoredForm::rows4, rows, columns, size);
    }

    std::mt19937 random_;
    RopeTable rope_;
    OwnedMatrix embedding_;
    std::vector<SmallLayer> layers_;
};

struct Prompts {
    std::vector<std::vector<int32_t>> tokens;  // of each sequence
};

inline Prompts make_prompts(uint32_t seed, const std::vector<int64_t>& lengths) {
    std::mt19937 random(seed);
    Prompts prompts;
    for (const int64_t length : lengths) {
        auto& tokens = prompts.tokens.emplace_back();
        for (int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(random() % kVocabulary));
    }
    return prompts;
}

}  // namespace invar
