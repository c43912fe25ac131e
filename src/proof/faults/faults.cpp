#include "proof/faults/faults.h"

#include <algorithm>

#include "proof/faults/fault_kind.h"

namespace invar {
namespace {

FaultReport blank_report(const FaultPlace& place) {
    const VerbSite& site = place.site;
    return {.fault = to_string(place.spec),
            .description = fmt::format("{} ({}): {}", to_string(site.key), verb_name(site.verb), place.kind->meaning),
            .verb = site.verb,
            .stage = site.key};
}

bool on_host(const VerbCall& call) {
    return (call.x.rows() == 0 || call.x.place() == Place::host) &&
           (call.out.rows() == 0 || call.out.place() == Place::host);
}

}  // namespace

FaultHook::FaultHook(FaultPlace place)
    : place_(std::move(place)),
      report_(blank_report(place_)),
      fault_(place_.kind->make != nullptr ? place_.kind->make(place_, report_) : make_row_fault(place_, report_)) {}

FaultHook::~FaultHook() = default;

bool FaultHook::is_its_place(const VerbCall& call) const {
    return call.stage.layer == place_.site.key.layer && call.stage.name == place_.site.key.name &&
           call.occurrence == place_.site.key.occurrence && on_host(call);
}

void FaultHook::before(VerbCall& call) {
    if (is_its_place(call)) fault_->before(call);
}

void FaultHook::after(const VerbCall& call) {
    if (is_its_place(call)) fault_->after(call);
}

Result<std::unique_ptr<FaultHook>> make_fault(std::string_view text, const ModelConfig& config,
                                              const WeightPlan& plan) {
    TRY_ASSIGN(const FaultSpec spec, parse_fault(text));
    TRY_ASSIGN(const std::vector<VerbSite> sites, survey_verbs(config, plan));
    TRY_ASSIGN(FaultPlace place, resolve_fault(spec, sites));
    return std::make_unique<FaultHook>(std::move(place));
}

// ---- all places

namespace {

// The positions at which a fault is tried; nothing stands for every row.
std::vector<std::optional<int64_t>> positions_of(const FaultKind& kind, const VerbSite& site, const RunShape& shape) {
    const bool in_weights = kind.extent == FaultExtent::weights || (kind.make == faults::make_nan && site.format);
    if (in_weights) return {std::nullopt};
    std::vector<std::optional<int64_t>> positions;
    if (kind.extent == FaultExtent::every_row) positions.push_back(std::nullopt);
    for (const int64_t position : {int64_t{0}, int64_t{1}, shape.prompt - 1, shape.prompt}) {
        const bool in_run = position < shape.prompt + shape.decode;
        if (in_run && std::find(positions.begin(), positions.end(), position) == positions.end()) {
            positions.emplace_back(position);
        }
    }
    return positions;
}

// The first, the middle and the last one.
std::vector<std::optional<int64_t>> few(bool has_part, int64_t count) {
    if (!has_part || count < 1) return {std::nullopt};
    std::vector<std::optional<int64_t>> chosen;
    for (const int64_t one : {int64_t{0}, count / 2, count - 1}) {
        if (chosen.empty() || *chosen.back() != one) chosen.emplace_back(one);
    }
    return chosen;
}

std::string_view reason_against(const FaultKind& kind, const VerbSite& site, std::optional<int64_t> position,
                                const RunShape& shape) {
    if (!position) return "";
    if (site.wanted_rows_only && *position < shape.prompt - 1) return "only the prompt's last row has logits";
    return kind.hidden == nullptr ? "" : kind.hidden(site, *position, shape);
}

}  // namespace

FaultPlaces fault_places(const FaultKind& kind, std::span<const VerbSite> sites, const RunShape& shape) {
    FaultPlaces result;
    for (const VerbSite* const fitting : fitting_sites(kind, sites)) {
        const VerbSite& site = *fitting;
        const auto has = [&](unsigned part) { return (kind.parts & part) != 0; };
        const int64_t bits = site.format == nullptr ? 0 : int64_t{8} * site.format->block_bytes;
        for (const auto position : positions_of(kind, site, shape)) {
            for (const auto slot : few(has(fault_part::slot), site.experts_per_row)) {
                for (const auto bit : few(has(fault_part::bit), bits)) {
                    FaultPlace place{.kind = &kind, .spec = {.fault = std::string(kind.name)}, .site = site};
                    place.spec.stage = site.key.name;
                    if (site.key.layer >= 0) place.spec.layer = site.key.layer;
                    place.spec.position = position;
                    place.spec.slot = slot;
                    place.spec.bit = bit;
                    const std::string_view reason = reason_against(kind, site, position, shape);
                    if (reason.empty()) {
                        result.places.push_back(std::move(place));
                    } else {
                        result.left_out.emplace_back(to_string(place.spec), reason);
                    }
                }
            }
        }
    }
    return result;
}

}  // namespace invar
