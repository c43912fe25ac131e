// Computes the cost of each verb's calls, and names a call in an error.
#include "ops/verbs.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ops/verb_call.h"
#include "ops/visible_rows.h"

namespace invar {
namespace {

int64_t bytes_of(const Tensor& tensor) { return tensor.rows() * tensor.width() * 4; }

const KvGeometry& geometry_of(const VerbCall& call) {
    return call.cache_read->layers()[static_cast<size_t>(call.cache_layer)];
}

// The fewest cache positions that must be read: for each sequence, those that some row of it sees, counted once.
int64_t positions_read(const Batch& batch, const VisibleRows& visible) {
    std::map<int32_t, VisiblePositions> seen;  // by sequence
    for (int64_t row = 0; row < batch.size(); ++row) {
        const VisiblePositions of_row = visible.of(row);
        const auto at = seen.try_emplace(batch.rows[static_cast<size_t>(row)].sequence, of_row).first;
        at->second.first = std::min(at->second.first, of_row.first);
        at->second.last = std::max(at->second.last, of_row.last);
    }
    int64_t positions = 0;
    for (const auto& [sequence, range] : seen) positions += range.last - range.first;
    return positions;
}

int64_t sequences_of(const Batch& batch) {
    std::set<int32_t> sequences;
    for (const BatchRow& row : batch.rows) sequences.insert(row.sequence);
    return static_cast<int64_t>(sequences.size());
}

}  // namespace

VerbCost cost_of_rows(const VerbCall& call) {
    int64_t numbers = 0;
    for (const WeightVector* vector : {call.vector, call.vector2, call.vector3})
        numbers += vector == nullptr ? 0 : vector->size;
    return {.weight_bytes = numbers * 4, .activation_bytes = bytes_of(call.x) + bytes_of(call.x2) + bytes_of(call.out)};
}

VerbCost cost_of_embed(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    cost.weight_bytes = call.out.rows() * call.matrix->format->row_bytes(call.matrix->columns);
    return cost;
}

VerbCost cost_of_linear(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    cost.weight_bytes = call.matrix->bytes;
    cost.multiply_adds = call.x.rows() * call.matrix->rows * call.matrix->columns;
    return cost;
}

VerbCost cost_of_expert_linear(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    cost.expert_bytes = call.stack->first.bytes;
    cost.multiply_adds = call.out.rows() * call.stack->first.rows * call.stack->first.columns;
    return cost;
}

VerbCost cost_of_head_linear(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    cost.weight_bytes = call.stack->first.bytes * call.stack->count;
    cost.multiply_adds = call.out.rows() * call.stack->first.rows * call.stack->first.columns;
    return cost;
}

// Each sequence's columns are read and written once in a pass.
VerbCost cost_of_convolution(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    const RecurrenceCall& spec = *call.recurrence;
    cost.state_bytes = sequences_of(*call.batch) * (spec.taps - 1) * call.x.width() * 4;
    cost.multiply_adds = call.x.rows() * call.x.width() * spec.taps;
    return cost;
}

// So are its states. A step takes three products for each element: of what is kept, what is added, and the result.
VerbCost cost_of_recurrence(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    const int64_t elements = call.recurrence->heads.state_elements();
    cost.state_bytes = sequences_of(*call.batch) * elements * 4;
    cost.multiply_adds = 3 * call.batch->size() * elements;
    return cost;
}

VerbCost cost_of_store(const VerbCall& call) {
    VerbCost cost = cost_of_rows(call);
    const int64_t widths = call.x.width() + (geometry_of(call).values_in_keys ? 0 : call.x2.width());
    cost.cache_bytes = call.x.rows() * widths * cache_type_bytes(call.cache_read->type());
    return cost;
}

VerbCost cost_of_attention(const VerbCall& call) {
    const KvGeometry& layer = geometry_of(call);
    const int64_t widths = layer.key_width + layer.value_width;
    const int64_t stored = layer.values_in_keys ? layer.key_width : widths;
    VerbCost cost = cost_of_rows(call);
    const VisibleRows visible(layer, *call.batch);
    cost.cache_bytes =
        positions_read(*call.batch, visible) * layer.kv_heads * stored * cache_type_bytes(call.cache_read->type());
    for (int64_t row = 0; row < call.batch->size(); ++row) {
        const VisiblePositions seen = visible.of(row);
        cost.multiply_adds += (seen.last - seen.first) * call.attention->heads * widths;
    }
    return cost;
}

std::string describe(const VerbCall& call) {
    const std::string where = call.stage.layer < 0 ? fmt::format("{}", call.stage.name)
                                                   : fmt::format("layer {} {}", call.stage.layer, call.stage.name);
    const int64_t rows = std::max(call.x.rows(), call.out.rows());
    std::string text = fmt::format("{} of {}", verb_name(call.verb), where);
    if (const WeightMatrix* weights = call.weights()) {
        text += fmt::format(", {} ", weights->format->name);
        text += call.stack == nullptr ? fmt::format("[{}, {}]", weights->rows, weights->columns)
                                      : fmt::format("[{}, {}, {}]", call.stack->count, weights->rows, weights->columns);
    } else {
        text += fmt::format(", width {}", std::max(call.x.width(), call.out.width()));
    }
    return text + fmt::format(", for {} {}", rows, rows == 1 ? "row" : "rows");
}

}  // namespace invar
