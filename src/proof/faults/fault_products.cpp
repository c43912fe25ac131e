// Faults of products: another order of summation, another quantisation of the activations, another expert. They read
// rows of weights as stored, one at a time.
#include <algorithm>
#include <cmath>

#include "arithmetic/quantize.h"
#include "proof/faults/fault_kind.h"
#include "proof/faults/stored_rows.h"

namespace invar::faults {
namespace {

// A matrix times one row of activations: a row of `linear`, or a slot of an expert verb.
struct Product {
    WeightMatrix weight;
    const float* x;
    int64_t slot;  // the slot of the token
    float* result;
};

std::vector<Product> products_of(const RowRewrite& row) {
    const VerbCall& call = row.call;
    if (call.matrix != nullptr) return {{*call.matrix, call.x.host_row(row.row), 0, row.result.data()}};
    std::vector<Product> products;
    const int64_t k = call.slots.experts_per_row;
    for (int64_t j = 0; j < k; ++j) {
        const int64_t slot = row.row * k + j;
        const float* x = call.x.host_row(call.slot_input == SlotInput::slot ? slot : row.row);
        products.push_back({call.stack->at(call.slots.experts[slot]), x, j, row.result.data() + j * row.width()});
    }
    return products;
}

// The activations as the definition's products read them: quantised to integers and back if the weights are quantised.
std::vector<float> seen_activations(const WeightMatrix& weight, const float* x) {
    std::vector<float> seen(x, x + weight.columns);
    const LawInput input(*weight.format, x, weight.columns);
    for (size_t b = 0; b < input.blocks().size(); ++b) {
        const QuantizedBlock& block = input.blocks()[b];
        for (int i = 0; i < kDotBlock; ++i) seen[b * kDotBlock + i] = block.d * static_cast<float>(block.q[i]);
    }
    return seen;
}

// The sum from left to right in one float without fma, as the simplest kernel would compute it.
float naive_sum(const WeightMatrix& weight, int64_t r, const std::vector<float>& x) {
    std::vector<float> decoded(static_cast<size_t>(weight.columns));
    weight.format->decode(stored_row(weight, r).data(), weight.columns, decoded.data());
    float sum = 0;
    for (size_t i = 0; i < decoded.size(); ++i) {
        const float product = decoded[i] * x[i];
        sum = sum + product;
    }
    return scaled(weight, r, sum);
}

// Quantised blocks with one scale for 256 activations, as engines use them that have Q8_K.
std::vector<QuantizedBlock> coarse_blocks(const float* x, int64_t columns) {
    std::vector<QuantizedBlock> blocks(static_cast<size_t>(columns / kDotBlock));
    for (int64_t start = 0; start < columns; start += 256) {
        const int64_t end = std::min<int64_t>(columns, start + 256);
        float largest = 0;
        for (int64_t i = start; i < end; ++i) largest = std::max(largest, std::fabs(x[i]));
        const float factor = largest < kZeroBlockBelow ? 0.0f : 127.0f / largest;
        const float d = largest < kZeroBlockBelow ? 0.0f : largest / 127.0f;
        for (int64_t b = start / kDotBlock; b < end / kDotBlock; ++b) {
            QuantizedBlock& block = blocks[static_cast<size_t>(b)];
            block.d = d;
            block.sum = 0;
            for (int i = 0; i < kDotBlock; ++i) {
                block.q[i] = static_cast<int8_t>(std::nearbyint(x[b * kDotBlock + i] * factor));
                block.sum += block.q[i];
            }
            block.sx = d * static_cast<float>(block.sum);
        }
    }
    return blocks;
}

}  // namespace

void sum_naively(const RowRewrite& row) {
    for (const Product& product : products_of(row)) {
        if (row.place.spec.slot && product.slot != *row.place.spec.slot) continue;
        const std::vector<float> x = seen_activations(product.weight, product.x);
        const std::optional<int64_t> asked = row.place.spec.row;
        for (int64_t r = asked.value_or(0); r < (asked ? *asked + 1 : product.weight.rows); ++r) {
            const float right = product.result[r], wrong = naive_sum(product.weight, r, x);
            if (wrong == right) continue;
            product.result[r] = wrong;
            row.detail = fmt::format("weight row {}: {} in place of {}", r, wrong, right);
            return;
        }
    }
}

void quantize_by_256(const RowRewrite& row) {
    for (const Product& product : products_of(row)) {
        const WeightMatrix& weight = product.weight;
        const std::vector<QuantizedBlock> blocks = coarse_blocks(product.x, weight.columns);
        for (int64_t r = 0; r < weight.rows; ++r) {
            const float y = dot_quantized(*weight.format, stored_row(weight, r).data(), blocks.data(), weight.columns);
            product.result[r] = scaled(weight, r, y);
        }
    }
}

void keep_activations_float(const RowRewrite& row) {
    for (const Product& product : products_of(row)) {
        const WeightMatrix& weight = product.weight;
        std::vector<float> decoded(static_cast<size_t>(weight.columns));
        for (int64_t r = 0; r < weight.rows; ++r) {
            weight.format->decode(stored_row(weight, r).data(), weight.columns, decoded.data());
            double sum = 0;
            for (size_t i = 0; i < decoded.size(); ++i) sum += double{decoded[i]} * product.x[i];
            product.result[r] = scaled(weight, r, static_cast<float>(sum));
        }
    }
}

void multiply_by_next_expert(const RowRewrite& row) {
    const int64_t slot = row.place.spec.slot.value_or(0);
    const Product product = products_of(row)[static_cast<size_t>(slot)];
    const int64_t right = row.call.slots.experts[row.row * row.call.slots.experts_per_row + slot];
    const int64_t wrong = (right + 1) % row.call.stack->count;
    const WeightMatrix weight = row.call.stack->at(wrong);
    const LawInput input(*weight.format, product.x, weight.columns);
    for (int64_t r = 0; r < weight.rows; ++r) product.result[r] = input.dot(weight, r, stored_row(weight, r).data());
    row.detail = fmt::format("rank {}: expert {} in place of {}", slot, wrong, right);
}

}  // namespace invar::faults
