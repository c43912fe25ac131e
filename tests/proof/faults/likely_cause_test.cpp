// The cause that is named for wrong results of a stage: the fault that made them, whether its bits are the wrong ones
// exactly, how close it comes otherwise, and none where no fault comes ten times closer than the right results.
#include "proof/faults/likely_cause.h"

#include <cmath>
#include <cstring>
#include <random>

#include "proof/record/recorder.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

using namespace test;

constexpr int64_t kTokens = 12;

// A tiny model, and all stages of a run on twelve tokens.
struct Model {
    TinyEngine engine;
    std::vector<int32_t> tokens = some_tokens(kTokens);
    Recording right;

    explicit Model(const std::string& architecture) : engine(architecture), right(run(nullptr)) {}

    Recording run(VerbHook* fault) {
        std::vector<VerbHook*> hooks;
        if (fault != nullptr) hooks.push_back(fault);
        return record(engine.runner(), tokens, kTokens, {}, hooks);
    }

    struct Faulty {
        Recording recording;
        WrongStage stage;
        std::string struck;  // where the fault says that it struck
    };
    Faulty with(const std::string& fault) {
        auto hook = make_fault(fault, engine.runner().config(), engine.engine().plan());
        EXPECT_TRUE(hook) << hook.error().message;
        if (!hook) return {};
        Faulty wrong{.recording = run(hook->get())};
        const FaultReport& report = (*hook)->report();
        EXPECT_TRUE(report.struck) << fault;
        wrong.stage = {report.stage, report.position, report.element};
        wrong.struck = to_string(report.stage);
        return wrong;
    }
    std::optional<LikelyCause> cause(const Recording& inputs, const Recording& wrong, const WrongStage& stage) {
        auto found = likely_cause(engine.runner(), inputs, wrong, stage);
        EXPECT_TRUE(found) << found.error().message;
        return found ? *found : std::nullopt;
    }
};

StageRecord& stage_of(Recording& recording, const StageKey& key) {
    const auto found = std::find_if(recording.stages.begin(), recording.stages.end(),
                                    [&](const StageRecord& stage) { return stage.key == key; });
    CHECK(found != recording.stages.end(), "the stage is recorded");
    return *found;
}

float* values_at(StageRecord& stage, int64_t position) {
    return reinterpret_cast<float*>(stage.data.data()) + *stage.index_of(position) * stage.width();
}

TEST(LikelyCause, IsTheFaultThatWasThere) {
    const struct {
        const char *model, *fault, *stage;
    } cases[] = {
        {"qwen2", "norm_without_weight@layer=1,stage=ffn_norm", "layer.1.ffn_norm"},
        {"qwen2", "norm_without_one@layer=0,stage=attention_norm", "layer.0.attention_norm"},
        {"qwen2", "wrong_epsilon@stage=output_norm", "output_norm"},
        {"qwen2", "missing_bias@layer=1,stage=key_biased", "layer.1.key_biased"},
        {"qwen2", "lost_branch@layer=0,stage=residual_after_ffn", "layer.0.residual_after_ffn"},
        {"qwen2", "gate_up_swapped@layer=1", "layer.1.activation"},
        {"qwen2", "rope_pairing@layer=0,stage=query_rope", "layer.0.query_rope"},
        {"qwen2", "off_by_one_position@layer=1,stage=key_rope,position=4", "layer.1.key_rope"},
        {"qwen2", "tiled_heads@layer=1,position=5", "layer.1.attention"},
        {"qwen2", "unscaled_attention@layer=0,position=7", "layer.0.attention"},
        {"qwen2", "wrong_token@position=3", "embedding"},
        {"qwen3moe", "zero_weight@layer=1,stage=expert_down", "layer.1.expert_down"},
        {"qwen3moe", "wrong_expert@layer=0,stage=expert_gate,position=6,slot=1", "layer.0.expert_gate"},
        {"qwen3moe", "no_renormalise@layer=1,position=8", "layer.1.expert_weights"},
        {"qwen3moe", "uniform_weights@layer=0,position=2", "layer.0.expert_weights"},
        {"qwen3moe", "truncated_store@layer=1,position=9", "layer.1.key_stored"},
    };
    std::unique_ptr<Model> model;
    std::string open;
    for (const auto& one : cases) {
        if (open != one.model) model = std::make_unique<Model>(open = one.model);
        const Model::Faulty wrong = model->with(one.fault);
        EXPECT_EQ(wrong.struck, one.stage);
        const auto cause = model->cause(model->right, wrong.recording, wrong.stage);
        ASSERT_TRUE(cause) << one.fault;
        const std::string name = std::string(one.fault).substr(0, std::string_view(one.fault).find('@'));
        EXPECT_EQ(cause->fault, name);
        EXPECT_TRUE(cause->exact) << one.fault;
        EXPECT_EQ(cause->distance, 0) << one.fault;
        EXPECT_EQ(to_string(*cause), "as if " + cause->meaning + " (fault " + name + " gives exactly these bits)");
    }
}

// `inputs` and `wrong` are one recording: another engine's, which lacks something.
TEST(LikelyCause, IsFoundInARecordingThatIsWrongItself) {
    Model model("qwen2");
    const Model::Faulty faulty = model.with("skipped_norm@layer=1,stage=ffn_norm");
    Recording theirs = model.right;
    stage_of(theirs, faulty.stage.key).data = faulty.recording.find(faulty.stage.key)->data;
    const auto cause = model.cause(theirs, theirs, faulty.stage);
    ASSERT_TRUE(cause);
    EXPECT_EQ(cause->fault, "skipped_norm");
    EXPECT_TRUE(cause->exact);
    EXPECT_EQ(to_string(*cause), "as if a norm is left out (fault skipped_norm gives exactly these bits)");
}

// Results that lie between the right ones and those of a fault: at 0.9 of the way the right ones are 9 times as far.
TEST(LikelyCause, ComesTenTimesCloserThanTheRightResults) {
    Model model("qwen2");
    const Model::Faulty faulty = model.with("norm_without_weight@layer=0,stage=ffn_norm");
    const StageKey& key = faulty.stage.key;
    const int64_t position = faulty.stage.position;
    const auto between = [&](double share, double& distance) {
        Recording wrong = faulty.recording;
        StageRecord right = *model.right.find(key), fault = *faulty.recording.find(key);
        StageRecord& mixed = stage_of(wrong, key);
        double difference = 0, size = 0;
        for (int64_t i = 0; i < mixed.width(); ++i) {
            const double a = values_at(right, position)[i], b = values_at(fault, position)[i];
            float& value = values_at(mixed, position)[i];
            value = static_cast<float>(a + share * (b - a));
            difference += (b - value) * (b - value);
            size += double{value} * value;
        }
        distance = std::sqrt(difference / size);
        return model.cause(model.right, wrong, faulty.stage);
    };
    double distance = 0;
    EXPECT_FALSE(between(0.0, distance));
    EXPECT_FALSE(between(0.5, distance));
    EXPECT_FALSE(between(0.90, distance));
    for (const double share : {0.92, 0.999}) {
        const auto cause = between(share, distance);
        ASSERT_TRUE(cause) << share;
        EXPECT_EQ(cause->fault, "norm_without_weight");
        EXPECT_FALSE(cause->exact);
        EXPECT_NEAR(cause->distance, distance, 1e-12);
        EXPECT_EQ(to_string(*cause),
                  fmt::format("as if the weight of a norm is left out (fault norm_without_weight comes within {:.2g} "
                              "of it)",
                              distance));
    }
}

TEST(LikelyCause, IsNoneForNumbersThatNoFaultGives) {
    Model model("qwen3moe");
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (const StageKey& key : {StageKey{1, "ffn_norm"}, StageKey{0, "query"}, StageKey{1, "attention"},
                                StageKey{0, "expert_up"}, StageKey{-1, "logits"}}) {
        Recording wrong = model.right;
        StageRecord& stage = stage_of(wrong, key);
        for (int64_t i = 0; i < stage.width(); ++i) values_at(stage, 7)[i] = normal(random);
        EXPECT_FALSE(model.cause(model.right, wrong, {key, 7, 0})) << to_string(key);
    }
    // A stage that was not recorded, and a position that was not.
    Recording wrong = model.right;
    std::erase_if(wrong.stages, [](const StageRecord& stage) { return stage.key == StageKey{0, "query"}; });
    EXPECT_FALSE(model.cause(model.right, wrong, {{0, "query"}, 7, 0}));
    EXPECT_FALSE(model.cause(model.right, model.with("skipped_norm@layer=1,stage=ffn_norm").recording,
                             {{1, "ffn_norm"}, kTokens + 5, 0}));
}

TEST(LikelyCause, IsTheErrorOfTheReplayWithoutTokens) {
    Model model("qwen2");
    Recording without = model.right;
    without.tokens.clear();
    const auto found = likely_cause(model.engine.runner(), without, without, {{1, "ffn_norm"}, 0, 0});
    ASSERT_FALSE(found);
    EXPECT_NE(found.error().message.find("tokens"), std::string::npos) << found.error().message;
}

}  // namespace
}  // namespace invar
