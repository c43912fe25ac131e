// Keys, values and attention of Float64Ops, which keeps a page of doubles for each page of the KV cache in each layer.
#include <algorithm>

#include "ops/visible_rows.h"
#include "proof/record/cache_rows.h"
#include "proof/reference64/float64_ops.h"

namespace invar {

Float64Ops::WidePage& Float64Ops::wide_page(const SequenceState& cache, int layer, int32_t page) {
    const auto [found, fresh] = pages_.try_emplace({layer, page});
    if (fresh) {
        const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
        found->second.keys.resize(
            static_cast<size_t>(int64_t{geometry.kv_heads} * kPagePositions * geometry.key_width));
        if (!geometry.values_in_keys) {
            found->second.values.resize(
                static_cast<size_t>(int64_t{geometry.kv_heads} * kPagePositions * geometry.value_width));
        }
    }
    return found->second;
}

// The row of a head at a position within its page.
static double* wide_row(std::vector<double>& values, int64_t head, int64_t position, int64_t width) {
    return values.data() + (head * kPagePositions + position % kPagePositions) * width;
}

void Float64Ops::store(const VerbCall& call) {
    const int layer = call.cache_layer;
    const Batch& batch = *call.batch;
    const Tensor keys = call.x, values = call.x2;
    SequenceState& cache = *call.cache;
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    const Wide wide_keys = input(keys), wide_values = input(values);
    const auto store = [&](std::vector<double>& page, const double* from, const CachePlace& place, bool is_key) {
        const int64_t width = is_key ? geometry.key_width : geometry.value_width;
        double* to = wide_row(page, place.head, place.position, width);
        std::copy_n(from + place.head * width, width, to);
        const std::vector<float> rounded(to, to + width);
        (is_key ? write_key : write_value)(cache, place, rounded.data());
    };
    for (int64_t row = 0; row < keys.rows(); ++row) {
        const BatchRow& token = batch.rows[static_cast<size_t>(row)];
        const auto index = static_cast<size_t>(token.position / kPagePositions);
        WidePage& page = wide_page(cache, layer, cache.pages_of(token.sequence, layer)[index]);
        for (int head = 0; head < geometry.kv_heads; ++head) {
            const CachePlace place{layer, token.sequence, token.position, head};
            store(page.keys, wide_keys.row(row), place, true);
            if (!geometry.values_in_keys) store(page.values, wide_values.row(row), place, false);
        }
        inspect("store_kv (keys)", call.stage, row, wide_keys.row(row), keys.width());
        if (!geometry.values_in_keys)
            inspect("store_kv (values)", call.stage, row, wide_values.row(row), values.width());
    }
    foreign_.clear();
}

// Takes over what hooks wrote into the cache: a double is valid while the cache holds its rounding.
void Float64Ops::follow_cache(const SequenceState& cache, int layer, int32_t sequence, int64_t first, int64_t last) {
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    std::vector<float> stored(static_cast<size_t>(std::max(geometry.key_width, geometry.value_width)));
    const auto follow = [&](double* wide, int64_t width) {
        for (int64_t i = 0; i < width; ++i) {
            const float value = stored[static_cast<size_t>(i)];
            if (rounded_to(cache.type(), static_cast<float>(wide[i])) != value) wide[i] = value;
        }
    };
    for (int64_t position = first; position <= last; ++position) {
        const auto index = static_cast<size_t>(position / kPagePositions);
        WidePage& page = wide_page(cache, layer, cache.pages_of(sequence, layer)[index]);
        for (int head = 0; head < geometry.kv_heads; ++head) {
            const CachePlace place{layer, sequence, position, head};
            read_key(cache, place, stored.data());
            follow(wide_row(page.keys, head, position, geometry.key_width), geometry.key_width);
            if (geometry.values_in_keys) continue;
            read_value(cache, place, stored.data());
            follow(wide_row(page.values, head, position, geometry.value_width), geometry.value_width);
        }
    }
}

WideCacheRow Float64Ops::wide_cache_row(const SequenceState& cache, int layer, int32_t sequence, int64_t position) {
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    follow_cache(cache, layer, sequence, position, position);
    const auto index = static_cast<size_t>(position / kPagePositions);
    WidePage& page = wide_page(cache, layer, cache.pages_of(sequence, layer)[index]);
    WideCacheRow row;
    for (int head = 0; head < geometry.kv_heads; ++head) {
        const double* key = wide_row(page.keys, head, position, geometry.key_width);
        row.key.insert(row.key.end(), key, key + geometry.key_width);
        if (geometry.values_in_keys) continue;
        const double* value = wide_row(page.values, head, position, geometry.value_width);
        row.value.insert(row.value.end(), value, value + geometry.value_width);
    }
    return row;
}

void Float64Ops::attend(const VerbCall& verb_call) {
    const AttentionCall& spec = *verb_call.attention;
    const Batch& batch = *verb_call.batch;
    const Tensor queries = verb_call.x;
    const SequenceState& cache = *verb_call.cache_read;
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(spec.layer)];
    const Wide in = input(queries), wide = output(verb_call.out);
    struct Seen {
        VisiblePositions positions;    // those that any row of the sequence sees
        std::vector<WidePage*> pages;  // the pages of the sequence
    };
    std::map<int32_t, Seen> of_sequences;
    const VisibleRows visible(geometry, batch);
    for (int64_t row = 0; row < batch.size(); ++row) {
        const VisiblePositions of_row = visible.of(row);
        const int32_t sequence = batch.rows[static_cast<size_t>(row)].sequence;
        VisiblePositions& seen = of_sequences.try_emplace(sequence, Seen{of_row, {}}).first->second.positions;
        seen.first = std::min(seen.first, of_row.first);
        seen.last = std::max(seen.last, of_row.last);
    }
    for (auto& [sequence, seen] : of_sequences) {
        follow_cache(cache, spec.layer, sequence, seen.positions.first, seen.positions.last - 1);
        for (const int32_t page : cache.pages_of(sequence, spec.layer))
            seen.pages.push_back(page == kNoUnit ? nullptr : &wide_page(cache, spec.layer, page));
    }

    const int64_t group = spec.heads / geometry.kv_heads;
    pool_.parallel_items(queries.rows() * spec.heads, [&](int64_t item, int) {
        const int64_t row = item / spec.heads, head = item % spec.heads;
        const BatchRow& token = batch.rows[static_cast<size_t>(row)];
        const std::vector<WidePage*>& pages = of_sequences.find(token.sequence)->second.pages;
        const auto page_of = [&](int64_t position) { return pages[static_cast<size_t>(position / kPagePositions)]; };
        const auto key_at = [&](int64_t position) -> const double* {
            return wide_row(page_of(position)->keys, head / group, position, geometry.key_width);
        };
        const auto value_at = [&](int64_t position) -> const double* {
            if (geometry.values_in_keys) return key_at(position);
            return wide_row(page_of(position)->values, head / group, position, geometry.value_width);
        };
        const float64::AttentionHead call{
            .key_width = geometry.key_width,
            .value_width = geometry.value_width,
            .scale = float64::meant_scale(spec.scale, geometry.key_width),
            .softcap = spec.softcap,
            .visible = visible.of(row),
            .sink = verb_call.vector == nullptr ? nullptr : verb_call.vector->data + head};
        std::vector<double> scores;
        float64::attend(call, in.row(row) + head * geometry.key_width, key_at, value_at, scores,
                        wide.row(row) + head * geometry.value_width);
    });
    finish(verb_call, wide);
}

}  // namespace invar
