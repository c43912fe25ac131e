// The names, dtypes and shapes of the tensors of one linear layer in each dialect (docs/checkpoints.md). The configs
// that declare them are in synth_quantization.cpp.
#include "make/synth_scheme.h"

#include <fmt/format.h>

#include <array>

#include "arithmetic/philox.h"

namespace invar {
namespace {

using D = QuantDialect;
using L = LinearScheme;
constexpr std::array<DirectoryFormat, 15> kFormats = {{
    {"hf-f32", D::none, L::f32, L::f32, L::f32, "F32"},
    {"hf-f16", D::none, L::f16, L::f16, L::f16, "F16"},
    {"hf-bf16", D::none, L::bf16, L::bf16, L::bf16, "BF16"},
    {"hf-fp8", D::compressed_tensors, L::fp8_tensor, L::fp8_tensor, L::bf16, "compressed-tensors, FP8, one scale"},
    {"hf-fp8-channel", D::compressed_tensors, L::fp8_channel, L::fp8_channel, L::bf16,
     "compressed-tensors, FP8, a scale for each row"},
    {"hf-fp8-block", D::fp8, L::fp8_block, L::fp8_block, L::bf16, "FP8, a scale for 128 x 128 weights"},
    {"hf-fp8-block-ue8m0", D::fp8, L::fp8_block_ue8m0, L::fp8_block_ue8m0, L::bf16,
     "the same, the scales powers of two"},
    {"hf-fp8-modelopt", D::modelopt, L::fp8_tensor_modelopt, L::fp8_tensor_modelopt, L::bf16,
     "ModelOpt, FP8, one scale"},
    {"hf-nvfp4", D::compressed_tensors, L::nvfp4, L::nvfp4, L::bf16, "compressed-tensors, NVFP4 (global divisor)"},
    {"hf-nvfp4-modelopt", D::modelopt, L::nvfp4_modelopt, L::nvfp4_modelopt, L::bf16,
     "ModelOpt, NVFP4 (global multiplier)"},
    {"hf-mxfp4", D::compressed_tensors, L::mxfp4, L::mxfp4, L::bf16, "compressed-tensors, MXFP4"},
    {"hf-int4-g32", D::compressed_tensors, L::int4_32, L::int4_32, L::bf16, "compressed-tensors, INT4, groups of 32"},
    {"hf-int4-g128", D::compressed_tensors, L::int4_128, L::int4_128, L::bf16,
     "compressed-tensors, INT4, groups of 128"},
    {"hf-mixed", D::compressed_tensors, L::nvfp4, L::fp8_channel, L::bf16,
     "compressed-tensors, NVFP4 and, in attention, FP8"},
    {"hf-mixed-modelopt", D::modelopt, L::nvfp4_modelopt, L::fp8_tensor_modelopt, L::bf16,
     "ModelOpt, NVFP4 and, in attention, FP8"},
}};

constexpr int64_t kBlock = 128;
int64_t blocks(int64_t extent) { return (extent + kBlock - 1) / kBlock; }

// Collects the tensors of one layer.
class Builder {
  public:
    Builder(const SynthLinear& linear, PoolKind pool) : linear_(linear), pool_(pool) {}

    void plane(std::string_view name, Dtype dtype, std::vector<int64_t> shape, int plane) {
        SynthDirectoryTensor& tensor = add(name, dtype, std::move(shape));
        tensor.pool = pool_;
        tensor.plane = plane;
        tensor.stream = linear_.stream;
    }
    void scales(std::string_view name, Dtype dtype, std::vector<int64_t> shape, float value) {
        SynthDirectoryTensor& tensor = add(name, dtype, std::move(shape));
        tensor.fill = SynthFill::pool_scales;
        tensor.stream = linear_.stream;
        tensor.value = value;
    }
    void constant(std::string_view name, std::vector<int64_t> shape, float value) {
        SynthDirectoryTensor& tensor = add(name, Dtype::f32, std::move(shape));
        tensor.fill = SynthFill::constant;
        tensor.value = value;
    }
    void shape() {
        SynthDirectoryTensor& tensor = add("weight_shape", Dtype::i64, {2});
        tensor.fill = SynthFill::integers;
        tensor.integers = {linear_.rows, linear_.columns};
    }
    std::vector<SynthDirectoryTensor> take() { return std::move(tensors_); }

  private:
    SynthDirectoryTensor& add(std::string_view name, Dtype dtype, std::vector<int64_t> shape) {
        tensors_.push_back({.declaration = {fmt::format("{}.{}", linear_.module, name), dtype, std::move(shape)}});
        return tensors_.back();
    }

    const SynthLinear& linear_;
    PoolKind pool_;
    std::vector<SynthDirectoryTensor> tensors_;
};

constexpr float kInputScale = 0.0078125f;  // of activations; no weight-only engine uses it

void add_fp8_scales(Builder& add, LinearScheme scheme, int64_t n, int64_t k, float scale, Dtype block_dtype) {
    switch (scheme) {
        case L::fp8_tensor:
            add.scales("weight_scale", Dtype::bf16, {1}, scale);
            add.constant("input_scale", {1}, kInputScale);
            break;
        case L::fp8_tensor_modelopt:
            add.constant("weight_scale", {}, scale);
            add.constant("input_scale", {}, kInputScale);
            break;
        case L::fp8_channel:
            add.scales("weight_scale", Dtype::bf16, {n, 1}, scale);
            break;
        case L::fp8_block:
            add.scales("weight_scale_inv", block_dtype, {blocks(n), blocks(k)}, scale);
            break;
        case L::fp8_block_ue8m0:
            add.scales("weight_scale_inv", Dtype::f8_e8m0, {blocks(n), blocks(k)}, scale);
            break;
        default:
            break;  // no FP8
    }
}

}  // namespace

std::span<const DirectoryFormat> directory_formats() { return kFormats; }

std::string_view dialect_name(QuantDialect dialect) {
    switch (dialect) {
        case QuantDialect::compressed_tensors:
            return "compressed-tensors";
        case QuantDialect::modelopt:
            return "modelopt";
        case QuantDialect::fp8:
            return "fp8";
        case QuantDialect::mxfp4:
            return "mxfp4";
        case QuantDialect::none:
            break;
    }
    return "";
}

Result<const DirectoryFormat*> find_directory_format(std::string_view name) {
    std::string names;
    for (const DirectoryFormat& format : kFormats) {
        if (format.name == name) return &format;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", format.name);
    }
    return fail("format '{}' of a directory is not known; choose one of {}", name, names);
}

PoolKind pool_of(LinearScheme scheme) {
    switch (scheme) {
        case L::f32:
            return PoolKind::f32;
        case L::f16:
            return PoolKind::f16;
        case L::bf16:
            return PoolKind::bf16;
        case L::nvfp4:
        case L::nvfp4_modelopt:
            return PoolKind::nvfp4;
        case L::mxfp4:
            return PoolKind::mxfp4;
        case L::int4_32:
            return PoolKind::int4_32;
        case L::int4_128:
            return PoolKind::int4_128;
        default:
            return PoolKind::e4m3;
    }
}

std::vector<SynthDirectoryTensor> tensors_of_linear(const SynthLinear& linear, LinearScheme scheme, bool bf16_scales) {
    const int64_t n = linear.rows, k = linear.columns;
    // Scales differ from layer to layer, except among layers that an engine fuses.
    const PoolKind pool = pool_of(scheme);
    const float scale = SynthPool::scale_of(pool) * (1.0f + 0.25f * law::uniform(linear.fused, 0, 2));
    Builder add(linear, pool);
    switch (scheme) {
        case L::f32:
            add.plane("weight", Dtype::f32, {n, k}, 0);
            break;
        case L::f16:
            add.plane("weight", Dtype::f16, {n, k}, 0);
            break;
        case L::bf16:
            add.plane("weight", Dtype::bf16, {n, k}, 0);
            break;
        case L::nvfp4:
            add.plane("weight_packed", Dtype::u8, {n, k / 2}, 0);
            add.plane("weight_scale", Dtype::f8_e4m3, {n, k / 16}, 1);
            add.constant("weight_global_scale", {1}, 1.0f / scale);
            add.constant("input_global_scale", {1}, 1.0f / kInputScale);
            break;
        case L::nvfp4_modelopt:
            add.plane("weight", Dtype::u8, {n, k / 2}, 0);
            add.plane("weight_scale", Dtype::f8_e4m3, {n, k / 16}, 1);
            add.constant("weight_scale_2", {}, scale);
            add.constant("input_scale", {}, kInputScale);
            break;
        case L::mxfp4:
            add.plane("weight_packed", Dtype::u8, {n, k / 2}, 0);
            add.plane("weight_scale", Dtype::u8, {n, k / 32}, 1);
            break;
        case L::int4_32:
        case L::int4_128:
            add.plane("weight_packed", Dtype::i32, {n, k / 8}, 0);
            add.plane("weight_scale", Dtype::bf16, {n, k / SynthPool::group_of(pool)}, 1);
            add.shape();
            break;
        default:
            add.plane("weight", Dtype::f8_e4m3, {n, k}, 0);
            add_fp8_scales(add, scheme, n, k, scale, bf16_scales ? Dtype::bf16 : Dtype::f32);
    }
    return add.take();
}

std::vector<SynthDirectoryTensor> tensors_of_own_mxfp4(const SynthLinear& linear) {
    const auto plane = [&](std::string_view suffix, std::vector<int64_t> shape, int number) {
        shape.insert(shape.begin(), {linear.experts, linear.rows, linear.columns / 32});
        return SynthDirectoryTensor{
            .declaration = {fmt::format("{}{}", linear.module, suffix), Dtype::u8, std::move(shape)},
            .pool = PoolKind::mxfp4,
            .plane = number,
            .stream = linear.stream};
    };
    return {plane("_blocks", {16}, 0), plane("_scales", {}, 1)};
}

}  // namespace invar
