// Verbs of two models on the same inputs: what is explained by the distances of the weights, against the rule written
// out here; a fault that is put into B and a damaged weight are found at their verb, each with its cause.
#include "proof/diff/diff_verbs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/engine_settings.h"
#include "models/tiny_model.h"
#include "proof/diff/diff_checkpoints.h"
#include "proof/specimen.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

using namespace test;

constexpr int64_t kTokens = 10;

// The same weights in every format: random numbers are drawn before they are encoded.
Specimen specimen_of(FormatId format, const std::string& architecture = "llama") {
    TinyModel model = tiny(architecture);
    model.matrix_format = format;
    model.vocabulary = kSpecimenTokens;
    return Specimen(model);
}

// An engine on a file that goes with it.
class Opened {
  public:
    explicit Opened(const Specimen& specimen) {
        static int count = 0;
        path_ = std::filesystem::temp_directory_path() / fmt::format("invar_diff_verbs_{}_{}.gguf", getpid(), count++);
        const std::string_view bytes(reinterpret_cast<const char*>(specimen.bytes().data()), specimen.bytes().size());
        std::ofstream(path_, std::ios::binary) << bytes;
        auto opened =
            Engine::open({.model = path_, .threads = 2, .context = 64, .chunk = 16, .logits_rows = 16}, nullptr);
        EXPECT_TRUE(opened) << opened.error().message;
        if (opened) engine_ = std::move(*opened);
    }
    ~Opened() { std::filesystem::remove(path_); }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;

    Engine& engine() { return *engine_; }

  private:
    std::filesystem::path path_;
    std::unique_ptr<Engine> engine_;
};

struct Pair {
    Opened a, b;
    Checkpoint file_a, file_b;
    CheckpointDiff weights;
    Recording of_a;

    Pair(const Specimen& x, const Specimen& y) : a(x), b(y), file_a(x.open()), file_b(y.open()) {
        const auto pool = ThreadPool::create({.threads = 2}).value();
        weights = diff_weights(file_a, file_b, *pool, nullptr).value();
        EngineRunner runner(a.engine());
        of_a = record_verbs(runner, some_tokens(kTokens)).value();
    }
    Result<VerbReport> compare(const std::string& fault) {
        EngineRunner runner(b.engine());
        return compare_verbs(runner, of_a, weights.tensors, fault);
    }
    const TensorDistance& of(const WeightId& id) const {
        for (const TensorDistance& tensor : weights.tensors)
            if (tensor.pair->id == id) return tensor;
        ADD_FAILURE() << to_string(id) << " was not compared";
        return weights.tensors[0];
    }
};

const VerbDistance& verb_of(const VerbReport& report, const StageKey& stage) {
    for (const VerbDistance& verb : report.verbs)
        if (verb.stage == stage) return verb;
    ADD_FAILURE() << to_string(stage) << " is not there";
    return report.verbs[0];
}

TEST(DiffVerbs, RecordsEveryStageOfEveryTokenAndTheLogitsOfEach) {
    Opened one(specimen_of(FormatId::q8_0));
    EngineRunner runner(one.engine());
    const std::vector<int32_t> tokens = some_tokens(kTokens);
    const Result<Recording> recording = record_verbs(runner, tokens);
    ASSERT_TRUE(recording) << recording.error().message;
    EXPECT_EQ(recording->tokens, tokens);
    for (const StageRecord& stage : recording->stages) EXPECT_EQ(std::ssize(stage.positions), kTokens);
    ASSERT_NE(recording->find({.name = "logits"}), nullptr);
    EXPECT_EQ(recording->find({.name = "logits"})->width(), kSpecimenTokens);
    EXPECT_GT(recording->stages.size(), 30u);
}

TEST(DiffVerbs, OfOneModelAreEqualAndNothingIsExplained) {
    Pair pair(specimen_of(FormatId::q4_k), specimen_of(FormatId::q4_k));
    const auto report = pair.compare("");
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->equal());
    EXPECT_FALSE(report->first || report->cause);
    EXPECT_EQ(report->positions, kTokens);
    for (const VerbDistance& verb : report->verbs) {
        EXPECT_EQ(verb.relative_rms, 0) << to_string(verb.stage);
        // Files round what turns depend on; every other verb of equal weights must be equal.
        EXPECT_EQ(verb.explained, verb.verb == "rope" ? 1e-5 : 0) << to_string(verb.stage);
    }
    EXPECT_FALSE(VerbReport{}.equal());  // nothing was compared
}

// Four times the distance of the verb's weight, or of the layer's vectors, and 3 % where one side rounds activations.
TEST(DiffVerbs, TheDistancesOfTheWeightsSayWhatIsExplained) {
    const struct {
        FormatId a, b;
        double rounding;
    } cases[] = {{FormatId::f32, FormatId::q4_k, 0.03},
                 {FormatId::q8_0, FormatId::bf16, 0.03},
                 {FormatId::q8_0, FormatId::q4_k, 0},
                 {FormatId::f32, FormatId::bf16, 0}};
    for (const auto& one : cases) {
        Pair pair(specimen_of(one.a), specimen_of(one.b));
        const auto report = pair.compare("");
        ASSERT_TRUE(report) << report.error().message;
        const std::string what = fmt::format("{} and {}", format(one.a).name, format(one.b).name);
        EXPECT_FALSE(report->first) << what << ": " << to_string(report->verbs[report->first.value_or(0)].stage);
        int products = 0;
        for (const VerbDistance& verb : report->verbs) {
            if (verb.verb == "linear") {
                ASSERT_TRUE(verb.weight);
                const TensorDistance& distance = pair.of(*verb.weight);
                const double by_formats = std::min(distance.relative_rms, 3 * distance.expected);
                EXPECT_EQ(verb.explained, std::max(1e-5, 4 * by_formats + one.rounding)) << to_string(verb.stage);
                EXPECT_GT(verb.relative_rms, 0) << what;
                EXPECT_LE(verb.relative_rms, verb.explained) << what << ", " << to_string(verb.stage);
                ++products;
            } else if (verb.verb == "rms_norm") {
                EXPECT_EQ(verb.explained, 1e-5) << "vectors are F32 in both";
                EXPECT_EQ(verb.relative_rms, 0) << what << ", " << to_string(verb.stage);
            }
        }
        EXPECT_EQ(products, 2 * 7 + 1) << "two layers and the head";
    }
}

TEST(DiffVerbs, AFaultInBIsTheFirstWrongVerbAndItsCauseIsNamed) {
    Pair pair(specimen_of(FormatId::q8_0, "qwen3moe"), specimen_of(FormatId::q4_k, "qwen3moe"));
    const struct {
        const char *fault, *stage, *cause;
    } cases[] = {{"norm_without_weight@layer=1,stage=ffn_norm", "layer.1.ffn_norm", "norm_without_weight"},
                 {"skipped_rope@layer=0,stage=key_rope", "layer.0.key_rope", "skipped_rope"},
                 {"unscaled_attention@layer=1,position=6", "layer.1.attention", "unscaled_attention"},
                 {"wrong_expert@layer=1,stage=routing,position=4", "layer.1.expert_ids", "wrong_expert"},
                 {"inverted_global_scale@layer=0,role=expert_down", "layer.0.expert_down", "inverted_global_scale"}};
    for (const auto& one : cases) {
        const std::string fault = one.fault;
        const auto report = pair.compare(fault);
        ASSERT_TRUE(report) << report.error().message;
        ASSERT_TRUE(report->first) << fault;
        const VerbDistance& first = report->verbs[*report->first];
        EXPECT_EQ(to_string(first.stage), one.stage) << fault;
        EXPECT_TRUE(first.suspicious);
        EXPECT_GT(first.relative_rms, first.explained) << fault;
        EXPECT_EQ(report->injected, fault);
        ASSERT_TRUE(report->cause) << fault;
        EXPECT_EQ(report->cause->fault, one.cause);
        EXPECT_TRUE(report->cause->exact) << fault;
        EXPECT_EQ(report->weight_suspicion, "");
        // Only this verb: each of the others got the inputs that it had in A.
        const auto others = std::count_if(report->verbs.begin(), report->verbs.end(), [&](const VerbDistance& verb) {
            return verb.suspicious && verb.stage.layer != first.stage.layer;
        });
        EXPECT_EQ(others, 0) << fault;
    }
    const auto nothing = pair.compare("double_rope@layer=0,stage=key_rope,position=0");
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().message,
              "--inject double_rope@layer=0,stage=key_rope,position=0: the fault changed no bit of this run of 10 "
              "tokens");
    EXPECT_FALSE(pair.compare("no_such_fault"));
}

TEST(DiffVerbs, ADamagedWeightIsTheCauseAndNoFaultIsGuessed) {
    Specimen damaged = specimen_of(FormatId::q8_0);
    std::vector<float> values = damaged.decode("blk.1.ffn_up.weight");
    for (float& value : values) value *= 2;
    damaged.encode("blk.1.ffn_up.weight", values);
    Pair pair(specimen_of(FormatId::bf16), damaged);
    const auto report = pair.compare("");
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_TRUE(report->first);
    const VerbDistance& first = report->verbs[*report->first];
    EXPECT_EQ(to_string(first.stage), "layer.1.up");
    EXPECT_EQ(first.weight, (WeightId{1, "up"}));
    EXPECT_NEAR(first.relative_rms, 1, 0.05) << "twice as large";
    EXPECT_FALSE(report->cause);
    ASSERT_FALSE(pair.of({1, "up"}).suspicions.empty());
    EXPECT_EQ(report->weight_suspicion, pair.of({1, "up"}).suspicions.front());
    EXPECT_EQ(verb_of(*report, {0, "up"}).suspicious, false);
    EXPECT_EQ(std::count_if(report->verbs.begin(), report->verbs.end(),
                            [](const VerbDistance& verb) { return verb.suspicious; }),
              1);
}

// A recording by an engine that lacks something: B is right, and what A lacks is the cause.
TEST(DiffVerbs, WithoutAnInjectedFaultTheCauseIsLookedForInA) {
    Pair pair(specimen_of(FormatId::q8_0, "qwen3"), specimen_of(FormatId::q8_0, "qwen3"));
    EngineRunner runner(pair.a.engine());
    auto hook = make_fault("norm_without_weight@layer=1,stage=query_norm", runner.config(), runner.engine().plan());
    ASSERT_TRUE(hook) << hook.error().message;
    const std::vector<int32_t> tokens = some_tokens(kTokens);
    pair.of_a = record(runner, tokens, kTokens, {}, {hook->get()});
    const auto report = pair.compare("");
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_TRUE(report->first);
    EXPECT_EQ(to_string(report->verbs[*report->first].stage), "layer.1.query_norm");
    ASSERT_TRUE(report->cause);
    EXPECT_EQ(report->cause->fault, "norm_without_weight");
    EXPECT_TRUE(report->cause->exact);
    EXPECT_EQ(report->injected, "");
}

}  // namespace
}  // namespace invar
