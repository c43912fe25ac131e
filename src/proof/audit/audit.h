// Finds what is wrong with a model file, or looks wrong, before anything is computed with it. It checks the weights of
// every tensor, tensors against each other, the tokenizer and the chat template. It reads the whole file once and
// changes nothing. audit_checks.cpp has the table of checks with their meaning; audit_scan.h is the pass over a tensor.
// The audit does not judge what a model says (invar eval) and does not compare two files (invar diff).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/checkpoint.h"
#include "machine/thread_pool.h"

namespace invar {

enum class Severity : uint8_t {
    note,     // worth knowing; there is nothing to repair
    warning,  // hardly ever intended; worth a look
    error,    // the file cannot compute what it was made to compute
};
std::string_view severity_name(Severity severity);

struct AuditCheck {
    std::string_view name;  // "non-finite-scale"; it never changes, so that programs can rely on it
    Severity severity = Severity::note;
    std::string_view meaning, advice;  // one sentence each
};
std::span<const AuditCheck> audit_checks();
const AuditCheck& audit_check(std::string_view name);  // a row of the table

// One finding. If it concerns many blocks or rows of a tensor, it has their number and the first place.
struct AuditFinding {
    const AuditCheck* check = nullptr;
    std::string subject;       // the tensor's name, "tokenizer", "chat template" or "file"
    std::string what;          // a sentence with the place and the numbers
    int64_t count = 1;         // blocks, rows, weights or tokens concerned
    int64_t block = -1;        // first block concerned (in float formats a run of 256 weights); -1: none
    int64_t row = -1;          // first row concerned, counting the rows of all experts; -1: none
    int file_index = 0;        // which part of a split file
    int64_t file_offset = -1;  // bytes from the start of that part to the first place; -1: none
};

struct AuditReport {
    std::string file;
    int64_t tensors = 0, weights = 0, bytes = 0;
    std::vector<AuditFinding> findings;    // errors first, then in the order of the file
    std::vector<std::string> not_checked;  // what could not be checked, and why

    int64_t count(Severity severity) const;
};

// Called with the number of tensor bytes checked so far and in all. Returning false stops the audit with an error.
using AuditProgress = std::function<bool(int64_t done, int64_t total)>;
Result<AuditReport> audit(const Checkpoint& file, ThreadPool& pool, const AuditProgress& progress);

Json audit_as_json(const AuditReport& report);
std::string audit_as_text(const AuditReport& report);

}  // namespace invar
