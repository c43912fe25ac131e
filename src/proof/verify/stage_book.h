// A StageBook keeps the values of every stage of every probe on one path. A BookComparison is a hook that compares
// another path with it bit for bit while that path runs. Values are kept instead of hashes, so that a difference can be
// shown.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proof/record/recorder.h"

namespace invar {

class StageBook {
  public:
    // In forward order of first appearance.
    const std::vector<StageRecord>& stages(size_t probe) const { return probes_[probe].stages; }
    size_t probes() const { return probes_.size(); }
    const StageRecord* find(size_t probe, const StageKey& key) const;
    // The index of the position in the record, or -1.
    static int64_t index_of(const StageRecord& record, int64_t position);
    void put(size_t probe, const StageRow& row, std::string_view kernel);
    int64_t bytes() const;
    // XXH3-128 of everything kept: for each probe its name, and for each stage in forward order its key and the
    // position and bits of each row. If two versions of this program give equal hashes, no bit of any stage changed
    // between them. `probe_names` has a name for each probe.
    std::string hash(const std::vector<std::string>& probe_names) const;

  private:
    struct OfProbe {
        std::vector<StageRecord> stages;
        std::map<StageKey, size_t> places;
    };
    std::vector<OfProbe> probes_;
};

// The first value of a path that differs from the book's.
struct StageDifference {
    StageKey key;
    std::string verb, expected_kernel, kernel;
    std::string probe;
    int64_t position = 0, element = 0;
    int64_t last_element = 0;  // the last element that differs in that row
    int64_t differing = 0;     // how many values of that row differ
    bool integers = false;
    uint32_t expected_bits = 0, bits = 0;
    double expected = 0, value = 0;
    std::optional<double> float64;  // the result of the same verb on the same input in float64
};
std::string_view supported_side(const StageDifference& difference);  // "expected", "this path", "neither", "unknown"

struct BookCounts {
    int64_t stages = 0;  // rows of stages, that is, one stage at one position
    int64_t values = 0;
    int64_t differing_stages = 0, differing_values = 0;
};

class BookComparison final : public VerbHook {
  public:
    // run_schedule fills `sequence_of`. The names of probes are used in the report.
    BookComparison(const ModelRunner& runner, const StageBook& book, const std::vector<int32_t>& sequence_of,
                   std::vector<std::string> probe_names);
    void begin_pass() override { rows_.begin_pass(); }
    Looks looks() const override { return Looks::at_results; }
    void after(const VerbCall& call) override { rows_.after(call); }

    const BookCounts& counts() const { return counts_; }
    const std::optional<StageDifference>& first() const { return first_; }
    // An error if the path did not compute a stage of the book; it names the first.
    Result<void> check_complete() const;

  private:
    void compare(const StageRow& row);

    const ModelRunner& runner_;
    const StageBook& book_;
    const std::vector<int32_t>& sequence_of_;
    std::vector<std::string> probe_names_;
    StageRows rows_;
    BookCounts counts_;
    std::optional<StageDifference> first_;
    std::map<std::pair<size_t, StageKey>, int64_t> seen_;
    std::string unexpected_;
};

// The hook that fills a book.
class BookKeeper final : public VerbHook {
  public:
    BookKeeper(const ModelRunner& runner, StageBook& book, const std::vector<int32_t>& sequence_of);
    Looks looks() const override { return Looks::at_results; }
    void after(const VerbCall& call) override { rows_.after(call); }

  private:
    StageRows rows_;
};

}  // namespace invar
