// Verifies one model on one machine. Every path of verify_paths.h computes the probes of prompts.h, and every stage at
// every position is compared bit for bit with that of one path. Then the distance to the float64 reference is measured
// (verify_accuracy.h). verify_report.h and html_report.h print the result.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "proof/verify/stage_book.h"
#include "proof/verify/verify_accuracy.h"
#include "proof/verify/verify_paths.h"

namespace invar {

// Makes a fault that is injected into every path except the one compared with. `engine` outlives it.
using MakeFault = std::function<Result<std::unique_ptr<VerbHook>>(Engine& engine)>;

struct VerifySettings {
    EngineSettings engine;       // model, cache type, and the highest isa and thread count
    std::string only;            // a glob on path names ("avx512*"), others are skipped; "": all
    double seconds_of_path = 8;  // a slower path computes fewer positions and says so
    bool accuracy = true;
    double seconds_of_accuracy = 20;
    MakeFault make_fault;  // empty: no fault
    std::function<void(const std::string& what, int64_t done, int64_t total)> progress;
};

enum class PathStatus : uint8_t { equal, different, skipped, failed };
std::string_view path_status_name(PathStatus status);

struct PathResult {
    std::string name, schedule;
    std::string flags;  // command-line flags that select the path (not the schedule)
    PathStatus status = PathStatus::equal;
    std::string reason;  // why it was skipped or failed
    int64_t positions = 0, all_positions = 0;
    BookCounts counts;
    std::optional<StageDifference> first;
    std::string note;  // more about the run; may be empty
    double seconds = 0;
};

struct VerifyReport {
    std::string model, architecture, file_hash;
    std::string file;  // name of the file without its folder
    int64_t file_bytes = 0, layers = 0;
    int arithmetic_version = 0;
    std::string cache_type;
    std::string compared_with;                            // the path every other is compared with
    std::vector<std::pair<std::string, int64_t>> probes;  // name and number of positions
    std::vector<std::vector<int32_t>> probe_tokens;       // of each probe
    std::vector<std::string> skipped_probes;
    std::vector<PathResult> paths;
    int64_t reference_stages = 0;  // rows of stages in the book
    std::string stages_hash;       // hash of these rows in forward order (stage_book.h)
    std::optional<AccuracyReport> accuracy;
    std::string no_accuracy;           // why there is no accuracy part
    std::string injected;              // the injected fault as the user gave it
    std::shared_ptr<const Json> plan;  // as plan_as_json gives it; null: none
    double seconds = 0;

    int64_t count(PathStatus status) const;
    BookCounts totals() const;
    const PathResult* first_difference() const;
    bool compared_anything() const { return count(PathStatus::skipped) < static_cast<int64_t>(paths.size()); }
    bool all_equal() const { return count(PathStatus::different) == 0 && count(PathStatus::failed) == 0; }
};

Result<VerifyReport> verify(const VerifySettings& settings);

}  // namespace invar
