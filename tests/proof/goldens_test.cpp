// Models of every architecture against what `transformers` computes of them in float64 (tests/data/goldens, made by
// tools/fixtures/goldens.py): every stage of the float64 reference and of the engine's F32 path, and the control that
// a weight wrong by 1 % is seen at its own stage.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "engine/engine_settings.h"
#include "proof/record/compare_recordings.h"
#include "proof/record/recorder.h"
#include "proof/record/recording_file.h"
#include "proof/reference64/reference64.h"

namespace invar {
namespace {

// Most that a stage may be off, relative to its size: its root mean square and its worst element.
struct Bound {
    double rms, worst;
};
// The same function in the same precision in another order of operations: 2^-53 = 1e-16 over sums of up to 264 products
// and two layers. Measured: 1.9e-15 and 1.3e-14.
constexpr Bound kReferenceBound{.rms = 1e-13, .worst = 1e-12};
// The engine's F32 path rounds every step to binary32, 2^-24 = 6e-8: a sum of up to 264 products, a norm, a softmax add
// one to three of these each, and some 40 verbs of two layers hand them on. Measured: 4.7e-7 and 4.4e-6, on every
// instruction set alike, since their bits are.
constexpr Bound kEngineBound{.rms = 1e-6, .worst = 8e-6};

const std::filesystem::path kFolder = std::filesystem::path(INVAR_TEST_DATA) / "goldens";
const char* const kGoldens[] = {
    "llama", "llama-biases-partial", "llama-linear", "llama-wide",           "mistral-window", "mixtral",
    "qwen2", "qwen2-yarn",           "qwen3",        "qwen3-partial-linear", "qwen3moe",       "qwen3moe-16"};

struct Golden {
    std::string name;
    std::filesystem::path model;
    Recording recording;
};

std::vector<Golden> goldens() {
    std::vector<Golden> all;
    for (const char* name : kGoldens) {
        auto recording = load_recording(kFolder / (std::string(name) + ".safetensors"));
        EXPECT_TRUE(recording.has_value()) << (recording ? "" : recording.error().message);
        if (recording) all.push_back({name, kFolder / (std::string(name) + ".gguf"), std::move(*recording)});
    }
    EXPECT_EQ(all.size(), std::size(kGoldens));
    const std::filesystem::directory_iterator files(kFolder);
    EXPECT_EQ(std::distance(begin(files), end(files)), std::ssize(kGoldens) * 2) << "a golden that no test reads";
    return all;
}

Recording record(ModelRunner& runner, const std::vector<int32_t>& tokens) {
    const int32_t sequence = runner.cache().add_sequence();
    Recorder recorder(runner, sequence, {});
    VerbHook* const hooks[] = {&recorder};
    const FeedRequest request{.sequence = sequence, .tokens = tokens, .chunk = 4, .all_logits = true};
    const auto fed = feed(runner, request, hooks, {});
    EXPECT_TRUE(fed.has_value()) << (fed ? "" : fed.error().message);
    return recorder.take();
}

Recording record_reference(const std::filesystem::path& model, const std::vector<int32_t>& tokens) {
    auto reference = Reference64::open({.model = model, .threads = 1});
    EXPECT_TRUE(reference.has_value()) << (reference ? "" : reference.error().message);
    return reference ? record(**reference, tokens) : Recording();
}

Recording record_engine(const std::filesystem::path& model, const std::vector<int32_t>& tokens, Isa isa) {
    auto engine =
        Engine::open({.model = model, .isa = isa, .threads = 1, .logits_rows = 4, .cache_type = CacheType::f32}, {});
    EXPECT_TRUE(engine.has_value()) << (engine ? "" : engine.error().message);
    if (!engine) return {};
    EngineRunner runner(**engine);
    return record(runner, tokens);
}

// Both relative to the root mean square of the golden's stage; of a routing margin, a difference of two probabilities,
// to that of the probabilities.
struct StageError {
    std::string stage;
    double rms = 0, worst = 0;
    int64_t values = 0;

    bool within(const Bound& bound) const { return rms <= bound.rms && worst <= bound.worst; }  // not with a NaN
};

double mean_square(const StageRecord& stage) {
    double squares = 0;
    const auto positions = static_cast<int64_t>(stage.positions.size());
    for (int64_t i = 0; i < positions; ++i) {
        for (int64_t e = 0; e < stage.width(); ++e) squares += stage.value(i, e) * stage.value(i, e);
    }
    return squares / static_cast<double>(positions * stage.width());
}

// Of every stage of the golden, in forward order. Integers are equal or infinitely wrong.
std::vector<StageError> errors_of(const Golden& golden, const Recording& actual) {
    std::vector<StageError> errors;
    for (const StageRecord& expected : golden.recording.stages) {
        StageError error{.stage = to_string(expected.key)};
        const StageRecord* stage = actual.find(expected.key);
        if (stage == nullptr || stage->shape != expected.shape || stage->positions != expected.positions) {
            ADD_FAILURE() << golden.name << ": " << error.stage << " is missing or has another shape";
            continue;
        }
        double difference = 0, worst = 0;
        for (int64_t i = 0; i < static_cast<int64_t>(expected.positions.size()); ++i) {
            for (int64_t e = 0; e < expected.width(); ++e) {
                const double d = std::abs(stage->value(i, e) - expected.value(i, e));
                if (!(d <= worst)) worst = d;  // and NaN
                difference += d * d;
                ++error.values;
            }
        }
        if (expected.type == ElementType::i32) {
            EXPECT_EQ(stage->type, ElementType::i32) << error.stage;
            error.rms = error.worst = worst == 0 ? 0 : INFINITY;
        } else {
            const bool is_margin = expected.key.name == "routing_margin";
            const double size = std::sqrt(mean_square(
                is_margin ? *golden.recording.find({expected.key.layer, "router_probabilities"}) : expected));
            error.rms = std::sqrt(difference / static_cast<double>(error.values)) / size;
            error.worst = worst / size;
        }
        errors.push_back(std::move(error));
    }
    return errors;
}

// What we record beyond the golden: rows that were copied or rounded, which transformers has no name for.
void expect_nothing_else(const Golden& golden, const Recording& actual) {
    for (const StageRecord& stage : actual.stages) {
        const std::string& name = stage.key.name;
        const bool ours = name == "final_rows" || name == "key_stored" || name == "value_stored";
        EXPECT_TRUE(ours || golden.recording.find(stage.key) != nullptr)
            << golden.name << ": " << to_string(stage.key) << " has nothing to be compared with";
    }
}

struct Total {
    int64_t stages = 0, values = 0;
    double rms = 0, worst = 0;  // the largest of all stages
    std::string at;             // which stage had the largest rms

    void add(const Golden& golden, const std::vector<StageError>& errors, const Bound& bound) {
        for (const StageError& error : errors) {
            EXPECT_TRUE(error.within(bound))
                << golden.name << " " << error.stage << ": " << error.rms << " rms, " << error.worst << " worst";
            ++stages;
            values += error.values;
            if (error.rms >= rms) at = golden.name + " " + error.stage;
            rms = std::max(rms, error.rms);
            worst = std::max(worst, error.worst);
        }
    }
    void print(const std::string& what) const {
        std::printf("[goldens] %s: %lld stages, %lld values; largest error %.1e rms (%s), %.1e worst element\n",
                    what.c_str(), static_cast<long long>(stages), static_cast<long long>(values), rms, at.c_str(),
                    worst);
    }
};

TEST(Goldens, TheReferenceAgreesWithTransformersAtEveryStage) {
    Total total;
    for (const Golden& golden : goldens()) {
        const Recording actual = record_reference(golden.model, golden.recording.tokens);
        expect_nothing_else(golden, actual);
        total.add(golden, errors_of(golden, actual), kReferenceBound);
    }
    total.print("reference64");
    EXPECT_EQ(total.stages, 361);
}

TEST(Goldens, TheEnginesF32PathAgreesAtEveryStageWithinItsRounding) {
    for (const Isa isa : kAllIsas) {
        if (!detect_isa().has(isa)) {
            std::printf("[goldens] engine %s: skipped, this machine lacks it\n", std::string(isa_name(isa)).c_str());
            continue;
        }
        Total total;
        for (const Golden& golden : goldens()) {
            const Recording actual = record_engine(golden.model, golden.recording.tokens, isa);
            expect_nothing_else(golden, actual);
            total.add(golden, errors_of(golden, actual), kEngineBound);
        }
        total.print("engine " + std::string(isa_name(isa)));
        EXPECT_EQ(total.stages, 361);
        EXPECT_GT(total.rms, 1e-8);  // binary32 was compared with float64
    }
}

// The first stage that a tensor's weights take part in.
std::string stage_of(const std::string& tensor) {
    static const std::map<std::string, std::string> kStages = {
        {"token_embd.weight", "embedding"},
        {"rope_freqs.weight", "layer.0.query_rope"},
        {"output_norm.weight", "output_norm"},
        {"output.weight", "logits"},
        {"attn_norm.weight", "attention_norm"},
        {"attn_q.weight", "query"},
        {"attn_q.bias", "query_biased"},
        {"attn_q_norm.weight", "query_norm"},
        {"attn_k.weight", "key"},
        {"attn_k.bias", "key_biased"},
        {"attn_k_norm.weight", "key_norm"},
        {"attn_v.weight", "value"},
        {"attn_v.bias", "value_biased"},
        {"attn_output.weight", "attention_output"},
        {"attn_output.bias", "attention_output_biased"},
        {"ffn_norm.weight", "ffn_norm"},
        {"ffn_gate.weight", "gate"},
        {"ffn_up.weight", "up"},
        {"ffn_down.weight", "down"},
        {"ffn_gate_inp.weight", "router"},
        {"ffn_gate_exps.weight", "expert_gate"},
        {"ffn_up_exps.weight", "expert_up"},
        {"ffn_down_exps.weight", "expert_down"},
    };
    if (!tensor.starts_with("blk.")) return kStages.at(tensor);
    const size_t dot = tensor.find('.', 4);
    return "layer." + tensor.substr(4, dot - 4) + "." + kStages.at(tensor.substr(dot + 1));
}

// A copy of a golden's model with one weight of a tensor 1 % larger: its largest, among those that the tokens use.
class Perturbed {
  public:
    Perturbed(const Golden& golden, const TensorInfo& tensor) {
        int64_t first = 0, count = static_cast<int64_t>(tensor.bytes) / 4;
        if (tensor.name == "token_embd.weight") {
            count = tensor.shape[1];
            first = golden.recording.tokens[0] * count;
        } else if (tensor.shape.size() == 3) {  // experts: one that the first token visits
            const int layer = std::stoi(tensor.name.substr(4));
            count = tensor.shape[1] * tensor.shape[2];
            first = static_cast<int64_t>(golden.recording.find({layer, "expert_ids"})->value(0, 0)) * count;
        }
        std::vector<float> values(static_cast<size_t>(count));
        std::memcpy(values.data(), tensor.data + first * 4, values.size() * 4);
        const auto largest =
            std::max_element(values.begin(), values.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
        const float changed = *largest * 1.01f;

        path_ = std::filesystem::temp_directory_path() / ("invar_golden_" + std::to_string(getpid()) + ".gguf");
        std::filesystem::copy_file(golden.model, path_, std::filesystem::copy_options::overwrite_existing);
        std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(tensor.file_offset) + (first + (largest - values.begin())) * 4);
        file.write(reinterpret_cast<const char*>(&changed), 4);
    }
    ~Perturbed() { std::filesystem::remove(path_); }
    Perturbed(const Perturbed&) = delete;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

// How many one-weight changes a comparison with a bound sees, and sees first at the weight's own stage.
template <class Record>
void count_caught(const char* what, const Bound& bound, Record&& record_model) {
    int64_t total = 0, caught = 0, located = 0;
    double least = INFINITY;  // error at the weight's own stage
    for (const Golden& golden : goldens()) {
        const auto file = Checkpoint::open(golden.model);
        ASSERT_TRUE(file.has_value());
        for (const TensorInfo& tensor : file->tensors()) {
            const Perturbed perturbed(golden, tensor);
            const Recording actual = record_model(perturbed.path(), golden.recording.tokens);
            const std::vector<StageError> errors = errors_of(golden, actual);
            const auto first = std::find_if(errors.begin(), errors.end(),
                                            [&](const StageError& error) { return !error.within(bound); });
            ++total;
            caught += first != errors.end();
            located += first != errors.end() && first->stage == stage_of(tensor.name);
            if (first != errors.end()) least = std::min(least, first->rms);
            EXPECT_TRUE(first != errors.end() && first->stage == stage_of(tensor.name))
                << golden.name << " " << tensor.name << " first seen at "
                << (first == errors.end() ? "no stage" : first->stage);
        }
    }
    std::printf(
        "[goldens] %s: %lld weights changed by 1 %%, %lld seen, %lld of them first at their own stage, by %.1e rms "
        "or more\n",
        what, static_cast<long long>(total), static_cast<long long>(caught), static_cast<long long>(located), least);
    EXPECT_EQ(total, 225);
}

TEST(Goldens, AWeightWrongByOnePercentIsSeenAtItsStageByTheReference) {
    count_caught("reference64", kReferenceBound, record_reference);
}

TEST(Goldens, AWeightWrongByOnePercentIsSeenAtItsStageByTheEngine) {
    const Isa isa = detect_isa().highest();
    count_caught("engine", kEngineBound, [&](const std::filesystem::path& model, const std::vector<int32_t>& tokens) {
        return record_engine(model, tokens, isa);
    });
}

// What a user does with a recording of tools/record_transformers.py: `invar trace diff` with its tolerances.
TEST(Goldens, AreEqualToTheEngineUnderTheTolerancesForTransformers) {
    const auto tolerances =
        Tolerances::load(std::filesystem::path(INVAR_TEST_DATA) / "../../tools/tolerances_transformers.json");
    ASSERT_TRUE(tolerances.has_value()) << tolerances.error().message;
    const Isa isa = detect_isa().highest();
    int64_t stages = 0, wrong = 0, seen = 0;
    for (const Golden& golden : goldens()) {
        const auto clean = compare_recordings(record_engine(golden.model, golden.recording.tokens, isa),
                                              golden.recording, *tolerances);
        ASSERT_TRUE(clean.has_value()) << clean.error().message;
        const StageComparison* failure = clean->first_failure();
        EXPECT_EQ(failure, nullptr) << golden.name << " " << to_string(failure->key);
        EXPECT_TRUE(clean->complete()) << golden.name;
        stages += std::ssize(clean->stages);

        const auto file = Checkpoint::open(golden.model);
        const Perturbed perturbed(golden, *file->find("blk.0.ffn_norm.weight"));
        const auto bad = compare_recordings(record_engine(perturbed.path(), golden.recording.tokens, isa),
                                            golden.recording, *tolerances);
        ++wrong;
        seen += bad && bad->first_failure() != nullptr && to_string(bad->first_failure()->key) == "layer.0.ffn_norm";
    }
    std::printf(
        "[goldens] %lld stages compared or absent for a reason; %lld of %lld wrong models named at their stage\n",
        static_cast<long long>(stages), static_cast<long long>(seen), static_cast<long long>(wrong));
    EXPECT_EQ(stages, 361 + 48);  // and two copies in the cache of 18 layers, and the last rows of 12 models
    EXPECT_EQ(seen, wrong);
}

}  // namespace
}  // namespace invar
