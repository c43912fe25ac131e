#include "load/registry.h"

#include <cstdlib>
#include <utility>

#include "base/huge_pages.h"
#include "files/shape_text.h"
#include "load/loader.h"

namespace invar {

namespace {

constexpr size_t kCacheLine = 64;

std::shared_ptr<std::byte> allocate_lines(size_t bytes) {
    void* memory = std::aligned_alloc(kCacheLine, (bytes + kCacheLine - 1) / kCacheLine * kCacheLine);
    return {static_cast<std::byte*>(memory), [](std::byte* start) { std::free(start); }};
}

}  // namespace

Result<AlignedBytes> AlignedBytes::allocate(int64_t bytes) {
    AlignedBytes result;
    if (bytes <= 0) return result;
    const auto wanted = static_cast<size_t>(bytes);
    result.memory_ = wanted >= kHugePage ? map_huge_pages(wanted) : allocate_lines(wanted);
    if (result.memory_ == nullptr) {
        return fail(
            ErrorKind::out_of_memory,
            "not enough memory for {} bytes of weights; free some, or choose a smaller model or --form as-stored",
            bytes);
    }
    result.size_ = bytes;
    return result;
}

AlignedBytes AlignedBytes::part(int64_t offset, int64_t bytes) const {
    CHECK(offset >= 0 && bytes >= 0 && offset <= size_ - bytes, "a part lies within its memory");
    AlignedBytes result;
    result.memory_ = std::shared_ptr<std::byte>(memory_, memory_.get() + offset);
    result.size_ = bytes;
    return result;
}

WeightRegistry WeightRegistry::without_memory(const WeightPlan& plan) {
    WeightRegistry registry;
    for (const PlanEntry& entry : plan.entries) {
        registry.add(entry.id, {.kind = entry.kind,
                                .shape = entry.shape,
                                .format = entry.source,
                                .form = entry.form,
                                .bytes = entry.bytes,
                                .scale = entry.kind == WeightShape::matrix ? entry.stored.scale_of(0) : 1.0f,
                                .data = nullptr,
                                .owned = {},
                                .alias_of = entry.alias_of,
                                .place = entry.place,
                                .device = nullptr});
    }
    return registry;
}

void WeightRegistry::add(WeightId id, Entry entry) {
    CHECK(!entries_.contains(id), "a weight is built once");
    entries_.emplace(id, std::move(entry));
}

const WeightRegistry::Entry* WeightRegistry::find(WeightId id) const {
    const auto found = entries_.find(id);
    return found == entries_.end() ? nullptr : &found->second;
}

const WeightRegistry::Entry& WeightRegistry::resolve(WeightId id, WeightShape kind) const {
    const Entry* entry = find(id);
    CHECK(entry != nullptr, "a model asks only for weights it declared");
    if (entry->alias_of) entry = find(*entry->alias_of);
    CHECK(entry != nullptr && entry->kind == kind, "a weight is used in the shape it was declared with");
    return *entry;
}

WeightMatrix WeightRegistry::matrix(WeightId id) const {
    const Entry& entry = resolve(id, WeightShape::matrix);
    return {.id = id,
            .format = entry.format,
            .form = entry.form,
            .rows = entry.shape[0],
            .columns = entry.shape[1],
            .data = entry.data,
            .bytes = entry.bytes,
            .scale = entry.scale,
            .row_scales = entry.row_scales};
}

WeightStack WeightRegistry::stack(WeightId id) const {
    const Entry& entry = resolve(id, WeightShape::stack);
    const int64_t stride = entry.bytes / entry.shape[0];
    return {.first = {.id = id,
                      .format = entry.format,
                      .form = entry.form,
                      .rows = entry.shape[1],
                      .columns = entry.shape[2],
                      .data = entry.data,
                      .bytes = stride,
                      .row_scales = entry.row_scales},
            .count = entry.shape[0],
            .stride_bytes = stride,
            .scales = entry.expert_scales};
}

WeightVector WeightRegistry::vector(WeightId id) const {
    const Entry& entry = resolve(id, WeightShape::vector);
    return {.id = id, .data = reinterpret_cast<const float*>(entry.data), .size = entry.shape[0], .place = entry.place};
}

Result<void> WeightRegistry::compare_with(const WeightPlan& plan) const {
    for (const PlanEntry& planned : plan.entries) {
        const Entry* loaded = find(planned.id);
        if (loaded == nullptr)
            return fail(ErrorKind::internal, "{} is in the plan but was not loaded", to_string(planned.id));
        if (loaded->form != planned.form || loaded->format != planned.source) {
            return fail(ErrorKind::internal, "{} was planned as {} {} but loaded as {} {}", to_string(planned.id),
                        planned.source->name, stored_form_name(planned.form), loaded->format->name,
                        stored_form_name(loaded->form));
        }
        if (loaded->shape != planned.shape || loaded->kind != planned.kind) {
            return fail(ErrorKind::internal, "{} was planned with shape {} but loaded with {}", to_string(planned.id),
                        shape_text(planned.shape), shape_text(loaded->shape));
        }
        if (loaded->bytes != planned.bytes) {
            return fail(ErrorKind::internal, "{} was planned with {} bytes but loaded with {}", to_string(planned.id),
                        planned.bytes, loaded->bytes);
        }
        if (loaded->alias_of != planned.alias_of)
            return fail(ErrorKind::internal, "{} was planned and loaded with different owners", to_string(planned.id));
        if (loaded->place != planned.place)
            return fail(ErrorKind::internal, "{} was planned and loaded at different places", to_string(planned.id));
        if ((loaded->device != nullptr) != (planned.place == Place::device && !planned.alias_of))
            return fail(ErrorKind::internal, "{} has memory of the device, but the plan says otherwise",
                        to_string(planned.id));
        const bool owns = loaded->owned.size() > 0;
        const bool should_own = planned.has_own_bytes() && plan.cache_file.empty();
        if (owns != should_own || (owns && loaded->owned.size() != planned.bytes)) {
            return fail(ErrorKind::internal, "{} owns {} bytes of memory, but the plan says {}", to_string(planned.id),
                        loaded->owned.size(), should_own ? planned.bytes : 0);
        }
    }
    if (entries_.size() != plan.entries.size()) {
        return fail(ErrorKind::internal, "{} weights are loaded, but the plan has {}", entries_.size(),
                    plan.entries.size());
    }
    return {};
}

int64_t WeightRegistry::bytes() const {
    int64_t total = 0;
    for (const auto& [id, entry] : entries_) total += entry.alias_of ? 0 : entry.bytes;
    return total;
}

}  // namespace invar
