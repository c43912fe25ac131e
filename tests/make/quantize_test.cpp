// Quantising: which format each tensor gets (against the tensor counts of published models), what is lost, that threads
// do not matter, and everything that is refused. Models are written here from seeded normal deviates.
#include "make/quantize.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <random>

#include "base/json.h"
#include "files/gguf_bytes.h"
#include "files/gguf_writer.h"

namespace invar {
namespace {

struct SourceTensor {
    std::string name;
    std::vector<int64_t> shape;
    FormatId format = FormatId::f32;
    std::vector<float> values = {};  // empty: normal deviates
};

// Writes a model of these tensors; returns its path.
std::filesystem::path write_model(const TemporaryFolder& folder, std::vector<SourceTensor> tensors) {
    const auto path = folder / "model.gguf";
    GgufWriter writer(64);
    writer.add("general.architecture", "llama");
    writer.add("general.file_type", uint32_t{0});
    writer.add("llama.block_count", uint32_t{8});
    writer.add("split.count", uint16_t{1});
    for (const SourceTensor& each : tensors) {
        EXPECT_TRUE(writer.add_tensor(each.name, format(each.format), each.shape));
    }
    EXPECT_TRUE(writer.begin(path));
    std::mt19937 generator(20261120);
    std::normal_distribution<float> normal(0.0f, 0.05f);
    for (SourceTensor& each : tensors) {
        size_t count = 1;
        for (const int64_t extent : each.shape) count *= static_cast<size_t>(extent);
        each.values.resize(count, NAN);
        for (float& value : each.values) value = std::isnan(value) ? normal(generator) : value;
        std::vector<std::byte> bytes(count / format(each.format).block_weights * format(each.format).block_bytes);
        format(each.format).encode(each.values.data(), static_cast<int64_t>(count), nullptr, bytes.data());
        EXPECT_TRUE(writer.append(bytes));
    }
    EXPECT_TRUE(writer.finish());
    return path;
}

// Eight layers, the first with every role; grouped attention: 4 query heads share a value head.
std::vector<SourceTensor> small_model(bool tied, bool experts) {
    std::vector<SourceTensor> tensors{{"token_embd.weight", {32, 256}, FormatId::bf16}, {"output_norm.weight", {256}}};
    if (!tied) tensors.push_back({"output.weight", {32, 256}, FormatId::f16});
    for (int layer = 0; layer < 8; ++layer) {
        const std::string blk = fmt::format("blk.{}.", layer);
        tensors.push_back({blk + "attn_norm.weight", {256}});
        tensors.push_back({blk + "attn_q.weight", {64, 256}});
        tensors.push_back({blk + "attn_q.bias", {256}});
        tensors.push_back({blk + "attn_v.weight", {16, 256}});
        tensors.push_back({blk + "attn_output.weight", {64, 256}, FormatId::f16});
        if (experts) {
            tensors.push_back({blk + "ffn_gate_inp.weight", {4, 256}, FormatId::bf16});
            tensors.push_back({blk + "ffn_up_exps.weight", {4, 8, 256}});
            tensors.push_back({blk + "ffn_down_exps.weight", {4, 8, 256}});
        } else {
            tensors.push_back({blk + "ffn_up.weight", {32, 256}});
            tensors.push_back({blk + "ffn_down.weight", {32, 256}});
        }
    }
    return tensors;
}

std::vector<float> decoded(const TensorInfo& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.weights()));
    for (int64_t r = 0; r < tensor.rows(); ++r) {
        tensor.format->decode(tensor.data + static_cast<uint64_t>(r) * tensor.row_bytes(), tensor.columns(),
                              values.data() + r * tensor.columns());
    }
    return values;
}

double relative_rms(const std::vector<float>& written, const std::vector<float>& source) {
    double error = 0.0, signal = 0.0;
    for (size_t i = 0; i < source.size(); ++i) {
        error += std::pow(static_cast<double>(written[i]) - source[i], 2);
        signal += std::pow(static_cast<double>(source[i]), 2);
    }
    return std::sqrt(error / signal);
}

// The largest error for normal deviates. The floor of a uniform quantiser of b bits over a block whose largest value is
// about 2.6 deviations is near 2.6 / (2^(b-1) sqrt(12)): 0.006 for 8 bits, 0.09 for 4.
double largest_error(FormatId id) {
    switch (id) {
        case FormatId::f32:
            return 0.0;
        case FormatId::f16:
            return 0.0003;
        case FormatId::bf16:
            return 0.003;
        case FormatId::q8_0:
            return 0.007;
        case FormatId::q6_k:
            return 0.025;
        case FormatId::q5_0:
        case FormatId::q5_1:
        case FormatId::q5_k:
            return 0.05;
        case FormatId::q4_0:
        case FormatId::q4_1:
        case FormatId::q4_k:
        case FormatId::iq4_nl:
        case FormatId::iq4_xs:
            return 0.1;
        case FormatId::mxfp4:
        case FormatId::nvfp4:
            return 0.14;
        case FormatId::q3_k:
            return 0.2;
        case FormatId::q2_k:
            return 0.36;
        case FormatId::f8_e4m3:
        case FormatId::f8_e4m3_b128:
        case FormatId::int4_g32:
        case FormatId::int4_g128:
        case FormatId::int4_g128_f16:
            break;  // GGUF has no type for them, so no file is quantised to one
    }
    return 0.0;
}

// ---- Which format: tensor counts of well-known files ----

TensorInfo tensor_named(std::string name, std::vector<int64_t> shape) {
    return {.name = std::move(name),
            .format = &format(FormatId::f16),
            .shape = std::move(shape),
            .data = nullptr,
            .bytes = 0,
            .file_index = 0,
            .file_offset = 0};
}

struct Counts {
    std::map<std::string, int> tensors;  // by format
    double bytes = 0, weights = 0;
    double bits_per_weight() const { return 8.0 * bytes / weights; }
};

struct Shape {
    int layers;
    int64_t width, query, value, ffn, vocabulary;
    bool tied, head_norms;
    int64_t experts;  // 0: dense
};

Counts count_formats(std::string_view mix_name, const Shape& shape) {
    std::vector<TensorInfo> tensors{tensor_named("token_embd.weight", {shape.vocabulary, shape.width}),
                                    tensor_named("output_norm.weight", {shape.width})};
    if (!shape.tied) tensors.push_back(tensor_named("output.weight", {shape.vocabulary, shape.width}));
    for (int layer = 0; layer < shape.layers; ++layer) {
        const std::string blk = fmt::format("blk.{}.", layer);
        const auto add = [&](const char* name, std::vector<int64_t> dimensions) {
            tensors.push_back(tensor_named(blk + name, std::move(dimensions)));
        };
        add("attn_norm.weight", {shape.width});
        add("ffn_norm.weight", {shape.width});
        if (shape.head_norms) add("attn_q_norm.weight", {128});
        if (shape.head_norms) add("attn_k_norm.weight", {128});
        add("attn_q.weight", {shape.query, shape.width});
        add("attn_k.weight", {shape.value, shape.width});
        add("attn_v.weight", {shape.value, shape.width});
        add("attn_output.weight", {shape.width, shape.query});
        if (shape.experts > 0) {
            add("ffn_gate_inp.weight", {shape.experts, shape.width});
            add("ffn_gate_exps.weight", {shape.experts, shape.ffn, shape.width});
            add("ffn_up_exps.weight", {shape.experts, shape.ffn, shape.width});
            add("ffn_down_exps.weight", {shape.experts, shape.width, shape.ffn});
        } else {
            add("ffn_gate.weight", {shape.ffn, shape.width});
            add("ffn_up.weight", {shape.ffn, shape.width});
            add("ffn_down.weight", {shape.width, shape.ffn});
        }
    }
    const MixModel model{.layers = shape.layers,
                         .has_output = !shape.tied,
                         .has_experts = shape.experts > 0,
                         .query_group = static_cast<double>(shape.query) / static_cast<double>(shape.value)};
    Counts counts;
    for (const TensorInfo& tensor : tensors) {
        const MixChoice choice = choose_format(*find_mix(mix_name).value(), tensor, model);
        ++counts.tensors[std::string(choice.chosen->name)];
        counts.weights += static_cast<double>(tensor.weights());
        counts.bytes += static_cast<double>(choice.chosen->row_bytes(tensor.columns()) * tensor.rows());
    }
    return counts;
}

constexpr Shape kLlama3Of8B{32, 4096, 4096, 1024, 14336, 128256, false, false, 0};
constexpr Shape kQwen3Of4B{36, 2560, 4096, 1024, 9728, 151936, true, true, 0};
constexpr Shape kQwen3Of30B{48, 2048, 4096, 512, 768, 151936, false, true, 128};

using Formats = std::map<std::string, int>;

TEST(QuantizeMixes, GivePublishedModelsTheirTensorCounts) {
    // As llama.cpp's loader lists them for the Q4_K_M files of these models.
    EXPECT_EQ(count_formats("q4_k_m", kLlama3Of8B).tensors, (Formats{{"f32", 65}, {"q4_k", 193}, {"q6_k", 33}}));
    EXPECT_EQ(count_formats("q4_k_m", kQwen3Of4B).tensors, (Formats{{"f32", 145}, {"q4_k", 216}, {"q6_k", 37}}));
    EXPECT_EQ(count_formats("q4_k_m", kQwen3Of30B).tensors, (Formats{{"f32", 241}, {"q4_k", 289}, {"q6_k", 49}}));
}

TEST(QuantizeMixes, GivePublishedModelsTheirBitsPerWeight) {
    // Bits per weight that llama.cpp prints for Llama 3 8B.
    const std::map<std::string, double> published{
        {"q2_k", 3.16},   {"q3_k_s", 3.64}, {"q3_k_m", 4.00}, {"q3_k_l", 4.30}, {"q4_0", 4.64}, {"q4_k_s", 4.67},
        {"q4_k_m", 4.89}, {"q5_k_s", 5.57}, {"q5_k_m", 5.70}, {"q6_k", 6.56},   {"q8_0", 8.50}, {"f16", 16.00}};
    for (const auto& [mix, bits] : published) {
        EXPECT_NEAR(count_formats(mix, kLlama3Of8B).bits_per_weight(), bits, 0.0051) << mix;
    }
}

TEST(QuantizeMixes, PutOnlyExpertsIntoMxfp4) {
    EXPECT_EQ(count_formats("mxfp4", kQwen3Of30B).tensors, (Formats{{"f32", 241}, {"mxfp4", 144}, {"q8_0", 194}}));
    EXPECT_EQ(count_formats("mxfp4", kLlama3Of8B).tensors, (Formats{{"f32", 65}, {"mxfp4", 96}, {"q8_0", 130}}));
    EXPECT_EQ(count_formats("nvfp4", kQwen3Of4B).tensors, (Formats{{"f32", 145}, {"nvfp4", 252}, {"q8_0", 1}}));
}

TEST(QuantizeMixes, KeepRoutersAndNormsInF32) {
    for (const Mix& mix : mixes()) {
        for (const char* name : {"blk.0.ffn_gate_inp.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_q.bias"}) {
            EXPECT_EQ(choose_format(mix, tensor_named(name, {4, 256}), {}).chosen->id, FormatId::f32)
                << mix.name << name;
        }
    }
}

TEST(QuantizeMixes, FallBackToFormatsWhoseBlockFits) {
    const auto chosen = [](std::string_view mix, int64_t columns) {
        return choose_format(*find_mix(mix).value(), tensor_named("blk.0.attn_k.weight", {4, columns}), {})
            .chosen->name;
    };
    EXPECT_EQ(chosen("q2_k", 96), "q4_0");
    EXPECT_EQ(chosen("q3_k_m", 96), "q4_0");
    EXPECT_EQ(chosen("q4_k_m", 96), "q5_0");
    EXPECT_EQ(chosen("q5_k_m", 96), "q5_1");
    EXPECT_EQ(chosen("q6_k", 96), "q8_0");
    EXPECT_EQ(chosen("iq4_xs", 96), "iq4_nl");
    EXPECT_EQ(chosen("nvfp4", 96), "mxfp4");
    for (const char* mix : {"q2_k", "q4_k_m", "q8_0", "mxfp4", "nvfp4", "iq4_nl"})
        EXPECT_EQ(chosen(mix, 40), "f16") << mix;
}

TEST(QuantizeMixes, AreListedInTheDocument) {
    const std::string document = read_text(std::filesystem::path(INVAR_TEST_DATA) / "../../docs/gguf.md");
    for (const Mix& mix : mixes()) {
        const std::string row = fmt::format("| {} | {} | {} |", mix.name, format(mix.base).name, mix.summary);
        EXPECT_NE(document.find(row), std::string::npos) << row;
    }
}

TEST(QuantizeMixes, NameTheMixesThereAre) {
    const auto mix = find_mix("q4_k_x");
    ASSERT_FALSE(mix);
    EXPECT_TRUE(
        mix.error().message.starts_with("there is no quantisation mix 'q4_k_x'; there are f32, f16, bf16, q8_0, q4_0"))
        << mix.error().message;
}

// ---- What is written ----

TEST(Quantize, WritesEveryMixWithinItsErrorBound) {
    const TemporaryFolder folder;
    size_t tensors = 0;
    for (const bool experts : {false, true}) {
        const auto in = GgufFile::open(write_model(folder, small_model(/*tied=*/!experts, experts)));
        ASSERT_TRUE(in) << in.error().message;
        for (const Mix& mix : mixes()) {
            const auto out = folder / "out.gguf";
            const auto report = quantize(*in, {.mix = std::string(mix.name)}, out);
            ASSERT_TRUE(report) << report.error().message;
            const auto written = GgufFile::open(out);
            ASSERT_TRUE(written) << written.error().message;
            EXPECT_EQ(written->metadata().integer("general.file_type").value(), mix.file_type);
            EXPECT_EQ(written->metadata().integer("general.quantization_version").value(), 2u);
            EXPECT_EQ(written->metadata().integer("llama.block_count").value(), 8u);
            EXPECT_FALSE(written->metadata().has("split.count"));
            EXPECT_EQ(report->file_bytes, written->file_bytes());
            EXPECT_EQ(report->bytes, written->tensor_bytes());
            EXPECT_EQ(report->fallbacks, 0);
            ASSERT_EQ(report->tensors.size(), in->tensors().size());
            for (size_t i = 0; i < in->tensors().size(); ++i) {
                const TensorInfo& source = in->tensors()[i];
                const TensorInfo& target = written->tensors()[i];
                EXPECT_EQ(target.name, source.name);
                EXPECT_EQ(target.shape, source.shape);
                EXPECT_EQ(target.format, report->tensors[i].target);
                const double error = relative_rms(decoded(target), decoded(source));
                EXPECT_NEAR(error, report->tensors[i].relative_rms_error, 1e-12) << source.name;
                EXPECT_LE(error, largest_error(target.format->id)) << mix.name << " " << source.name;
                // Normal deviates are no multiples of a scale, so a copy without error cannot be quantised.
                if (target.format->id != source.format->id && !target.format->is_float) {
                    EXPECT_GT(error, 0.0) << source.name;
                }
                ++tensors;
            }
        }
    }
    fmt::print("[error] {} tensors of {} mixes decoded and compared with their source\n", tensors, mixes().size());
}

TEST(Quantize, GivesMoreBitsToTheLayersThatTheRuleNames) {
    const TemporaryFolder folder;
    const auto in = GgufFile::open(write_model(folder, small_model(/*tied=*/false, /*experts=*/true)));
    ASSERT_TRUE(in);
    ASSERT_TRUE(quantize(*in, {}, folder / "out.gguf"));
    const auto written = GgufFile::open(folder / "out.gguf");
    ASSERT_TRUE(written);
    // Of 8 layers: the first eighth (0), the last eighth (7), every third between (3, 6).
    for (int layer = 0; layer < 8; ++layer) {
        const bool more = layer == 0 || layer == 3 || layer == 6 || layer == 7;
        for (const char* name : {"attn_v", "ffn_down_exps"}) {
            EXPECT_EQ(written->find(fmt::format("blk.{}.{}.weight", layer, name))->format->name, more ? "q6_k" : "q4_k")
                << layer;
        }
        EXPECT_EQ(written->find(fmt::format("blk.{}.ffn_gate_inp.weight", layer))->format->name, "f32");
        EXPECT_EQ(written->find(fmt::format("blk.{}.ffn_up_exps.weight", layer))->format->name, "q4_k");
    }
    EXPECT_EQ(written->find("output.weight")->format->name, "q6_k");
    EXPECT_EQ(written->find("token_embd.weight")->format->name, "q4_k");
}

TEST(Quantize, EncodesEveryExpertAsItWouldAlone) {
    const TemporaryFolder folder;
    const auto in = GgufFile::open(write_model(folder, {{"blk.0.ffn_up_exps.weight", {3, 5, 256}}}));
    ASSERT_TRUE(in);
    ASSERT_TRUE(quantize(*in, {.mix = "q4_k_s"}, folder / "out.gguf"));
    const auto written = GgufFile::open(folder / "out.gguf");
    const TensorInfo& stack = *written->find("blk.0.ffn_up_exps.weight");
    const std::vector<float> source = decoded(*in->find("blk.0.ffn_up_exps.weight"));
    for (int64_t row = 0; row < 15; ++row) {
        std::vector<std::byte> alone(stack.row_bytes());
        stack.format->encode(source.data() + row * 256, 256, nullptr, alone.data());
        EXPECT_EQ(std::memcmp(alone.data(), stack.data + static_cast<uint64_t>(row) * stack.row_bytes(), alone.size()),
                  0)
            << row;
    }
}

TEST(Quantize, WritesTheSameBytesOnAnyNumberOfThreads) {
    const TemporaryFolder folder;
    // 2000 rows are 8 chunks of work.
    const auto in =
        GgufFile::open(write_model(folder, {{"blk.0.attn_q.weight", {2000, 256}}, {"token_embd.weight", {3, 256}}}));
    ASSERT_TRUE(in);
    std::string first;
    std::string first_report;
    for (const int threads : {1, 2, 3, 8}) {
        const auto report = quantize(*in, {.mix = "q5_k_m", .threads = threads}, folder / "out.gguf");
        ASSERT_TRUE(report) << report.error().message;
        const std::string bytes = read_text(folder / "out.gguf");
        if (threads == 1) first = bytes, first_report = quantize_report_as_json(*report).dump();
        EXPECT_EQ(bytes, first) << threads;
        EXPECT_EQ(quantize_report_as_json(*report).dump(), first_report) << threads;
    }
    fmt::print("[equality] {} bytes written by 1, 2, 3 and 8 threads, 0 differ\n", first.size());
}

TEST(Quantize, ReportsTensorsThatDidNotFit) {
    const TemporaryFolder folder;
    const auto in =
        GgufFile::open(write_model(folder, {{"blk.0.attn_k.weight", {4, 96}}, {"blk.0.attn_q.weight", {4, 40}}}));
    ASSERT_TRUE(in);
    const auto report = quantize(*in, {.mix = "q4_k_m"}, folder / "out.gguf");
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->fallbacks, 2);
    const Json rows = quantize_report_as_json(*report)["tensors"];
    EXPECT_EQ(rows[0]["format"], "q5_0");
    EXPECT_EQ(rows[0]["wanted"], "q4_k");
    EXPECT_EQ(rows[1]["format"], "f16");
    EXPECT_EQ(rows[1]["wanted"], "q4_k");
}

TEST(Quantize, TellsItsProgressAndStopsWhenAsked) {
    const TemporaryFolder folder;
    const auto in = GgufFile::open(write_model(folder, small_model(true, false)));
    ASSERT_TRUE(in);
    uint64_t last = 0;
    const auto whole = quantize(*in, {}, folder / "whole.gguf", [&](const QuantizeProgress& progress) {
        EXPECT_GE(progress.source_bytes_done, last);
        last = progress.source_bytes_done;
        return true;
    });
    ASSERT_TRUE(whole);
    EXPECT_EQ(last, in->tensor_bytes());
    const auto stopped =
        quantize(*in, {}, folder / "stopped.gguf", [](const QuantizeProgress& progress) { return progress.index < 5; });
    ASSERT_FALSE(stopped);
    EXPECT_NE(stopped.error().message.find("was stopped; no file was written"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(folder / "stopped.gguf"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

// ---- What is refused ----

std::string refusal(const TemporaryFolder& folder, std::vector<SourceTensor> tensors, const QuantizeOptions& options) {
    const auto in = GgufFile::open(write_model(folder, std::move(tensors)));
    EXPECT_TRUE(in);
    const auto report = quantize(*in, options, folder / "out.gguf");
    EXPECT_FALSE(std::filesystem::exists(folder / "out.gguf") && !report);
    std::error_code ignored;
    std::filesystem::remove(folder / "out.gguf", ignored);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
    return report ? "" : report.error().message;
}

TEST(Quantize, RefusesInputThatIsQuantizedAlready) {
    const TemporaryFolder folder;
    const std::vector<SourceTensor> model{{"blk.0.attn_k.weight", {4, 256}, FormatId::q8_0}};
    EXPECT_EQ(refusal(folder, model, {.mix = "q4_k_m"}),
              (folder / "model.gguf").string() +
                  ": tensor 'blk.0.attn_k.weight' is q8_0 already, and "
                  "quantising it again as q4_k loses accuracy twice; start "
                  "from an F32, F16 or BF16 model, or give --allow-requantize");
    EXPECT_EQ(refusal(folder, model, {.mix = "q4_k_m", .allow_requantize = true}), "");
    EXPECT_EQ(refusal(folder, model, {.mix = "q8_0"}), "");  // a copy
    EXPECT_EQ(refusal(folder, model, {.mix = "f32"}), "");   // exact
}

TEST(Quantize, RefusesNumbersThatAFormatCannotHold) {
    const TemporaryFolder folder;
    std::vector<float> values(512, 0.5f);
    values[256 + 7] = INFINITY;
    EXPECT_EQ(refusal(folder, {{"blk.0.attn_k.weight", {2, 256}, FormatId::f32, values}}, {.mix = "q8_0"}),
              (folder / "model.gguf").string() +
                  ": tensor 'blk.0.attn_k.weight' holds inf at row 1, column 7, which is no finite number: the "
                  "weights are damaged, run invar audit on the model");
    values[256 + 7] = 70000.0f;
    EXPECT_EQ(
        refusal(folder, {{"blk.0.attn_k.weight", {2, 256}, FormatId::f32, values}}, {.mix = "f16"}),
        (folder / "model.gguf").string() +
            ": tensor 'blk.0.attn_k.weight' holds 70000 at row 1, column 7, which f16 cannot hold; choose another "
            "format");
    EXPECT_EQ(refusal(folder, {{"blk.0.attn_k.weight", {2, 256}, FormatId::f32, values}}, {.mix = "bf16"}), "");
}

TEST(Quantize, RefusesToReplaceWhatItReads) {
    const TemporaryFolder folder;
    const auto path = write_model(folder, {{"blk.0.attn_k.weight", {4, 256}}});
    const auto in = GgufFile::open(path);
    ASSERT_TRUE(in);
    const auto report = quantize(*in, {}, folder.path() / "." / "model.gguf");
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().message.find("is a file of the model that is read; give the output another name"),
              std::string::npos);
    const auto lost = quantize(*in, {}, folder.path() / "no" / "out.gguf");
    ASSERT_FALSE(lost);
    EXPECT_NE(lost.error().message.find("does not exist"), std::string::npos);
}

// ---- Independent code ----

TEST(Quantize, IsDecodedAlikeByTheGgufPackage) {
    // The interpreter with the oracles of tools/requirements.txt; the system's has none of them.
    const std::string python = INVAR_TEST_DATA "/../../.venv/bin/python3";
    if (std::system(fmt::format("'{}' -c 'import gguf, numpy' 2>/dev/null", python).c_str()) != 0) {
        GTEST_SKIP() << python << " has no gguf package";
    }
    const TemporaryFolder folder;
    const auto in = GgufFile::open(write_model(folder, small_model(/*tied=*/false, /*experts=*/true)));
    ASSERT_TRUE(in);
    size_t compared = 0;
    size_t differ = 0;
    for (const char* mix : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "iq4_nl",
                            "iq4_xs", "mxfp4", "nvfp4", "f16", "bf16"}) {
        ASSERT_TRUE(quantize(*in, {.mix = mix}, folder / "out.gguf"));
        const auto written = GgufFile::open(folder / "out.gguf");
        ASSERT_TRUE(written);
        const std::string command = fmt::format("'{}' '{}/../../tools/fixtures/gguf.py' --decode '{}'", python,
                                                INVAR_TEST_DATA, (folder / "out.gguf").string());
        const std::unique_ptr<FILE, int (*)(FILE*)> output(::popen(command.c_str(), "r"), ::pclose);
        ASSERT_NE(output, nullptr);
        std::string text;
        for (int c = std::fgetc(output.get()); c != EOF; c = std::fgetc(output.get())) text += static_cast<char>(c);
        std::istringstream lines(text);
        size_t tensors = 0;
        for (std::string line; std::getline(lines, line);) {
            const Json row = parse_json(line).value();
            if (!row.contains("tensor")) continue;
            const TensorInfo& tensor = *written->find(row["tensor"].get<std::string>());
            const std::vector<float> ours = decoded(tensor);
            const size_t step = row["step"].get<size_t>();
            for (size_t i = 0; i < row["values"].size(); ++i, ++compared) {
                differ += static_cast<double>(ours[i * step]) != row["values"][i].get<double>();
            }
            ++tensors;
        }
        EXPECT_EQ(tensors, in->tensors().size()) << mix;
    }
    EXPECT_EQ(differ, 0u);
    fmt::print("[equality] {} weights decoded by us and by the gguf package, {} differ\n", compared, differ);
}

}  // namespace
}  // namespace invar
