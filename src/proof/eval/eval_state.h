// Keeps the scores of an unfinished evaluation as a SafeTensors file (which NumPy and PyTorch open), so that it can be
// resumed. The metadata say what was evaluated, and the state of any other evaluation is refused.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proof/eval/eval.h"

namespace invar {

// Everything that the scores depend on: {"model", "xxh3:..."}, {"context", "512"}, ... Threads, instruction sets and
// chunks are left out, because no bit depends on them.
using EvalIdentity = std::vector<std::pair<std::string, std::string>>;

// Writes the file whole or not at all. Errors: it cannot be written.
Result<void> save_scores(const std::filesystem::path& path, const EvalIdentity& identity, const EvalScores& scores);
// Gives nothing if there is no such file. Errors: it is no state, or one of another evaluation (the error names the
// first difference).
Result<std::optional<EvalScores>> load_scores(const std::filesystem::path& path, const EvalIdentity& identity);

}  // namespace invar
