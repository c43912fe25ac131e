// Tries the ways in which a checkpoint may hold one weight, and fits the tensors that it finds to the weight's shape:
// slices, orders of rows and columns, transposition, and scales. See find_stored() in binding.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "checkpoint/binding.h"
#include "checkpoint/module_tensors.h"
#include "files/block_packing.h"
#include "files/printable.h"
#include "files/shape_text.h"

namespace invar {
namespace {

// A tensor or a weight as matrices of rows. A vector is one matrix with a number in each row.
struct Extent {
    int64_t matrices = 1, rows = 0, columns = 1;
    bool operator==(const Extent&) const = default;
};

int64_t product(const std::vector<int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

Extent extent_of(const std::vector<int64_t>& shape) {
    if (shape.size() == 1) return {.rows = shape[0]};
    if (shape.size() == 2) return {.rows = shape[0], .columns = shape[1]};
    return {shape[0], shape[1], shape[2]};
}

// How one module's tensor holds a part of a weight; `wanted` is the shape of that part.
struct Fit {
    const ModuleTensors& module;
    const TensorChoice& choice;
    const std::vector<int64_t>& wanted;
    bool may_be_part;  // the tensor may hold other weights, too
    bool transposed() const {
        return choice.as.transposed == Transposed::yes ||
               (choice.as.transposed == Transposed::where_plain && holds_plain_numbers(*module.format));
    }
};

// The tensor's own matrices, rows and columns; nothing if it does not have as many dimensions as it should.
std::optional<Extent> stored_extent(const Fit& fit) {
    const std::vector<int64_t>& stored = fit.module.shape;
    const HeldAs& as = fit.choice.as;
    const Extent wanted = extent_of(fit.wanted);
    const bool scalar = fit.wanted.size() == 1 && wanted.rows == 1 && product(stored) == 1;
    if (scalar || (!as.shape.empty() && stored == as.shape && holds_plain_numbers(*fit.module.format))) {
        const int64_t all = product(stored), row = wanted.matrices * wanted.columns;
        return all % row == 0 ? std::optional(Extent{wanted.matrices, all / row, wanted.columns}) : std::nullopt;
    }
    if (as.matrix_rows > 0) {
        const bool whole =
            stored.size() == 2 && stored[0] % as.matrix_rows == 0 && stored[0] / as.matrix_rows == wanted.matrices;
        return whole ? std::optional(Extent{wanted.matrices, as.matrix_rows, stored[1]}) : std::nullopt;
    }
    return stored.size() == fit.wanted.size() ? std::optional(extent_of(stored)) : std::nullopt;
}

// Whether every wanted row is one of the tensor's.
bool order_fits(const RowOrder& order, int64_t wanted, int64_t stored) {
    if (wanted > stored || order.first < 0 || order.step < 1 || order.first >= stored) return false;
    const GroupOrder& groups = order.groups;
    if (groups.count == 0) return (stored - 1 - order.first) / order.step >= wanted - 1;
    const int64_t in_group = std::accumulate(groups.sections.begin(), groups.sections.end(), int64_t{0});
    if (groups.count < 0 || groups.unmoved < 0 || groups.sections[0] < 1 || in_group > groups.rows ||
        groups.unmoved > stored || groups.rows > stored / groups.count || order.step > stored)
        return false;
    for (int64_t row = 0; row < wanted; ++row) {
        if (order.at(row) >= stored) return false;
    }
    return true;
}

bool takes_whole_tensor(const Fit& fit) {
    const HeldAs& as = fit.choice.as;
    const GroupOrder& groups = as.order.groups;
    const bool all_groups =
        groups.count == 0 || groups.unmoved + groups.count * groups.rows == extent_of(fit.wanted).rows;
    return !fit.may_be_part && !as.part && as.order.first == 0 && as.order.step == 1 && as.matrix_rows == 0 &&
           all_groups;
}

bool fits(const Fit& fit, const Extent& stored) {
    const Extent wanted = extent_of(fit.wanted);
    const HeldAs& as = fit.choice.as;
    const int64_t rows = fit.transposed() ? stored.columns : stored.rows;
    const int64_t columns = fit.transposed() ? stored.rows : stored.columns;
    const bool some_columns = fit.transposed() && as.matrix_rows > 0;
    return stored.matrices == wanted.matrices && (some_columns || columns == wanted.columns) &&
           order_fits(as.order, wanted.rows, rows) && order_fits({.groups = as.columns}, wanted.columns, columns) &&
           (!takes_whole_tensor(fit) || rows == wanted.rows);
}

std::string recipe_of(const Fit& fit, const Extent& stored, int64_t experts) {
    const ModuleTensors& module = fit.module;
    const HeldAs& as = fit.choice.as;
    const Extent wanted = extent_of(fit.wanted);
    const std::string tensor = printable(module.weights->name);
    std::vector<std::string> parts;
    if (experts > 1) parts.push_back(fmt::format("{} experts joined", experts));
    if (as.matrix_rows > 0) parts.push_back(fmt::format("'{}' cut into {} matrices", tensor, wanted.matrices));
    const int64_t rows = fit.transposed() ? stored.columns : stored.rows;
    const char* what = fit.transposed() ? "columns" : "rows";
    if (rows != wanted.rows && as.order.groups.count == 0) {
        parts.push_back(fmt::format("{} {} to {} of '{}'", what, as.order.first,
                                    as.order.first + (wanted.rows - 1) * as.order.step, tensor));
    }
    if (as.order.head_width > 0) parts.emplace_back("rope's pairs are neighbouring rows and become halves of a head");
    if (as.order.groups.moves())
        parts.push_back(
            fmt::format("rows of {} groups of '{}' put into the model's order", as.order.groups.count, tensor));
    if (as.columns.moves())
        parts.push_back(fmt::format("columns of {} groups put into the model's order", as.columns.count));
    const bool decoded = fit.transposed() && !holds_plain_numbers(*module.format);
    if (fit.transposed())
        parts.push_back(decoded ? fmt::format("transposed, so that its {} numbers become F32", module.format->name)
                                : "transposed");
    if (module.scales != nullptr && !decoded) parts.emplace_back("codes and scales put into blocks");
    if (!module.multipliers.empty() && !decoded) parts.emplace_back("scale of the whole tensor beside it");
    if (!module.row_multipliers.empty() && !decoded) parts.emplace_back("scale of each row beside it");
    return fmt::format("{}", fmt::join(parts, "; "));
}

tl::unexpected<Error> misshapen(const Checkpoint& checkpoint, const Fit& fit) {
    return fail("{}: tensor '{}' has shape {}, but the {} asks for {}; the file contradicts itself", checkpoint.name(),
                printable(fit.module.weights->name), shape_text(fit.module.shape),
                checkpoint.dialect() == Dialect::gguf ? "metadata" : "config", shape_text(fit.wanted));
}

Result<void> check_column_order(const Checkpoint& checkpoint, const Fit& fit) {
    const GroupOrder& columns = fit.choice.as.columns;
    const int64_t unit = weight_unit(fit.module.packing, *fit.module.format).columns;
    if (fit.transposed() || columns.keeps_blocks_of(unit)) return {};
    return fail(
        ErrorKind::unsupported,
        "{}: tensor '{}' is stored as {}, in which {} columns share a scale, but the model needs its columns in "
        "another order of heads of {}; take a file in another format",
        checkpoint.name(), printable(fit.module.weights->name), fit.module.format->name, unit, columns.sections[0]);
}

int64_t rows_of_tensor(const Fit& fit, const Extent& stored) { return stored.matrices * stored.rows; }

// The weight that the whole tensor is, of which the transposed one has the numbers.
std::shared_ptr<const StoredWeight> source_of(const Fit& fit, const Extent& stored) {
    const ModuleTensors& module = fit.module;
    auto source = std::make_shared<StoredWeight>(StoredWeight{.name = module.weights->name,
                                                              .format = module.format,
                                                              .shape = {rows_of_tensor(fit, stored), stored.columns},
                                                              .packing = module.packing,
                                                              .row_scales = module.row_multipliers,
                                                              .scale_order = module.scale_order});
    // One scale for all matrices needs one matrix; else each has its own.
    const auto matrices = static_cast<int64_t>(std::max<size_t>(1, module.multipliers.size()));
    if (matrices > 1) source->shape = {matrices, stored.rows, stored.columns};
    for (int64_t i = 0; i < matrices; ++i) {
        source->matrices.push_back(
            {.weights = module.weights, .scales = module.scales, .order = {.first = i * stored.rows}});
    }
    source->scales = module.multipliers;
    source->divisors = module.divisors;
    return source;
}

// The format and scales of what one module adds, where they are not its own.
std::optional<ModuleTensors> decoded_as_added(const Fit& fit) {
    if (!fit.transposed() || holds_plain_numbers(*fit.module.format)) return std::nullopt;
    ModuleTensors added = fit.module;
    added.format = &format(FormatId::f32);
    added.packing = CodePacking::blocks;
    added.scales = nullptr;
    added.multipliers.clear();
    added.divisors.clear();
    added.row_multipliers.clear();
    added.scale_order = ScaleOrder::last;
    return added;
}

// Adds one module's matrices and scales to a weight.
Result<void> add_module(const Fit& fit, const Extent& extent, const Checkpoint& checkpoint, StoredWeight& stored) {
    const std::optional<ModuleTensors> decoded = decoded_as_added(fit);
    const ModuleTensors& module = decoded ? *decoded : fit.module;
    if (stored.format != nullptr &&
        (stored.format != module.format || stored.packing != module.packing ||
         stored.scale_order != module.scale_order || stored.scales.empty() != module.multipliers.empty() ||
         stored.row_scales.empty() != module.row_multipliers.empty() || stored.transposed != fit.transposed())) {
        return fail(ErrorKind::unsupported,
                    "{}: tensor '{}' is stored as {} and the experts before it as {}; experts of one layer must be "
                    "stored alike",
                    checkpoint.name(), printable(module.weights->name), module.format->name, stored.format->name);
    }
    stored.format = module.format;
    stored.packing = module.packing;
    stored.scale_order = module.scale_order;
    stored.transposed = fit.transposed();
    const std::shared_ptr<const StoredWeight> source =
        module.format == fit.module.format ? nullptr : source_of(fit, extent);
    const Extent wanted = extent_of(fit.wanted);
    for (int64_t i = 0; i < wanted.matrices; ++i) {
        StoredMatrix matrix{.weights = module.weights, .scales = module.scales, .order = fit.choice.as.order};
        (stored.transposed ? matrix.first_row : matrix.order.first) += i * extent.rows;
        matrix.source = source;
        stored.matrices.push_back(matrix);
        if (!module.multipliers.empty())
            stored.scales.push_back(module.multipliers[module.multipliers.size() == 1 ? 0 : static_cast<size_t>(i)]);
        if (!module.divisors.empty()) stored.divisors.push_back(module.divisors.front());
        for (int64_t row = 0; row < wanted.rows && !module.row_multipliers.empty(); ++row)
            stored.row_scales.push_back(module.row_multipliers[static_cast<size_t>(matrix.order.at(row))]);
    }
    stored.read.insert(stored.read.end(), module.read.begin(), module.read.end());
    return {};
}

// Multiplies each matrix of a stack with its factor.
Result<void> add_factors(const TensorChoice& choice, const Checkpoint& checkpoint, StoredWeight& stored) {
    const TensorInfo* tensor = choice.factors.empty() ? nullptr : checkpoint.find(choice.factors);
    if (tensor == nullptr) return {};
    if (std::find(stored.read.begin(), stored.read.end(), tensor) != stored.read.end()) return {};  // its own scale
    const int64_t count = stored.shape.front();
    if (tensor->format == nullptr || !holds_plain_numbers(*tensor->format) || tensor->weights() != count) {
        return fail("{}: tensor '{}' has shape {}, but {} factors in F32, F16 or BF16 are needed, one for each expert",
                    checkpoint.name(), printable(tensor->name), shape_text(tensor->shape), count);
    }
    std::vector<float> factors(static_cast<size_t>(count));
    const StoredWeight vector{.format = tensor->format, .shape = {count}, .matrices = {{.weights = tensor}}};
    TRY(RowReader(RowReader::Access::read).vector(vector, factors.data()));
    if (stored.scales.empty()) stored.scales.assign(factors.size(), 1.0f);
    for (size_t i = 0; i < factors.size(); ++i) {
        stored.scales[i] *= factors[i];
        if (std::isfinite(stored.scales[i])) continue;
        return fail(
            "{}: tensor '{}' holds {} for expert {}, with which its weights are not finite; the file is damaged",
            checkpoint.name(), printable(tensor->name), factors[i], i);
    }
    stored.scale_order = ScaleOrder::last;
    stored.divisors.clear();
    stored.read.push_back(tensor);
    stored.recipe +=
        fmt::format("{}a factor for each expert from '{}'", stored.recipe.empty() ? "" : "; ", printable(tensor->name));
    return {};
}

// The name of an expert's tensor.
std::string expert_name(const std::string& pattern, int64_t expert) {
    const size_t place = pattern.find("{}");
    return pattern.substr(0, place) + std::to_string(expert) + pattern.substr(place + 2);
}

// Finds the weight in one of the ways in which it may be stored; nothing if none of its tensors is there.
Result<std::optional<StoredWeight>> find_choice(const WantedWeight& weight, const TensorChoice& choice,
                                                const Checkpoint& checkpoint) {
    StoredWeight stored{
        .name = weight.tensor(), .shape = weight.shape, .law = choice.as.law, .columns_order = choice.as.columns};
    const bool apart = choice.tensor.find("{}") != std::string::npos;
    const int64_t experts = apart ? weight.shape[0] : 1;
    const std::vector<int64_t> shape =
        apart ? std::vector<int64_t>(weight.shape.begin() + 1, weight.shape.end()) : weight.shape;
    stored.matrices.reserve(static_cast<size_t>(experts));
    for (int64_t expert = 0; expert < experts; ++expert) {
        const std::string name = apart ? expert_name(choice.tensor, expert) : choice.tensor;
        TRY_ASSIGN(const std::optional<ModuleTensors> module, find_module(checkpoint, name));
        if (!module && expert == 0) return std::optional<StoredWeight>();
        if (!module) {
            return fail("{}: tensor '{}' ({}, expert {} of {}) is missing; the file is incomplete", checkpoint.name(),
                        name, to_string(weight.id), expert, experts);
        }
        const Fit fit{*module, choice, shape, &choice != &weight.choices.front()};
        const std::optional<Extent> extent = stored_extent(fit);
        if (!extent || !fits(fit, *extent)) return misshapen(checkpoint, fit);
        TRY(check_column_order(checkpoint, fit));
        TRY(add_module(fit, *extent, checkpoint, stored));
        if (expert == 0) stored.recipe = recipe_of(fit, *extent, experts);
    }
    if (weight.kind == WeightShape::vector && !holds_plain_numbers(*stored.format)) {
        return fail("{}: tensor '{}' is a vector stored as {}, but norms and biases must be f32, f16 or bf16",
                    checkpoint.name(), choice.tensor, stored.format->name);
    }
    TRY(add_factors(choice, checkpoint, stored));
    return std::optional<StoredWeight>(std::move(stored));
}

}  // namespace

Result<std::optional<StoredWeight>> find_stored(const WantedWeight& weight, const Checkpoint& checkpoint) {
    for (const TensorChoice& choice : weight.choices) {
        TRY_ASSIGN(std::optional<StoredWeight> stored, find_choice(weight, choice, checkpoint));
        if (stored) return stored;
    }
    return std::optional<StoredWeight>();
}

}  // namespace invar
