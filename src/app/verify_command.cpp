// invar verify [MODEL]: compares every path of this machine, stage by stage and bit for bit, and measures the distance
// to float64.
#include <algorithm>
#include <optional>
#include <span>

#include "app/output.h"
#include "app/settings.h"
#include "base/atomic_file.h"
#include "base/json.h"
#include "files/checkpoint.h"
#include "files/output_path.h"
#include "models/architecture.h"
#include "proof/faults/fault_suite.h"
#include "proof/report/html_report.h"
#include "proof/verify/verify.h"
#include "proof/verify/verify_report.h"

namespace invar::app {
namespace {

struct VerifyFlags {
    ModelSettings machine;
    std::string model, only, html;
    std::optional<std::string> inject;
    double seconds = 8;
    int64_t most_places = 0;
    bool no_accuracy = false, each = false, faults = false, json = false;
};

// Keeps what a fault changed after the path that it was injected into has ended.
class WatchedFault final : public VerbHook {
  public:
    WatchedFault(std::unique_ptr<FaultHook> fault, std::vector<FaultReport>& reports)
        : fault_(std::move(fault)), reports_(reports) {}
    ~WatchedFault() override {
        if (ran_) reports_.push_back(fault_->report());
    }
    void begin_pass() override {
        ran_ = true;
        fault_->begin_pass();
    }
    void before(VerbCall& call) override { fault_->before(call); }
    void after(const VerbCall& call) override { fault_->after(call); }

  private:
    std::unique_ptr<FaultHook> fault_;
    std::vector<FaultReport>& reports_;
    bool ran_ = false;
};

// The context is set here: 128 positions, in which every fault has places, or all that the model was trained for. With
// fewer positions some places are left out, and the table says so.
Result<int> try_all_faults(const VerifyFlags& flags, const EngineSettings& given) {
    constexpr int64_t kEnough = 128;
    EngineSettings settings = given;
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(settings.model));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
    settings.context = std::min(kEnough, config.context_length);
    settings.chunk = std::min(settings.chunk, settings.context);
    settings.logits_rows = settings.chunk;
    settings.sequences = 2;
    TRY_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(settings, nullptr));
    EngineRunner runner(*engine);
    ProgressBar bar("faults");
    FaultSuiteSettings suite;
    suite.most_places = flags.most_places;
    suite.progress = [&](const std::string&, int64_t done, int64_t total) { bar.show(done, total); };
    TRY_ASSIGN(const FaultTable table, run_faults(runner, suite));
    bar.clear();
    if (flags.json) {
        print_json(fault_table_json(table));
    } else {
        print_result(fault_table_text(table));
    }
    return table.all_located() ? kDone : kDifferent;
}

Result<void> write_page(AtomicFile& page, const VerifyReport& report) {
    const std::string html = verify_as_html(report);
    TRY(page.write(std::as_bytes(std::span(html))));
    TRY(page.commit());
    print_note(fmt::format("the report is in {}", page.target().string()));
    return {};
}

Result<void> check_flags_of_verify(const Arguments& given) {
    TRY(check_apart(given, "--faults", "--inject", "the first tries every fault and the second one"));
    for (const char* const of_report : {"--html", "--only", "--each", "--seconds", "--no-accuracy"})
        TRY(check_apart(given, "--faults", of_report, "the second is about a verification of paths"));
    if (was_given(given, "--places") && !was_given(given, "--faults"))
        return fail("--places is about --faults; add --faults or leave it out");
    return {};
}

Result<int> verify_model(const VerifyFlags& flags, const Arguments& given) {
    TRY(check_flags_of_verify(given));
    TRY_ASSIGN(const std::string model, model_path(flags.model));
    std::optional<AtomicFile> page;  // opened before minutes of work, so that a wrong path is an error at once
    if (!flags.html.empty()) {
        TRY_ASSIGN(const Checkpoint file, Checkpoint::open(model));
        TRY(check_output(file, flags.html));
        TRY_ASSIGN(page, AtomicFile::create(flags.html));
    }
    VerifySettings settings;
    TRY_ASSIGN(settings.engine, engine_settings(flags.machine, model));
    if (flags.faults) return try_all_faults(flags, settings.engine);
    settings.only = flags.only;
    settings.seconds_of_path = flags.seconds;
    settings.accuracy = !flags.no_accuracy;
    ProgressBar bar("verify");
    settings.progress = [&](const std::string&, int64_t done, int64_t total) { bar.show(done, total); };
    std::vector<FaultReport> struck;
    if (flags.inject) {
        TRY_ASSIGN(const std::string text, fault_text(*flags.inject));
        TRY(parse_fault(text));
        settings.make_fault = [&struck, text](Engine& engine) -> Result<std::unique_ptr<VerbHook>> {
            TRY_ASSIGN(std::unique_ptr<FaultHook> fault, make_fault(text, engine.config(), engine.plan()));
            return std::make_unique<WatchedFault>(std::move(fault), struck);
        };
    }
    TRY_ASSIGN(VerifyReport report, verify(settings));
    report.injected = flags.inject.value_or("");
    bar.clear();
    if (flags.inject) {
        const auto count =
            std::count_if(struck.begin(), struck.end(), [](const FaultReport& one) { return one.struck; });
        print_note(fmt::format("a fault was injected (--inject {}) into {} runs of paths and changed bits in {}",
                               *flags.inject, struck.size(), count));
    }
    if (flags.json) {
        print_json(verify_as_json(report));
    } else {
        print_result(verify_as_text(report, flags.each));
    }
    if (page) TRY(write_page(*page, report));
    if (!report.compared_anything())
        return fail("every path was skipped, so nothing was compared; see the reasons above");
    return report.all_equal() ? kDone : kDifferent;
}

}  // namespace

Command verify_command() {
    auto flags = std::make_shared<VerifyFlags>();
    std::string faults = "Faults for --inject, as NAME[@PART=VALUE,...]:\n";
    for (const FaultSummary& fault : fault_kinds()) faults += fmt::format("  {:<24} {}\n", fault.name, fault.meaning);
    return {
        .name = "verify",
        .summary = "Show that every path of this machine computes the same bits",
        .settings =
            {{"",
              {
                  {"model", model_name(flags->model), "GGUF file or model directory; default: the demonstration model"},
                  {"--seconds", number(flags->seconds, 0.001, 1e6),
                   "Time for a path; a slower one computes fewer positions"},
                  {"--no-accuracy", flag(flags->no_accuracy), "Leave out the distance to the float64 reference"},
                  {"--only", text(flags->only), "Only paths whose name this glob fits, e.g. 'avx512*'"},
                  {"--each", flag(flags->each), "Print a line for every schedule of every path"},
                  {"--inject", text(flags->inject),
                   "Put this fault into every path but the one compared with (@FILE: read it there)"},
                  {"--faults", flag(flags->faults),
                   "Put every fault at every place, and count what is caught and located"},
                  {"--places", number(flags->most_places, 0),
                   "With --faults, at most this many places of a fault; 0: all"},
                  {"--json", flag(flags->json), "Print JSON"},
                  {"--html", text(flags->html), "Write the report as a page to this file"},
              }},
             model_settings(flags->machine)},
        .footer = faults +
                  "Exit status: 0 equal, 1 different, 2 could not run.\n"
                  "Examples:\n  invar verify\n  invar verify model.gguf --json\n  invar verify model.gguf --html "
                  "report.html\n  invar verify --only 'avx2*' --inject wrong_expert@layer=2,position=17\n"
                  "  invar verify model.gguf --faults",
        .run = [flags](const Arguments& given) { return verify_model(*flags, given); }};
}

}  // namespace invar::app
