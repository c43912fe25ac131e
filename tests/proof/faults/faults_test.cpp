// What a fault specification may say, what is chosen where it says nothing, that an altered weight is altered in one
// place only, and that a fault without effect is not said to have struck.
#include "proof/faults/faults.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <random>

#include "base/json.h"
#include "engine/engine_settings.h"
#include "layout/record.h"
#include "layout/rows4.h"
#include "load/registry.h"
#include "models/tiny_model.h"
#include "proof/faults/fault_kind.h"
#include "proof/faults/fault_suite.h"
#include "proof/faults/stored_rows.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

struct Opened {
    std::filesystem::path path;
    std::unique_ptr<Engine> engine;
    explicit Opened(const std::string& architecture, FormatId format = FormatId::q4_k, EngineSettings settings = {}) {
        TinyModel model = tiny(architecture);
        model.matrix_format = format;
        path = model.write("faults_" + architecture + ".gguf");
        settings.model = path;
        settings.context = 128;
        settings.threads = 1;
        auto opened = Engine::open(settings, nullptr);
        EXPECT_TRUE(opened) << opened.error().message;
        if (opened) engine = std::move(*opened);
    }
    ~Opened() { std::filesystem::remove(path); }

    Result<std::unique_ptr<FaultHook>> fault(std::string_view text) const {
        return make_fault(text, engine->config(), engine->plan());
    }
    std::string error(std::string_view text) const {
        const auto made = fault(text);
        return made ? "no error" : made.error().message;
    }
    // A prompt of `prompt` tokens and one more token, through the hooks.
    Result<std::vector<float>> logits(std::vector<VerbHook*> hooks, int64_t prompt) const {
        EngineRunner runner(*engine);
        const int32_t sequence = runner.cache().add_sequence();
        std::vector<int32_t> tokens;
        for (int32_t i = 0; i <= prompt; ++i) tokens.push_back((i * 37 + 11) % 260);
        std::vector<float> last;
        Result<void> fed;
        for (const auto& [start, count] : {std::pair<int64_t, int64_t>{0, prompt}, {prompt, 1}}) {
            const FeedRequest request{
                .sequence = sequence,
                .start = start,
                .tokens = std::span(tokens).subspan(static_cast<size_t>(start), static_cast<size_t>(count))};
            fed = feed(runner, request, hooks,
                       [&](const Batch&, std::span<const float> values) { last.assign(values.begin(), values.end()); });
            if (!fed) break;
        }
        runner.cache().remove_sequence(sequence);
        if (!fed) return pass_on(std::move(fed));
        return last;
    }
};

std::string parse_error(std::string_view text) {
    const auto parsed = parse_fault(text);
    return parsed ? "no error" : parsed.error().message;
}

TEST(FaultSpec, SurvivesItsOwnText) {
    for (const std::string text :
         {"wrong_expert@layer=3,position=17,slot=0", "flipped_bit@layer=2,role=down,block=5,bit=3",
          "skipped_norm@layer=1,stage=ffn_norm", "late_nan", "wrong_kernel_row@stage=query,position=4,slot=1,row=9",
          "late_nan@layer=0,position=2,element=5"}) {
        const auto parsed = parse_fault(text);
        ASSERT_TRUE(parsed) << parsed.error().message;
        EXPECT_EQ(to_string(*parsed), text);
    }
    const auto parsed = parse_fault("flipped_bit@bit=3,role=down,layer=2");  // parts in any order
    ASSERT_TRUE(parsed);
    EXPECT_EQ(to_string(*parsed), "flipped_bit@layer=2,role=down,bit=3");
    EXPECT_EQ(*parsed->bit, 3);
    EXPECT_FALSE(parsed->block.has_value());
}

TEST(FaultSpec, SaysWhatIsWrongAndWhatIsPossible) {
    EXPECT_NE(parse_error("wrong_exprt").find("there is no fault 'wrong_exprt'; the faults are wrong_expert, "),
              std::string::npos);
    EXPECT_EQ(parse_error("skipped_norm@row=1"),
              "fault skipped_norm has no part 'row'; its parts are layer, stage, position");
    EXPECT_EQ(parse_error("flipped_bit@position=1"),
              "fault flipped_bit has no part 'position'; its parts are layer, stage, role, row, block, bit");
    EXPECT_EQ(parse_error("skipped_norm@layer=-1"), "fault skipped_norm: layer=-1 is not a number from 0 on");
    EXPECT_EQ(parse_error("skipped_norm@layer=1x"), "fault skipped_norm: layer=1x is not a number from 0 on");
    EXPECT_EQ(parse_error("skipped_norm@layer=99999999999999999999"),
              "fault skipped_norm: layer=99999999999999999999 is not a number from 0 on");
    EXPECT_EQ(parse_error("skipped_norm@layer"),
              "fault skipped_norm: 'layer' is no part with a value; write it as layer=3");
    EXPECT_EQ(parse_error("skipped_norm@"), "fault skipped_norm: '' is no part with a value; write it as layer=3");
    EXPECT_EQ(parse_error("skipped_norm@layer=1,layer=2"), "fault skipped_norm: layer is given twice; leave one out");
}

TEST(FaultSpec, IsHeldAgainstTheModel) {
    const Opened dense("qwen2"), mixture("qwen3moe");
    EXPECT_EQ(dense.error("skipped_norm@layer=2"),
              "fault skipped_norm: there is no layer 2; the model has layers 0 to 1");
    EXPECT_EQ(
        dense.error("skipped_norm@stage=query"),
        "fault skipped_norm: stage=query is no place for it in this model; its stages are attention_norm, ffn_norm, "
        "output_norm");
    EXPECT_EQ(dense.error("flipped_bit@role=router"),
              "fault flipped_bit: role=router is no place for it in this model; its stages are embedding, query, key, "
              "value, attention_output, gate, up, down, logits");
    EXPECT_EQ(dense.error("wrong_expert"),
              "fault wrong_expert fits nowhere in this model; it fits routing; or one product of the experts, wrongly "
              "indexed");
    const Opened floats("qwen2", FormatId::bf16);
    EXPECT_EQ(
        floats.error("inverted_global_scale"),
        "fault inverted_global_scale fits nowhere in this model; it fits every matrix of a model that is quantised; "
        "those without such a scale get results as if they had");
    EXPECT_EQ(mixture.error("missing_bias"), "fault missing_bias fits nowhere in this model; it fits every bias");
    EXPECT_EQ(mixture.error("wrong_expert@slot=2"),
              "fault wrong_expert: slot=2 is not there; layer.1.routing has slot 0 to 1");
    EXPECT_EQ(dense.error("flipped_bit@role=down,block=2"),
              "fault flipped_bit: block=2 is not there; layer.1.down has block 0 to 1");
    EXPECT_EQ(dense.error("flipped_bit@role=down,bit=1152"),
              "fault flipped_bit: bit=1152 is not there; layer.1.down has bit 0 to 1151");
    EXPECT_EQ(dense.error("flipped_bit@stage=logits,row=260"),
              "fault flipped_bit: row=260 is not there; logits has row 0 to 259");
    EXPECT_EQ(dense.error("swapped_scale_pair@role=down,block=7"),
              "fault swapped_scale_pair: block=7 has its neighbour in another 256 weights; take 6");
    EXPECT_EQ(
        dense.error("flipped_bit@layer=0,stage=logits"),
        "fault flipped_bit: layer=0 has no place for it; its layers in this model are none: it is outside the layers");
    EXPECT_EQ(
        dense.error("late_nan@stage=down,element=1"),
        "fault late_nan: at layer.1.down the NaN is in the weights, at no position or element alone; leave both out "
        "or take another stage");
}

TEST(Faults, HaveOneLineEach) {
    const std::vector<FaultSummary> kinds = fault_kinds();
    EXPECT_GE(kinds.size(), 38u);
    for (const FaultSummary& kind : kinds) {
        EXPECT_FALSE(kind.meaning.empty() || kind.where.empty());
        EXPECT_LT(kind.meaning.size(), 80u) << kind.name;
        EXPECT_TRUE(parse_fault(kind.name)) << kind.name;
        EXPECT_EQ(std::count_if(kinds.begin(), kinds.end(), [&](const FaultSummary& k) { return k.name == kind.name; }),
                  1);
    }
}

TEST(Faults, StrikeWhenOnlyTheirNameIsGiven) {
    int64_t struck = 0;
    std::vector<std::string_view> elsewhere;
    const Opened dense("qwen2"), mixture("qwen3moe");
    for (const FaultSummary& kind : fault_kinds()) {
        bool fits = false;
        for (const Opened* model : {&dense, &mixture}) {
            const auto fault = model->fault(kind.name);
            if (!fault) continue;
            fits = true;
            const auto right = model->logits({}, 66);
            const auto wrong = model->logits({fault->get()}, 66);
            const FaultReport& report = (*fault)->report();
            EXPECT_TRUE(report.struck) << kind.name;
            EXPECT_GE(report.position, 0) << kind.name;
            EXPECT_GE(report.element, 0) << kind.name;
            EXPECT_GT(report.rows, 0) << kind.name;
            ASSERT_TRUE(right);
            EXPECT_TRUE(!wrong || wrong->size() == right->size()) << kind.name;
            EXPECT_EQ(!wrong, kind.name == "late_nan") << kind.name;
            ++struck;
        }
        if (!fits) elsewhere.push_back(kind.name);
    }
    // architecture_faults_test.cpp has models for these.
    const std::vector<std::string_view> expected = {
        "biased_weights",     "ignored_groups",  "missing_route_factor",   "missing_expert_bias",
        "unweighted_bias",    "missing_clamp",   "missing_gate",           "missing_scale",
        "missing_multiplier", "missing_softcap", "missing_temperature",    "wrong_learned_position",
        "masked_future",      "dropped_sinks",   "uncapped_attention",     "wrong_cache_layer",
        "kept_state",         "state_one_late",  "misordered_value_heads", "reversed_taps"};
    EXPECT_EQ(elsewhere, expected);
    std::printf("[default places] %ld faults by name alone: all struck\n", static_cast<long>(struck));
}

TEST(Faults, ThatChangeNothingHaveNotStruck) {
    const Opened dense("qwen2"), floats("qwen3", FormatId::nvfp4);
    const auto unharmed = [](const Opened& model, const char* text) {
        const auto fault = model.fault(text);
        ASSERT_TRUE(fault) << fault.error().message;
        const auto right = model.logits({}, 5), wrong = model.logits({fault->get()}, 5);
        EXPECT_FALSE((*fault)->report().struck) << text;
        EXPECT_EQ((*fault)->report().position, -1);
        EXPECT_EQ(std::memcmp(right->data(), wrong->data(), right->size() * 4), 0) << text;
    };
    unharmed(dense, "double_rope@position=0");                      // by an angle of 0
    unharmed(dense, "truncated_attention@position=0");              // it would see nothing
    unharmed(dense, "skipped_norm@position=40");                    // never computed
    unharmed(dense, "wrong_cache_page@position=3");                 // one page
    unharmed(dense, "flipped_bit@stage=embedding,row=259");         // a token that is not there
    unharmed(floats, "flipped_bit@role=down,row=0,block=0,bit=7");  // the sign of an unsigned scale
}

TEST(Faults, LeaveTheWeightsOfTheEngineAlone) {
    const Opened model("qwen3moe", FormatId::q6_k);
    const auto before = model.logits({}, 5);
    for (const char* text : {"flipped_bit@role=expert_down", "zero_weight@role=up", "zero_weight@role=expert_up",
                             "swapped_scale_pair@role=expert_gate", "inverted_global_scale@role=key"}) {
        const auto fault = model.fault(text);
        if (!fault) continue;
        ASSERT_TRUE(model.logits({fault->get()}, 5));
        EXPECT_TRUE((*fault)->report().struck) << text;
        const auto after = model.logits({}, 5);
        EXPECT_EQ(std::memcmp(before->data(), after->data(), before->size() * 4), 0) << text;
    }
}

// ---- altered weights

struct Weights {
    WeightMatrix matrix;
    std::vector<std::byte> stored;
    AlignedBytes packed;
};

Weights random_weights(const Format& format, StoredForm form, int64_t rows, int64_t columns) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.0f, 0.5f);
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (float& value : values) value = normal(random);
    Weights weights;
    weights.stored.resize(static_cast<size_t>(format.row_bytes(rows * columns)));
    format.encode(values.data(), rows * columns, nullptr, weights.stored.data());
    if (record_layout(format.id).scales == ScaleForm::f32_of_128) {  // packed rows share the scales
        for (int64_t row = 0; row < rows; ++row) {
            for (int64_t at = 0; at < format.row_bytes(columns); at += format.block_bytes)
                std::memcpy(weights.stored.data() + row * format.row_bytes(columns) + at,
                            weights.stored.data() + row / 4 * 4 * format.row_bytes(columns) + at, 4);
        }
    }
    weights.packed = AlignedBytes::allocate(rows4_bytes(format, rows, columns)).value();
    pack_rows4(format, weights.stored.data(), rows, columns, 0, (rows + 3) / 4, weights.packed.data());
    const bool packed = form == StoredForm::rows4;
    weights.matrix = {.id = {0, "down"},
                      .format = &format,
                      .form = form,
                      .rows = rows,
                      .columns = columns,
                      .data = packed ? weights.packed.data() : weights.stored.data(),
                      .bytes = packed ? weights.packed.size() : static_cast<int64_t>(weights.stored.size())};
    return weights;
}

// What the fault gives a product to read.
WeightMatrix altered(FaultHook& hook, VerbCall& call) {
    hook.before(call);
    EXPECT_TRUE(hook.report().struck) << hook.report().fault;
    return *call.matrix;
}

VerbSite site_of(const WeightMatrix& matrix) {
    return {.verb = Verb::linear,
            .key = {0, "down"},
            .width = matrix.rows,
            .input_width = matrix.columns,
            .weight = matrix.id,
            .format = matrix.format,
            .rows = matrix.rows,
            .columns = matrix.columns};
}

struct ProductCall {
    std::vector<float> x, y;
    Batch batch;
    VerbCall call;
    explicit ProductCall(const WeightMatrix& matrix) {
        x.resize(static_cast<size_t>(matrix.columns));
        for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f + 0.25f * static_cast<float>(i % 7);
        y.resize(static_cast<size_t>(matrix.rows));
        batch.rows.push_back({});
        call = {.verb = Verb::linear, .stage = {0, "down"}};
        call.x = {x.data(), Place::host, 1, matrix.columns, matrix.columns};
        call.out = {y.data(), Place::host, 1, matrix.rows, matrix.rows};
        call.matrix = &matrix;
        call.pass = &batch;
    }
};

TEST(Faults, FlipOneBitOfOneRowInBothForms) {
    int64_t bits = 0;
    for (const Format* format : formats()) {
        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            const Weights weights = random_weights(*format, form, 7, 512);
            ProductCall product(weights.matrix);
            const VerbSite site = site_of(weights.matrix);
            const auto place = resolve_fault(*parse_fault("flipped_bit@row=5,bit=0"), {&site, 1});
            ASSERT_TRUE(place) << place.error().message;
            FaultHook hook(*place);
            const WeightMatrix wrong = altered(hook, product.call);
            int64_t flipped = 0;
            for (int64_t row = 0; row < 7; ++row) {
                const auto a = stored_row(weights.matrix, row), b = stored_row(wrong, row);
                for (size_t i = 0; i < a.size(); ++i) {
                    const int count = std::popcount(std::to_integer<unsigned>(a[i] ^ b[i]));
                    EXPECT_TRUE(count == 0 || row == 5) << format->name;
                    flipped += count;
                }
            }
            EXPECT_EQ(flipped, 1) << format->name << " " << stored_form_name(form);
            bits += flipped;
        }
    }
    EXPECT_EQ(bits, 2 * kFormatCount);
}

// Within a block of 32 or 16 all differences of weights change by one factor, and by its inverse in the next block:
// minima stay with their block.
TEST(Faults, SwapTheScalesOfTwoNeighbours) {
    int64_t pairs = 0, quantized = 0;
    for (const Format* format : formats()) {
        if (format->is_float) continue;
        const ScaleForm scales = record_layout(format->id).scales;
        const bool of_128 = scales == ScaleForm::f16_of_128 || scales == ScaleForm::bf16_of_128;
        const int64_t each = of_128 ? 128 : record_layout(format->id).halves ? 16 : 32;
        ++quantized;
        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            const Weights weights = random_weights(*format, form, 6, 512);
            ProductCall product(weights.matrix);
            const VerbSite site = site_of(weights.matrix);
            const auto place = resolve_fault(*parse_fault("swapped_scale_pair@row=4"), {&site, 1});
            ASSERT_TRUE(place) << place.error().message;
            FaultHook hook(*place);
            const WeightMatrix wrong = altered(hook, product.call);
            for (int64_t row = 0; row < 6; ++row) {
                std::vector<float> a(512), b(512);
                format->decode(stored_row(weights.matrix, row).data(), 512, a.data());
                format->decode(stored_row(wrong, row).data(), 512, b.data());
                std::vector<int64_t> touched;
                std::vector<double> factors;
                for (int64_t first = 0; first < 512; first += each) {
                    if (std::memcmp(&a[first], &b[first], static_cast<size_t>(each) * 4) == 0) continue;
                    touched.push_back(first / each);
                    double largest = 0, factor = 0;
                    for (int64_t i = first + 1; i < first + each; ++i) {
                        const double change = double{a[i]} - a[first];
                        if (std::fabs(change) > largest) {
                            largest = std::fabs(change);
                            factor = (double{b[i]} - b[first]) / change;
                        }
                    }
                    for (int64_t i = first; i < first + each; ++i) {
                        EXPECT_NEAR(double{b[i]} - b[first], factor * (double{a[i]} - a[first]),
                                    1e-5 * largest * std::fabs(factor) + 1e-6)
                            << format->name;
                    }
                    factors.push_back(factor);
                }
                if (row != 4) {
                    EXPECT_TRUE(touched.empty()) << format->name;
                    continue;
                }
                ASSERT_EQ(touched.size(), 2u) << format->name;
                EXPECT_EQ(touched[1], touched[0] + 1);
                EXPECT_NEAR(factors[0] * factors[1], 1.0, 1e-4) << format->name;
                EXPECT_NE(factors[0], 1.0);
                ++pairs;
            }
        }
    }
    EXPECT_EQ(pairs, 2 * quantized);
}

// Gives a product an NVFP4 tensor scale, as a file with one would.
class WithScale final : public VerbHook {
  public:
    explicit WithScale(float scale) : scale_(scale) {}
    void before(VerbCall& call) override {
        if (call.stage.layer != 1 || call.stage.name != "down") return;
        matrix_ = *call.matrix;
        matrix_.scale = scale_;
        call.matrix = &matrix_;
    }
    void after(const VerbCall& call) override {
        if (call.stage.layer != 1 || call.stage.name != "down") return;
        if (result_.empty()) result_.assign(call.out.host_row(0), call.out.host_row(0) + call.out.width());
    }
    const std::vector<float>& result() const { return result_; }

  private:
    float scale_;
    WeightMatrix matrix_;
    std::vector<float> result_;  // of the first row of the first pass
};

TEST(Faults, InvertTheScaleOfANvfp4Tensor) {
    const Opened model("qwen3", FormatId::nvfp4);
    WithScale right(0.25f), wrong(0.25f);
    const auto fault = model.fault("inverted_global_scale@role=down,layer=1");
    ASSERT_TRUE(fault) << fault.error().message;
    ASSERT_TRUE(model.logits({&right}, 5));
    ASSERT_TRUE(model.logits({&wrong, fault->get()}, 5));
    EXPECT_TRUE((*fault)->report().struck);
    EXPECT_NE((*fault)->report().description.find("its tensor scale is 4 in place of 0.25"), std::string::npos)
        << (*fault)->report().description;
    for (size_t i = 0; i < right.result().size(); ++i) {
        EXPECT_EQ(wrong.result()[i], right.result()[i] * 16.0f);  // powers of two: exact
    }
}

TEST(FaultSuite, LocatesAFewPlacesOfEveryFault) {
    int64_t places = 0;
    for (const std::string architecture : {"qwen2", "qwen3moe"}) {
        for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
            if (!detect_isa().has(isa)) continue;
            const Opened model(architecture, FormatId::q4_k, {.isa = isa, .chunk = 80});
            EngineRunner runner(*model.engine);
            const auto table = run_faults(runner, {.most_places = 3});
            ASSERT_TRUE(table) << table.error().message;
            const FaultTableRow total = table->total();
            EXPECT_GE(total.places, 90);
            EXPECT_EQ(total.located, total.places);
            EXPECT_GT(total.skipped, 500);
            EXPECT_TRUE(table->all_located()) << fault_table_text(*table);
            EXPECT_EQ(table->rows.size(), fault_kinds().size());
            const Json json = fault_table_json(*table);
            EXPECT_EQ(json["total"]["located"], total.located);
            EXPECT_EQ(json["faults"].size(), table->rows.size());
            EXPECT_EQ(static_cast<int64_t>(json["left_out"].size()), total.left_out);
            const std::string text = fault_table_text(*table);
            EXPECT_NE(text.find("located"), std::string::npos);
            EXPECT_EQ(text.find("MISSED"), std::string::npos);
            places += total.places;
        }
    }
    std::printf("[few places] %ld faults injected, all located\n", static_cast<long>(places));
}

// Gate and up are one matrix, so that exchanging them changes nothing: neither caught nor missed, and named.
TEST(FaultSuite, NamesFaultsWithoutEffect) {
    TinyModel model = tiny("qwen3");
    std::vector<std::byte> bytes = model.bytes();
    const Checkpoint file = Checkpoint::from_bytes(bytes, "same.gguf").value();
    for (const char* layer : {"blk.0.", "blk.1."}) {
        const TensorInfo* gate = file.find(std::string(layer) + "ffn_gate.weight");
        const TensorInfo* up = file.find(std::string(layer) + "ffn_up.weight");
        std::memcpy(const_cast<std::byte*>(up->data), gate->data, 4 * 512 * 256);
    }
    const std::filesystem::path path = model.write("same.gguf");
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const auto engine = Engine::open({.model = path, .threads = 1, .context = 128}, nullptr);
    ASSERT_TRUE(engine) << engine.error().message;
    EngineRunner runner(**engine);
    const auto table = run_faults(runner, {.faults = {"gate_up_swapped", "wrong_activation"}});
    std::filesystem::remove(path);
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table->rows[0].places, 10);
    EXPECT_EQ(table->rows[0].struck, 0);
    EXPECT_EQ(table->rows[0].caught, 0);
    EXPECT_EQ(table->rows[1].located, 10);
    EXPECT_EQ(table->no_effect.size(), 10u);
    EXPECT_NE(fault_table_text(*table).find("no effect on this run: gate_up_swapped@layer=0,stage=activation\n"),
              std::string::npos);
}

TEST(FaultSuite, CountsWhatItCannotRun) {
    const Opened model("qwen2");
    EngineRunner runner(*model.engine);
    const auto unknown = run_faults(runner, {.faults = {"no_such"}});
    ASSERT_FALSE(unknown);
    EXPECT_NE(unknown.error().message.find("there is no fault 'no_such'"), std::string::npos);
    FaultSuiteSettings settings{.faults = {"wrong_cache_page", "missing_bias"},
                                .two_pages = {.prompt = 200, .decode = 2}};
    const auto table = run_faults(runner, settings);
    ASSERT_TRUE(table);
    ASSERT_EQ(table->rows.size(), 2u);
    for (const FaultTableRow& row : table->rows) {
        if (row.fault == "wrong_cache_page") {
            EXPECT_EQ(row.places, 0);
            EXPECT_EQ(row.left_out, 8);
        }
    }
    EXPECT_NE(fault_table_text(*table).find("202 positions do not fit the context or the chunk"), std::string::npos);
}

}  // namespace
}  // namespace invar
