// Decides whether config.json describes a model that is computed here in full: no key that changes the numbers is left
// out, no two keys contradict each other, and keys that stand for tensors agree with the tensors.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

using KeyList = std::span<const std::string_view>;

// For checkpoints with a config.json only. `architecture` is ours, for messages. `computed`: keys that most
// architectures leave out and this one reads. Errors name the file and the key.
Result<void> check_config_json(const Checkpoint& checkpoint, std::string_view architecture, KeyList computed);

}  // namespace invar
