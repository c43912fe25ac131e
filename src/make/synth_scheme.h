// The dialects in which synth writes a directory: the tensors of one linear layer, and their declaration in the
// configs. There is one row for each FORMAT of the command line. synth_directory.cpp decides which layers a model has.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/safetensors_stream.h"
#include "make/synth_pool.h"

namespace invar {

// How the bytes of a tensor are made.
enum class SynthFill : uint8_t {
    pool,         // a plane of a pool
    pool_scales,  // values near `value`, each up to a quarter larger
    factors,      // values between 3/4 and 5/4 of `value`
    constant,     // `value`: norms and scalars
    integers,     // the `integers`, as I64
};

struct SynthDirectoryTensor {
    SafeTensorsDeclaration declaration;
    SynthFill fill = SynthFill::pool;
    PoolKind pool = PoolKind::bf16;
    int plane = 0;
    uint64_t stream = 0;
    float value = 1.0f;
    std::vector<int64_t> integers;
};

// The encoding of a linear layer's weights.
enum class LinearScheme : uint8_t {
    f32,
    f16,
    bf16,
    fp8_tensor,           // compressed-tensors: weight_scale [1], input_scale [1]
    fp8_tensor_modelopt,  // ModelOpt: weight_scale and input_scale without dimensions
    fp8_channel,          // compressed-tensors: weight_scale [N, 1]
    fp8_block,            // weight_scale_inv [N / 128, K / 128]
    fp8_block_ue8m0,
    nvfp4,           // compressed-tensors: weight_packed, weight_scale, weight_global_scale (a divisor)
    nvfp4_modelopt,  // ModelOpt: weight, weight_scale, weight_scale_2 (a multiplier)
    mxfp4,           // compressed-tensors: weight_packed, weight_scale in E8M0
    int4_32,         // compressed-tensors: weight_packed in I32, weight_scale, weight_shape
    int4_128,
};

enum class QuantDialect : uint8_t { none, compressed_tensors, modelopt, fp8, mxfp4 /* gpt-oss's own */ };
std::string_view dialect_name(QuantDialect dialect);  // its quant_method

struct DirectoryFormat {
    std::string_view name;  // "hf-nvfp4"
    QuantDialect dialect = QuantDialect::none;
    LinearScheme mlp = LinearScheme::bf16, attention = LinearScheme::bf16;
    LinearScheme plain = LinearScheme::bf16;  // for every layer that is not quantised
    std::string_view summary;
};
std::span<const DirectoryFormat> directory_formats();
Result<const DirectoryFormat*> find_directory_format(std::string_view name);  // errors list them

// One linear layer of the model to be written.
struct SynthLinear {
    std::string module;  // "model.layers.0.mlp.up_proj"
    int64_t rows = 0, columns = 0;
    uint64_t stream = 0;
    uint64_t fused = 0;  // layers that an engine fuses have the same number, and so the same global scale
    LinearScheme scheme = LinearScheme::bf16;
    int64_t experts = 0;  // stacked in one tensor; 0: it is one matrix
};
// `bf16_scales`: block scales are BF16 instead of F32, as in Qwen's own FP8 checkpoints.
std::vector<SynthDirectoryTensor> tensors_of_linear(const SynthLinear& linear, LinearScheme scheme, bool bf16_scales);
// The same as gpt-oss has them: module_blocks and module_scales.
std::vector<SynthDirectoryTensor> tensors_of_own_mxfp4(const SynthLinear& linear);
PoolKind pool_of(LinearScheme scheme);

// The object quantization_config of config.json; null if nothing is quantised. `ignore`: every module that is not
// quantised. `quantised`: every module that is.
Json quantization_config(const DirectoryFormat& format, std::span<const std::string> ignore,
                         std::span<const SynthLinear> quantized);
// hf_quant_config.json; null if the dialect has none.
Json hf_quant_config(const DirectoryFormat& format, std::span<const std::string> ignore,
                     std::span<const SynthLinear> quantized);

}  // namespace invar
