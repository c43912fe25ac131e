// The works on tiny models: what they cost, counted by hand; what they refuse; other kernels over the same weights.
#include "bench/engine_subject.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "bench/variant.h"
#include "engine/engine_settings.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

// Two layers of width 256, 4 heads and 2 key heads of 64, vocabulary 260 (tests/models/tiny_model.h).
class Opened {
  public:
    explicit Opened(const std::string& architecture, FormatId format, int sequences = 1) {
        test::TinyModel model = test::tiny(architecture);
        model.matrix_format = format;
        static int count = 0;
        path_ = model.write(fmt::format("bench_{}_{}.gguf", architecture, count++));
        settings_ = {
            .model = path_, .threads = 2, .context = 96, .chunk = 32, .sequences = sequences, .logits_rows = sequences};
        auto opened = Engine::open(settings_, nullptr);
        CHECK(opened.has_value(), "tiny models open");
        engine_ = std::move(*opened);
    }
    ~Opened() { std::filesystem::remove(path_); }
    Engine& engine() { return *engine_; }
    EngineSettings settings() const { return settings_; }

  private:
    std::filesystem::path path_;
    EngineSettings settings_;
    std::unique_ptr<Engine> engine_;
};

constexpr int64_t kWidth = 256, kQuery = 256, kKey = 128, kFfn = 512, kVocabulary = 260, kLayers = 2;

TEST(EngineSubject, CostsOfADenseModelAreThoseOfItsShapes) {
    Opened opened("llama", FormatId::f32);
    EngineSubject subject(opened.engine(), opened.engine().ops());
    const int64_t attention = kWidth * (kQuery + 2 * kKey) + kQuery * kWidth, ffn = 3 * kWidth * kFfn;
    const int64_t norms = kLayers * 2 * kWidth + kWidth;
    const int64_t matrices = kLayers * (attention + ffn), head = kVocabulary * kWidth;

    const auto generation = subject.cost({.kind = WorkKind::generation, .tokens = 3, .depth = 10});
    ASSERT_TRUE(generation);
    EXPECT_EQ(generation->weight_multiply_adds, 3 * (matrices + head));
    // Rows of an untied embedding are looked up: one a token. All is binary32.
    EXPECT_EQ(generation->weight_bytes, 3 * 4 * (matrices + head + norms + kWidth));
    // Positions 10, 11 and 12 see 11 + 12 + 13; a layer holds 2 heads x (64 + 64) halves of each, read by 4 heads.
    EXPECT_EQ(generation->cache_bytes, 36 * kLayers * 2 * 128 * 2);
    EXPECT_EQ(generation->attention_multiply_adds, 36 * kLayers * 4 * 128);

    const auto together = subject.cost({.kind = WorkKind::sequences, .tokens = 3, .depth = 10, .sequences = 5});
    ASSERT_TRUE(together);
    EXPECT_EQ(together->weight_bytes, 3 * 4 * (matrices + head + norms + 5 * kWidth));  // the matrices once a step
    EXPECT_EQ(together->cache_bytes, 5 * generation->cache_bytes);
    EXPECT_EQ(together->weight_multiply_adds, 5 * generation->weight_multiply_adds);

    const auto prompt = subject.cost({.kind = WorkKind::prompt, .tokens = 40});  // chunks of 32 and 8
    ASSERT_TRUE(prompt);
    EXPECT_EQ(prompt->weight_multiply_adds, 40 * matrices + 2 * head);
    EXPECT_EQ(prompt->attention_multiply_adds, 820 * kLayers * 4 * 128);  // 1 + 2 + ... + 40
    EXPECT_EQ(prompt->weight_bytes, 0);                                   // not stated
}

TEST(EngineSubject, CountsTheExpertsThatARunReads) {
    constexpr int kSequences = 3;
    Opened opened("qwen3moe", FormatId::f32, kSequences);
    const MixtureGeometry& experts = *opened.engine().config().layers[0].mixture();
    ASSERT_GT(experts.experts, experts.route.experts_per_row);
    EngineSubject subject(opened.engine(), opened.engine().ops());
    const int64_t one = 4 * 3 * kWidth * experts.width;  // bytes of an expert
    const auto single = subject.cost({.kind = WorkKind::sequences, .tokens = 4, .sequences = 1});
    const auto more = subject.cost({.kind = WorkKind::sequences, .tokens = 4, .sequences = kSequences});
    ASSERT_TRUE(single && more);
    // What is read beside the experts differs by two rows of the embedding a step.
    const int64_t distinct = (more->weight_bytes - single->weight_bytes - 4 * 2 * 4 * kWidth) / one;
    EXPECT_EQ((more->weight_bytes - single->weight_bytes - 4 * 2 * 4 * kWidth) % one, 0);
    const int64_t least = 4 * kLayers * experts.route.experts_per_row;
    const int64_t counted = distinct + least;
    EXPECT_GT(counted, least);
    EXPECT_LE(counted, 4 * kLayers * std::min<int64_t>(experts.experts, kSequences * experts.route.experts_per_row));
    std::printf("[experts] %d sequences read %lld experts in 4 steps, one reads %lld\n", kSequences,
                static_cast<long long>(counted), static_cast<long long>(least));
    // The same work again is the same computation.
    const auto again = subject.cost({.kind = WorkKind::sequences, .tokens = 4, .sequences = kSequences});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->weight_bytes, more->weight_bytes);
}

TEST(EngineSubject, WorksLeaveTheCacheAsItWas) {
    Opened opened("qwen3", FormatId::q8_0, 3);
    const int64_t pages = opened.engine().cache().available();
    {
        EngineSubject subject(opened.engine(), opened.engine().ops());
        for (const Work& work : {Work{.kind = WorkKind::prompt, .tokens = 40, .depth = 50},
                                 Work{.kind = WorkKind::generation, .tokens = 5, .depth = 20},
                                 Work{.kind = WorkKind::sequences, .tokens = 2, .depth = 70, .sequences = 3},
                                 Work{.kind = WorkKind::prompt, .tokens = 40}}) {
            for (int run = 0; run < 2; ++run) {
                ASSERT_TRUE(subject.prepare(work));
                const auto ran = subject.run(work);
                ASSERT_TRUE(ran) << ran.error().message;
            }
            ASSERT_TRUE(subject.choose_token());
        }
    }
    EXPECT_EQ(opened.engine().cache().available(), pages);
}

TEST(EngineSubject, RefusesWhatTheEngineHasNoRoomFor) {
    Opened opened("llama", FormatId::f32);
    EngineSubject subject(opened.engine(), opened.engine().ops());
    const auto deep = subject.prepare({.kind = WorkKind::prompt, .tokens = 40, .depth = 60});
    ASSERT_FALSE(deep);
    EXPECT_EQ(deep.error().message,
              "prompt of 40 at depth 60 needs a context of 100 positions, but the model was opened with 96; raise "
              "--context");
    const auto wide = subject.prepare({.kind = WorkKind::sequences, .tokens = 1, .sequences = 33});
    ASSERT_FALSE(wide);
    EXPECT_EQ(wide.error().message, "33 sequences are more than the 32 rows of a pass; raise --chunk");
}

TEST(Variant, ComputesTheSameWeightsWithOtherKernelsAndThreads) {
    Opened opened("qwen3", FormatId::q8_0);
    Engine& engine = opened.engine();
    if (engine.machine().isa == Isa::scalar) GTEST_SKIP() << "this machine has no vector kernels to compare with";
    EngineSettings settings = opened.settings();
    settings.isa = Isa::scalar;
    settings.threads = 1;
    const auto variant = Variant::create(engine, settings);
    ASSERT_TRUE(variant) << variant.error().message;
    EXPECT_EQ((*variant)->machine().threads, 1);
    const int32_t first = engine.cache().add_sequence(), second = engine.cache().add_sequence();
    Batch batch;
    for (int32_t i = 0; i < 20; ++i) batch.rows.push_back({.token = i * 7, .sequence = first, .position = i});
    batch.logits_rows = {19};
    ASSERT_TRUE(engine.cache().reserve(first, 20));
    const auto expected = engine.evaluate(batch);
    ASSERT_TRUE(expected);
    const std::vector<float> logits(expected->begin(), expected->end());
    engine.cache().rewind(first, 0);
    for (BatchRow& row : batch.rows) row.sequence = second;
    ASSERT_TRUE(engine.cache().reserve(second, 20));
    const auto got = engine.evaluate(batch, (*variant)->ops());
    ASSERT_TRUE(got) << got.error().message;
    int64_t differ = 0;
    for (size_t i = 0; i < logits.size(); ++i) differ += logits[i] != (*got)[i];
    EXPECT_EQ(differ, 0);
    for (const KernelUse& use : (*variant)->ops().kernels_used()) {
        EXPECT_TRUE(use.kernel.find("scalar") != std::string_view::npos) << use.verb << " ran " << use.kernel;
    }
    EXPECT_GT((*variant)->ops().kernels_used().size(), 5u);
}

TEST(Variant, RefusesWeightsInAFormThatItsKernelsDoNotRead) {
    Opened opened("qwen3", FormatId::q8_0);
    if (opened.engine().machine().isa == Isa::scalar) GTEST_SKIP() << "this machine has no vector kernels";
    EngineSettings settings = opened.settings();
    settings.isa = Isa::scalar;
    const auto scalar = Engine::open(settings, nullptr);
    ASSERT_TRUE(scalar);
    const auto variant = Variant::create(**scalar, opened.settings());
    ASSERT_FALSE(variant);
    EXPECT_NE(variant.error().message.find("compare with isa=scalar"), std::string::npos);
}

}  // namespace
}  // namespace invar
