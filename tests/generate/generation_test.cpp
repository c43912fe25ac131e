// Sessions and the generation loop on tiny random models: the same bits however a sequence was computed.
#include "generate/generation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <limits>
#include <random>

#include "engine/engine_settings.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

struct Opened {
    std::filesystem::path path;
    std::unique_ptr<Engine> engine;
    explicit Opened(const TinyModel& model, EngineSettings settings = {}) : path(model.write("engine.gguf")) {
        settings.model = path;
        if (settings.threads == 0) settings.threads = 2;
        auto opened = Engine::open(settings, nullptr);
        EXPECT_TRUE(opened) << opened.error().message;
        if (opened) engine = std::move(*opened);
    }
    ~Opened() { std::filesystem::remove(path); }
};

std::vector<int32_t> random_tokens(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 260);
    return tokens;
}

std::vector<uint32_t> bits(std::span<const float> values) {
    std::vector<uint32_t> result(values.size());
    std::memcpy(result.data(), values.data(), values.size_bytes());
    return result;
}

TEST(Session, ReusesACommonPrefixWithoutChangingABit) {
    int64_t compared = 0;
    for (const std::string& name : test::tiny_architectures()) {
        TinyModel model = tiny(name);
        model.matrix_format = FormatId::q4_k;
        const Opened opened(model);
        ASSERT_TRUE(opened.engine);
        const std::vector<int32_t> first = random_tokens(150, 1);
        for (const size_t kept : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{128}, size_t{149}}) {
            std::vector<int32_t> second = random_tokens(150, 2);
            std::copy_n(first.begin(), kept, second.begin());
            if (kept < second.size()) second[kept] = (first[kept] + 1) % 260;
            Session reusing(*opened.engine);
            ASSERT_TRUE(advance_to(reusing, first, nullptr));
            const auto reused = bits(advance_to(reusing, second, nullptr).value());
            EXPECT_EQ(reusing.reused_tokens(), static_cast<int64_t>(kept));
            Session fresh(*opened.engine, "shares nothing, " + std::to_string(kept));
            // Two sequences at once need room for both; the cache of one engine holds one, so the first is dropped.
            ASSERT_TRUE(advance_to(reusing, std::span(second).first(1), nullptr));
            const auto recomputed = bits(advance_to(fresh, second, nullptr).value());
            ASSERT_EQ(reused, recomputed) << name << ", prefix of " << kept;
            compared += static_cast<int64_t>(reused.size());
        }
    }
    std::printf("[prefix] %ld logits with a reused prefix and recomputed: 0 differ\n", static_cast<long>(compared));
}

TEST(Session, GivesAPromptTheSameBitsAsTokenByToken) {
    int64_t compared = 0;
    for (const std::string& name : test::tiny_architectures()) {
        for (const FormatId matrix_format : {FormatId::q8_0, FormatId::q6_k, FormatId::bf16}) {
            TinyModel model = tiny(name);
            model.matrix_format = matrix_format;
            const std::vector<int32_t> tokens = random_tokens(100, 3);
            const Opened opened(model);
            ASSERT_TRUE(opened.engine);
            std::vector<uint32_t> whole, stepwise;
            {
                Session session(*opened.engine);
                whole = bits(advance_to(session, tokens, nullptr).value());
            }
            Session session(*opened.engine);
            for (const int32_t token : tokens) stepwise = bits(append(session, token).value());
            ASSERT_EQ(whole, stepwise) << name << " " << format(matrix_format).name;
            compared += static_cast<int64_t>(whole.size());
        }
    }
    std::printf("[prompt] %ld logits of prompts and of single steps: 0 differ\n", static_cast<long>(compared));
}

TEST(Session, RefusesAPromptLongerThanTheContext) {
    const Opened opened(tiny("llama"), {.context = 100});
    ASSERT_TRUE(opened.engine);
    Session session(*opened.engine);
    const auto refused = advance_to(session, random_tokens(101, 4), nullptr);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "the prompt has 101 tokens, but the context holds 100; shorten it or raise --context");
    EXPECT_TRUE(advance_to(session, random_tokens(100, 4), nullptr));
    EXPECT_FALSE(append(session, 1));
}

TEST(Engine, RefusesATokenOutsideTheVocabulary) {
    const Opened opened(tiny("llama"));
    ASSERT_TRUE(opened.engine);
    Session session(*opened.engine);
    const auto refused = advance_to(session, std::vector<int32_t>{1, 260}, nullptr);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("token 260 is outside the model's vocabulary of 260"), std::string::npos);
}

TEST(Engine, NamesTheVerbLayerAndElementOfTheFirstNonFiniteNumber) {
    TinyModel model = tiny("llama");
    const std::filesystem::path path = model.write("nan.gguf");
    std::vector<std::byte> bytes = model.bytes();
    const Checkpoint file = Checkpoint::from_bytes(bytes, "nan.gguf").value();
    const TensorInfo* up = file.find("blk.1.ffn_up.weight");
    const uint32_t nan = 0x7FC00000;
    std::memcpy(const_cast<std::byte*>(up->data) + 4 * (17 * 256 + 3), &nan, 4);  // row 17
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    auto engine = Engine::open({.model = path, .threads = 2}, nullptr);
    ASSERT_TRUE(engine) << engine.error().message;
    Session session(**engine);
    const auto refused = advance_to(session, random_tokens(5, 5), nullptr);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("the result of up (linear) in layer 1 is nan at row 0, element 17"),
              std::string::npos)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find("run invar audit on the model"), std::string::npos);
    std::filesystem::remove(path);
}

TEST(Engine, RefusesRopeFrequenciesThatMakeNoSense) {
    for (const float factor : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()}) {
        TinyModel model = tiny("llama");
        model.edit_tensors = [](std::vector<test::TinyTensor>& list) {
            list.push_back({"rope_freqs.weight", {32}, &format(FormatId::f32)});
        };
        std::vector<std::byte> bytes = model.bytes();
        const Checkpoint file = Checkpoint::from_bytes(bytes, "rope.gguf").value();
        std::memcpy(const_cast<std::byte*>(file.find("rope_freqs.weight")->data) + 20, &factor, sizeof(factor));
        const std::filesystem::path path = model.write("rope.gguf");
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        const auto engine = Engine::open({.model = path}, nullptr);
        ASSERT_FALSE(engine);
        EXPECT_NE(engine.error().message.find("tensor 'rope_freqs.weight'"), std::string::npos)
            << engine.error().message;
        std::filesystem::remove(path);
    }
}

TEST(StopStrings, HoldsBackWhatMayBecomeAStop) {
    StopStrings stops({"END", "stop."});
    EXPECT_EQ(stops.feed("one E"), "one ");
    EXPECT_EQ(stops.feed("N"), "");
    EXPECT_EQ(stops.feed("T st"), "ENT ");
    EXPECT_EQ(stops.feed("op"), "");
    EXPECT_EQ(stops.feed(". more"), "");
    EXPECT_TRUE(stops.stopped());
    EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, GivesTheSameTextForEverySplit) {
    const std::string text = "aaab aab abab EEND the rest";
    std::mt19937 random(9);
    for (int round = 0; round < 1000; ++round) {
        StopStrings stops({"END", "aabab"});
        std::string out;
        for (size_t at = 0; at < text.size();) {
            const size_t length = 1 + random() % 5;
            out += stops.feed(std::string_view(text).substr(at, length));
            at += length;
        }
        if (!stops.stopped()) out += stops.finish();
        ASSERT_EQ(out, "aaab aab abab E");
    }
}

}  // namespace
}  // namespace invar
