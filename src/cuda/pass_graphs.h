// Passes that are recorded once and replayed. A pass of a shape that has been seen before costs one small upload and
// one launch of a graph, however many kernels it has. The inputs that change from pass to pass (tokens, positions, page
// tables, rows whose logits are wanted) are in fixed cells of device memory; every other argument of a launch must
// follow from the shape. Results are those of the plain pass, bit for bit. The caller chooses whether to use it:
// observers of the stages between verbs need the plain pass.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cuda/cuda_ops.h"

namespace invar {

class PassGraphs final : public RecordedPasses {
  public:
    // `ops` must outlive it.
    explicit PassGraphs(CudaOps& ops);
    ~PassGraphs() override;

    // Calls forward() for the first two passes of a shape (once plainly, once to record) and not again. A replayed pass
    // has its failure() like others.
    Result<Tensor> run(const void* model, const Batch& batch, const SequenceState& cache,
                       const std::function<Tensor()>& forward) override;
    Counts counts() const override { return counts_; }
    // Call this when a model or a cache is closed: its address may be used again.
    void forget();

  private:
    // The launches and their arguments follow from this.
    struct Shape {
        const void* model = nullptr;
        const SequenceState* cache = nullptr;
        std::vector<int32_t> run_rows;  // rows of each sequence's run
        std::vector<int32_t> logits_rows;
        int64_t chunks = 0;  // of the longest sequence, as attention rounds them up
        bool operator==(const Shape&) const = default;
    };
    struct Known;

    Result<Tensor> record(Known& known, const Batch& batch, const SequenceState& cache,
                          const std::function<Tensor()>& forward);
    Result<Tensor> replay(const Known& known, const Batch& batch, const SequenceState& cache);

    CudaOps& ops_;
    std::vector<std::unique_ptr<Known>> known_;
    Counts counts_;
};

}  // namespace invar
