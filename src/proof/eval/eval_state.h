// The scores of an unfinished evaluation as a SafeTensors file, so that it goes on where it stopped; NumPy and PyTorch
// open it. Its metadata say what was evaluated, and a state of anything else is refused.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proof/eval/eval.h"

namespace invar {

// Everything the scores depend on: {"model", "xxh3:..."}, {"context", "512"}, ... Threads, instruction sets and chunks
// are not among it, because no bit depends on them.
using EvalIdentity = std::vector<std::pair<std::string, std::string>>;

// Appears whole or not at all. Errors: it cannot be written.
Result<void> save_scores(const std::filesystem::path& path, const EvalIdentity& identity, const EvalScores& scores);
// Nothing where there is no such file. Errors: it is no state, or of another evaluation (the first difference is
// named).
Result<std::optional<EvalScores>> load_scores(const std::filesystem::path& path, const EvalIdentity& identity);

}  // namespace invar
