// invar audit FILE: lists what is wrong with a model file, what it means and what to do about it.
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "proof/audit/audit.h"

namespace invar::app {
namespace {

struct AuditFlags {
    std::string model;
    int threads = 0;
    bool json = false, list = false;
};

void list_checks() {
    for (const AuditCheck& check : audit_checks()) {
        print_result(fmt::format("{:<8} {:<26} {}\n", severity_name(check.severity), check.name, check.meaning));
    }
}

Result<int> audit_model(const AuditFlags& flags) {
    if (flags.list) {
        list_checks();
        return kDone;
    }
    TRY_ASSIGN(const std::string path, model_path(flags.model));
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(path));
    TRY_ASSIGN(const auto pool, ThreadPool::create({.threads = flags.threads > 0 ? flags.threads : available_cpus()}));
    ProgressBar bar("reading");
    TRY_ASSIGN(const AuditReport report, audit(file, *pool, [&](int64_t done, int64_t total) {
                   bar.show(done, total);
                   return true;
               }));
    bar.clear();
    if (flags.json) {
        print_json(audit_as_json(report));
    } else {
        print_result(audit_as_text(report));
    }
    return report.count(Severity::error) > 0 ? kDifferent : kDone;
}

}  // namespace

Command audit_command() {
    auto flags = std::make_shared<AuditFlags>();
    return {
        .name = "audit",
        .summary = "Look for damage and contradictions in a model file",
        .settings = {{"",
                      {
                          {"model", model_name(flags->model),
                           "GGUF file (any part of a split one) or model directory; default: the demonstration model"},
                          {"--threads", number(flags->threads, 0, 4096), "Threads; 0: one for each CPU"},
                          {"--json", flag(flags->json), "Print JSON"},
                          {"--checks", flag(flags->list), "List what is looked for, and read no file"},
                      }}},
        .footer =
            "Ends with 0 without errors (warnings and notes do not count), with 1 with errors, with 2 if it "
            "could not run.\n"
            "Examples:\n  invar audit model.gguf\n  invar audit model.gguf --json | jq '.findings[] | .what'",
        .run = [flags](const Arguments&) { return audit_model(*flags); }};
}

}  // namespace invar::app
