// Prints an audit as text and as JSON.
#include <map>

#include "base/json.h"
#include "files/printable.h"
#include "proof/audit/audit.h"

namespace invar {

Json audit_as_json(const AuditReport& report) {
    Json findings = Json::array();
    for (const AuditFinding& finding : report.findings) {
        Json one = {{"severity", severity_name(finding.check->severity)},
                    {"check", finding.check->name},
                    {"subject", finding.subject},
                    {"what", finding.what},
                    {"count", finding.count}};
        if (finding.block >= 0) one["block"] = finding.block;
        if (finding.row >= 0) one["row"] = finding.row;
        if (finding.file_offset >= 0) {
            one["part"] = finding.file_index;
            one["offset"] = finding.file_offset;
        }
        one["meaning"] = finding.check->meaning;
        one["advice"] = finding.check->advice;
        findings.push_back(std::move(one));
    }
    return {{"file", report.file},
            {"tensors", report.tensors},
            {"weights", report.weights},
            {"bytes", report.bytes},
            {"errors", report.count(Severity::error)},
            {"warnings", report.count(Severity::warning)},
            {"notes", report.count(Severity::note)},
            {"findings", std::move(findings)},
            {"not_checked", report.not_checked}};
}

std::string audit_as_text(const AuditReport& report) {
    const auto total = [&](Severity severity) {
        const int64_t n = report.count(severity);
        return fmt::format("{} {}{}", n, severity_name(severity), n == 1 ? "" : "s");
    };
    // A fault of a conversion is often in every layer, so the first few findings of a kind are enough.
    constexpr int64_t kMostOfAKind = 5;
    std::string text;
    std::map<std::string_view, int64_t> shown;
    for (const AuditFinding& finding : report.findings) {
        const AuditCheck& check = *finding.check;
        if (++shown[check.name] > kMostOfAKind) continue;
        text += fmt::format("{:<8} {:<25} {}\n         {}\n", severity_name(check.severity), check.name,
                            finding.subject, finding.what);
        if (shown[check.name] == 1) text += fmt::format("         {} {}\n", check.meaning, check.advice);
    }
    for (const auto& [name, count] : shown) {
        if (count > kMostOfAKind) text += fmt::format("{} more of {}: all are in --json\n", count - kMostOfAKind, name);
    }
    for (const std::string& reason : report.not_checked)
        text += fmt::format("not checked: {}\n", printable(reason, 400));
    return text + fmt::format("{}{}: {} tensors, {} weights, {:.1f} MiB: {}, {}, {}\n", text.empty() ? "" : "\n",
                              printable(report.file), report.tensors, report.weights,
                              static_cast<double>(report.bytes) / (1 << 20), total(Severity::error),
                              total(Severity::warning), total(Severity::note));
}

}  // namespace invar
