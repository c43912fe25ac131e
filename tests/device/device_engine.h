// Engines on the emulated device, beside engines on the CPU alone, for the tests of splits.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "cuda/cuda_backend.h"
#include "cuda/emulation/device_emulated.h"
#include "proof/tiny_engine.h"

namespace invar::test {

// What of a model is on the device.
struct Split {
    std::string name;
    std::optional<int64_t> layers;  // as --gpu-layers
    ExpertPlace experts = ExpertPlace::with_their_layer;
};

// "1 layer", ..., "all", and with the experts on the CPU.
inline std::vector<Split> all_splits(const ModelConfig& config) {
    std::vector<Split> splits;
    const auto layers = static_cast<int64_t>(config.layers.size());
    for (const ExpertPlace experts : {ExpertPlace::with_their_layer, ExpertPlace::host}) {
        if (experts == ExpertPlace::host && config.most_experts() == 0) continue;
        for (int64_t n = 1; n <= layers + 1; ++n) {
            splits.push_back({.name = fmt::format("{} of {}{}", n, layers + 1,
                                                  experts == ExpertPlace::host ? ", experts on the CPU" : ""),
                              .layers = n,
                              .experts = experts});
        }
    }
    return splits;
}

inline std::filesystem::path golden(const std::string& name) {
    return std::filesystem::path(INVAR_TEST_DATA) / "goldens" / (name + ".gguf");
}

inline std::vector<int32_t> tokens_of(const ModelConfig& config, int64_t count) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((i * 7919 + 13) % config.vocabulary));
    return tokens;
}

inline int64_t differing(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    int64_t count = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) count += std::memcmp(&a[i], &b[i], 4) != 0;
    return count;
}

inline std::shared_ptr<Accelerator> emulated(const EmulatedDeviceSettings& settings = {}) {
    return make_cuda_accelerator(open_emulated_device(settings), 0);
}

inline EngineSettings small_settings(const std::filesystem::path& model) {
    return {.model = model, .threads = 2, .context = 128, .chunk = 16, .sequences = 3, .logits_rows = 16};
}

inline EngineSettings on_device(EngineSettings settings, const Split& split,
                                std::shared_ptr<Accelerator> device = emulated()) {
    settings.device = std::move(device);
    settings.gpu_layers = split.layers;
    settings.experts = split.experts;
    return settings;
}

inline std::unique_ptr<Engine> opened(const EngineSettings& settings) {
    auto engine = Engine::open(settings, nullptr);
    EXPECT_TRUE(engine.has_value()) << (engine ? "" : engine.error().message);
    return engine ? std::move(*engine) : nullptr;
}

// Logits of all tokens: a prompt in chunks, then token by token.
inline std::vector<float> logits_of(Engine& engine, std::span<const int32_t> tokens, size_t prompt, int64_t chunk) {
    EngineRunner runner(engine);
    const int32_t sequence = engine.cache().add_sequence();
    std::vector<float> logits;
    const auto sink = [&](const Batch&, std::span<const float> rows) {
        logits.insert(logits.end(), rows.begin(), rows.end());
    };
    const auto fed_with = [&](int64_t start, std::span<const int32_t> part, int64_t of_chunk) {
        const auto fed =
            feed(runner, {.sequence = sequence, .start = start, .tokens = part, .chunk = of_chunk, .all_logits = true},
                 {}, sink);
        EXPECT_TRUE(fed.has_value()) << (fed ? "" : fed.error().message);
    };
    fed_with(0, tokens.first(prompt), chunk);
    for (size_t i = prompt; i < tokens.size(); ++i) fed_with(static_cast<int64_t>(i), tokens.subspan(i, 1), 1);
    engine.cache().remove_sequence(sequence);
    return logits;
}

}  // namespace invar::test
