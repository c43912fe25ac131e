// Which tensors of a checkpoint no weight has to use, and why: scales of things that are not quantised here, the parts
// of a model that see or hear, and what an architecture names itself (ModelConfig::tensors_unused).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "files/checkpoint.h"
#include "models/config.h"

namespace invar {

enum class IgnoreKind : uint8_t {
    detail,           // scales and numbers that nothing depends on here
    other_senses,     // a part of the model that sees or hears
    of_architecture,  // what the architecture leaves out
};

struct IgnoreRule {
    std::string_view pattern, because;
    IgnoreKind kind = IgnoreKind::detail;
};

// The first rule that matches the tensor's name; it lives as long as the config.
std::optional<IgnoreRule> ignore_rule(std::string_view tensor, Dialect dialect, const ModelConfig& config);

// Whether "*" in the pattern can stand for texts such that it is the name.
bool matches_pattern(std::string_view name, std::string_view pattern);

}  // namespace invar
