// Verification of one model on one machine: every path of verify_paths.h computes the probes of probes.h, and every
// stage of every position is compared bit for bit with the first path's. Then the distance to the float64 reference is
// measured (verify_accuracy.h). It decides nothing about how that is shown (verify_report.h, html_report.h).
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

// Makes the hook that is put in front of every path but the one compared with: fault injection. `engine` outlives it.
using MakeFault = std::function<Result<std::unique_ptr<VerbHook>>(Engine& engine)>;

struct VerifySettings {
    EngineSettings engine;       // model, cache type, and the most of isa and threads
    std::string only;            // a glob on path names ("avx512*"); others are skipped by name; "": all
    double seconds_of_path = 8;  // a slower path computes fewer positions, and says so
    bool accuracy = true;
    double seconds_of_accuracy = 20;
    MakeFault make_fault;  // nothing: none
    std::function<void(const std::string& what, int64_t done, int64_t total)> progress;
};

enum class PathStatus : uint8_t { equal, different, skipped, failed };
std::string_view path_status_name(PathStatus status);

struct PathResult {
    std::string name, schedule;
    std::string flags;  // of the program, for the same path; not of the schedule
    PathStatus status = PathStatus::equal;
    std::string reason;  // of skipped and failed
    int64_t positions = 0, all_positions = 0;
    BookCounts counts;
    std::optional<StageDifference> first;
    std::string note;  // what else there is to know of the run; "": nothing
    double seconds = 0;
};

struct VerifyReport {
    std::string model, architecture, file_hash;
    std::string file;  // its name, without the folder
    int64_t file_bytes = 0, layers = 0;
    int arithmetic_version = 0;
    std::string cache_type;
    std::string compared_with;                            // the path every other is compared with
    std::vector<std::pair<std::string, int64_t>> probes;  // name, positions
    std::vector<std::vector<int32_t>> probe_tokens;       // of each probe
    std::vector<std::string> skipped_probes;
    std::vector<PathResult> paths;
    int64_t reference_stages = 0;  // rows of stages in the book
    std::string stages_hash;       // of all of them, in forward order (stage_book.h)
    std::optional<AccuracyReport> accuracy;
    std::string no_accuracy;  // why there is none
    std::string injected;     // the fault that was put into every path but the one compared with, as it was given
    std::shared_ptr<const Json> plan;  // as plan_as_json gives it, for the report; null: none
    double seconds = 0;

    int64_t count(PathStatus status) const;
    BookCounts totals() const;
    const PathResult* first_difference() const;
    bool compared_anything() const { return count(PathStatus::skipped) < static_cast<int64_t>(paths.size()); }
    bool all_equal() const { return count(PathStatus::different) == 0 && count(PathStatus::failed) == 0; }
};

Result<VerifyReport> verify(const VerifySettings& settings);

}  // namespace invar
