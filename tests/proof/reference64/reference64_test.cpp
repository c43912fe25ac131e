// The float64 reference against a second, plainer evaluation of the same models (plain_model.h); its independence of
// batches and threads; and that it follows what hooks write. Against other people's code: goldens_test.cpp.
#include "proof/reference64/reference64.h"

#include <gtest/gtest.h>

#include "proof/plain_model.h"
#include "proof/record/recorder.h"

namespace invar {
namespace {

using test::Rows64;
using test::tiny;
using test::TinyModel;
using test::Vector64;

// A tiny model on disk, removed at the end.
struct ModelFile {
    TinyModel shape;
    std::filesystem::path path;

    ModelFile(const TinyModel& model, const std::string& name) : shape(model), path(model.write(name)) {}
    ~ModelFile() { std::filesystem::remove(path); }
    ModelFile(const ModelFile&) = delete;
};

std::unique_ptr<Reference64> open(const std::filesystem::path& path, int threads = 2) {
    auto reference = Reference64::open({.model = path, .threads = threads});
    if (!reference) ADD_FAILURE() << reference.error().message;
    return reference ? std::move(*reference) : nullptr;
}

std::vector<int32_t> some_tokens(int64_t count, int64_t vocabulary) {
    std::mt19937 random(7);
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary));
    return tokens;
}

// The reference's logits at every position, in doubles.
Rows64 logits_of(Reference64& reference, const std::vector<int32_t>& tokens, int64_t chunk,
                 std::span<VerbHook* const> hooks = {}) {
    Rows64 rows;
    const int32_t sequence = reference.cache().add_sequence();
    const auto width = static_cast<size_t>(reference.config().vocabulary);
    const auto fed = feed(reference, {.sequence = sequence, .tokens = tokens, .chunk = chunk, .all_logits = true},
                          hooks, [&](const Batch&, std::span<const float> logits) {
                              const std::span<const double> wide = reference.wide_logits();
                              EXPECT_EQ(wide.size(), logits.size());
                              for (size_t i = 0; i < wide.size(); ++i)
                                  EXPECT_EQ(static_cast<float>(wide[i]), logits[i]);
                              for (size_t i = 0; i < wide.size(); i += width)
                                  rows.emplace_back(wide.begin() + static_cast<std::ptrdiff_t>(i),
                                                    wide.begin() + static_cast<std::ptrdiff_t>(i + width));
                          });
    EXPECT_TRUE(fed.has_value()) << (fed ? "" : fed.error().message);
    reference.cache().remove_sequence(sequence);
    return rows;
}

// Root mean square of the difference over that of the expected.
double distance(const Rows64& expected, const Rows64& actual) {
    double error = 0, size = 0;
    EXPECT_EQ(expected.size(), actual.size());
    for (size_t t = 0; t < expected.size(); ++t) {
        EXPECT_EQ(expected[t].size(), actual[t].size());
        for (size_t i = 0; i < expected[t].size(); ++i) {
            error += std::pow(expected[t][i] - actual[t][i], 2);
            size += std::pow(expected[t][i], 2);
        }
    }
    return std::sqrt(error / size);
}

TEST(Reference64, AgreesWithAPlainerEvaluationOfEveryArchitecture) {
    std::vector<TinyModel> models;
    for (const std::string& architecture : test::tiny_architectures()) models.push_back(tiny(architecture));
    TinyModel mixtral = tiny("llama");
    mixtral.experts = 6;
    mixtral.experts_used = 3;
    models.push_back(mixtral);
    for (const TinyModel& model : models) {
        const ModelFile file(model, "plain_" + model.architecture);
        const auto opened = Checkpoint::open(file.path);
        ASSERT_TRUE(opened.has_value());
        const std::vector<int32_t> tokens = some_tokens(70, model.vocabulary);  // more than a page of the cache
        const auto reference = open(file.path);
        ASSERT_NE(reference, nullptr);
        const Rows64 actual = logits_of(*reference, tokens, 32);
        const Rows64 expected = test::PlainModel(*opened, file.shape).logits(tokens);
        const double error = distance(expected, actual);
        std::printf("[reference64] %s%s: %zu positions x %zu logits, relative distance %.1e\n",
                    model.architecture.c_str(), model.experts > 0 ? " with experts" : "", actual.size(),
                    actual[0].size(), error);
        EXPECT_LT(error, 1e-13);
    }
}

TEST(Reference64, GivesTheSameBitsForEveryChunkAndThreadCount) {
    const ModelFile file(tiny("qwen3moe"), "chunks");
    const std::vector<int32_t> tokens = some_tokens(67, file.shape.vocabulary);
    const auto first = open(file.path, 1);
    ASSERT_NE(first, nullptr);
    const Rows64 expected = logits_of(*first, tokens, 67);
    int64_t compared = 0;
    for (const int threads : {1, 2, 3}) {
        const auto reference = open(file.path, threads);
        for (const int64_t chunk : {1, 5, 64}) {
            EXPECT_EQ(logits_of(*reference, tokens, chunk), expected) << chunk << " rows, " << threads << " threads";
            compared += static_cast<int64_t>(tokens.size()) * file.shape.vocabulary;
        }
    }
    std::printf("[reference64] %lld logits compared over 9 splits\n", static_cast<long long>(compared));
}

TEST(Reference64, RecordsEveryStageInDoubles) {
    const ModelFile file(tiny("qwen3moe"), "record");
    const auto reference = open(file.path);
    const int32_t sequence = reference->cache().add_sequence();
    Recorder recorder(*reference, sequence, {});
    VerbHook* const hooks[] = {&recorder};
    ASSERT_TRUE(feed(*reference, {.sequence = sequence, .tokens = some_tokens(9, 260), .chunk = 4}, hooks, {}));
    const Recording recording = recorder.take();
    int64_t values = 0;
    for (const StageRecord& stage : recording.stages) {
        EXPECT_EQ(stage.type, stage.key.name == "expert_ids" ? ElementType::i32 : ElementType::f64)
            << to_string(stage.key);
        for (size_t i = 0; i < stage.positions.size(); ++i) values += stage.width();
    }
    EXPECT_EQ(recording.stages.size(), 4 + 2 * 25u);
    // A double that has more than a float, in what is no tensor too.
    for (const char* name : {"query", "key_stored", "value_stored", "router_probabilities", "expert_weights"}) {
        const StageRecord* stage = recording.find({1, name});
        ASSERT_NE(stage, nullptr) << name;
        EXPECT_NE(stage->value(3, 0), static_cast<float>(stage->value(3, 0))) << name;
    }
    const StageRecord* rope = recording.find({0, "key_rope"});
    const StageRecord* stored = recording.find({0, "key_stored"});
    EXPECT_EQ(rope->data, stored->data);
    std::printf("[reference64] %zu stages, %lld values recorded\n", recording.stages.size(),
                static_cast<long long>(values));
}

// Changes one thing after a verb, as replay and fault injection do.
class Change final : public VerbHook {
  public:
    Change(Verb verb, std::function<void(const VerbCall&)> change) : verb_(verb), change_(std::move(change)) {}
    void after(const VerbCall& call) override {
        if (call.verb == verb_) change_(call);
    }

  private:
    Verb verb_;
    std::function<void(const VerbCall&)> change_;
};

TEST(Reference64, FollowsWhatHooksWriteIntoFloatsRoutingAndCache) {
    const ModelFile file(tiny("qwen3moe"), "hooks");
    const auto reference = open(file.path);
    const std::vector<int32_t> tokens = some_tokens(8, 260);
    const Rows64 plain = logits_of(*reference, tokens, 8);

    Change nothing(Verb::rms_norm, [](const VerbCall& call) { call.out.host_row(0)[0] *= 1.0f; });
    Change number(Verb::rms_norm, [](const VerbCall& call) { call.out.host_row(0)[0] += 1e-3f; });
    Change expert(Verb::route, [](const VerbCall& call) { call.slots.experts[0] = (call.slots.experts[0] + 3) % 8; });
    Change weight(Verb::route, [](const VerbCall& call) { call.slots.weights[0] *= 1.001f; });
    Change cached(Verb::store_kv, [](const VerbCall& call) {
        auto* key = reinterpret_cast<float*>(call.cache->keys(0, call.cache->pages_of(call.row(0).sequence, 0)[0], 0));
        key[0] += 0.01f;  // element 0 of position 0
    });
    VerbHook* const none[] = {&nothing};
    EXPECT_EQ(logits_of(*reference, tokens, 8, none), plain);
    for (VerbHook* hook : {&number, &expert, &weight, &cached}) {
        VerbHook* const hooks[] = {hook};
        EXPECT_GT(distance(plain, logits_of(*reference, tokens, 8, hooks)), 1e-9);
    }
    EXPECT_EQ(logits_of(*reference, tokens, 8), plain);
}

TEST(Reference64, NamesTheFirstNonFiniteStageAndUnknownTokens) {
    TinyModel model = tiny("llama");
    model.matrix_format = FormatId::q8_0;
    std::vector<std::byte> bytes = model.bytes();
    // The scale of the file's last block, in row 255 of layer 1's down projection, becomes infinite.
    bytes[bytes.size() - 34] = std::byte{0x00};
    bytes[bytes.size() - 33] = std::byte{0x7C};
    const ModelFile file(model, "damaged");
    std::ofstream(file.path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const auto reference = open(file.path);
    ASSERT_NE(reference, nullptr);
    const int32_t sequence = reference->cache().add_sequence();
    const auto failed = feed(*reference, {.sequence = sequence, .tokens = std::vector<int32_t>{1, 2}}, {}, {});
    ASSERT_FALSE(failed.has_value());
    EXPECT_NE(failed.error().message.find("the result of down (linear) in layer 1 is"), std::string::npos)
        << failed.error().message;
    EXPECT_NE(failed.error().message.find("row 0, element 255"), std::string::npos) << failed.error().message;
    EXPECT_NE(failed.error().message.find("run invar audit on the model"), std::string::npos);

    const auto unknown = feed(*reference, {.sequence = sequence, .tokens = std::vector<int32_t>{260}}, {}, {});
    ASSERT_FALSE(unknown.has_value());
    EXPECT_NE(unknown.error().message.find("token 260 is outside"), std::string::npos);
    EXPECT_FALSE(Reference64::open({.model = "no such file"}).has_value());
}

TEST(Reference64, SaysThatMemoryRanOutAndGoesOn) {
    const ModelFile file(tiny("qwen2"), "memory");
    const auto reference = open(file.path);
    const std::vector<int32_t> tokens = some_tokens(3, 260);
    const Rows64 plain = logits_of(*reference, tokens, 3);
    Change no_memory(Verb::rope, [](const VerbCall&) { throw std::bad_alloc(); });
    VerbHook* const hooks[] = {&no_memory};
    const int32_t sequence = reference->cache().add_sequence();
    const auto failed = feed(*reference, {.sequence = sequence, .tokens = tokens}, hooks, {});
    ASSERT_FALSE(failed.has_value());
    EXPECT_NE(failed.error().message.find("not enough memory to evaluate 3 rows"), std::string::npos);
    EXPECT_EQ(logits_of(*reference, tokens, 3), plain);
}

}  // namespace
}  // namespace invar
