// A recording comes back from its file as it went in; recordings of others load with what little they say; and nothing
// in a file is believed. NumPy reading the file: tests/e2e/trace_test.py.
#include "proof/record/recording_file.h"

#include "files/gguf_bytes.h"
#include "files/safetensors_writer.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

using test::TinyEngine;

TEST(RecordingFile, ComesBackAsItWentIn) {
    TinyEngine engine("qwen3moe");
    StageSelection selection;
    selection.attention_scores = true;
    Recording recording = test::record(engine.runner(), test::some_tokens(9), 4, selection);
    recording.metadata = {{"model", "tiny \"moe\" ✓"}, {"threads", "2"}};
    const TemporaryFolder folder;
    ASSERT_TRUE(save_recording(recording, folder / "r.safetensors"));
    const auto loaded = load_recording(folder / "r.safetensors");
    ASSERT_TRUE(loaded) << loaded.error().message;
    // Of a position and layer: 7 stages of 256 and 6 of 128 in attention, scores of 4 heads over 9 positions, 8 + 8
    // router values, 2 ids and weights, a margin; in the experts 4 stages of 2 x 256 and 3 of 256. Outside the layers:
    // 3 of 256, and 260 logits.
    constexpr int64_t kOfLayer = 7 * 256 + 6 * 128 + 4 * 9 + 16 + 5 + 4 * 512 + 3 * 256;
    EXPECT_EQ(test::equal_values(recording, *loaded), 9 * 2 * kOfLayer + 9 * (3 * 256 + 260));
    EXPECT_EQ(loaded->tokens, recording.tokens);
    EXPECT_EQ(loaded->metadata, recording.metadata);
    for (size_t i = 0; i < recording.stages.size(); ++i)
        EXPECT_EQ(loaded->stages[i].kernel, recording.stages[i].kernel);
    EXPECT_FALSE(loaded->find({0, "query"})->kernel.empty());
}

StageRecord stage_of(std::string name, std::vector<double> values, std::vector<int64_t> shape,
                     std::vector<int64_t> positions) {
    StageRecord stage;
    stage.key = *parse_stage_key(name);
    stage.type = ElementType::f64;
    stage.shape = std::move(shape);
    stage.positions = std::move(positions);
    const auto bytes = std::as_bytes(std::span(values));
    stage.data.assign(bytes.begin(), bytes.end());
    return stage;
}

TEST(RecordingFile, KeepsOddPositionsPartsAndOccurrences) {
    Recording recording;
    recording.stages.push_back(stage_of("zebra", {1, 2, 3, 4}, {2}, {5, 9}));
    recording.stages.push_back(stage_of("layer.2.apple#3", {0.1, -0.0, 1e300}, {3}, {0}));
    recording.stages[1].elements = {0, 7, 11};
    recording.stages[1].whole_shape = {3, 4};
    const TemporaryFolder folder;
    ASSERT_TRUE(save_recording(recording, folder / "r.safetensors"));
    const auto loaded = load_recording(folder / "r.safetensors");
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ(test::equal_values(recording, *loaded), 7);
    EXPECT_EQ(loaded->stages[1].elements, recording.stages[1].elements);
    EXPECT_EQ(loaded->stages[1].whole_shape, recording.stages[1].whole_shape);
    recording.metadata["positions:zebra"] = "x";
    EXPECT_EQ(save_recording(recording, folder / "no.safetensors").error().message,
              "metadata 'positions:zebra' of a recording has a reserved name; choose another");
}

TEST(RecordingFile, KeepsStatisticsInsteadOfValues) {
    Recording recording;
    recording.stages.push_back(stage_of("a", {3, -4, NAN, INFINITY}, {4}, {7}));
    StageRecord& stage = recording.stages[0];
    stage.statistics = {statistics_of(stage.type, stage.at(0), 4)};
    const StageStatistics before = stage.statistics[0];
    EXPECT_EQ(before.least, -4);
    EXPECT_EQ(before.greatest, 3);
    EXPECT_EQ(before.mean, -0.5);
    EXPECT_EQ(before.rms, std::sqrt(12.5));
    EXPECT_EQ(before.non_finite, 2);
    stage.data.clear();
    const TemporaryFolder folder;
    ASSERT_TRUE(save_recording(recording, folder / "r.safetensors"));
    const auto loaded = load_recording(folder / "r.safetensors");
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_TRUE(loaded->statistics_only());
    const StageRecord& after = loaded->stages[0];
    EXPECT_EQ(after.type, ElementType::f64);
    EXPECT_EQ(after.shape, (std::vector<int64_t>{4}));
    EXPECT_EQ(after.positions, (std::vector<int64_t>{7}));
    EXPECT_EQ(after.statistics[0].hash, before.hash);
    EXPECT_EQ(after.statistics[0].rms, before.rms);
    EXPECT_EQ(after.statistics[0].non_finite, 2);
}

// A file of tensors with one position of the given 16-bit or 64-bit values.
template <class Value>
Result<Recording> load_foreign(Dtype dtype, std::vector<std::pair<std::string, std::vector<Value>>> tensors,
                               std::map<std::string, std::string> metadata = {}) {
    SafeTensorsWriter writer;
    for (const auto& [key, value] : metadata) writer.add_metadata(key, value);
    for (const auto& [name, values] : tensors) {
        const int64_t shape[] = {1, static_cast<int64_t>(values.size())};
        EXPECT_TRUE(writer.add_tensor(name, dtype, shape, std::as_bytes(std::span(values))));
    }
    const auto bytes = writer.bytes();
    EXPECT_TRUE(bytes);
    const auto file = SafeTensorsFile::from_bytes(*bytes, "x");
    EXPECT_TRUE(file);
    return recording_of(*file);
}

TEST(RecordingFile, LoadsRecordingsOfOthersInForwardOrderAndWidensTheirNumbers) {
    const auto loaded = load_foreign<uint16_t>(Dtype::bf16, {{"logits", {0x3fc0}},
                                                             {"layer.10.query", {0}},
                                                             {"layer.2.residual_after_ffn", {0}},
                                                             {"layer.2.something_else", {0}},
                                                             {"layer.2.query", {0xc000}},
                                                             {"embedding", {0x7f80}}});
    ASSERT_TRUE(loaded) << loaded.error().message;
    std::vector<std::string> names;
    for (const StageRecord& stage : loaded->stages) names.push_back(to_string(stage.key));
    EXPECT_EQ(names, (std::vector<std::string>{"embedding", "layer.2.query", "layer.2.residual_after_ffn",
                                               "layer.2.something_else", "layer.10.query", "logits"}));
    EXPECT_EQ(loaded->stages[0].type, ElementType::f32);
    EXPECT_EQ(loaded->stages[0].value(0, 0), INFINITY);
    EXPECT_EQ(loaded->stages[1].value(0, 0), -2);
    EXPECT_EQ(loaded->stages[5].value(0, 0), 1.5);
    const auto ids = load_foreign<int64_t>(Dtype::i64, {{"layer.0.expert_ids", {7, -1}}});
    ASSERT_TRUE(ids);
    EXPECT_EQ(ids->stages[0].type, ElementType::i32);
    EXPECT_EQ(ids->stages[0].value(0, 1), -1);
}

TEST(RecordingFile, BelievesNothing) {
    using Metadata = std::map<std::string, std::string>;
    const auto refusal = [](Metadata metadata) {
        const auto loaded = load_foreign<int32_t>(Dtype::i32, {{"a", {1, 2}}, {"b", {3}}}, std::move(metadata));
        return loaded ? std::string() : loaded.error().message;
    };
    EXPECT_EQ(refusal({}), "");
    EXPECT_EQ(refusal({{"stages", R"([{"name":"a"},{"name":"b"}])"}}), "");
    EXPECT_EQ(refusal({{"recording", "2"}}), "x: is a recording of version 2, this program reads version 1");
    EXPECT_EQ(refusal({{"tokens", "[1,"}}), "x: metadata 'tokens' is not valid JSON; the file is damaged");
    EXPECT_EQ(refusal({{"tokens", "[1,-2]"}}),
              "x: the entries of 'tokens' have -2 as entry 1, but 0 to 2147483646 is possible there");
    EXPECT_EQ(refusal({{"tokens", "[1.5]"}}), "x: the entries of 'tokens' have an entry 0 that is no whole number");
    EXPECT_EQ(refusal({{"stages", "{}"}}), "x: metadata 'stages' is no JSON list");
    EXPECT_EQ(refusal({{"stages", "[3]"}}), "x: metadata 'stages' has an entry 0 without a name");
    EXPECT_EQ(refusal({{"stages", R"([{"name":"a"}])"}}),
              "x: tensor 'b' is not in the list of stages; the file is damaged");
    EXPECT_EQ(refusal({{"stages", R"([{"name":"a"},{"name":"b"},{"name":"c"}])"}}),
              "x: stage 'c' has no tensor 'c'; the file is damaged");
    EXPECT_EQ(refusal({{"stages", R"([{"name":"a"},{"name":"b"},{"name":"a"}])"}}), "x: stage 'a' appears twice");
    EXPECT_EQ(refusal({{"stages", R"([{"name":"a","shape":[2]},{"name":"b"}])"}}),
              "x: stage 'a' has no tensor 'statistics:a'; the file is damaged");
    EXPECT_EQ(refusal({{"positions:a", "[3,4]"}}),
              "x: stage 'a' has values of 1 positions, but its list of positions has 2");
    EXPECT_EQ(refusal({{"positions:a", "[18446744073709551615]"}}),
              "x: the positions of 'a' have 9223372036854775807 as entry 0, but 0 to 1099511627775 is possible there");
    EXPECT_EQ(refusal({{"elements:a", R"({"shape":[3],"indices":[2,1]})"}}),
              "x: the indices of 'a' have 1 as entry 1, but 3 to 2 is possible there");
    EXPECT_EQ(refusal({{"elements:a", R"({"shape":[3],"indices":[2]})"}}),
              "x: stage 'a' has 2 values of a position, but a list of 1 elements");
    EXPECT_EQ(refusal({{"elements:a", R"({"shape":[1099511627775,1099511627775],"indices":[1,2]})"}}),
              "x: stage 'a' has positions of shape [1099511627775, 1099511627775], which is no shape of values");
    const auto big = load_foreign<int64_t>(Dtype::i64, {{"a", {int64_t{1} << 31}}});
    EXPECT_EQ(big.error().message, "x: stage 'a' has 2147483648 as element 0, which does not fit 32 bits");
    const auto odd = load_foreign<uint8_t>(Dtype::f8_e4m3, {{"a", {1}}});
    EXPECT_EQ(odd.error().message,
              "x: stage 'a' has the dtype F8_E4M3, which is no dtype of a recording; write F32, F64 or I32");
    const auto none = load_foreign<float>(Dtype::f32, {{"a", {}}});
    EXPECT_EQ(none.error().message, "x: tensor 'a' has the shape [1, 0], but a stage has positions and values");
    const auto twice = load_foreign<float>(Dtype::f32, {{"a", {1}}, {"a#1", {1}}});
    EXPECT_EQ(twice.error().message, "x: stage 'a' appears twice");
}

}  // namespace
}  // namespace invar
