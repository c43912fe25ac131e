#include "proof/verify/verify_accuracy.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/pass_survey.h"
#include "proof/reference64/reference64.h"

namespace invar {
namespace {

// Sums over all rows of one stage.
struct StageSums {
    StageAccuracy stage;
    double reference_squares = 0, difference_squares = 0;
    double quantization_squares = 0, quantized_squares = 0, rounding_squares = 0;
    int64_t values = 0;
    double worst_difference = 0;
};

double root_ratio(double squares, double of_squares) {
    if (squares == 0) return 0;
    return of_squares > 0 ? std::sqrt(squares / of_squares) : std::numeric_limits<double>::infinity();
}

struct LogitRow {
    double log_sum = 0;
    int64_t first = 0;
    double margin = 0;  // largest logit minus the second largest
};

template <typename ValueAt>
LogitRow describe(int64_t width, ValueAt at) {
    LogitRow row;
    double second = -std::numeric_limits<double>::infinity();
    for (int64_t i = 1; i < width; ++i) {
        if (at(i) > at(row.first)) {
            second = at(row.first);
            row.first = i;
        } else {
            second = std::max(second, at(i));
        }
    }
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += std::exp(at(i) - at(row.first));
    row.log_sum = at(row.first) + std::log(sum);
    row.margin = at(row.first) - second;
    return row;
}

class Accuracy {
  public:
    Accuracy(const ProbeSet& probes, const StageBook& book) : probes_(probes), book_(book) {}

    // Takes a row of the plain reference: keeps it for the second pass and compares it with the book.
    void add_exact(size_t probe, const StageRow& row) {
        exact_.put(probe, row, "");
        const StageRecord* record = book_.find(probe, row.key);
        const int64_t index = record == nullptr ? -1 : StageBook::index_of(*record, row.position);
        if (index < 0) return;
        StageSums& sums = sums_of(row);
        const int64_t width = row.slots * row.width;
        if (row.i32 != nullptr) {
            for (int64_t i = 0; i < width; ++i) {
                const auto chosen = static_cast<int32_t>(record->value(index, i));
                ++sums.stage.integers;
                sums.stage.integers_equal += std::find(row.i32, row.i32 + width, chosen) != row.i32 + width ? 1 : 0;
            }
            return;
        }
        for (int64_t i = 0; i < width; ++i) {
            const double reference = row.f64 != nullptr ? row.f64[i] : double{row.f32[i]};
            const double value = record->value(index, i);
            const double difference = value - reference;
            sums.reference_squares += reference * reference;
            sums.difference_squares += difference * difference;
            if (!(std::abs(difference) <= sums.worst_difference)) {
                sums.worst_difference = std::abs(difference);
                sums.stage.worst_probe = probes_.probes[probe].name;
                sums.stage.worst_position = row.position;
                sums.stage.worst_element = i;
                sums.stage.worst_value = value;
                sums.stage.worst_reference = reference;
            }
        }
        sums.values += width;
        if (row.key.name == "routing_margin") margins_.push_back(row.f64 != nullptr ? *row.f64 : double{*row.f32});
        if (row.key.name == "logits" && row.f64 != nullptr) add_logits(probe, row, *record, index);
    }

    // Takes the same row of the reference with quantised activations.
    void add_quantized(size_t probe, const StageRow& row) {
        if (row.i32 != nullptr) return;
        const StageRecord* record = book_.find(probe, row.key);
        const StageRecord* exact = exact_.find(probe, row.key);
        if (record == nullptr || exact == nullptr) return;
        const int64_t index = StageBook::index_of(*record, row.position);
        const int64_t exact_index = StageBook::index_of(*exact, row.position);
        if (index < 0 || exact_index < 0) return;
        StageSums& sums = sums_of(row);
        for (int64_t i = 0; i < row.slots * row.width; ++i) {
            const double quantized = row.f64 != nullptr ? row.f64[i] : double{row.f32[i]};
            const double step = quantized - exact->value(exact_index, i), rest = record->value(index, i) - quantized;
            sums.quantization_squares += step * step;
            sums.quantized_squares += quantized * quantized;
            sums.rounding_squares += rest * rest;
        }
    }

    AccuracyReport report() {
        AccuracyReport report;
        for (StageSums& sums : sums_) {
            StageAccuracy& stage = sums.stage;
            stage.relative_rms = root_ratio(sums.difference_squares, sums.reference_squares);
            stage.quantization = root_ratio(sums.quantization_squares, sums.reference_squares);
            stage.rounding = root_ratio(sums.rounding_squares, sums.quantized_squares);
            const double mean_square = sums.values > 0 ? sums.reference_squares / static_cast<double>(sums.values) : 0;
            stage.worst = root_ratio(sums.worst_difference * sums.worst_difference, mean_square);
            report.stages.push_back(std::move(stage));
        }
        report.positions = std::move(positions_);
        report.routing_margins = std::move(margins_);
        return report;
    }

  private:
    StageSums& sums_of(const StageRow& row) {
        const auto [place, fresh] = places_.try_emplace(row.key, sums_.size());
        if (fresh) {
            sums_.emplace_back();
            sums_.back().stage.key = row.key;
            sums_.back().stage.verb = std::string(verb_name(row.call->verb));
        }
        return sums_[place->second];
    }

    void add_logits(size_t probe, const StageRow& row, const StageRecord& record, int64_t index) {
        const LogitRow reference = describe(row.width, [&](int64_t i) { return row.f64[i]; });
        const LogitRow path = describe(row.width, [&](int64_t i) { return record.value(index, i); });
        double kl = 0;
        for (int64_t i = 0; i < row.width; ++i) {
            const double log_p = row.f64[i] - reference.log_sum, log_q = record.value(index, i) - path.log_sum;
            kl += std::exp(log_p) * (log_p - log_q);
        }
        positions_.push_back({.probe = probes_.probes[probe].name,
                              .position = row.position,
                              .kl = std::max(0.0, kl),
                              .same_first = reference.first == path.first,
                              .first_margin = reference.margin});
    }

    const ProbeSet& probes_;
    const StageBook& book_;
    StageBook exact_;
    std::vector<StageSums> sums_;  // in forward order
    std::map<StageKey, size_t> places_;
    std::vector<PositionAccuracy> positions_;
    std::vector<double> margins_;
};

// The multiply-adds with weights per token, including the output matrix.
Result<double> products_of_token(const Reference64& reference) {
    TRY_ASSIGN(const PassSurvey survey, PassSurvey::of(reference.config(), reference.plan(), batch_of(0, 1, 1)));
    int64_t total = 0;
    for (const VerbCall& call : survey.calls())
        if (call.weights() != nullptr) total += cost_of(call.verb, call).multiply_adds;
    return static_cast<double>(total);
}

}  // namespace

double AccuracyReport::mean_kl() const {
    double sum = 0;
    for (const PositionAccuracy& position : positions) sum += position.kl;
    return positions.empty() ? 0 : sum / static_cast<double>(positions.size());
}

double AccuracyReport::largest_kl() const {
    double most = 0;
    for (const PositionAccuracy& position : positions) most = std::max(most, position.kl);
    return most;
}

double AccuracyReport::same_first_share() const {
    const auto same = std::count_if(positions.begin(), positions.end(), [](const auto& p) { return p.same_first; });
    return positions.empty() ? 0 : static_cast<double>(same) / static_cast<double>(positions.size());
}

Result<AccuracyReport> measure_accuracy(const AccuracyRequest& request, const ProbeSet& all, const StageBook& book) {
    const auto start = std::chrono::steady_clock::now();
    ProbeSet probes = all;
    Accuracy accuracy(all, book);
    using float64::Activations;
    const Activations passes[] = {Activations::exact, Activations::quantized};
    for (const Activations activations : passes) {
        TRY_ASSIGN(const std::unique_ptr<Reference64> reference,
                   Reference64::open({.model = request.model,
                                      .threads = request.threads,
                                      .context = all.longest(),
                                      .chunk = all.longest(),
                                      .sequences = static_cast<int>(all.probes.size()),
                                      .activations = activations}));
        if (activations == Activations::exact) {
            constexpr double kProductsPerSecond = 2e9;  // of one thread, roughly (float64_math.cpp)
            const int threads = request.threads > 0 ? request.threads : available_cpus();
            TRY_ASSIGN(const double products, products_of_token(*reference));
            const double of_position = 2 * products / (kProductsPerSecond * threads);
            const auto affordable = static_cast<int64_t>(request.seconds / of_position);
            if (affordable < all.positions()) probes = all.trimmed(affordable);
        }
        std::vector<int32_t> sequence_of;
        int64_t done = 0;
        StageRows rows(*reference, {}, [&](const StageRow& row) {
            const auto found = std::find(sequence_of.begin(), sequence_of.end(), row.sequence);
            const auto probe = static_cast<size_t>(found - sequence_of.begin());
            if (activations == Activations::exact) {
                accuracy.add_exact(probe, row);
            } else {
                accuracy.add_quantized(probe, row);
            }
            if (request.progress && row.key.name == "embedding") {
                ++done;
                const int64_t half = activations == Activations::exact ? 0 : probes.positions();
                request.progress(half + done, 2 * probes.positions());
            }
        });
        VerbHook* hooks[] = {&rows};
        TRY(run_schedule(*reference, probes, schedules().front(), hooks, sequence_of));
    }
    AccuracyReport report = accuracy.report();
    report.covered_positions = probes.positions();
    report.all_positions = all.positions();
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
}

}  // namespace invar
