// What works cost, against the formulas of a decoder written out here: bytes of the plan's entries, products of their
// shapes, positions that queries see. The engine has no such formulas (bench/work.h reads the verb table).
#include "bench/work.h"

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_settings.h"

namespace invar {
namespace {

int64_t elements_of(const std::vector<int64_t>& shape) {
    int64_t elements = 1;
    for (const int64_t side : shape) elements *= side;
    return elements;
}

// A decoder with attention and a dense or mixture feed-forward part, by its geometry.
class DecoderCost {
  public:
    DecoderCost(const WeightPlan& plan, const ModelConfig& config) : plan_(plan), config_(config) {
        const auto head = std::find_if(plan.entries.begin(), plan.entries.end(),
                                       [](const PlanEntry& entry) { return entry.id.role == "output_head"; });
        const bool tied = head == plan.entries.end() || head->alias_of.has_value();
        for (const PlanEntry& entry : plan.entries) {
            if (entry.alias_of || entry.id.role == "rope_frequencies") continue;
            const bool embedding = entry.id.role == "token_embedding";
            const bool to_logits = embedding || entry.id.role == "output_head";
            if (entry.kind == WeightShape::stack) {
                expert_bytes_ += entry.bytes / config.most_experts();
                of_row_ += elements_of(entry.shape) / config.most_experts() * config.most_experts_per_token();
            } else if (embedding && !tied) {
                looked_up_ += entry.bytes / entry.shape[0];
            } else {
                fixed_bytes_ += entry.bytes;
                if (entry.kind == WeightShape::matrix) (to_logits ? of_logits_ : of_row_) += elements_of(entry.shape);
            }
        }
    }

    WorkCost of(const Work& work) const {
        WorkCost cost;
        for (int64_t position = work.depth; position < work.depth + work.tokens; ++position) {
            for (const LayerSpec& spec : config_.layers) {
                const AttentionGeometry& layer = *spec.attention();
                const int64_t seen = layer.window > 0 ? std::min<int64_t>(position + 1, layer.window) : position + 1;
                const int64_t widths = layer.key_width + layer.value_width;
                cost.attention_multiply_adds += work.sequences * seen * layer.heads * widths;
                if (work.kind != WorkKind::prompt)
                    cost.cache_bytes +=
                        work.sequences * seen * layer.kv_heads * widths * cache_type_bytes(plan_.cache_type);
            }
        }
        if (work.kind == WorkKind::prompt) {
            const int64_t chunks = (work.tokens + plan_.chunk - 1) / plan_.chunk;
            cost.weight_multiply_adds = work.tokens * of_row_ + chunks * of_logits_;
            return cost;
        }
        const int64_t experts = work.sequences * config_.most_experts_per_token();
        cost.weight_bytes = work.tokens * (fixed_bytes_ + work.sequences * looked_up_ + experts * expert_bytes_);
        cost.weight_multiply_adds = work.computed() * (of_row_ + of_logits_);
        return cost;
    }

  private:
    const WeightPlan& plan_;
    const ModelConfig& config_;
    int64_t fixed_bytes_ = 0, looked_up_ = 0, expert_bytes_ = 0, of_row_ = 0, of_logits_ = 0;
};

std::vector<std::filesystem::path> models() {
    std::vector<std::filesystem::path> paths = {std::string(INVAR_MODELS) + "/demo-dense.gguf",
                                                std::string(INVAR_MODELS) + "/demo-moe.gguf"};
    for (const auto& entry : std::filesystem::directory_iterator(std::string(INVAR_TEST_DATA) + "/goldens"))
        if (entry.path().extension() == ".gguf") paths.push_back(entry.path());
    return paths;
}

TEST(Work, CostsWhatADecoderOfThatGeometryCosts) {
    int compared = 0;
    for (const std::filesystem::path& path : models()) {
        const Result<Checkpoint> file = Checkpoint::open(path);
        ASSERT_TRUE(file) << file.error().message;
        const Result<PlannedModel> planned =
            plan_model(*file, {.model = path, .threads = 1, .context = 0, .chunk = 32});
        ASSERT_TRUE(planned) << planned.error().message;
        const DecoderCost expected_of(planned->plan, planned->config);
        for (const Work& work :
             {Work{.kind = WorkKind::prompt, .tokens = 40}, Work{.kind = WorkKind::prompt, .tokens = 33, .depth = 7},
              Work{.kind = WorkKind::generation, .tokens = 3, .depth = 20},
              Work{.kind = WorkKind::sequences, .tokens = 2, .depth = 11, .sequences = 4}}) {
            const WorkCost expected = expected_of.of(work);
            const Result<WorkCost> cost = cost_of(work, planned->plan, planned->config, {});
            ASSERT_TRUE(cost) << cost.error().message;
            const std::string what = path.filename().string() + ", " + describe(work);
            EXPECT_EQ(cost->weight_bytes, expected.weight_bytes) << what;
            EXPECT_EQ(cost->cache_bytes, expected.cache_bytes) << what;
            EXPECT_EQ(cost->weight_multiply_adds, expected.weight_multiply_adds) << what;
            EXPECT_EQ(cost->attention_multiply_adds, expected.attention_multiply_adds) << what;
            EXPECT_GT(cost->weight_multiply_adds, 0) << what;
            ++compared;
        }
    }
    EXPECT_GE(compared, 4 * 14);
}

// By hand from the configs: a convolution keeps its last taps - 1 columns of all channels, a recurrence a state of key
// width x value width for each value head, both in F32; keys and values of the layer with attention are F16.
struct Recurrent {
    const char* name;
    int64_t state_bytes;     // of one sequence, all layers
    int64_t position_bytes;  // of keys and values
    int64_t state_products;  // of one token: taps x channels, and three for each element of a state
};
constexpr Recurrent kRecurrent[] = {
    {"qwen35moe", 2 * 4 * (3 * (2 * 2 * 16 + 6 * 16) + 6 * 16 * 16), 2 * 2 * 32,
     2 * (4 * (2 * 2 * 16 + 6 * 16) + 3 * 6 * 16 * 16)},
    {"nemotron-h", 2 * 4 * (3 * (6 * 8 + 2 * 2 * 16) + 6 * 8 * 16), 2 * 2 * 2 * 24,
     2 * (4 * (6 * 8 + 2 * 2 * 16) + 3 * 6 * 8 * 16)},
    {"granitehybrid", 2 * 4 * (3 * (4 * 16 + 2 * 1 * 16) + 4 * 16 * 16), 2 * 2 * 2 * 8,
     2 * (4 * (4 * 16 + 2 * 1 * 16) + 3 * 4 * 16 * 16)},
    {"lfm2", 2 * 4 * 2 * 32, 2 * 2 * 2 * 8, 2 * 3 * 32},
};

TEST(Work, CountsTheStatesOfRecurrencesOnceForEachSequenceOfAPass) {
    for (const Recurrent& model : kRecurrent) {
        const std::filesystem::path path = fmt::format("{}/goldens_hf/{}.gguf", INVAR_TEST_DATA, model.name);
        const Result<Checkpoint> file = Checkpoint::open(path);
        ASSERT_TRUE(file) << file.error().message;
        const Result<PlannedModel> planned =
            plan_model(*file, {.model = path, .threads = 1, .context = 32, .chunk = 16, .sequences = 3});
        ASSERT_TRUE(planned) << planned.error().message;
        // Nine rows of one sequence: its states are read once, and so is each position that some row sees.
        const Result<PassSurvey> survey = PassSurvey::of(planned->config, planned->plan, batch_of(4, 9, 1));
        ASSERT_TRUE(survey) << survey.error().message;
        EXPECT_EQ(cost_of(*survey, planned->plan).cache_bytes, model.state_bytes + 13 * model.position_bytes)
            << model.name;
        VerbCost verbs;
        for (const VerbCall& call : survey->calls()) {
            const VerbCost cost = cost_of(call.verb, call);
            verbs.state_bytes += cost.state_bytes;
            if (cost.state_bytes > 0) verbs.multiply_adds += cost.multiply_adds;
        }
        EXPECT_EQ(verbs.state_bytes, model.state_bytes) << model.name;
        EXPECT_EQ(verbs.multiply_adds, 9 * model.state_products) << model.name;
        // Two steps of three sequences, which then hold 6 and 7 tokens.
        const Work steps{.kind = WorkKind::sequences, .tokens = 2, .depth = 5, .sequences = 3};
        const Result<WorkCost> cost = cost_of(steps, planned->plan, planned->config, {});
        ASSERT_TRUE(cost) << cost.error().message;
        EXPECT_EQ(cost->cache_bytes, 3 * (2 * model.state_bytes + (6 + 7) * model.position_bytes)) << model.name;
    }
}

TEST(Work, ExpertsThatWereCountedReplaceThoseOfTheGeometry) {
    const std::filesystem::path path = std::string(INVAR_MODELS) + "/demo-moe.gguf";
    const Result<Checkpoint> file = Checkpoint::open(path);
    ASSERT_TRUE(file) << file.error().message;
    const Result<PlannedModel> planned = plan_model(*file, {.model = path, .threads = 1});
    ASSERT_TRUE(planned) << planned.error().message;
    const size_t layers = planned->config.layers.size();
    const Work work{.kind = WorkKind::sequences, .tokens = 2, .sequences = 3};
    const auto with = [&](int64_t experts) {
        const Result<WorkCost> cost =
            cost_of(work, planned->plan, planned->config, std::vector<int64_t>(layers, experts));
        return cost ? cost->weight_bytes : 0;
    };
    int64_t expert_bytes = 0;  // of one expert, over all layers
    for (const PlanEntry& entry : planned->plan.entries)
        if (entry.kind == WeightShape::stack) expert_bytes += entry.bytes / planned->config.most_experts();
    EXPECT_GT(expert_bytes, 0);
    EXPECT_EQ(with(9) - with(4), 5 * expert_bytes);
}

}  // namespace
}  // namespace invar
