// Judges what the pass over the tensors collected (audit_scan.h): each tensor alone, then tensors against each other
// (audit_tensors.cpp). Each threshold stands where it is used, with the reason for its value.
#pragma once

#include <string>
#include <vector>

#include "proof/audit/audit.h"
#include "proof/audit/audit_scan.h"

namespace invar {

// "blk.12.attn_q.weight" is part "attn_q.weight" of layer 12. A name of another form is a part as a whole, in layer -1.
struct TensorName {
    int layer = -1;
    std::string part;
};
TensorName take_apart(const std::string& tensor);
// Whether rows belong to tokens. Untrained tokens make such rows untypical, and that is intended.
bool is_token_table(const TensorName& name);
bool is_norm(const TensorName& name);
bool is_bias(const TensorName& name);
bool is_router(const TensorName& name);

// The part of a tensor's scan that is kept for comparing tensors.
struct TensorSummary {
    const TensorInfo* tensor = nullptr;
    TensorName name;
    uint64_t hash = 0;       // over all rows
    double typical_rms = 0;  // matrices: the median over blocks, which one damaged block does not change; vectors: RMS
    bool constant = false;   // all weights have one value
    std::vector<uint64_t> experts;  // for a stack the hash of each expert's rows; 0: all its blocks are constant
};

class WeightAudit {
  public:
    explicit WeightAudit(std::vector<AuditFinding>& findings) : findings_(findings) {}

    // `scale` multiplies the whole tensor and is not stored in its blocks.
    void look_at(const TensorInfo& tensor, const TensorScan& scan, double scale = 1);
    // To be called after the last tensor.
    void compare_tensors();

  private:
    struct Place {
        int64_t block = -1, offset_in_block = 0;
    };
    void add(std::string_view check, const TensorInfo& tensor, const TensorScan& scan, Place place, int64_t count,
             std::string what);
    void look_for_damage(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_vector(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_matrix(const TensorInfo& tensor, const TensorScan& scan);
    bool look_for_dead_matrices(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_scales(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_centre(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_experts(const TensorInfo& tensor, const TensorScan& scan);
    void look_for_duplicates(const TensorInfo& tensor, const TensorScan& scan);
    void compare_layers();
    void find_equal_tensors();
    void find_equal_experts();

    std::vector<AuditFinding>& findings_;
    std::vector<TensorSummary> summaries_;
};

}  // namespace invar
