#include "checkpoint/weight_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "checkpoint/loader.h"
#include "files/printable.h"
#include "layout/rows4.h"

namespace invar {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

constexpr int64_t kMostChunk = 65536;
constexpr int64_t kMostContext = int64_t{1} << 24;  // rope's angles are exact below this (arithmetic/rope.h)
constexpr int64_t kMostBytes = int64_t{1} << 50;    // so that sums of reserves cannot overflow

struct FormChoice {
    StoredForm form;
    std::string reason;
};

FormChoice choose_form(const WantedWeight& weight, bool multiplied, const Format& format, const PlanRequest& request) {
    if (weight.kind == WeightShape::vector) return {StoredForm::binary32, "vectors are widened exactly"};
    if (request.form == FormRequest::as_stored) return {StoredForm::as_stored, "asked for; stays in the mapped file"};
    if (!multiplied) return {StoredForm::as_stored, "rows are only looked up; stays in the mapped file"};
    if (!request.vector_kernels) return {StoredForm::as_stored, "scalar kernels read the file's blocks"};
    if (!has_rows4(format)) return {StoredForm::as_stored, "no repacked layout for this format"};
    if (weight.looked_up_by_row) return {StoredForm::rows4, "repacked for vector kernels; also serves the row look-up"};
    return {StoredForm::rows4, "repacked for vector kernels"};
}

bool is_multiplied(const WantedWeight& weight, const std::vector<WantedWeight>& wanted) {
    if (!weight.looked_up_by_row) return weight.kind != WeightShape::vector;
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const WantedWeight& other) { return other.alias_of == weight.id; });
}

PlanEntry plan_entry(const WantedWeight& weight, const std::vector<WantedWeight>& wanted, const GgufFile& file,
                     const PlanRequest& request) {
    const TensorInfo& tensor = *file.find(weight.tensor);
    const FormChoice choice = choose_form(weight, is_multiplied(weight, wanted), *tensor.format, request);
    return {.id = weight.id,
            .tensor = weight.tensor,
            .kind = weight.kind,
            .shape = weight.shape,
            .source = tensor.format,
            .form = choice.form,
            .place = Place::host,
            .bytes = stored_bytes(*tensor.format, choice.form, weight.shape),
            .file_bytes = static_cast<int64_t>(tensor.bytes),
            .alias_of = std::nullopt,
            .reason = choice.reason};
}

// An entry of no bytes that shows the owner's storage.
PlanEntry alias_entry(const WantedWeight& weight, const std::vector<PlanEntry>& planned) {
    const auto owner = std::find_if(planned.begin(), planned.end(),
                                    [&](const PlanEntry& entry) { return entry.id == *weight.alias_of; });
    CHECK(owner != planned.end(), "an alias is declared after its owner");
    PlanEntry entry = *owner;
    entry.id = weight.id;
    entry.tensor = weight.tensor;
    entry.bytes = 0;
    entry.file_bytes = 0;
    entry.alias_of = weight.alias_of;
    entry.reason = fmt::format("shares the storage of {}", to_string(*weight.alias_of));
    return entry;
}

}  // namespace

Result<void> check_binding(const std::vector<WantedWeight>& wanted, const GgufFile& file) {
    std::set<std::string_view> consumed;
    std::set<WeightId> filled;
    for (const WantedWeight& weight : wanted) {
        CHECK(filled.insert(weight.id).second, "a weight is declared once");
        if (weight.alias_of) continue;
        const TensorInfo* tensor = file.find(weight.tensor);
        if (tensor == nullptr) {
            return fail(
                "{}: tensor '{}' ({}, shape {}) is missing; the file is incomplete or names the wrong architecture",
                file.name(), weight.tensor, to_string(weight.id), shape_text(weight.shape));
        }
        if (tensor->shape != weight.shape) {
            return fail("{}: tensor '{}' has shape {}, but the metadata asks for {}; the file contradicts itself",
                        file.name(), weight.tensor, shape_text(tensor->shape), shape_text(weight.shape));
        }
        if (weight.kind == WeightShape::vector && !tensor->format->is_float) {
            return fail("{}: tensor '{}' is a vector stored as {}, but norms and biases must be f32, f16 or bf16",
                        file.name(), weight.tensor, tensor->format->name);
        }
        CHECK(consumed.insert(tensor->name).second, "a tensor is consumed by one weight");
    }
    for (const TensorInfo& tensor : file.tensors()) {
        if (consumed.contains(tensor.name)) continue;
        return fail(
            "{}: tensor '{}' (shape {}) is used by no weight of the model; running without it could change the answers",
            file.name(), printable(tensor.name), shape_text(tensor.shape));
    }
    return {};
}

int64_t WeightPlan::weight_bytes() const {
    int64_t total = 0;
    for (const PlanEntry& entry : entries) total += entry.bytes;
    return total;
}

int64_t WeightPlan::reserve_bytes() const {
    int64_t total = 0;
    for (const PlanReserve& reserve : reserves) total += reserve.bytes;
    return total;
}

Result<WeightPlan> make_weight_plan(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                    const GgufFile& file, const PlanRequest& request) {
    TRY(check_binding(wanted, file));
    if (request.chunk < 1)
        return fail("--chunk is {}, but a prompt is read in chunks of at least 1 token", request.chunk);
    if (request.chunk > kMostChunk)
        return fail("--chunk is {}, but at most {} tokens are computed in one pass", request.chunk, kMostChunk);
    if (request.context < 0) return fail("--context is {}, but it must be a number of tokens", request.context);
    if (request.context > config.context_length) {
        return fail("{}: --context {} is more than the {} tokens the model was trained for; ask for at most that",
                    file.name(), request.context, config.context_length);
    }
    WeightPlan plan;
    plan.architecture = config.architecture;
    plan.model = config.name;
    plan.context = request.context > 0 ? request.context : std::min(config.context_length, kDefaultContext);
    if (plan.context > kMostContext) {
        return fail("--context is {}, but positions are computed for at most {} tokens; ask for less", plan.context,
                    kMostContext);
    }
    plan.chunk = std::min(request.chunk, plan.context);
    plan.cache_type = request.cache_type;
    plan.notes = config.notes;
    for (const WantedWeight& weight : wanted) {
        plan.entries.push_back(weight.alias_of ? alias_entry(weight, plan.entries)
                                               : plan_entry(weight, wanted, file, request));
    }
    const std::vector<KvGeometry> geometry = config.kv_geometry();
    plan.cache_pages = KvCache::pages_for(plan.context) * std::max(1, request.sequences);
    const int64_t page = KvCache::page_bytes(geometry, request.cache_type);
    int64_t cache_bytes = 0;
    if (__builtin_mul_overflow(plan.cache_pages, page, &cache_bytes) || cache_bytes > kMostBytes) {
        return fail(
            "{}: a KV cache of {} pages of {} bytes is more than any machine holds; ask for a smaller --context",
            file.name(), plan.cache_pages, page);
    }
    plan.reserves.push_back(
        {.name = "kv_cache",
         .bytes = cache_bytes,
         .reason = fmt::format("{} pages of {} positions x {} bytes in {}", plan.cache_pages, kPagePositions,
                               page / kPagePositions, cache_type_name(request.cache_type))});
    return plan;
}

Result<void> finish_plan(WeightPlan& plan, const PlanRequest& request, int64_t scratch_bytes) {
    plan.reserves.push_back({.name = "scratch",
                             .bytes = scratch_bytes,
                             .reason = fmt::format("activations of a pass of {} tokens", plan.chunk)});
    if (!request.memory_bytes || plan.total_bytes() <= *request.memory_bytes) return {};
    constexpr double kMiB = 1 << 20;
    std::string sum = fmt::format("weights {:.1f} MiB", static_cast<double>(plan.weight_bytes()) / kMiB);
    for (const PlanReserve& reserve : plan.reserves) {
        sum += fmt::format(" + {} {:.1f} MiB", reserve.name, static_cast<double>(reserve.bytes) / kMiB);
    }
    return fail(
        "{} does not fit: {} = {:.1f} MiB, but {} is {:.1f} MiB; use a smaller --context or --chunk, --form as-stored, "
        "or a smaller model",
        plan.model, sum, static_cast<double>(plan.total_bytes()) / kMiB, request.memory_source,
        static_cast<double>(*request.memory_bytes) / kMiB);
}

}  // namespace invar
