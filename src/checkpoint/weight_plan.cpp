// Chooses place and form of each weight, adds the reserves (cache, scratch, the device's rest), and checks the budgets:
// see weight_plan.h.
#include "checkpoint/weight_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "checkpoint/plan_cache.h"
#include "checkpoint/stored_bytes.h"
#include "files/printable.h"
#include "layout/rows4.h"

namespace invar {
namespace {

constexpr double kBytesOfMiB = 1 << 20;

constexpr int64_t kMostChunk = 65536;
constexpr int64_t kDeviceAlignment = 256;  // of every weight in the device's block
int64_t aligned(int64_t bytes) { return (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment; }
constexpr int64_t kMostContext = int64_t{1} << 24;  // rope's angles are exact below this (arithmetic/rope.h)

struct FormChoice {
    StoredForm form;
    std::string reason;
};

// The place of things that belong to a layer, or (-1) to the whole model.
Place place_of(int layer, const ModelConfig& config, const std::optional<DeviceRequest>& device) {
    if (!device) return Place::host;
    const int64_t layers = static_cast<int64_t>(config.layers.size());
    const bool there = layer < 0 ? device->layers > layers : layer >= layers - device->layers;
    return there ? Place::device : Place::host;
}

Place place_of(const WantedWeight& weight, const ModelConfig& config, const std::optional<DeviceRequest>& device) {
    if (weight.read_by_host) return Place::host;
    if (device && device->experts_on_host && weight.kind == WeightShape::stack) return Place::host;
    return place_of(weight.id.layer, config, device);
}

FormChoice choose_form(const WantedWeight& weight, bool multiplied, const StoredWeight& stored,
                       const PlanRequest& request) {
    if (weight.kind == WeightShape::vector) return {StoredForm::binary32, "vectors are widened exactly"};
    const bool made = stored.in_place() == nullptr;
    const std::string_view stays = made ? "kept in blocks" : "stays in the mapped file";
    const auto as_stored = [&](std::string_view why) {
        return FormChoice{StoredForm::as_stored, fmt::format("{}; {}", why, stays)};
    };
    if (request.form == FormRequest::as_stored) return as_stored("asked for");
    if (weight.read_by_host) return as_stored("rows are read behind the pass");
    if (!multiplied) return as_stored("rows are only looked up");
    if (!request.vector_kernels) return as_stored("scalar kernels read blocks");
    if (!has_rows4(*stored.format)) return as_stored("no repacked layout for this format");
    if (weight.looked_up_by_row) return {StoredForm::rows4, "repacked for vector kernels; also serves the row look-up"};
    return {StoredForm::rows4, "repacked for vector kernels"};
}

bool is_multiplied(const WantedWeight& weight, const std::vector<WantedWeight>& wanted) {
    if (!weight.looked_up_by_row) return weight.kind != WeightShape::vector;
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const WantedWeight& other) { return other.alias_of == weight.id; });
}

int64_t device_bytes(const WantedWeight& weight, const Format& format, const Accelerator& accelerator) {
    if (weight.kind == WeightShape::vector) return weight.shape[0] * static_cast<int64_t>(sizeof(float));
    const int64_t one = accelerator.packed_bytes(format, weight.shape[weight.shape.size() - 2], weight.shape.back());
    return weight.kind == WeightShape::stack ? weight.shape[0] * one : one;
}

PlanEntry plan_entry(const WantedWeight& weight, StoredWeight stored, const ModelConfig& config,
                     const std::vector<WantedWeight>& wanted, const PlanRequest& request) {
    PlanEntry entry{.id = weight.id,
                    .tensor = stored.name,
                    .kind = weight.kind,
                    .shape = weight.shape,
                    .source = stored.format,
                    .place = place_of(weight, config, request.device),
                    .file_bytes = stored.bytes(),
                    .makes_logits = weight.makes_logits,
                    .looked_up_by_row = weight.looked_up_by_row,
                    .read_by_host = weight.read_by_host};
    if (entry.place == Place::device) {
        const bool vector = weight.kind == WeightShape::vector;
        entry.form = vector ? StoredForm::binary32 : StoredForm::device_lanes;
        entry.bytes = device_bytes(weight, *stored.format, request.device->accelerator);
        entry.reason = vector ? "on the device, widened exactly" : "on the device, packed for its lanes";
    } else {
        const FormChoice choice = choose_form(weight, is_multiplied(weight, wanted), stored, request);
        entry.form = choice.form;
        entry.bytes = stored_bytes(*stored.format, choice.form, weight.shape);
        entry.reason = choice.reason;
    }
    if (!stored.recipe.empty()) entry.reason += "; " + stored.recipe;
    entry.stored = std::move(stored);
    if (entry.scale_bytes() > 0) entry.reason += fmt::format("; {} bytes of scales beside it", entry.scale_bytes());
    return entry;
}

// An alias has no bytes; its entry shows the storage of the owner.
PlanEntry alias_entry(const WantedWeight& weight, const std::vector<PlanEntry>& planned) {
    const auto owner = std::find_if(planned.begin(), planned.end(),
                                    [&](const PlanEntry& entry) { return entry.id == *weight.alias_of; });
    CHECK(owner != planned.end(), "an alias is declared after its owner");
    PlanEntry entry = *owner;
    entry.id = weight.id;
    entry.tensor = weight.tensor();
    entry.stored = {};
    entry.makes_logits = weight.makes_logits;
    entry.looked_up_by_row = weight.looked_up_by_row;
    entry.bytes = 0;
    entry.file_bytes = 0;
    entry.alias_of = weight.alias_of;
    entry.reason = fmt::format("shares the storage of {}", to_string(*weight.alias_of));
    return entry;
}

// Refuses matrices on the device whose format has no products there.
Result<void> check_device_formats(const std::vector<PlanEntry>& entries) {
    for (const PlanEntry& entry : entries) {
        if (entry.place == Place::host || entry.kind == WeightShape::vector || entry.alias_of || entry.bytes > 0)
            continue;
        const bool expert = entry.kind == WeightShape::stack;
        return fail("{}: tensor '{}' is {}, which the device has no kernel of {} for; use --device cpu{}",
                    to_string(entry.id), entry.tensor, entry.source->name, expert ? "expert_linear" : "linear",
                    expert ? ", or keep the experts on the CPU with --cpu-experts" : "");
    }
    return {};
}

// In the device's block, with the scales beside it.
int64_t device_bytes_of(const PlanEntry& entry) { return aligned(entry.bytes) + aligned(entry.scale_bytes()); }

}  // namespace

int64_t WeightPlan::weight_bytes() const { return weight_bytes(Place::host) + weight_bytes(Place::device); }

int64_t WeightPlan::weight_bytes(Place place) const {
    int64_t total = 0;
    for (const PlanEntry& entry : entries) total += entry.place == place ? entry.bytes + entry.scale_bytes() : 0;
    return total;
}

int64_t WeightPlan::reserve_bytes(Place place) const {
    int64_t total = 0;
    for (const PlanReserve& reserve : reserves) total += reserve.place == place ? reserve.bytes : 0;
    return total;
}

int64_t WeightPlan::above_file_bytes() const {
    int64_t total = weight_bytes() - file_bytes;
    for (const PlanReserve& reserve : reserves) total += reserve.name == "scratch" ? reserve.bytes : 0;
    return total;
}

const PlanReserve* WeightPlan::reserve(std::string_view name, Place place) const {
    const auto found = std::find_if(reserves.begin(), reserves.end(), [&](const PlanReserve& reserve) {
        return reserve.name == name && reserve.place == place;
    });
    return found == reserves.end() ? nullptr : &*found;
}

int64_t WeightPlan::cache_bytes(Place place) const {
    int64_t bytes = 0;
    for (const std::string_view name : {"kv_cache", "recurrent_state"}) {
        const PlanReserve* part = reserve(name, place);
        bytes += part == nullptr ? 0 : part->bytes;
    }
    return bytes;
}

std::span<const float> PlanEntry::expert_scales() const {
    return kind == WeightShape::stack ? std::span<const float>(stored.scales) : std::span<const float>();
}

int64_t PlanEntry::scale_bytes() const {
    return static_cast<int64_t>((expert_scales().size() + stored.row_scales.size()) * sizeof(float));
}

std::vector<float> PlanEntry::scales_beside() const {
    std::vector<float> beside(expert_scales().begin(), expert_scales().end());
    beside.insert(beside.end(), stored.row_scales.begin(), stored.row_scales.end());
    return beside;
}

int64_t WeightPlan::device_scales_offset(const PlanEntry& entry) { return aligned(entry.bytes); }

std::vector<int64_t> WeightPlan::device_offsets() const {
    std::vector<int64_t> offsets;
    int64_t at = 0;
    for (const PlanEntry& entry : entries) {
        const bool there = entry.place == Place::device && !entry.alias_of;
        offsets.push_back(there ? at : -1);
        if (there) at += device_bytes_of(entry);
    }
    return offsets;
}

int64_t WeightPlan::device_block_bytes() const {
    int64_t bytes = 0;
    for (const PlanEntry& entry : entries) bytes += entry.place == Place::device ? device_bytes_of(entry) : 0;
    return bytes;
}

Result<WeightPlan> make_weight_plan(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                    const Checkpoint& checkpoint, const PlanRequest& request) {
    TRY_ASSIGN(Binding binding, bind_weights(config, wanted, checkpoint));
    if (request.chunk < 1)
        return fail("--chunk is {}, but a prompt is read in chunks of at least 1 token", request.chunk);
    if (request.chunk > kMostChunk)
        return fail("--chunk is {}, but at most {} tokens are computed in one pass", request.chunk, kMostChunk);
    if (request.context < 0) return fail("--context is {}, but it must be a number of tokens", request.context);
    if (request.context > config.context_length) {
        return fail("{}: --context {} is more than the {} tokens the model was trained for; ask for at most that",
                    checkpoint.name(), request.context, config.context_length);
    }
    WeightPlan plan;
    plan.architecture = config.architecture;
    plan.model = config.name;
    plan.context = planned_context(config, request.context);
    if (plan.context > kMostContext) {
        return fail("--context is {}, but positions are computed for at most {} tokens; ask for less", plan.context,
                    kMostContext);
    }
    plan.chunk = std::min(request.chunk, plan.context);
    plan.cache_type = request.cache_type;
    plan.notes = config.notes;
    if (config.sees_both_ways()) {
        plan.chunk = std::min(plan.context, kMostChunk);
        plan.chunk_is_context = true;
        plan.notes.push_back(fmt::format(
            "attention sees both ways, so a text is one pass and --chunk does not count: a pass has up to {} tokens, "
            "and a smaller --context needs less memory",
            plan.chunk));
    }
    plan.file_bytes = static_cast<int64_t>(checkpoint.file_bytes());
    plan.ignored = std::move(binding.ignored);
    for (size_t i = 0; i < wanted.size(); ++i) {
        const WantedWeight& weight = wanted[i];
        plan.entries.push_back(weight.alias_of
                                   ? alias_entry(weight, plan.entries)
                                   : plan_entry(weight, std::move(binding.weights[i]), config, wanted, request));
    }
    TRY(check_device_formats(plan.entries));
    for (int layer = 0; layer < static_cast<int>(config.layers.size()); ++layer)
        plan.layer_places.push_back(place_of(layer, config, request.device));
    if (request.device) plan.device = request.device->facts.name;
    TRY(reserve_cache(plan, config, request));
    return plan;
}

namespace {

// "weights 1.0 MiB + kv_cache 2.0 MiB = 3.0 MiB"
std::string sum_text(const WeightPlan& plan, Place place) {
    std::string sum = fmt::format("weights {:.1f} MiB", static_cast<double>(plan.weight_bytes(place)) / kBytesOfMiB);
    for (const PlanReserve& reserve : plan.reserves) {
        if (reserve.place == place)
            sum += fmt::format(" + {} {:.1f} MiB", reserve.name, static_cast<double>(reserve.bytes) / kBytesOfMiB);
    }
    return sum + fmt::format(" = {:.1f} MiB", static_cast<double>(plan.total_bytes(place)) / kBytesOfMiB);
}

// "all 4 layers and the output are"
std::string parts_text(const WeightPlan& plan, const DeviceRequest& device) {
    const auto layers = static_cast<int64_t>(plan.layer_places.size());
    const std::string experts = device.experts_on_host ? ", but for the experts," : "";
    if (device.layers > layers) return fmt::format("all {} layers and the output{} are", layers, experts);
    return fmt::format("the last {} of {} layers{} are", device.layers, layers, experts);
}

// Explains the overhead. What the context takes cannot be told from what other programs take: the context exists before
// memory can be asked about.
std::string overhead_reason(const AcceleratorFacts& facts) {
    return fmt::format("{} (before that {:.1f} of {:.1f} MiB were taken, by this program's context and by others)",
                       facts.overhead_source, static_cast<double>(facts.taken_bytes) / kBytesOfMiB,
                       static_cast<double>(facts.total_bytes) / kBytesOfMiB);
}

void reserve_device_rest(WeightPlan& plan, const DeviceRequest& device, int64_t scratch) {
    const int64_t overhead = device.facts.overhead_bytes;
    const int64_t rounding = planned_device_bytes(plan, device, scratch) - overhead - plan.total_bytes(Place::device);
    plan.reserves.push_back({.name = "rounding",
                             .bytes = rounding,
                             .reason = "weights are aligned, and allocations are whole blocks",
                             .place = Place::device});
    plan.reserves.push_back(
        {.name = "overhead", .bytes = overhead, .reason = overhead_reason(device.facts), .place = Place::device});
}

}  // namespace

// There are three allocations: weights, cache, activations.
int64_t planned_device_bytes(const WeightPlan& plan, const DeviceRequest& device, int64_t scratch_bytes) {
    int64_t bytes = device.facts.overhead_bytes;
    for (const int64_t asked : {plan.device_block_bytes(), plan.cache_bytes(Place::device), scratch_bytes})
        bytes += asked == 0 ? 0 : device.accelerator.allocated_bytes(asked);
    return bytes;
}

Result<void> finish_plan(WeightPlan& plan, const PlanRequest& request, ScratchBytes scratch) {
    const std::string of_pass = fmt::format("activations of a pass of {} tokens", plan.chunk);
    plan.reserves.push_back({.name = "scratch", .bytes = scratch.host, .reason = of_pass});
    if (request.device) {
        plan.reserves.push_back(
            {.name = "scratch", .bytes = scratch.device, .reason = of_pass, .place = Place::device});
        plan.device_scratch = scratch.device_tensors;
        reserve_device_rest(plan, *request.device, scratch.device);
        if (plan.total_bytes(Place::device) > request.device->memory_bytes) {
            return fail(
                ErrorKind::out_of_memory,
                "{} does not fit on the device ({}): {}, but {} is {:.1f} MiB; keep fewer layers there (--gpu-layers), "
                "or its experts on the CPU (--cpu-experts), or use a smaller --context or --chunk",
                plan.model, plan.device, sum_text(plan, Place::device), request.device->memory_source,
                static_cast<double>(request.device->memory_bytes) / kBytesOfMiB);
        }
    }
    if (request.device) {
        plan.placement = fmt::format(
            "{} on {} device {} ({}): {} of {:.1f} MiB ({})", parts_text(plan, *request.device),
            request.device->facts.kind, request.device->facts.index, plan.device, sum_text(plan, Place::device),
            static_cast<double>(request.device->memory_bytes) / kBytesOfMiB, request.device->memory_source);
    }
    return check_host_memory(plan, request.memory_bytes, request.memory_source);
}

Result<void> check_host_memory(const WeightPlan& plan, std::optional<int64_t> budget, const std::string& source) {
    if (!budget || plan.total_bytes(Place::host) <= *budget) return {};
    const bool others_count = plan.weight_bytes(Place::host) < *budget;
    const std::string_view smaller = !others_count           ? ""
                                     : plan.chunk_is_context ? "a smaller --context, "
                                                             : "a smaller --context or --chunk, ";
    return fail(ErrorKind::out_of_memory,
                "{} does not fit: {}, but {} is {}; use {}a smaller format or model, or give another budget with "
                "--memory",
                plan.model, sum_text(plan, Place::host), source,
                *budget < kBytesOfMiB ? fmt::format("{} bytes", *budget)
                                      : fmt::format("{:.1f} MiB", static_cast<double>(*budget) / kBytesOfMiB),
                smaller);
}

}  // namespace invar
