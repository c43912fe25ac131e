// Faults of attention and of the cache it reads. For a query at fault, the result is computed again by the definition
// with one thing wrong: the key head it reads, the positions it sees, or the contents of a page.
#include <algorithm>
#include <cmath>
#include <functional>

#include "arithmetic/attention.h"
#include "arithmetic/float_types.h"
#include "ops/visible_rows.h"
#include "proof/faults/fault_kind.h"
#include "proof/record/cache_rows.h"

namespace invar::faults {
namespace {

// The inputs of one query. Each fault changes one of them.
struct Query {
    const VerbCall& call;
    KvGeometry geometry;
    int layer = 0;  // whose keys and values are read
    AttentionSpec spec;
    const float* sinks;  // by head, or nullptr
    VisiblePositions visible;
    int64_t position = 0;
    std::function<int(int head)> key_head;
    std::function<int64_t(int64_t position)> source;  // the position whose key and value are read; -1: zeros
};

Query query_of(const RowRewrite& row) {
    const VerbCall& call = row.call;
    const KvGeometry geometry = call.cache_read->layers()[static_cast<size_t>(call.attention->layer)];
    const int64_t position = row.token().position;
    const int group = call.attention->heads / geometry.kv_heads;
    return {.call = call,
            .geometry = geometry,
            .layer = call.attention->layer,
            .spec = {.head_width = geometry.key_width,
                     .value_width = geometry.value_width,
                     .scale = call.attention->scale,
                     .softcap = call.attention->softcap,
                     .sink = std::nullopt},
            .sinks = call.vector == nullptr ? nullptr : call.vector->data,
            .visible = VisibleRows(geometry, *call.pass).of(row.row),
            .position = position,
            .key_head = [group](int head) { return head / group; },
            .source = [](int64_t t) { return t; }};
}

void attend(const RowRewrite& row, const Query& query) {
    const VerbCall& call = query.call;
    const SequenceState& cache = *call.cache_read;
    std::vector<float> key(static_cast<size_t>(query.geometry.key_width));
    std::vector<float> value(static_cast<size_t>(query.geometry.value_width));
    for (int head = 0; head < call.attention->heads; ++head) {
        const auto cached = [&](int64_t t, std::vector<float>& out, auto read) -> const float* {
            const int64_t from = query.source(t);
            if (from < 0) {
                std::fill(out.begin(), out.end(), 0.0f);
            } else {
                read(cache, {query.layer, row.token().sequence, from, query.key_head(head)}, out.data());
            }
            return out.data();
        };
        AttentionSpec spec = query.spec;
        if (query.sinks != nullptr) spec.sink = query.sinks[head];
        law::attention_head(
            spec, call.x.host_row(row.row) + head * query.geometry.key_width, query.visible,
            [&](int64_t t) { return cached(t, key, read_key); },
            [&](int64_t t) { return cached(t, value, read_value); },
            row.result.data() + head * query.geometry.value_width);
    }
}

}  // namespace

void swap_key_heads(const RowRewrite& row) {
    Query query = query_of(row);
    const auto right = query.key_head;
    query.key_head = [right](int head) { return right(head) < 2 ? 1 - right(head) : right(head); };
    attend(row, query);
    row.detail = "key heads 0 and 1";
}

void tile_key_heads(const RowRewrite& row) {
    Query query = query_of(row);
    query.key_head = [heads = query.geometry.kv_heads](int head) { return head % heads; };
    attend(row, query);
}

void hide_last_position(const RowRewrite& row) {
    Query query = query_of(row);
    if (query.visible.last - query.visible.first < 2) return;
    --query.visible.last;
    attend(row, query);
    row.detail = fmt::format("a query at {} does not see {}", query.position, query.visible.last);
}

void show_future(const RowRewrite& row) {
    if (row.row + 1 >= row.call.rows()) return;
    const BatchRow& next = row.call.row(row.row + 1);
    Query query = query_of(row);
    if (next.sequence != row.token().sequence || next.position != query.visible.last) return;
    ++query.visible.last;
    attend(row, query);
    row.detail = fmt::format("a query at {} sees {}", query.position, next.position);
}

void hide_future(const RowRewrite& row) {
    Query query = query_of(row);
    row.detail = fmt::format("a query at {} sees {} positions, not {}", query.position,
                             query.position + 1 - query.visible.first, query.visible.last - query.visible.first);
    query.visible.last = query.position + 1;
    attend(row, query);
}

void leave_out_scale(const RowRewrite& row) {
    Query query = query_of(row);
    query.spec.scale = 1;
    attend(row, query);
}

void leave_out_sinks(const RowRewrite& row) {
    Query query = query_of(row);
    query.sinks = nullptr;
    attend(row, query);
}

void leave_out_softcap(const RowRewrite& row) {
    Query query = query_of(row);
    query.spec.softcap = 0;
    attend(row, query);
}

void read_before_store(const RowRewrite& row) {
    Query query = query_of(row);
    query.source = [position = query.position](int64_t t) { return t == position ? -1 : t; };
    attend(row, query);
    row.detail = fmt::format("position {} of its page is still empty", query.position);
}

void read_other_page(const RowRewrite& row) {
    Query query = query_of(row);
    const int64_t page = query.position / kPagePositions;
    const SequenceState& cache = *row.call.cache_read;
    const std::span<const int32_t> pages = cache.pages_of(row.token().sequence, row.call.attention->layer);
    if (page == 0 || pages[static_cast<size_t>(page - 1)] == kNoUnit) return;
    query.source = [page](int64_t t) { return t / kPagePositions == page ? t - kPagePositions : t; };
    attend(row, query);
    row.detail = fmt::format("page {} of the sequence is read in place of page {}", page - 1, page);
}

void read_other_layer(const RowRewrite& row) {
    Query query = query_of(row);
    row.detail = fmt::format("layer {} in place of {}", row.place.site.other_layer, query.layer);
    query.layer = row.place.site.other_layer;
    attend(row, query);
}

// ---- faults of what is stored

namespace {

// Rewrites the keys and values of the chosen positions in the cache after they were stored.
class StoreFault : public Fault {
  public:
    StoreFault(const FaultPlace& place, FaultReport& report) : place_(place), report_(report), rows_(place) {}

    void after(const VerbCall& call) override {
        SequenceState& cache = *call.cache;
        const KvGeometry geometry = cache.layers()[static_cast<size_t>(call.stage.layer)];
        for (int64_t row = 0; row < call.rows(); ++row) {
            const BatchRow& token = call.row(row);
            if (!rows_.wants(token.position)) continue;
            const auto at = [&](int head) {
                return CachePlace{call.stage.layer, token.sequence, token.position, head};
            };
            const auto rewrite_part = [&](const Tensor& given, int width, auto read, auto write) {
                std::vector<float> stored(static_cast<size_t>(geometry.kv_heads) * static_cast<size_t>(width));
                for (int h = 0; h < geometry.kv_heads; ++h) read(cache, at(h), &stored[h * width]);
                std::vector<float> wrong = stored;
                rewrite(given.host_row(row), width, cache.type(), wrong);
                for (int h = 0; h < geometry.kv_heads; ++h) write(cache, at(h), &wrong[h * width]);
                return first_difference(stored, wrong);
            };
            const int64_t key = rewrite_part(call.x, geometry.key_width, read_key, write_key);
            const int64_t value =
                geometry.values_in_keys ? -1 : rewrite_part(call.x2, geometry.value_width, read_value, write_value);
            if (key < 0 && value < 0) continue;
            rows_.struck(token.position);
            const StageKey stage{call.stage.layer, key >= 0 ? "key_stored" : "value_stored", call.occurrence};
            note_strike(report_, stage, token.position, key >= 0 ? key : value, "");
        }
    }

  protected:
    // `given`: the values before rounding. `stored`: [kv_heads * width], what the cache holds, to be rewritten.
    virtual void rewrite(const float* given, int width, CacheType type, std::vector<float>& stored) const = 0;

  private:
    const FaultPlace& place_;
    FaultReport& report_;
    StruckRows rows_;
};

class SwappedStore final : public StoreFault {
  public:
    using StoreFault::StoreFault;

  protected:
    void rewrite(const float*, int width, CacheType, std::vector<float>& stored) const override {
        std::swap_ranges(stored.begin(), stored.begin() + width, stored.begin() + width);
    }
};

// If `stored` was rounded away from zero, gives the next 16-bit float towards zero.
float toward_zero(float given, float stored, CacheType type) {
    if (!(std::fabs(stored) > std::fabs(given))) return stored;
    const uint16_t bits = type == CacheType::f16 ? f32_to_f16(stored) : f32_to_bf16(stored);
    const auto smaller = static_cast<uint16_t>(bits - 1);
    return type == CacheType::f16 ? f16_to_f32(smaller) : bf16_to_f32(smaller);
}

class TruncatedStore final : public StoreFault {
  public:
    using StoreFault::StoreFault;

  protected:
    void rewrite(const float* given, int, CacheType type, std::vector<float>& stored) const override {
        for (size_t i = 0; i < stored.size(); ++i) stored[i] = toward_zero(given[i], stored[i], type);
    }
};

}  // namespace

std::unique_ptr<Fault> swap_stored_heads(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<SwappedStore>(place, report);
}

std::unique_ptr<Fault> truncate_stored(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<TruncatedStore>(place, report);
}

}  // namespace invar::faults
