// Faults of verbs that only some architectures have: each strikes a tiny model that has the verb, at the stage that is
// expected, and a comparison of all stages finds it there first.
#include <gtest/gtest.h>

#include "engine/engine_settings.h"
#include "proof/faults/faults.h"
#include "proof/record/model_runner.h"
#include "proof/record/recorder.h"

namespace invar {
namespace {

struct Case {
    std::string model, fault;
    std::string stage;  // where it strikes: the first stage that differs
};

const Case kCases[] = {
    {"gpt-oss", "dropped_sinks@layer=1", "layer.1.attention"},
    {"gpt-oss", "missing_expert_bias@layer=1,stage=expert_up_biased", "layer.1.expert_up_biased"},
    {"gpt-oss", "unweighted_bias@layer=0", "layer.0.expert_down_biased"},
    {"gpt-oss", "wrong_activation@layer=0", "layer.0.expert_activation"},
    {"gemma2", "uncapped_attention@layer=1,position=3", "layer.1.attention"},
    {"gemma2", "missing_softcap", "logits_capped"},
    {"gemma2", "missing_scale@stage=embedding_scaled", "embedding_scaled"},
    {"gemma2", "norm_without_one@layer=1,stage=ffn_norm", "layer.1.ffn_norm"},
    {"gemma4-moe", "missing_multiplier@layer=1", "layer.1.layer_scaled"},
    {"gemma4-moe", "norm_without_weight@layer=1,stage=router_norm", "layer.1.router_norm"},
    {"gemma4-moe", "missing_scale@layer=1,stage=router_input", "layer.1.router_input"},
    {"gemma4-moe", "skipped_norm@layer=1,stage=value_norm", "layer.1.value_norm"},
    {"granitemoe", "missing_scale@layer=1,stage=attention_scaled", "layer.1.attention_scaled"},
    {"granitemoe", "missing_scale@stage=logits_scaled", "logits_scaled"},
    {"ministral3", "missing_temperature@layer=1", "layer.1.query_scaled"},
    {"deepseek-v3", "biased_weights@layer=1,position=2", "layer.1.expert_weights"},
    {"deepseek-v3", "ignored_groups@layer=1", "layer.1.expert_weights"},
    {"deepseek-v2", "ignored_groups@layer=1", "layer.1.expert_weights"},
    {"deepseek-v3", "missing_route_factor@layer=2", "layer.2.expert_weights"},
    {"deepseek-v3", "skipped_rope@layer=1,stage=key_rope", "layer.1.key_rope"},
    {"deepseek-v3", "flipped_bit@layer=1,stage=query_absorbed", "layer.1.query_absorbed"},
    {"qwen35moe", "kept_state@layer=1,stage=delta_convolution", "layer.1.delta_convolution"},
    {"qwen35moe", "kept_state@layer=1,stage=delta_rule", "layer.1.delta_rule"},
    {"qwen35moe", "state_one_late@layer=0,stage=delta_rule,position=5", "layer.0.delta_rule"},
    {"qwen35moe", "state_one_late@layer=0,stage=delta_convolution", "layer.0.delta_convolution"},
    {"qwen35moe", "misordered_value_heads@layer=1", "layer.1.delta_rule"},
    {"qwen3next", "misordered_value_heads@layer=0", "layer.0.delta_rule"},
    {"qwen35moe", "reversed_taps@layer=0", "layer.0.delta_convolution"},
    {"qwen35moe", "missing_gate@layer=1,stage=shared_gated", "layer.1.shared_gated"},
    {"qwen35", "missing_gate@stage=attention_gated", "layer.2.attention_gated"},
    {"qwen35", "skipped_norm@layer=0,stage=delta_norm", "layer.0.delta_norm"},
    {"qwen35", "wrong_epsilon@layer=0,stage=delta_norm", "layer.0.delta_norm"},
    {"lfm2", "missing_gate@layer=2,stage=short_gated", "layer.2.short_gated"},
    {"lfm2", "kept_state@layer=0", "layer.0.short_convolution"},
    {"lfm2", "state_one_late@layer=2,position=5", "layer.2.short_convolution"},
    {"lfm2moe", "reversed_taps@layer=2", "layer.2.short_convolution"},
    {"lfm2moe", "biased_weights@layer=1,position=2", "layer.1.expert_weights"},
    {"nemotron-h", "kept_state@layer=2,stage=state_convolution", "layer.2.state_convolution"},
    {"nemotron-h", "state_one_late@layer=2,stage=state_convolution", "layer.2.state_convolution"},
    {"nemotron-h", "reversed_taps@layer=2", "layer.2.state_convolution"},
    {"granitehybrid", "kept_state@layer=2,stage=state_convolution", "layer.2.state_convolution"},
    {"granitehybrid", "reversed_taps@layer=2", "layer.2.state_convolution"},
    {"granitehybrid", "kept_state@layer=2,stage=state_space", "layer.2.state_space"},
    {"granitehybrid", "skipped_norm@layer=2,stage=state_norm", "layer.2.state_norm"},
    {"gemma4-e2b", "missing_multiplier@layer=4", "layer.4.layer_scaled"},
    {"gemma4-e2b", "skipped_norm@layer=4,stage=input_post_norm", "layer.4.input_post_norm"},
    {"gemma4-e2b", "lost_branch@layer=4,stage=residual_after_input", "layer.4.residual_after_input"},
    {"gemma4-e2b", "wrong_cache_layer@layer=5", "layer.5.attention"},
    {"gemma4-e2b", "wrong_cache_layer@layer=6,position=9", "layer.6.attention"},
    {"gemma4-e2b", "wrong_cache_layer@layer=7,position=15", "layer.7.attention"},
    {"gpt2", "wrong_learned_position@position=3", "position"},
    {"gpt2", "wrong_learned_position@position=15", "position"},
    {"bert", "wrong_learned_position", "position"},
    {"bert", "masked_future@layer=1,position=4", "layer.1.attention"},
    {"modernbert", "masked_future@layer=1", "layer.1.attention"},
    {"llama4", "skipped_norm@layer=1,stage=query_norm", "layer.1.query_norm"},
    {"llama4", "rope_pairing@layer=1,stage=key_rope", "layer.1.key_rope"},
    {"llama4", "wrong_expert@layer=1,position=3", "layer.1.expert_ids"},
};

// Every stage of a prompt and two more tokens, or of a text, without the fault and with it; false: refused or nothing
// recorded.
class Compared {
  public:
    explicit Compared(const std::string& model) {
        const std::filesystem::path path = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf" / (model + ".gguf");
        EngineSettings settings{.model = path};
        settings.threads = 1;
        settings.cache_type = CacheType::f32;
        settings.context = 32;
        settings.chunk = 16;
        auto opened = Engine::open(settings, nullptr);
        EXPECT_TRUE(opened) << model << ": " << opened.error().message;
        if (opened) engine_ = std::move(*opened);
    }
    Engine* engine() const { return engine_.get(); }

    std::vector<Recording> run(VerbHook* fault) const {
        EngineRunner runner(*engine_);
        const int32_t sequence = runner.cache().add_sequence();
        Recorder recorder(runner, sequence, {});
        std::vector<VerbHook*> hooks;
        if (fault != nullptr) hooks.push_back(fault);
        hooks.push_back(&recorder);
        std::vector<Recording> passes;
        int64_t start = 0;
        const bool text = runner.config().result == ModelResult::hidden;  // of an encoder, which takes it in one pass
        for (const int64_t count : text ? std::vector<int64_t>{16} : std::vector<int64_t>{14, 1, 1}) {
            std::vector<int32_t> tokens;
            for (int64_t i = start; i < start + count; ++i)
                tokens.push_back(static_cast<int32_t>((i * 37 + 11) % runner.config().vocabulary));
            const FeedRequest request{.sequence = sequence, .start = start, .tokens = tokens, .chunk = count};
            const Result<void> fed = feed(runner, request, hooks, nullptr);
            EXPECT_TRUE(fed) << fed.error().message;
            passes.push_back(recorder.take());
            start += count;
        }
        runner.cache().remove_sequence(sequence);
        return passes;
    }

  private:
    std::unique_ptr<Engine> engine_;
};

std::string first_difference(const std::vector<Recording>& right, const std::vector<Recording>& wrong) {
    for (size_t pass = 0; pass < right.size(); ++pass) {
        for (size_t i = 0; i < right[pass].stages.size(); ++i) {
            const StageRecord &a = right[pass].stages[i], &b = wrong[pass].stages[i];
            EXPECT_EQ(to_string(a.key), to_string(b.key));
            if (a.data != b.data) return to_string(a.key);
        }
    }
    return "nothing differs";
}

TEST(ArchitectureFaults, EachIsTheFirstStageThatDiffers) {
    std::string open;
    std::unique_ptr<Compared> model;
    std::vector<Recording> right;
    for (const Case& one : kCases) {
        if (open != one.model) {
            model = std::make_unique<Compared>(one.model);
            ASSERT_NE(model->engine(), nullptr) << one.model;
            right = model->run(nullptr);
            open = one.model;
            EXPECT_EQ(first_difference(right, model->run(nullptr)), "nothing differs") << one.model;
        }
        const auto fault = make_fault(one.fault, model->engine()->config(), model->engine()->plan());
        ASSERT_TRUE(fault) << one.model << ": " << fault.error().message;
        const std::vector<Recording> wrong = model->run(fault->get());
        EXPECT_TRUE((*fault)->report().struck) << one.model << ": " << one.fault;
        EXPECT_EQ(to_string((*fault)->report().stage), one.stage) << one.fault;
        EXPECT_EQ(first_difference(right, wrong), one.stage) << one.model << ": " << one.fault;
    }
}

// The tiny model never reaches its limit, so the activation is called with numbers that do.
TEST(ArchitectureFaults, AMissingClampShowsWhereTheLimitIsReached) {
    const Compared model("gpt-oss");
    const auto fault = make_fault("missing_clamp@layer=0", model.engine()->config(), model.engine()->plan());
    ASSERT_TRUE(fault) << fault.error().message;
    std::vector<float> gate = {1, 9, 2}, up = {0.5f, 1, 20}, out = {0, 0, 0};
    const ActivationSpec spec{.kind = Activation::clamped_swiglu, .alpha = 1.702f, .limit = 7};
    for (size_t i = 0; i < out.size(); ++i) out[i] = law::activate(spec, gate[i], up[i]);
    const std::vector<float> right = out;
    Batch batch;
    batch.rows.push_back({});
    VerbCall call{.verb = Verb::activate,
                  .stage = {0, "expert_activation"},
                  .x = {gate.data(), Place::host, 1, 3, 3},
                  .x2 = {up.data(), Place::host, 1, 3, 3},
                  .out = {out.data(), Place::host, 1, 3, 3},
                  .activation = spec};
    call.pass = &batch;
    (*fault)->before(call);
    (*fault)->after(call);
    EXPECT_TRUE((*fault)->report().struck);
    EXPECT_EQ((*fault)->report().element, 1);
    EXPECT_EQ(out[0], right[0]);
    EXPECT_GT(out[1], right[1]);
    EXPECT_GT(out[2], 2.5f * right[2]);
}

}  // namespace
}  // namespace invar
