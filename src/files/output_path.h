// Whether a command may write to a path while it reads a model. An output that takes the place of one of the model's
// own files, a tokenizer or a config among them, would leave a model that no longer opens.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

// Every file that a model is read from: the weights of all parts, configs and side files. Empty for a model in memory.
std::vector<std::filesystem::path> files_of(const Checkpoint& model);

// Errors name `out`: it is one of the files, by any name or link (device and inode are compared), or it is nothing that
// AtomicFile replaces. Commands ask before they compute.
Result<void> check_output(std::span<const std::filesystem::path> files, const std::filesystem::path& out);
Result<void> check_output(const Checkpoint& model, const std::filesystem::path& out);

}  // namespace invar
