#include "proof/verify/stage_book.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/hash.h"

namespace invar {
namespace {

struct RowBytes {
    ElementType type;
    const std::byte* data;
    int64_t count;  // elements

    int64_t bytes() const { return count * element_bytes(type); }
};

RowBytes bytes_of(const StageRow& row) {
    const int64_t count = row.slots * row.width;
    if (row.f64 != nullptr) return {ElementType::f64, reinterpret_cast<const std::byte*>(row.f64), count};
    if (row.i32 != nullptr) return {ElementType::i32, reinterpret_cast<const std::byte*>(row.i32), count};
    return {ElementType::f32, reinterpret_cast<const std::byte*>(row.f32), count};
}

size_t probe_of(const std::vector<int32_t>& sequence_of, int32_t sequence) {
    const auto found = std::find(sequence_of.begin(), sequence_of.end(), sequence);
    CHECK(found != sequence_of.end(), "a pass has rows of probes only");
    return static_cast<size_t>(found - sequence_of.begin());
}

uint32_t word_at(const std::byte* data, int64_t index) {
    uint32_t word;
    std::memcpy(&word, data + index * 4, sizeof word);
    return word;
}

}  // namespace

const StageRecord* StageBook::find(size_t probe, const StageKey& key) const {
    if (probe >= probes_.size()) return nullptr;
    const auto found = probes_[probe].places.find(key);
    return found == probes_[probe].places.end() ? nullptr : &probes_[probe].stages[found->second];
}

int64_t StageBook::index_of(const StageRecord& record, int64_t position) {
    const auto at = std::lower_bound(record.positions.begin(), record.positions.end(), position);
    return at == record.positions.end() || *at != position ? -1 : at - record.positions.begin();
}

void StageBook::put(size_t probe, const StageRow& row, std::string_view kernel) {
    if (probe >= probes_.size()) probes_.resize(probe + 1);
    OfProbe& of = probes_[probe];
    const RowBytes values = bytes_of(row);
    const auto [place, fresh] = of.places.try_emplace(row.key, of.stages.size());
    if (fresh) {
        of.stages.push_back(
            {.key = row.key,
             .verb = std::string(verb_name(row.call->verb)),
             .kernel = std::string(kernel),
             .type = values.type,
             .shape = row.slots > 1 ? std::vector<int64_t>{row.slots, row.width} : std::vector<int64_t>{row.width}});
    }
    StageRecord& record = of.stages[place->second];
    CHECK(record.positions.empty() || record.positions.back() < row.position, "a book is filled position by position");
    record.positions.push_back(row.position);
    record.data.insert(record.data.end(), values.data, values.data + values.bytes());
}

int64_t StageBook::bytes() const {
    int64_t total = 0;
    for (const OfProbe& of : probes_) {
        for (const StageRecord& stage : of.stages) total += static_cast<int64_t>(stage.data.size());
    }
    return total;
}

namespace {

void add_number(Hasher& hasher, int64_t number) { hasher.add(std::as_bytes(std::span(&number, 1))); }

// Adds the length first, so that different lists of texts never give the same bytes.
void add_text(Hasher& hasher, std::string_view text) {
    add_number(hasher, static_cast<int64_t>(text.size()));
    hasher.add(std::as_bytes(std::span(text)));
}

}  // namespace

std::string StageBook::hash(const std::vector<std::string>& probe_names) const {
    Hasher hasher;
    for (size_t probe = 0; probe < probes_.size(); ++probe) {
        add_text(hasher, probe_names[probe]);
        for (const StageRecord& stage : probes_[probe].stages) {
            for (size_t i = 0; i < stage.positions.size(); ++i) {
                add_number(hasher, stage.key.layer);
                add_text(hasher, stage.key.name);
                add_number(hasher, stage.key.occurrence);
                add_number(hasher, stage.positions[i]);
                const auto bytes = static_cast<size_t>(stage.width() * element_bytes(stage.type));
                hasher.add(std::span(stage.data).subspan(i * bytes, bytes));
            }
        }
    }
    return hasher.text();
}

std::string_view supported_side(const StageDifference& difference) {
    if (!difference.float64) return "unknown";
    const double of_expected = std::abs(difference.expected - *difference.float64);
    const double of_value = std::abs(difference.value - *difference.float64);
    if (!std::isfinite(difference.value)) return "expected";
    if (of_expected == of_value) return "neither";
    return of_expected < of_value ? "expected" : "this path";
}

BookComparison::BookComparison(const ModelRunner& runner, const StageBook& book,
                               const std::vector<int32_t>& sequence_of, std::vector<std::string> probe_names)
    : runner_(runner),
      book_(book),
      sequence_of_(sequence_of),
      probe_names_(std::move(probe_names)),
      rows_(runner, {}, [this](const StageRow& row) { compare(row); }) {}

void BookComparison::compare(const StageRow& row) {
    const size_t probe = probe_of(sequence_of_, row.sequence);
    const RowBytes values = bytes_of(row);
    const StageRecord* record = book_.find(probe, row.key);
    const int64_t index = record == nullptr ? -1 : StageBook::index_of(*record, row.position);
    if (index < 0 || record->width() != values.count || record->type != values.type) {
        if (unexpected_.empty()) {
            unexpected_ =
                fmt::format("{} at position {} of probe '{}'", to_string(row.key), row.position, probe_names_[probe]);
        }
        return;
    }
    ++seen_[{probe, row.key}];
    ++counts_.stages;
    counts_.values += values.count;
    const std::byte* expected = record->at(index);
    if (std::memcmp(expected, values.data, static_cast<size_t>(values.bytes())) == 0) return;
    int64_t differing = 0, first = -1, last = -1;
    for (int64_t i = 0; i < values.count; ++i) {
        if (word_at(expected, i) == word_at(values.data, i)) continue;
        if (first < 0) first = i;
        last = i;
        ++differing;
    }
    ++counts_.differing_stages;
    counts_.differing_values += differing;
    if (first_) return;
    first_ = StageDifference{.key = row.key,
                             .verb = std::string(verb_name(row.call->verb)),
                             .expected_kernel = record->kernel,
                             .kernel = std::string(runner_.kernel_of(*row.call)),
                             .probe = probe_names_[probe],
                             .position = row.position,
                             .element = first,
                             .last_element = last,
                             .differing = differing,
                             .integers = values.type == ElementType::i32,
                             .expected_bits = word_at(expected, first),
                             .bits = word_at(values.data, first)};
    if (first_->integers) {
        first_->expected = static_cast<int32_t>(first_->expected_bits);
        first_->value = static_cast<int32_t>(first_->bits);
    } else {
        first_->expected = std::bit_cast<float>(first_->expected_bits);
        first_->value = std::bit_cast<float>(first_->bits);
    }
}

Result<void> BookComparison::check_complete() const {
    if (!unexpected_.empty()) {
        return fail("{} was computed, but the path compared with has no such stage of that shape", unexpected_);
    }
    for (size_t probe = 0; probe < sequence_of_.size(); ++probe) {
        for (const StageRecord& stage : book_.stages(probe)) {
            if (!seen_.contains({probe, stage.key})) {
                return fail("{} of probe '{}' was never computed on this path", to_string(stage.key),
                            probe_names_[probe]);
            }
        }
    }
    return {};
}

BookKeeper::BookKeeper(const ModelRunner& runner, StageBook& book, const std::vector<int32_t>& sequence_of)
    : rows_(runner, {}, [&runner, &book, &sequence_of](const StageRow& row) {
          book.put(probe_of(sequence_of, row.sequence), row, runner.kernel_of(*row.call));
      }) {}

}  // namespace invar
