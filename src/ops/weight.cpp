// The names of weights and stored forms, as plans, traces and errors print them. What they mean is in weight.h.
#include "ops/weight.h"

#include <fmt/format.h>

#include <array>

namespace invar {
namespace {

constexpr std::array<std::string_view, 23> kRoleNames = {
    "token_embedding",
    "output_norm",
    "output_head",
    "rope_frequencies",
    "attention_norm",
    "query",
    "query_bias",
    "query_norm",
    "key",
    "key_bias",
    "key_norm",
    "value",
    "value_bias",
    "attention_output",
    "attention_output_bias",
    "ffn_norm",
    "gate",
    "up",
    "down",
    "router",
    "expert_gate",
    "expert_up",
    "expert_down",
};
static_assert(kRoleNames.size() == static_cast<size_t>(Role::expert_down) + 1, "one name for each role");

}  // namespace

std::string_view role_name(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

std::string to_string(WeightId id) {
    if (id.layer < 0) return std::string(role_name(id.role));
    return fmt::format("layer {} {}", id.layer, role_name(id.role));
}

std::string_view stored_form_name(StoredForm form) {
    switch (form) {
        case StoredForm::as_stored:
            return "as_stored";
        case StoredForm::rows4:
            return "rows4";
        case StoredForm::device_lanes:
            return "device_lanes";
        case StoredForm::binary32:
            return "binary32";
    }
    return "unknown";
}

}  // namespace invar
