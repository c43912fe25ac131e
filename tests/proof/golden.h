// The recordings of transformers' float64 beside the tiny models of tests/data/goldens_hf.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "ops/batch.h"
#include "proof/record/recording_file.h"

namespace invar {

inline const std::filesystem::path kGoldens = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf";

struct Golden {
    std::vector<int32_t> tokens;
    std::vector<double> values;  // [tokens, width of the stage]
};

// The values of a stage at all positions: "logits" or "hidden".
inline Golden golden_of(const std::string& name, const std::string& stage) {
    const auto recording = load_recording(kGoldens / (name + ".safetensors"));
    EXPECT_TRUE(recording) << (recording ? "" : recording.error().message);
    if (!recording) return {};
    Golden golden{.tokens = recording->tokens, .values = {}};
    const StageRecord* values = recording->find({.name = stage});
    EXPECT_NE(values, nullptr) << name;
    if (values == nullptr) return golden;
    for (size_t position = 0; position < values->positions.size(); ++position) {
        for (int64_t i = 0; i < values->width(); ++i)
            golden.values.push_back(values->value(static_cast<int64_t>(position), i));
    }
    return golden;
}

// A sequence's tokens from position 0 on, each with a row of the result.
inline Batch all_rows_of(std::span<const int32_t> tokens, int32_t sequence) {
    Batch batch;
    for (size_t i = 0; i < tokens.size(); ++i) {
        batch.rows.push_back({.token = tokens[i], .sequence = sequence, .position = static_cast<int64_t>(i)});
        batch.logits_rows.push_back(static_cast<int32_t>(i));
    }
    return batch;
}

inline double relative_rms(std::span<const float> ours, const std::vector<double>& theirs) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
        difference += (ours[i] - theirs[i]) * (ours[i] - theirs[i]);
        size += theirs[i] * theirs[i];
    }
    return std::sqrt(difference / size);
}

}  // namespace invar
