// Reads and writes the specification of a fault, and chooses a verb of the model for it. Errors say what is wrong and
// what would be right.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "layout/record.h"
#include "proof/faults/fault_kind.h"

namespace invar {
namespace {

struct NumberPart {
    std::string_view name;
    std::optional<int64_t> FaultSpec::*number;
    unsigned needs;  // which of FaultKind::parts allows this part; 0: always allowed
};
constexpr NumberPart kNumbers[] = {
    {"layer", &FaultSpec::layer, 0},
    {"position", &FaultSpec::position, fault_part::position},
    {"slot", &FaultSpec::slot, fault_part::slot},
    {"row", &FaultSpec::row, fault_part::row},
    {"block", &FaultSpec::block, fault_part::block},
    {"bit", &FaultSpec::bit, fault_part::bit},
    {"element", &FaultSpec::element, fault_part::element},
};

std::string parts_of(const FaultKind& kind) {
    std::string text = "layer, stage";
    if ((kind.parts & fault_part::role) != 0) text += ", role";
    for (const NumberPart& part : kNumbers) {
        if (part.needs != 0 && (kind.parts & part.needs) != 0) text += fmt::format(", {}", part.name);
    }
    return text;
}

std::string names_of_faults() {
    std::string text;
    for (const FaultKind& kind : all_faults()) text += fmt::format("{}{}", text.empty() ? "" : ", ", kind.name);
    return text;
}

// At most a hundred printable bytes of a wrong text, to be shown to the user.
std::string shown(std::string_view text) {
    std::string clean;
    for (const char c : text.substr(0, 100)) clean += c >= ' ' && c <= '~' ? c : '?';
    return clean;
}

Result<void> parse_part(const FaultKind& kind, std::string_view part, FaultSpec& spec) {
    const size_t equals = part.find('=');
    const std::string_view name = part.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
    const auto unknown = [&] {
        return fail("fault {} has no part '{}'; its parts are {}", kind.name, shown(name), parts_of(kind));
    };
    if (value.empty()) {
        return fail("fault {}: '{}' is no part with a value; write it as layer=3", kind.name, shown(part));
    }
    const auto set_text = [&](std::string& text) -> Result<void> {
        if (!text.empty()) return fail("fault {}: {} is given twice; leave one out", kind.name, name);
        text = shown(value);
        return {};
    };
    if (name == "stage") return set_text(spec.stage);
    if (name == "role") return (kind.parts & fault_part::role) == 0 ? unknown() : set_text(spec.role);
    const auto known = std::find_if(std::begin(kNumbers), std::end(kNumbers), [&](const NumberPart& number) {
        return number.name == name && (number.needs == 0 || (kind.parts & number.needs) != 0);
    });
    if (known == std::end(kNumbers)) return unknown();
    if (spec.*known->number) return fail("fault {}: {} is given twice; leave one out", kind.name, name);
    int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < 0) {
        return fail("fault {}: {}={} is not a number from 0 on", kind.name, name, shown(value));
    }
    spec.*known->number = number;
    return {};
}

}  // namespace

std::string to_string(const FaultSpec& spec) {
    std::string text = spec.fault;
    char before = '@';
    const auto add = [&](std::string_view name, const std::string& value) {
        text += fmt::format("{}{}={}", before, name, value);
        before = ',';
    };
    if (spec.layer) add("layer", std::to_string(*spec.layer));
    if (!spec.stage.empty()) add("stage", spec.stage);
    if (!spec.role.empty()) add("role", spec.role);
    for (const NumberPart& part : kNumbers) {
        if (part.needs != 0 && spec.*part.number) add(part.name, std::to_string(*(spec.*part.number)));
    }
    return text;
}

Result<FaultSpec> parse_fault(std::string_view text) {
    const size_t at = text.find('@');
    FaultSpec spec{.fault = std::string(text.substr(0, at))};
    const FaultKind* kind = find_fault(spec.fault);
    if (kind == nullptr) return fail("there is no fault '{}'; the faults are {}", shown(spec.fault), names_of_faults());
    if (at == std::string_view::npos) return spec;
    std::string_view rest = text.substr(at + 1);
    while (true) {
        const size_t comma = rest.find(',');
        TRY(parse_part(*kind, rest.substr(0, comma), spec));
        if (comma == std::string_view::npos) return spec;
        rest.remove_prefix(comma + 1);
    }
}

// ---- the choice of a verb

namespace {

std::string_view role_of(const VerbSite& site) { return site.weight ? site.weight->role : ""; }

// Spells stages as "query, key, value", each once.
std::string stages_of(const std::vector<const VerbSite*>& sites) {
    std::vector<std::string> names;
    for (const VerbSite* site : sites) {
        if (std::find(names.begin(), names.end(), site->key.name) == names.end()) names.push_back(site->key.name);
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

std::string layers_of(const std::vector<const VerbSite*>& sites) {
    int first = -1, last = -1;
    for (const VerbSite* site : sites) {
        if (site->key.layer < 0) continue;
        first = first < 0 ? site->key.layer : std::min(first, site->key.layer);
        last = std::max(last, site->key.layer);
    }
    return first < 0 ? "none: it is outside the layers" : fmt::format("{} to {}", first, last);
}

int last_layer(std::span<const VerbSite> sites) {
    int last = -1;
    for (const VerbSite& site : sites) last = std::max(last, site.key.layer);
    return last;
}

Result<void> check_range(const FaultPlace& place, std::string_view part, std::optional<int64_t> value, int64_t count) {
    if (!value || *value < count) return {};
    return fail("fault {}: {}={} is not there; {} has {} 0 to {}", place.kind->name, part, *value,
                to_string(place.site.key), part, count - 1);
}

Result<void> check_numbers(const FaultPlace& place) {
    const FaultSpec& spec = place.spec;
    const VerbSite& site = place.site;
    TRY(check_range(place, "slot", spec.slot, std::max(1, site.experts_per_row)));
    TRY(check_range(place, "row", spec.row, site.rows));
    // A NaN is put into the second input of a verb that computes from two (fault_nan.cpp).
    const int64_t width = site.width > 0 && site.second_width > 0 ? site.second_width : site.input_width;
    TRY(check_range(place, "element", spec.element, std::max<int64_t>(1, width)));
    if (place.kind->make == faults::make_nan && site.format != nullptr && (spec.position || spec.element)) {
        return fail(
            "fault {}: at {} the NaN is in the weights, at no position or element alone; leave both out or take "
            "another "
            "stage",
            place.kind->name, to_string(site.key));
    }
    if (site.format == nullptr) return {};
    if (place.kind->make != faults::swap_scales) {
        TRY(check_range(place, "block", spec.block, site.format->blocks_of_row(site.columns)));
        return check_range(place, "bit", spec.bit, int64_t{8} * site.format->block_bytes);
    }
    const int64_t each = record_layout(site.format->id).halves ? 16 : 32;  // weights that share a scale
    TRY(check_range(place, "block", spec.block, site.columns / each - 1));
    if (spec.block && (*spec.block + 1) % (kRecordColumns / each) == 0) {
        return fail("fault {}: block={} has its neighbour in another {} weights; take {}", place.kind->name,
                    *spec.block, kRecordColumns, *spec.block - 1);
    }
    return {};
}

}  // namespace

Result<FaultPlace> resolve_fault(const FaultSpec& spec, std::span<const VerbSite> sites) {
    const FaultKind* kind = find_fault(spec.fault);
    if (kind == nullptr) return fail("there is no fault '{}'; the faults are {}", shown(spec.fault), names_of_faults());
    std::vector<const VerbSite*> left = fitting_sites(*kind, sites);
    if (left.empty()) return fail("fault {} fits nowhere in this model; it fits {}", kind->name, kind->where);
    const auto keep = [&](auto wanted) {
        std::vector<const VerbSite*> kept;
        std::copy_if(left.begin(), left.end(), std::back_inserter(kept), wanted);
        return kept;
    };
    if (!spec.stage.empty() || !spec.role.empty()) {
        const auto kept = keep([&](const VerbSite* site) {
            return (spec.stage.empty() || site->key.name == spec.stage) &&
                   (spec.role.empty() || role_of(*site) == spec.role);
        });
        if (kept.empty()) {
            return fail("fault {}: {}{} is no place for it in this model; its stages are {}", kind->name,
                        spec.stage.empty() ? "role=" : "stage=", spec.stage.empty() ? spec.role : spec.stage,
                        stages_of(left));
        }
        left = kept;
    }
    if (spec.layer) {
        const auto kept = keep([&](const VerbSite* site) { return site->key.layer == *spec.layer; });
        if (kept.empty()) {
            const int last = last_layer(sites);
            if (*spec.layer > last) {
                return fail("fault {}: there is no layer {}; the model has layers 0 to {}", kind->name, *spec.layer,
                            last);
            }
            return fail("fault {}: layer={} has no place for it; its layers in this model are {}", kind->name,
                        *spec.layer, layers_of(left));
        }
        left = kept;
    }
    const VerbSite* chosen = left.back();
    if (!kind->prefers_last) {
        // Takes the first stage of the middle layer. If the middle is outside the layers, the fault fits no layer.
        const int middle = left[left.size() / 2]->key.layer;
        chosen = *std::find_if(left.begin(), left.end(), [&](const VerbSite* s) { return s->key.layer == middle; });
    }
    FaultPlace place{.kind = kind, .spec = spec, .site = *chosen};
    if (chosen->key.layer >= 0) place.spec.layer = chosen->key.layer;
    place.spec.stage = chosen->key.name;
    place.spec.role.clear();
    TRY(check_numbers(place));
    return place;
}

}  // namespace invar
