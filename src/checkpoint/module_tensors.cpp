// Recognises a module by the names and dtypes of its tensors, one function per dialect, and checks shapes and scales:
// see module_tensors.h.
#include "checkpoint/module_tensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "files/block_packing.h"
#include "files/printable.h"
#include "files/shape_text.h"

namespace invar {
namespace {

// Tensors beside a module that change its weights in ways that are not implemented.
struct Foreign {
    std::string_view suffix, what;
};
constexpr Foreign kForeign[] = {
    {".qweight", "AWQ or GPTQ weights"},
    {".pre_quant_scale", "NVFP4 weights that AWQ has scaled (pre_quant_scale)"},
    {".svdquant_lora_a", "NVFP4 weights with a low-rank part beside them (SVD)"},
    {".weight_zero_point", "weights with zero points"},
    {".weight_g_idx", "weights whose groups are permuted (weight_g_idx)"},
};

class Finder {
  public:
    Finder(const Checkpoint& checkpoint, const std::string& tensor) : checkpoint_(checkpoint), tensor_(tensor) {
        constexpr std::string_view kWeight = ".weight";
        module_ = tensor;
        if (module_.ends_with(kWeight)) module_.remove_suffix(kWeight.size());
    }

    Result<std::optional<ModuleTensors>> find() {
        if (checkpoint_.dialect() != Dialect::gguf) TRY(refuse_foreign());
        const TensorInfo* weight = checkpoint_.find(tensor_);
        if (weight != nullptr && weight->format != nullptr) {
            found_ = {.format = weight->format, .weights = weight, .shape = weight->shape};
            if (checkpoint_.dialect() == Dialect::gguf && !holds_plain_numbers(*weight->format))
                TRY(read_gguf_scales());
        } else if (weight != nullptr) {
            TRY(weight->dtype == "F8_E4M3" ? f8(*weight) : modelopt(*weight));
        } else if (const TensorInfo* packed = beside(".weight_packed")) {
            TRY(compressed(*packed));
        } else if (const TensorInfo* blocks = beside("_blocks")) {
            TRY(gpt_oss(*blocks));
        } else {
            return std::optional<ModuleTensors>();
        }
        return std::optional<ModuleTensors>(std::move(found_));
    }

  private:
    const TensorInfo* beside(std::string_view suffix) const {
        if (suffix.front() == '.' && !checkpoint_.any_ends_in(suffix.substr(1))) return nullptr;
        std::string name;
        name.reserve(module_.size() + suffix.size());
        return checkpoint_.find(name.append(module_).append(suffix));
    }
    Result<void> refuse_foreign() const {
        for (const Foreign& foreign : kForeign) {
            if (beside(foreign.suffix) == nullptr) continue;
            return fail(ErrorKind::unsupported, "{}: module '{}' has {}, which are not supported", checkpoint_.name(),
                        printable(module_), foreign.what);
        }
        return {};
    }
    tl::unexpected<Error> lacks(std::string_view suffix, std::string_view what) const {
        return fail("{}: tensor '{}{}' ({}) is missing; without it the weights of '{}' have another size",
                    checkpoint_.name(), printable(module_), suffix, what, printable(tensor_));
    }
    tl::unexpected<Error> not_known(const TensorInfo& tensor) const {
        return fail(ErrorKind::unsupported,
                    "{}: tensor '{}' is stored as {} with shape {}, which is no known weight "
                    "format here",
                    checkpoint_.name(), printable(tensor.name), tensor.dtype, shape_text(tensor.shape));
    }

    // Reads the numbers of a small tensor; the caller states how many.
    Result<std::vector<float>> numbers(const TensorInfo& tensor, int64_t count) {
        if (tensor.format == nullptr || !holds_plain_numbers(*tensor.format)) {
            return fail(ErrorKind::unsupported,
                        "{}: tensor '{}' is stored as {}, but scales of a tensor or of rows must be F32, F16 or BF16",
                        checkpoint_.name(), printable(tensor.name),
                        tensor.format == nullptr ? tensor.dtype : std::string(tensor.format->name));
        }
        if (tensor.weights() != count) {
            return fail("{}: tensor '{}' has shape {}, but {} scale{} needed", checkpoint_.name(),
                        printable(tensor.name), shape_text(tensor.shape), count, count == 1 ? " is" : "s are");
        }
        std::vector<float> values(static_cast<size_t>(count));
        const StoredWeight vector{.format = tensor.format, .shape = {count}, .matrices = {{.weights = &tensor}}};
        TRY(RowReader(RowReader::Access::read).vector(vector, values.data()));
        for (const float value : values) {
            if (std::isfinite(value) && value >= 0) continue;
            return fail(
                "{}: tensor '{}' holds {}, but a scale is a number that is finite and not negative; the file is "
                "damaged, fetch it again",
                checkpoint_.name(), printable(tensor.name), value);
        }
        found_.read.push_back(&tensor);
        return values;
    }

    // GGUF: X.scale holds the multiplier of each matrix; an absent one is 1.
    Result<void> read_gguf_scales() {
        const TensorInfo* scale = beside(".scale");
        if (scale == nullptr) return {};
        const int64_t matrices = found_.shape.size() == 3 ? found_.shape[0] : 1;
        TRY_ASSIGN(found_.multipliers, numbers(*scale, matrices));
        return {};
    }

    // Reads 4-bit codes, two per byte, with a scale for each `group` of them.
    Result<void> pairs(const TensorInfo& codes, const TensorInfo* scales, std::string_view scale_name, int group,
                       CodePacking packing, FormatId format_id) {
        if (scales == nullptr) return lacks(scale_name, "the scales of its blocks");
        const Format& blocks = format(format_id);
        std::vector<int64_t> shape = codes.shape, wanted = codes.shape;
        shape.back() *= 2;
        wanted.back() = shape.back() / group;
        if (codes.shape.size() < 2 || shape.back() % blocks.block_weights != 0) {
            return fail(ErrorKind::unsupported, "{}: tensor '{}' has rows of {} weights, but {} needs a multiple of {}",
                        checkpoint_.name(), printable(codes.name), shape.back(), blocks.name, blocks.block_weights);
        }
        if (scales->shape != wanted) {
            return fail("{}: tensor '{}' has shape {}, but the codes in '{}' ask for {}", checkpoint_.name(),
                        printable(scales->name), shape_text(scales->shape), printable(codes.name), shape_text(wanted));
        }
        found_ = {.format = &blocks, .packing = packing, .weights = &codes, .scales = scales, .shape = shape};
        return {};
    }

    // llm-compressor: X.weight_packed, X.weight_scale, and for NVFP4 X.weight_global_scale, a divisor.
    Result<void> compressed(const TensorInfo& packed) {
        const TensorInfo* scale = beside(".weight_scale");
        if (packed.dtype == "I32") return int4(packed);
        if (packed.dtype != "U8") return not_known(packed);
        if (scale == nullptr) return lacks(".weight_scale", "the scales of its blocks");
        if (scale->dtype == "U8" || scale->dtype == "F8_E8M0")
            return pairs(packed, scale, ".weight_scale", 32, CodePacking::mxfp4_pairs, FormatId::mxfp4);
        if (scale->dtype != "F8_E4M3") return not_known(*scale);
        TRY(pairs(packed, scale, ".weight_scale", 16, CodePacking::nvfp4_pairs, FormatId::nvfp4));
        const TensorInfo* global = beside(".weight_global_scale");
        if (global == nullptr) return lacks(".weight_global_scale", "the scale of the whole tensor");
        TRY_ASSIGN(const std::vector<float> divisor, numbers(*global, 1));
        found_.multipliers = {ScaleDivisor{divisor[0]}.multiplier().value};
        if (!std::isfinite(found_.multipliers[0])) {
            return fail(
                "{}: tensor '{}' holds {}, a divisor so small that its inverse is infinite; the file is damaged, "
                "fetch it again",
                checkpoint_.name(), printable(global->name), divisor[0]);
        }
        found_.divisors = divisor;
        found_.scale_order = ScaleOrder::divides_block_scales;
        return {};
    }

    // ModelOpt: X.weight holds codes, X.weight_scale scales, X.weight_scale_2 the multiplier of the whole.
    Result<void> modelopt(const TensorInfo& weight) {
        const TensorInfo* scale = beside(".weight_scale");
        if (weight.dtype != "U8") return not_known(weight);
        if (scale == nullptr) return lacks(".weight_scale", "the scales of its blocks");
        if (scale->dtype != "F8_E4M3") return not_known(*scale);
        TRY(pairs(weight, scale, ".weight_scale", 16, CodePacking::nvfp4_pairs, FormatId::nvfp4));
        const TensorInfo* global = beside(".weight_scale_2");
        if (global == nullptr) return lacks(".weight_scale_2", "the scale of the whole tensor");
        TRY_ASSIGN(const std::vector<float> multiplier, numbers(*global, 1));
        found_.multipliers = {ScaleMultiplier{multiplier[0]}.value};
        found_.scale_order = ScaleOrder::in_block_scales;
        return {};
    }

    // FP8: X.weight_scale, Mistral's own X.qscale_weight, or X.weight_scale_inv, which is a multiplier in spite of its
    // name: one for the tensor, one for each row, or one for each 128 x 128.
    Result<void> f8(const TensorInfo& weight) {
        const TensorInfo* scale = beside(".weight_scale");
        if (scale == nullptr) scale = beside(".weight_scale_inv");
        if (scale == nullptr) scale = beside(".qscale_weight");
        if (scale == nullptr) {
            return lacks(checkpoint_.dialect() == Dialect::mistral ? ".qscale_weight" : ".weight_scale",
                         "the scale of its weights");
        }
        if (weight.shape.size() != 2) return not_known(weight);
        const int64_t rows = weight.shape[0], columns = weight.shape[1];
        const std::array<int64_t, 2> grid = {(rows + 127) / 128, (columns + 127) / 128};
        const std::vector<int64_t>& shape = scale->shape;
        const bool one = scale->weights() == 1,
                   each_row = shape[0] == rows && (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1));
        if (std::equal(shape.begin(), shape.end(), grid.begin(), grid.end()) && !one) return f8_grid(weight, *scale);
        if (!one && !each_row && scale->shape.size() == 2 && scale->shape[1] == columns / 32)
            return refuse(weight, "MXFP8 (a power of two for each 32 weights)");
        if (!one && !each_row) {
            return fail(
                "{}: tensor '{}' has shape {}, but the weights in '{}' have one scale, {} rows, or a grid of {}",
                checkpoint_.name(), printable(scale->name), shape_text(scale->shape), printable(weight.name), rows,
                shape_text({grid[0], grid[1]}));
        }
        found_ = {.format = &format(FormatId::f8_e4m3), .weights = &weight, .shape = weight.shape};
        TRY_ASSIGN(std::vector<float> values, numbers(*scale, one ? 1 : rows));
        (one ? found_.multipliers : found_.row_multipliers) = std::move(values);
        return {};
    }

    Result<void> f8_grid(const TensorInfo& weight, const TensorInfo& scale) {
        const Format& blocks = format(FormatId::f8_e4m3_b128);
        if (scale.dtype != "F32" && scale.dtype != "BF16" && scale.dtype != "F8_E8M0") return not_known(scale);
        if (weight.columns() % blocks.block_weights != 0) TRY(check_last_blocks(scale));
        found_ = {.format = &blocks,
                  .packing = CodePacking::f8_grid,
                  .weights = &weight,
                  .scales = &scale,
                  .shape = weight.shape};
        return {};
    }

    // Kernels multiply what stands behind the last column with the scale of its block, and that has to be zero.
    Result<void> check_last_blocks(const TensorInfo& scale) const {
        const int64_t columns = scale.shape[1];
        for (int64_t row = 0; row < scale.shape[0]; ++row) {
            const float value = scale_number(scale.dtype, scale.data, (row + 1) * columns - 1);
            if (std::fabs(value) < 0x1p120f) continue;
            return fail(
                "{}: tensor '{}' holds {}, but the scale of a block that ends a row is a number below 2^120; the "
                "file is damaged",
                checkpoint_.name(), printable(scale.name), value);
        }
        return {};
    }

    // llm-compressor, INT4: X.weight_packed of words of eight codes, X.weight_scale, X.weight_shape.
    Result<void> int4(const TensorInfo& packed) {
        const TensorInfo* scale = beside(".weight_scale");
        const TensorInfo* stated = beside(".weight_shape");
        if (scale == nullptr) return lacks(".weight_scale", "the scales of its groups");
        if (stated == nullptr) {
            return fail("{}: tensor '{}.weight_shape' is missing, which states the rows and columns of '{}'",
                        checkpoint_.name(), printable(module_), printable(packed.name));
        }
        if (packed.shape.size() != 2 || scale->shape.size() != 2 || scale->shape[0] != packed.shape[0] ||
            scale->shape[1] == 0)
            return not_known(*scale);
        const int64_t columns = packed.shape[1] * 8, group = columns / scale->shape[1];
        TRY(check_shape(*stated, packed, columns));
        const Format* blocks = nullptr;
        if (group == 32 && scale->dtype == "BF16") blocks = &format(FormatId::int4_g32);
        if (group == 32 && scale->dtype == "F16") blocks = &format(FormatId::q4_0);
        if (group == 128 && scale->dtype == "BF16") blocks = &format(FormatId::int4_g128);
        if (group == 128 && scale->dtype == "F16") blocks = &format(FormatId::int4_g128_f16);
        if (blocks == nullptr || group * scale->shape[1] != columns)
            return refuse(packed, fmt::format("INT4 in groups of {} with scales in {}", group, scale->dtype));
        found_ = {.format = blocks,
                  .packing = CodePacking::int4_words,
                  .weights = &packed,
                  .scales = scale,
                  .shape = {packed.shape[0], columns}};
        found_.read.push_back(stated);
        return {};
    }

    // X.weight_shape states the rows and columns of the words' codes once more.
    Result<void> check_shape(const TensorInfo& stated, const TensorInfo& packed, int64_t columns) const {
        const size_t each = stated.dtype == "I64" ? 8 : 4;
        if ((stated.dtype != "I64" && stated.dtype != "I32") || stated.bytes != 2 * each) {
            return fail("{}: tensor '{}' has shape {} in {}, but the two numbers of a shape in I64 or I32 are needed",
                        checkpoint_.name(), printable(stated.name), shape_text(stated.shape), stated.dtype);
        }
        std::vector<int64_t> shape(2);
        for (size_t i = 0; i < 2; ++i) {
            int32_t narrow = 0;
            std::memcpy(each == 8 ? static_cast<void*>(&shape[i]) : &narrow, stated.data + i * each, each);
            if (each == 4) shape[i] = narrow;
        }
        if (shape == std::vector<int64_t>{packed.shape[0], columns}) return {};
        return fail("{}: tensor '{}' states the shape {}, but the codes in '{}' make {}; the file contradicts itself",
                    checkpoint_.name(), printable(stated.name), shape_text(shape), printable(packed.name),
                    shape_text({packed.shape[0], columns}));
    }

    tl::unexpected<Error> refuse(const TensorInfo& tensor, std::string_view what) const {
        return fail(ErrorKind::unsupported, "{}: tensor '{}' holds {}, which is not supported", checkpoint_.name(),
                    printable(tensor.name), what);
    }

    // gpt-oss: X_blocks [experts, rows, columns / 32, 16] and X_scales [experts, rows, columns / 32].
    Result<void> gpt_oss(const TensorInfo& blocks) {
        const TensorInfo* scales = beside("_scales");
        if (scales == nullptr) return lacks("_scales", "the scales of its blocks");
        const std::vector<int64_t>& shape = blocks.shape;
        if (blocks.dtype != "U8" || shape.size() != 4 || shape[3] != 16) return not_known(blocks);
        const std::vector<int64_t> wanted = {shape[0], shape[1], shape[2]};
        if (scales->shape != wanted || scales->dtype != "U8") {
            return fail("{}: tensor '{}' has shape {} in {}, but the codes in '{}' ask for {} in U8",
                        checkpoint_.name(), printable(scales->name), shape_text(scales->shape), scales->dtype,
                        printable(blocks.name), shape_text(wanted));
        }
        found_ = {.format = &format(FormatId::mxfp4),
                  .packing = CodePacking::mxfp4_pairs,
                  .weights = &blocks,
                  .scales = scales,
                  .shape = {shape[0], shape[1], shape[2] * 32}};
        return {};
    }

    const Checkpoint& checkpoint_;
    const std::string& tensor_;
    std::string_view module_;
    ModuleTensors found_;
};

}  // namespace

bool holds_plain_numbers(const Format& format) {
    return format.id == FormatId::f32 || format.id == FormatId::f16 || format.id == FormatId::bf16;
}

Result<std::optional<ModuleTensors>> find_module(const Checkpoint& checkpoint, const std::string& tensor) {
    return Finder(checkpoint, tensor).find();
}

}  // namespace invar
