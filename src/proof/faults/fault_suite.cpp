#include "proof/faults/fault_suite.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>

#include "proof/faults/fault_kind.h"
#include "proof/record/recorder.h"

namespace invar {
namespace {

// The results of one run: one recording per pass, so that forward order is (pass, stage, position).
struct Run {
    std::vector<Recording> passes;
    std::string refusal;
};

// Varied tokens, the same in every run.
std::vector<int32_t> suite_tokens(const RunShape& shape, int64_t vocabulary) {
    std::vector<int32_t> tokens;
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (int64_t i = 0; i < shape.prompt + shape.decode; ++i) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        tokens.push_back(static_cast<int32_t>(state % static_cast<uint64_t>(vocabulary)));
    }
    return tokens;
}

// Runs the prompt in one pass, then token by token. A pass that the engine refuses ends the run and belongs to it.
Result<Run> run_once(EngineRunner& runner, const RunShape& shape, VerbHook* fault) {
    const std::vector<int32_t> tokens = suite_tokens(shape, runner.config().vocabulary);
    const int32_t sequence = runner.cache().add_sequence();
    Recorder recorder(runner, sequence, {});
    std::vector<VerbHook*> hooks;
    if (fault != nullptr) hooks.push_back(fault);
    hooks.push_back(&recorder);
    Run run;
    Result<void> room;
    for (int64_t done = 0; room && done < shape.prompt + shape.decode && run.refusal.empty();) {
        const int64_t count = done == 0 ? shape.prompt : 1;
        const FeedRequest request{
            .sequence = sequence,
            .start = done,
            .tokens = std::span(tokens).subspan(static_cast<size_t>(done), static_cast<size_t>(count)),
            .chunk = count,
            .all_logits = false};
        Result<void> fed = feed(runner, request, hooks, nullptr);
        if (!fed) run.refusal = fed.error().message;
        if (!fed && fed.error().kind == ErrorKind::busy) room = std::move(fed);
        run.passes.push_back(recorder.take());
        done += count;
    }
    runner.cache().remove_sequence(sequence);
    if (!room) return pass_on(std::move(room));
    return run;
}

double cosine(const StageRecord& a, const StageRecord& b, int64_t index) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < a.width(); ++i) {
        const double x = a.value(index, i), y = b.value(index, i);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    if (!std::isfinite(bb)) return std::nan("");
    if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
    return ab / std::sqrt(aa * bb);
}

// The smaller of two cosines. NaN counts as the worst.
double worse(double a, double b) { return std::isnan(a) || std::isnan(b) ? std::nan("") : std::min(a, b); }

struct Compared {
    int64_t stages = 0, values = 0, differing = 0;
    const StageRecord* first = nullptr;
    int64_t first_position = -1, first_element = -1;
    double worst_cosine = 1, logits_cosine = 1;
};

void compare_position(const StageRecord& right, const StageRecord& wrong, int64_t index, Compared& compared) {
    const int64_t bytes = element_bytes(right.type);
    ++compared.stages;
    compared.values += right.width();
    for (int64_t i = 0; i < right.width(); ++i) {
        if (std::memcmp(right.at(index) + i * bytes, wrong.at(index) + i * bytes, static_cast<size_t>(bytes)) == 0) {
            continue;
        }
        ++compared.differing;
        if (compared.first != nullptr) continue;
        compared.first = &right;
        compared.first_position = right.positions[static_cast<size_t>(index)];
        compared.first_element = i;
    }
    if (right.type == ElementType::i32) return;
    const double similar = cosine(right, wrong, index);
    compared.worst_cosine = worse(compared.worst_cosine, similar);
    if (right.key.layer < 0 && right.key.name == "logits") {
        compared.logits_cosine = worse(compared.logits_cosine, similar);
    }
}

// Compares pass by pass and stage by stage in forward order. A stage that only one side has is a bug and no difference,
// because a fault changes numbers and never which verbs run.
Compared compare(const Run& right, const Run& wrong) {
    Compared compared;
    for (size_t pass = 0; pass < wrong.passes.size(); ++pass) {
        const std::vector<StageRecord>& expected = right.passes[pass].stages;
        const std::vector<StageRecord>& actual = wrong.passes[pass].stages;
        CHECK(expected.size() == actual.size(), "both passes have the same stages");
        for (size_t stage = 0; stage < expected.size(); ++stage) {
            CHECK(expected[stage].key == actual[stage].key && expected[stage].positions == actual[stage].positions &&
                      expected[stage].shape == actual[stage].shape,
                  "both passes have the same stages");
            for (size_t index = 0; index < expected[stage].positions.size(); ++index) {
                compare_position(expected[stage], actual[stage], static_cast<int64_t>(index), compared);
            }
        }
    }
    return compared;
}

class Suite {
  public:
    Suite(EngineRunner& runner, const FaultSuiteSettings& settings) : runner_(runner), settings_(settings) {}

    Result<FaultTable> run() {
        const auto start = std::chrono::steady_clock::now();
        table_.model = runner_.config().name;
        table_.runner = runner_.name();
        for (const std::string& name : settings_.faults) {
            if (find_fault(name) == nullptr) TRY(parse_fault(name));
        }
        TRY_ASSIGN(sites_, survey_verbs(runner_.config(), runner_.engine().plan()));
        TRY(run_clean(settings_.shape));
        const Compared again = compare(clean_.begin()->second, clean_.begin()->second);
        table_.stages = again.stages;
        table_.values = again.values;
        for (const FaultKind& kind : all_faults()) {
            const bool wanted = settings_.faults.empty() || std::find(settings_.faults.begin(), settings_.faults.end(),
                                                                      kind.name) != settings_.faults.end();
            if (wanted) TRY(run_kind(kind));
        }
        for (const auto& [prompt, run] : clean_) TRY(check_clean(prompt));
        table_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return std::move(table_);
    }

  private:
    Result<void> run_clean(const RunShape& shape) {
        if (clean_.contains(shape.prompt)) return {};
        TRY_ASSIGN(Run clean, run_once(runner_, shape, nullptr));
        if (!clean.refusal.empty()) return fail("the pass without a fault was refused: {}", clean.refusal);
        clean_.emplace(shape.prompt, std::move(clean));
        return check_clean(shape.prompt);
    }

    // Runs again without a fault: nothing may differ, which also shows that no fault left anything behind.
    Result<void> check_clean(int64_t prompt) {
        const RunShape& shape = prompt == settings_.shape.prompt ? settings_.shape : settings_.two_pages;
        TRY_ASSIGN(const Run again, run_once(runner_, shape, nullptr));
        table_.clean_differing += compare(clean_.at(prompt), again).differing + (again.refusal.empty() ? 0 : 1);
        return {};
    }

    Result<void> run_kind(const FaultKind& kind) {
        const RunShape& shape = kind.needs_two_pages ? settings_.two_pages : settings_.shape;
        FaultPlaces places = fault_places(kind, sites_, shape);
        FaultTableRow row{.fault = std::string(kind.name), .meaning = std::string(kind.meaning)};
        const int64_t positions = shape.prompt + shape.decode;
        if (positions > runner_.context() || shape.prompt > runner_.chunk()) {
            for (const FaultPlace& place : places.places) {
                places.left_out.emplace_back(
                    to_string(place.spec), fmt::format("{} positions do not fit the context or the chunk", positions));
            }
            places.places.clear();
        }
        row.left_out = static_cast<int64_t>(places.left_out.size());
        table_.left_out.insert(table_.left_out.end(), places.left_out.begin(), places.left_out.end());
        const auto all = static_cast<int64_t>(places.places.size());
        const int64_t some = settings_.most_places > 0 ? std::min(all, settings_.most_places) : all;
        row.skipped = all - some;
        if (some > 0) TRY(run_clean(shape));
        for (int64_t i = 0; i < some; ++i) {
            if (settings_.progress) settings_.progress(row.fault, i, some);
            TRY(run_place(places.places[static_cast<size_t>(i * all / some)], shape, row));
        }
        table_.rows.push_back(std::move(row));
        return {};
    }

    Result<void> run_place(const FaultPlace& place, const RunShape& shape, FaultTableRow& row) {
        FaultHook hook(place);
        TRY_ASSIGN(const Run wrong, run_once(runner_, shape, &hook));
        const Compared compared = compare(clean_.at(shape.prompt), wrong);
        FaultOutcome outcome{.fault = to_string(place.spec), .report = hook.report()};
        outcome.refusal = wrong.refusal;
        outcome.worst_stage_cosine = compared.worst_cosine;
        outcome.logits_cosine = wrong.refusal.empty() ? compared.logits_cosine : std::nan("");
        outcome.caught = compared.differing > 0 || !wrong.refusal.empty();
        const FaultReport& report = outcome.report;
        if (compared.first != nullptr) {
            outcome.first = fmt::format("{} at position {}, element {}", to_string(compared.first->key),
                                        compared.first_position, compared.first_element);
            outcome.located = compared.first->key == report.stage && compared.first_position == report.position &&
                              compared.first_element == report.element;
        }
        // The engine itself must also find a NaN, and at the same verb.
        if (place.kind->make == faults::make_nan) outcome.located = outcome.located && refused_here(outcome, place);
        ++row.places;
        if (!report.struck && !outcome.caught) {
            table_.no_effect.push_back(outcome.fault);
            return {};
        }
        row.struck += report.struck;
        row.caught += outcome.caught;
        row.located += outcome.located;
        row.pass_logits_rule += outcome.passes_logits_rule();
        row.pass_stage_rule += outcome.passes_stage_rule();
        if (!outcome.caught || !outcome.located) table_.missed.push_back(std::move(outcome));
        return {};
    }

    static bool refused_here(const FaultOutcome& outcome, const FaultPlace& place) {
        const StageKey& key = place.site.key;
        const std::string verb = fmt::format("the result of {} ({}", key.name, verb_name(place.site.verb));
        const std::string layer = key.layer < 0 ? "outside the layers" : fmt::format("in layer {} is", key.layer);
        return outcome.refusal.find(verb) != std::string::npos && outcome.refusal.find(layer) != std::string::npos;
    }

    EngineRunner& runner_;
    const FaultSuiteSettings& settings_;
    std::vector<VerbSite> sites_;
    std::map<int64_t, Run> clean_;  // indexed by the length of the prompt
    FaultTable table_;
};

}  // namespace

FaultTableRow FaultTable::total() const {
    FaultTableRow sum{.fault = "all"};
    for (const FaultTableRow& row : rows) {
        for (int64_t FaultTableRow::*count :
             {&FaultTableRow::places, &FaultTableRow::struck, &FaultTableRow::caught, &FaultTableRow::located,
              &FaultTableRow::pass_logits_rule, &FaultTableRow::pass_stage_rule, &FaultTableRow::left_out,
              &FaultTableRow::skipped}) {
            sum.*count += row.*count;
        }
    }
    return sum;
}

bool FaultTable::all_located() const { return missed.empty() && clean_differing == 0 && total().located > 0; }

Result<FaultTable> run_faults(EngineRunner& runner, const FaultSuiteSettings& settings) {
    return Suite(runner, settings).run();
}

}  // namespace invar
