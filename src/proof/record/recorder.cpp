#include "proof/record/recorder.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "arithmetic/routing.h"
#include "ops/visible_rows.h"
#include "proof/record/cache_rows.h"

namespace invar {
namespace {

template <typename Number>
bool in_ranges(const std::vector<std::pair<Number, Number>>& ranges, Number value) {
    return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), [&](const auto& range) {
               return value >= range.first && value <= range.second;
           });
}

}  // namespace

bool StageSelection::wants_stage(int layer, std::string_view name) const {
    if (!layers.empty() && (layer < 0 || !in_ranges(layers, layer))) return false;
    if (stages.empty()) return true;
    const std::string text(name);
    return std::any_of(stages.begin(), stages.end(),
                       [&](const std::string& pattern) { return fnmatch(pattern.c_str(), text.c_str(), 0) == 0; });
}

bool StageSelection::wants_position(int64_t position) const { return in_ranges(positions, position); }

void StageRows::after(const VerbCall& call) {
    switch (row_of(call.verb).stages) {
        case StagesOf::routing:
            return rows_of_routing(call);
        case StagesOf::stored:
            return rows_of_cache(call);
        case StagesOf::result:
            if (call.attention && selection_.attention_scores) rows_of_scores(call);
            return rows_of_result(call);
    }
}

// Whether values have memory of their own.
static bool stores_values(const VerbCall& call) {
    return !call.cache_read->layers()[static_cast<size_t>(call.cache_layer)].values_in_keys;
}

int64_t values_recorded(const VerbCall& call) {
    switch (row_of(call.verb).stages) {
        case StagesOf::routing:
            return call.x.rows() * (call.x.width() + 2 * call.slots.experts_per_row + 1);
        case StagesOf::stored:
            return call.x.rows() * (call.x.width() + (stores_values(call) ? call.x2.width() : 0));
        case StagesOf::result:
            break;
    }
    return call.out.rows() * call.out.width();
}

void StageRows::emit(StageRow row) {
    if (selection_.wants_stage(row.key.layer, row.key.name) && selection_.wants_position(row.position)) sink_(row);
}

void StageRows::rows_of_result(const VerbCall& call) {
    if (!selection_.wants_stage(call.stage.layer, call.stage.name)) return;
    const StageKey key{call.stage.layer, std::string(call.stage.name), call.occurrence};
    const int64_t slots = call.slots_of_row(), width = call.out.width();
    const double* doubles = runner_.doubles(call.out);
    for (int64_t i = 0; i < call.rows(); ++i) {
        const BatchRow& row = call.row(i);
        StageRow out{.key = key,
                     .call = &call,
                     .sequence = row.sequence,
                     .position = row.position,
                     .slots = slots,
                     .width = width};
        const int64_t first = i * slots;
        const bool contiguous = slots == 1 || call.out.stride() == width;
        if (doubles != nullptr) {
            out.f64 = doubles + first * call.out.stride();
        } else {
            out.f32 = call.out.host_row(first);
        }
        if (!contiguous) {
            for (int64_t slot = 0; slot < slots; ++slot) {
                if (doubles != nullptr) {
                    wide_values_.resize(static_cast<size_t>(slots * width));
                    std::copy_n(doubles + (first + slot) * call.out.stride(), width,
                                wide_values_.begin() + slot * width);
                    out.f64 = wide_values_.data();
                } else {
                    values_.resize(static_cast<size_t>(slots * width));
                    std::copy_n(call.out.host_row(first + slot), width, values_.begin() + slot * width);
                    out.f32 = values_.data();
                }
            }
        }
        emit(out);
    }
}

void StageRows::rows_of_routing(const VerbCall& call) {
    const int64_t k = call.slots.experts_per_row, experts = call.x.width();
    const WideRouting wide = runner_.wide_routing(call.slots);
    const auto emit_numbers = [&](int64_t i, const char* name, int64_t width, const float* f32, const double* f64) {
        emit({.key = {call.stage.layer, name, call.occurrence},
              .call = &call,
              .sequence = call.row(i).sequence,
              .position = call.row(i).position,
              .width = width,
              .f32 = f64 == nullptr ? f32 + i * width : nullptr,
              .f64 = f64 == nullptr ? nullptr : f64 + i * width});
    };
    values_.resize(static_cast<size_t>(call.rows() * experts));
    for (int64_t i = 0; i < call.rows(); ++i) {
        if (wide.probabilities == nullptr) {
            law::score_experts(call.route->scoring, call.x.host_row(i), experts, values_.data() + i * experts);
        }
        emit_numbers(i, "router_probabilities", experts, values_.data(), wide.probabilities);
        emit_numbers(i, "expert_weights", k, call.slots.weights, wide.weights);
        emit_numbers(i, "routing_margin", 1, call.slots.margins, wide.margins);
        emit({.key = {call.stage.layer, "expert_ids", call.occurrence},
              .call = &call,
              .sequence = call.row(i).sequence,
              .position = call.row(i).position,
              .width = k,
              .i32 = call.slots.experts + i * k});
    }
}

void StageRows::rows_of_cache(const VerbCall& call) {
    const SequenceState& cache = *call.cache;
    const int layer = call.stage.layer;
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    for (int64_t i = 0; i < call.rows(); ++i) {
        const BatchRow& row = call.row(i);
        const WideCacheRow wide = runner_.wide_cache_row(layer, row.sequence, row.position);
        const auto emit_heads = [&](const char* name, int64_t width, const std::vector<double>& doubles, auto&& read) {
            values_.resize(static_cast<size_t>(geometry.kv_heads * width));
            for (int head = 0; head < geometry.kv_heads; ++head)
                read(cache, {layer, row.sequence, row.position, head}, values_.data() + head * width);
            emit({.key = {layer, name, call.occurrence},
                  .call = &call,
                  .sequence = row.sequence,
                  .position = row.position,
                  .width = geometry.kv_heads * width,
                  .f32 = doubles.empty() ? values_.data() : nullptr,
                  .f64 = doubles.empty() ? nullptr : doubles.data()});
        };
        emit_heads("key_stored", geometry.key_width, wide.key, read_key);
        if (!geometry.values_in_keys) emit_heads("value_stored", geometry.value_width, wide.value, read_value);
    }
}

// The scaled scores before the softmax, [heads, positions], -inf where the query does not look. No kernel keeps them,
// so they are computed here: plain sums in binary64, rounded once.
void StageRows::rows_of_scores(const VerbCall& call) {
    const SequenceState& cache = *call.cache_read;
    const int layer = call.attention->layer;
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    const int heads = call.attention->heads, group = heads / geometry.kv_heads;
    std::vector<float> key(static_cast<size_t>(geometry.key_width));
    const VisibleRows visible(geometry, *call.pass);
    for (int64_t i = 0; i < call.rows(); ++i) {
        const BatchRow& row = call.row(i);
        const auto [first, positions] = visible.of(i);
        values_.assign(static_cast<size_t>(heads * positions), -std::numeric_limits<float>::infinity());
        for (int head = 0; head < heads; ++head) {
            const float* query = call.x.host_row(i) + int64_t{head} * geometry.key_width;
            for (int64_t p = first; p < positions; ++p) {
                read_key(cache, {layer, row.sequence, p, head / group}, key.data());
                double sum = 0;
                for (int64_t e = 0; e < geometry.key_width; ++e) sum += double{query[e]} * key[static_cast<size_t>(e)];
                double score = sum * call.attention->scale;
                if (call.attention->softcap > 0)
                    score = call.attention->softcap * std::tanh(score / call.attention->softcap);
                values_[static_cast<size_t>(head * positions + p)] = static_cast<float>(score);
            }
        }
        emit({.key = {layer, "attention_scores", call.occurrence},
              .call = &call,
              .sequence = row.sequence,
              .position = row.position,
              .slots = heads,
              .width = positions,
              .f32 = values_.data()});
    }
}

Recorder::Recorder(const ModelRunner& runner, int32_t sequence, StageSelection selection)
    : runner_(runner), sequence_(sequence), rows_(runner, std::move(selection), [this](const StageRow& row) {
          if (row.sequence == sequence_) add(row);
      }) {}

std::vector<int64_t> shape_of(const StageRow& row) {
    if (row.slots > 1 || row.key.name == "attention_scores") return {row.slots, row.width};
    return {row.width};
}

void Recorder::add(const StageRow& row) {
    const auto [place, fresh] = places_.try_emplace(row.key, stages_.size());
    if (fresh) {
        StageRecord record{.key = row.key,
                           .verb = std::string(verb_name(row.call->verb)),
                           .kernel = std::string(runner_.kernel_of(*row.call)),
                           .type = row.f64 != nullptr   ? ElementType::f64
                                   : row.i32 != nullptr ? ElementType::i32
                                                        : ElementType::f32};
        record.shape = shape_of(row);
        stages_.push_back(std::move(record));
    }
    StageRecord& record = stages_[place->second];
    if (row.width > record.shape.back()) widen_rows(record, row.width);
    const std::byte* data = row.f64 != nullptr   ? reinterpret_cast<const std::byte*>(row.f64)
                            : row.i32 != nullptr ? reinterpret_cast<const std::byte*>(row.i32)
                                                 : reinterpret_cast<const std::byte*>(row.f32);
    if (row.width < record.shape.back()) {
        StageRecord one{.key = row.key, .type = record.type, .shape = {row.slots, row.width}, .positions = {0}};
        one.data.assign(data, data + one.width() * element_bytes(one.type));
        widen_rows(one, record.shape.back());
        padded_ = std::move(one.data);
        data = padded_.data();
    }
    const auto bytes = static_cast<size_t>(record.width() * element_bytes(record.type));
    const auto at = std::lower_bound(record.positions.begin(), record.positions.end(), row.position);
    const auto index = static_cast<size_t>(at - record.positions.begin());
    if (at != record.positions.end() && *at == row.position) {
        std::memcpy(record.data.data() + index * bytes, data, bytes);
        return;
    }
    bytes_ += static_cast<int64_t>(bytes);
    record.positions.insert(at, row.position);
    record.data.insert(record.data.begin() + static_cast<std::ptrdiff_t>(index * bytes), data, data + bytes);
}

Recording Recorder::take() {
    Recording recording;
    recording.stages = std::move(stages_);
    stages_.clear();
    places_.clear();
    bytes_ = 0;
    return recording;
}

}  // namespace invar
