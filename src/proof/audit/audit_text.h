// Judges the tokenizer and the chat template of a file: against themselves, each other, and the embedding's rows.
#pragma once

#include "proof/audit/audit.h"

namespace invar {

// Appends to report.findings and report.not_checked.
void audit_text_support(const Checkpoint& file, AuditReport& report);

}  // namespace invar
