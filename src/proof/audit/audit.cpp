#include "proof/audit/audit.h"

#include <algorithm>

#include "checkpoint/binding.h"
#include "proof/audit/audit_text.h"
#include "proof/audit/audit_weights.h"

namespace invar {
namespace {

// Whether the engine would bind every tensor, as `invar plan` finds out.
void look_at_binding(const Checkpoint& file, AuditReport& report) {
    const auto finding = [&](std::string_view check, const Error& error) {
        report.findings.push_back({.check = &audit_check(check), .subject = "file", .what = error.message});
    };
    if (file.tensors().empty()) {
        report.not_checked.push_back("weights: the file has no tensors, a vocabulary only");
        return;
    }
    const auto architecture = find_architecture(file);
    if (!architecture) {
        finding("architecture", architecture.error());
        report.not_checked.push_back("whether tensors are missing or misshapen: the architecture is not supported");
        return;
    }
    const auto config = (*architecture)->read_config(file);
    if (!config) {
        finding("refused", config.error());
        return;
    }
    const auto bound = bind_weights(*config, (*architecture)->declare(*config, file), file);
    if (!bound) finding("refused", bound.error());
}

}  // namespace

int64_t AuditReport::count(Severity severity) const {
    return std::count_if(findings.begin(), findings.end(),
                         [&](const AuditFinding& finding) { return finding.check->severity == severity; });
}

Result<AuditReport> audit(const Checkpoint& file, ThreadPool& pool, const AuditProgress& progress) {
    AuditReport report{.file = file.name()};
    report.tensors = static_cast<int64_t>(file.tensors().size());
    const auto total = static_cast<int64_t>(file.tensor_bytes());
    look_at_binding(file, report);
    WeightAudit weights(report.findings);
    for (const TensorInfo& tensor : file.tensors()) {
        weights.look_at(tensor, scan_tensor(tensor, pool));
        report.weights += tensor.weights();
        report.bytes += static_cast<int64_t>(tensor.bytes);
        if (progress && !progress(report.bytes, total))
            return fail("{}: stopped after {} of {} bytes", file.name(), report.bytes, total);
    }
    weights.compare_tensors();
    audit_text_support(file, report);
    std::stable_sort(report.findings.begin(), report.findings.end(), [](const AuditFinding& a, const AuditFinding& b) {
        return a.check->severity > b.check->severity;
    });
    return report;
}

}  // namespace invar
