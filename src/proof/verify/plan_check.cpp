#include "proof/verify/plan_check.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "base/resident_memory.h"
#include "engine/engine_settings.h"
#include "files/shape_text.h"
#include "layout/rows4.h"

namespace invar {
namespace {

// Calls use(first row, rows, how many) for all rows of a weight as the checkpoint hands them out, a few at a time,
// until it gives false.
template <class Use>
bool for_rows_of(const StoredWeight& weight, const Use& use) {
    RowReader reader(RowReader::Access::mapped);
    const int64_t at_once = std::max<int64_t>(1, (int64_t{1} << 20) / weight.row_bytes());
    for (int64_t first = 0; first < weight.rows(); first += at_once) {
        const int64_t count = std::min(at_once, weight.rows() - first);
        const auto rows = reader.rows(weight, first, count);
        CHECK(rows.has_value(), "mapped rows cannot fail to be read");
        if (!use(first, *rows, count)) return false;
    }
    return true;
}

std::string hash_of_rows(const StoredWeight& weight) {
    Hasher hasher;
    for_rows_of(weight, [&](int64_t, const std::byte* rows, int64_t count) {
        hasher.add({rows, static_cast<size_t>(count * weight.row_bytes())});
        return true;
    });
    return hasher.text();
}

// Every row of a weight, one behind the other.
std::vector<std::byte> rows_of(const StoredWeight& weight) {
    RowReader reader(RowReader::Access::mapped);
    const auto rows = reader.rows(weight, 0, weight.rows());
    CHECK(rows.has_value(), "mapped rows cannot fail to be read");
    return {*rows, *rows + weight.bytes()};
}
std::vector<float> numbers_of(const StoredWeight& vector) {
    std::vector<float> numbers(static_cast<size_t>(vector.shape[0]));
    const auto read = RowReader(RowReader::Access::mapped).vector(vector, numbers.data());
    CHECK(read.has_value(), "a mapped vector cannot fail to be read");
    return numbers;
}

// Whether the loaded form holds exactly the numbers of the checkpoint: as_stored has the same bytes, rows4 unpacks to
// them, and binary32 equals the decoded values bit for bit.
bool recovers(const WeightRegistry::Entry& loaded, const StoredWeight& weight) {
    if (loaded.form == StoredForm::binary32) {
        const std::vector<float> values = numbers_of(weight);
        return std::memcmp(values.data(), loaded.data, values.size() * sizeof(float)) == 0;
    }
    const std::byte* const in_place = weight.in_place();
    if (loaded.form == StoredForm::as_stored && in_place != nullptr) return loaded.data == in_place;
    const Format& format = *weight.format;
    const int64_t columns = weight.columns(), rows = weight.rows_of_matrix(), row_bytes = weight.row_bytes();
    std::vector<std::byte> row(static_cast<size_t>(row_bytes));
    return for_rows_of(weight, [&](int64_t first, const std::byte* wanted, int64_t count) {
        if (loaded.form == StoredForm::as_stored)
            return std::memcmp(loaded.data + first * row_bytes, wanted, static_cast<size_t>(count * row_bytes)) == 0;
        for (int64_t i = first; i < first + count; ++i) {
            const std::byte* packed = loaded.data + i / rows * rows4_bytes(format, rows, columns);
            unpack_row(format, packed, rows, columns, i % rows, row.data());
            if (std::memcmp(row.data(), wanted + (i - first) * row_bytes, row.size()) != 0) return false;
        }
        return true;
    });
}

// Whether the device holds exactly the packed rows. (A test of the packing shows that it loses nothing.)
bool device_holds(const WeightRegistry::Entry& loaded, const StoredWeight& weight, Accelerator& accelerator) {
    const Format& format = *weight.format;
    std::vector<std::byte> there(static_cast<size_t>(loaded.bytes)), packed(static_cast<size_t>(loaded.bytes));
    if (!accelerator.download(there.data(), loaded.data, loaded.bytes)) return false;
    if (loaded.kind == WeightShape::vector) {
        const std::vector<float> values = numbers_of(weight);
        std::memcpy(packed.data(), values.data(), packed.size());
        return there == packed;
    }
    const std::vector<std::byte> wanted = rows_of(weight);
    const int64_t columns = loaded.shape.back(), rows = loaded.shape[loaded.shape.size() - 2];
    const int64_t count = loaded.kind == WeightShape::stack ? loaded.shape[0] : 1;
    const int64_t group = accelerator.group_rows();
    for (int64_t i = 0; i < count; ++i) {
        accelerator.pack({.format = format,
                          .stored = wanted.data() + i * rows * format.row_bytes(columns),
                          .rows = rows,
                          .columns = columns,
                          .first = 0,
                          .last = (rows + group - 1) / group},
                         packed.data() + i * (loaded.bytes / count));
    }
    return there == packed;
}

// The owner of an entry's bytes. `mapped`: the packed bytes are in a cache file.
std::string owner_name(const std::optional<WeightId>& alias_of, StoredForm form, Place place, bool mapped) {
    if (alias_of) return to_string(*alias_of);
    if (place == Place::device) return "itself";
    return form == StoredForm::as_stored ? "the file" : mapped ? "the cache file" : "itself";
}

void compare(const WeightPlan& plan, const PlanEntry& planned, const WeightRegistry::Entry& loaded, EntryCheck& check) {
    const bool cached = !plan.cache_file.empty();
    const auto expect = [&](std::string_view what, const auto& wanted, const auto& got) {
        if (wanted == got) return;
        check.differences.push_back(fmt::format("{}: {} is planned, {} is loaded", what, wanted, got));
    };
    expect("format", planned.source->name, loaded.format->name);
    expect("form", stored_form_name(planned.form), stored_form_name(loaded.form));
    expect("bytes", planned.bytes, loaded.bytes);
    expect("shape", shape_text(planned.shape), shape_text(loaded.shape));
    expect("owner", owner_name(planned.alias_of, planned.form, planned.place, cached),
           owner_name(loaded.alias_of, loaded.form, loaded.place, loaded.owned.size() == 0));
    const auto name_of = [](Place place) { return place == Place::device ? "device" : "host"; };
    expect("place", std::string_view(name_of(planned.place)), std::string_view(name_of(loaded.place)));
    const bool owns = planned.has_own_bytes() && !cached;
    expect("bytes of its own", owns ? planned.bytes : 0, loaded.owned.size());
}

// The memory ranges that the plan counts, so that their resident pages can be counted.
struct PlannedRanges {
    using Ranges = std::vector<std::span<const std::byte>>;
    Ranges owned, mapped, scales, cache, scratch, file;

    explicit PlannedRanges(Engine& engine) {
        for (const PlanEntry& entry : engine.plan().entries) {
            const WeightRegistry::Entry* loaded = engine.weights().find(entry.id);
            if (entry.alias_of || loaded == nullptr || loaded->place == Place::device) continue;
            (loaded->owned.size() == 0 ? mapped : owned).push_back({loaded->data, static_cast<size_t>(loaded->bytes)});
            for (const std::span<const float> beside : {entry.expert_scales(), std::span(entry.stored.row_scales)})
                if (!beside.empty()) scales.push_back(std::as_bytes(beside));
        }
        cache.push_back(engine.cache().memory());
        scratch.push_back(engine.cpu_ops().scratch_memory());
        for (const MappedFile* part : engine.checkpoint().mappings()) file.push_back(part->bytes());
        if (engine.weight_cache() != nullptr) file.push_back(engine.weight_cache()->mapping()->bytes());
    }
};

struct Baseline {
    int64_t anonymous = 0;
};

Result<void> measure(Engine& engine, const Baseline& baseline, Moment moment, MemoryCheck& check) {
    const PlannedRanges ranges(engine);
    const auto at = static_cast<size_t>(moment);
    TRY_ASSIGN(const ResidentMemory memory, resident_memory());
    const PlannedRanges::Ranges* const parts[] = {&ranges.owned, &ranges.mapped, &ranges.scales, &ranges.cache,
                                                  &ranges.scratch};
    int64_t anonymous = 0;
    for (size_t i = 0; i < std::size(parts); ++i) {
        TRY_ASSIGN(check.parts[i].resident[at], resident_bytes(*parts[i]));
        if (parts[i] != &ranges.mapped) anonymous += check.parts[i].resident[at];
    }
    int64_t file = 0;
    for (const auto& part : ranges.file) file += memory.file_within(part);
    check.other[at] = memory.anonymous - baseline.anonymous - anonymous;
    check.file_rest[at] = file - check.parts[1].resident[at];
    check.swapped[at] = memory.swapped;
    check.measured = memory.anonymous - baseline.anonymous + file;
    return {};
}

// Computes a pass over `rows` positions that ends at `end`. The positions before it may hold anything finite, such as
// zeros.
Result<void> run_pass(Engine& engine, int32_t sequence, int64_t end, int64_t rows) {
    Batch batch;
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t token = (i * 7919 + 13) % engine.config().vocabulary;  // tokens from all over the embedding
        batch.rows.push_back({.token = static_cast<int32_t>(token), .sequence = sequence, .position = end - rows + i});
    }
    batch.logits_rows.push_back(static_cast<int32_t>(rows - 1));
    engine.cache().rewind(sequence, 0);
    engine.cache().skip_to(sequence, end - rows);
    TRY(engine.cache().reserve(sequence, end));
    TRY(engine.evaluate(batch));
    return {};
}

// Writes every reserved page and reads every page of the mapped weights. Passes alone would not: only a full context
// writes all of the cache, and scratch is sized for the kernels that need most of it and for the worst distribution of
// tokens over experts.
void touch_everything(Engine& engine) {
    constexpr size_t kPage = 4096;  // or a fraction of the system's page, where more accesses do no harm
    for (const std::span<std::byte> reserved : {engine.cache().memory(), engine.cpu_ops().scratch_memory()}) {
        for (size_t at = 0; at < reserved.size(); at += kPage) {
            volatile std::byte* place = &reserved[at];
            *place = *place;
        }
    }
    for (const auto& range : PlannedRanges(engine).mapped) {
        for (size_t at = 0; at < range.size(); at += kPage) (void)*static_cast<const volatile std::byte*>(&range[at]);
        (void)*static_cast<const volatile std::byte*>(&range.back());
    }
}

MemoryCheck planned_memory(const WeightPlan& plan) {
    MemoryCheck check{.parts = {{"weights in memory"},
                                {"weights in the mapped file"},
                                {"scales beside weights"},
                                {"kv_cache"},
                                {"scratch"}}};
    for (const PlanEntry& entry : plan.entries) {
        const bool is_mapped = !entry.has_own_bytes() || !plan.cache_file.empty();
        if (entry.place == Place::device) continue;
        check.parts[is_mapped ? 1 : 0].planned += entry.bytes;
        check.parts[2].planned += entry.scale_bytes();
    }
    for (MemoryCheck::Part& part : check.parts) {
        const PlanReserve* reserve = plan.reserve(part.name, Place::host);
        if (reserve != nullptr) part.planned += reserve->bytes;
    }
    check.parts[3].planned = plan.cache_bytes(Place::host);  // with the states of recurrences
    check.planned = plan.total_bytes(Place::host);
    check.chunk = plan.chunk;
    return check;
}

}  // namespace

int64_t PlanCheck::differences() const {
    return static_cast<int64_t>(unplanned.size()) +
           std::count_if(entries.begin(), entries.end(),
                         [](const EntryCheck& entry) { return !entry.recovered || !entry.differences.empty(); });
}

std::vector<EntryCheck> check_entries(const WeightPlan& plan, const WeightRegistry& loaded, Accelerator* accelerator) {
    std::vector<EntryCheck> checks;
    for (const PlanEntry& planned : plan.entries) {
        EntryCheck check{.weight = to_string(planned.id), .tensor = planned.tensor};
        const WeightRegistry::Entry* entry = loaded.find(planned.id);
        if (entry == nullptr) {
            check.differences.push_back("it is in the plan but was not loaded");
            checks.push_back(std::move(check));
            continue;
        }
        check.format = entry->format->name;
        check.form = stored_form_name(entry->form);
        check.place = entry->place == Place::device ? "device" : "host";
        check.bytes = entry->bytes;
        check.owner = owner_name(entry->alias_of, entry->form, entry->place, entry->owned.size() == 0);
        compare(plan, planned, *entry, check);
        if (!entry->alias_of) {
            check.source_hash = hash_of_rows(planned.stored);
            const bool there = entry->place == Place::device;
            check.recovered = check.differences.empty() &&
                              (there ? accelerator != nullptr && device_holds(*entry, planned.stored, *accelerator)
                                     : recovers(*entry, planned.stored));
        } else {
            const bool owner_recovered = std::any_of(checks.begin(), checks.end(), [&](const EntryCheck& other) {
                return other.weight == check.owner && other.recovered;
            });
            check.recovered = entry->alias_of && owner_recovered;
        }
        checks.push_back(std::move(check));
    }
    return checks;
}

Result<PlanCheck> check_plan(const EngineSettings& settings, const LoadProgress& progress) {
    release_free_memory();
    TRY_ASSIGN(const ResidentMemory before, resident_memory());
    const Baseline baseline{.anonymous = before.anonymous};
    int64_t free_before = 0;  // what was free before the kernels were loaded
    if (settings.device != nullptr) {
        TRY_ASSIGN(const AcceleratorFacts facts, settings.device->facts());
        free_before = facts.free_bytes + facts.overhead_bytes;
    }
    TRY_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(settings, progress));
    const WeightPlan& plan = engine->plan();
    PlanCheck check{.model = plan.model, .memory = planned_memory(plan)};
    TRY(measure(*engine, baseline, Moment::loaded, check.memory));
    if (engine->device() != nullptr) {
        TRY_ASSIGN(const AcceleratorFacts facts, engine->device()->facts());
        check.device_memory = {.device = plan.device,
                               .planned = plan.total_bytes(Place::device),
                               .overhead = facts.overhead_bytes,
                               .opened = free_before - facts.free_bytes};
    }
    const int32_t sequence = engine->cache().add_sequence();
    TRY(run_pass(*engine, sequence, plan.chunk, plan.chunk));
    TRY(measure(*engine, baseline, Moment::used, check.memory));
    touch_everything(*engine);
    // On a device every position is computed, because its cache is undefined where nothing was stored.
    for (int64_t end = 2 * plan.chunk; engine->device() != nullptr && end < plan.context; end += plan.chunk)
        TRY(run_pass(*engine, sequence, end, plan.chunk));
    const int64_t last = engine->device() != nullptr ? std::max<int64_t>(1, (plan.context - 1) % plan.chunk + 1) : 1;
    TRY(run_pass(*engine, sequence, plan.context, last));
    TRY(measure(*engine, baseline, Moment::written, check.memory));
    if (engine->device() != nullptr) {
        TRY_ASSIGN(const AcceleratorFacts facts, engine->device()->facts());
        check.device_memory->measured = free_before - facts.free_bytes;
    }
    check.entries = check_entries(plan, engine->weights(), engine->device());
    if (engine->weights().size() != plan.entries.size()) {
        check.unplanned.push_back(
            fmt::format("{} weights are loaded, the plan has {}", engine->weights().size(), plan.entries.size()));
    }
    return check;
}

}  // namespace invar
