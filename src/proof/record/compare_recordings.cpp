#include "proof/record/compare_recordings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace invar {
namespace {

constexpr int64_t kAllPositions = std::numeric_limits<int64_t>::max();

std::string shape_text(const StageRecord& stage) {
    const std::vector<int64_t>& shape = stage.elements.empty() ? stage.shape : stage.whole_shape;
    return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string_view kind_of(const StageRecord& stage) {
    return stage.type == ElementType::i32 ? "whole numbers" : "floating-point numbers";
}

bool same_shape(const StageRecord& a, const StageRecord& b) {
    const auto &x = a.elements.empty() ? a.shape : a.whole_shape, &y = b.elements.empty() ? b.shape : b.whole_shape;
    if (x == y) return true;
    // [heads, width] written as one row is the same layout; [8, 64] and [64, 8] are not.
    const auto width = [](const std::vector<int64_t>& shape) {
        int64_t product = 1;
        for (const int64_t extent : shape) product *= extent;
        return product;
    };
    return (x.size() == 1 || y.size() == 1) && width(x) == width(y);
}

// Whether both stages grow with the position and differ at most in the width to which they are padded.
bool grow_alike(const StageRecord& a, const StageRecord& b) {
    return padding_of(a.key.name) && a.elements.empty() && b.elements.empty() && a.shape.size() == b.shape.size() &&
           std::equal(a.shape.begin(), a.shape.end() - 1, b.shape.begin());
}

// The elements of a position that both recordings have, as rows of equal length.
struct Common {
    std::vector<int64_t> elements;  // indices in the whole position; empty: all
    std::vector<int64_t> in_a, in_b;
};

Common common_elements(const StageRecord& a, const StageRecord& b) {
    Common common;
    if (a.elements.empty() && b.elements.empty()) return common;
    const auto place = [](const StageRecord& stage, int64_t element) -> int64_t {
        if (stage.elements.empty()) return element;
        const auto found = std::lower_bound(stage.elements.begin(), stage.elements.end(), element);
        return found != stage.elements.end() && *found == element ? found - stage.elements.begin() : -1;
    };
    for (const int64_t element : a.elements.empty() ? b.elements : a.elements) {
        const int64_t in_a = place(a, element), in_b = place(b, element);
        if (in_a < 0 || in_b < 0) continue;
        common.elements.push_back(element);
        common.in_a.push_back(in_a);
        common.in_b.push_back(in_b);
    }
    return common;
}

void gather(const StageRecord& stage, int64_t index, const std::vector<int64_t>& places, std::vector<std::byte>& out) {
    const auto bytes = static_cast<size_t>(element_bytes(stage.type));
    out.resize(places.size() * bytes);
    for (size_t i = 0; i < places.size(); ++i)
        std::memcpy(out.data() + i * bytes, stage.at(index) + static_cast<size_t>(places[i]) * bytes, bytes);
}

// Visits the positions below `end` that both have, and counts the others in `only_one`.
template <class Visit>
void for_common_positions(const StageRecord& a, const StageRecord& b, int64_t end, int64_t& only_one, Visit&& visit) {
    size_t i = 0, j = 0;
    while (i < a.positions.size() || j < b.positions.size()) {
        const int64_t p = i < a.positions.size() ? a.positions[i] : kAllPositions;
        const int64_t q = j < b.positions.size() ? b.positions[j] : kAllPositions;
        if (std::min(p, q) >= end) return;
        if (p == q) {
            visit(p, static_cast<int64_t>(i++), static_cast<int64_t>(j++));
        } else {
            ++only_one;
            ++(p < q ? i : j);
        }
    }
}

void compare_statistics(const StageRecord& a, const StageRecord& b, int64_t end, StageComparison& result) {
    if (a.type != b.type || a.elements != b.elements) {
        result.note = "statistics of other types or parts cannot be compared";
        return;
    }
    StageAccumulator accumulator(a.key);
    for_common_positions(a, b, end, result.skipped_positions, [&](int64_t position, int64_t i, int64_t j) {
        accumulator.add_hashes(position, statistics_at(a, i), statistics_at(b, j), a.width());
    });
    result.figures = accumulator.figures();
}

void compare_values(const StageRecord& a, const StageRecord& b, const StageRecord* margins, int64_t end,
                    StageComparison& result) {
    const Common common = common_elements(a, b);
    const bool whole = a.elements.empty() && b.elements.empty();
    if (!whole && common.elements.empty()) {
        result.note = "the recorded parts have no element in common";
        return;
    }
    StageAccumulator accumulator(a.key);
    std::vector<std::byte> part_a, part_b;
    for_common_positions(a, b, end, result.skipped_positions, [&](int64_t position, int64_t i, int64_t j) {
        RowValues row_a{a.type, a.at(i), a.width()}, row_b{b.type, b.at(j), b.width()};
        if (!whole) {
            gather(a, i, common.in_a, part_a);
            gather(b, j, common.in_b, part_b);
            row_a = {a.type, part_a.data(), static_cast<int64_t>(common.in_a.size())};
            row_b = {b.type, part_b.data(), static_cast<int64_t>(common.in_b.size())};
        }
        std::optional<double> margin;
        if (margins != nullptr && !margins->data.empty()) {
            if (const auto at = margins->index_of(position)) margin = margins->value(*at, 0);
        }
        accumulator.add(position, row_a, row_b, common.elements, margin);
    });
    result.figures = accumulator.figures();
    result.widest_margin = accumulator.widest_margin();
}

// Says why the two stages cannot hold the same numbers; "" if they can.
std::string mismatch(const StageRecord& a, const StageRecord& b) {
    if ((a.type == ElementType::i32) != (b.type == ElementType::i32))
        return fmt::format("{} against {}", kind_of(a), kind_of(b));
    if (!same_shape(a, b) && !grow_alike(a, b)) return fmt::format("shape {} against {}", shape_text(a), shape_text(b));
    return "";
}

}  // namespace

StageComparison compare_stage(const StageRecord& a, const StageRecord& b, const StageRecord* margins, int64_t end) {
    StageComparison result{.key = a.key, .verb = a.verb, .kernel_a = a.kernel, .kernel_b = b.kernel};
    if (result.verb.empty()) result.verb = b.verb;
    const bool by_hash = !a.statistics.empty() || !b.statistics.empty();
    if (!by_hash && a.type == b.type && a.shape != b.shape && grow_alike(a, b)) {
        StageRecord wide_a = a, wide_b = b;
        const int64_t width = std::max(a.shape.back(), b.shape.back());
        widen_rows(wide_a, width);
        widen_rows(wide_b, width);
        return compare_stage(wide_a, wide_b, margins, end);
    }
    result.note = mismatch(a, b);
    if (!result.note.empty()) {
        result.outcome = StageOutcome::mismatch;
        return result;
    }
    if (by_hash) {
        compare_statistics(a, b, end, result);
    } else {
        compare_values(a, b, margins, end, result);
    }
    const StageFigures& figures = result.figures;
    if (figures.positions == 0) {
        if (result.note.empty()) result.note = "no position in common";
    } else if (figures.non_finite > 0) {
        result.outcome = StageOutcome::non_finite;
    } else {
        result.outcome = figures.differing > 0 ? StageOutcome::different : StageOutcome::equal;
    }
    return result;
}

int64_t RecordingComparison::failures() const {
    return count(StageOutcome::different) + count(StageOutcome::non_finite) + count(StageOutcome::mismatch);
}

bool RecordingComparison::complete() const {
    return skipped_positions == 0 && std::none_of(stages.begin(), stages.end(), [](const StageComparison& stage) {
               return stage.outcome == StageOutcome::skipped && !stage.waived;
           });
}

const StageComparison* RecordingComparison::first_failure() const {
    const auto found =
        std::find_if(stages.begin(), stages.end(), [](const auto& stage) { return is_failure(stage.outcome); });
    return found == stages.end() ? nullptr : &*found;
}

Result<RecordingComparison> compare_recordings(const Recording& a, const Recording& b, const Tolerances& tolerances) {
    RecordingComparison result;
    const size_t both = std::min(a.tokens.size(), b.tokens.size());
    const auto [first, second] =
        std::mismatch(a.tokens.begin(), a.tokens.begin() + static_cast<std::ptrdiff_t>(both), b.tokens.begin());
    const int64_t same_tokens = first - a.tokens.begin();
    if (same_tokens < static_cast<int64_t>(both)) {
        if (same_tokens == 0) {
            return fail(
                "the recordings are of other tokens: the first one is {} in A and {} in B; record the same "
                "prompt (--tokens)",
                *first, *second);
        }
        result.tokens_differ_at = same_tokens;
    }
    const auto add = [&](StageComparison stage) {
        const Tolerance* tolerance = tolerances.find(stage.key);
        if (tolerance != nullptr && tolerance->admits(stage)) {
            stage.note += fmt::format("{}{}", stage.note.empty() ? "" : "; ", tolerance->reason);
            if (stage.outcome == StageOutcome::skipped) {
                stage.waived = true;
            } else {
                stage.outcome = StageOutcome::tolerated;
            }
        }
        ++result.counts[static_cast<size_t>(stage.outcome)];
        result.values += stage.figures.values;
        result.differing += stage.figures.differing;
        result.skipped_positions += stage.skipped_positions;
        result.stages.push_back(std::move(stage));
    };
    bool any = false;
    const int64_t end = result.tokens_differ_at.value_or(kAllPositions);
    for (const StageRecord& stage : a.stages) {
        const StageRecord* other = b.find(stage.key);
        any = any || other != nullptr;
        if (other == nullptr) {
            add({.key = stage.key, .verb = stage.verb, .kernel_a = stage.kernel, .note = "missing in B"});
            continue;
        }
        const StageRecord* margins = stage.key.name == "expert_ids"
                                         ? a.find({stage.key.layer, "routing_margin", stage.key.occurrence})
                                         : nullptr;
        add(compare_stage(stage, *other, margins, end));
    }
    for (const StageRecord& stage : b.stages) {
        if (a.find(stage.key) == nullptr)
            add({.key = stage.key, .verb = stage.verb, .kernel_b = stage.kernel, .note = "missing in A"});
    }
    if (!any) {
        return fail(
            "the recordings have no stage in common ({} in A, {} in B, for example '{}' and '{}'); a map of "
            "names may be missing (--map)",
            a.stages.size(), b.stages.size(), a.stages.empty() ? "" : to_string(a.stages.front().key),
            b.stages.empty() ? "" : to_string(b.stages.front().key));
    }
    return result;
}

}  // namespace invar
