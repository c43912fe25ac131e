// Pieces of some MiB go to the threads as one list, so that no tensor's end is waited for; a thread reads its piece in
// runs of row groups into a buffer that stays in its second-level cache and packs from there. Reading, and not the
// mapping: mapped pages cost a fault for each 64 KiB and another sweep to let go of them again (docs/loading.md).
#include "load/repack.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "layout/rows4.h"
#include "load/tensor_source.h"
#include "load/work_progress.h"

namespace invar {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;  // of file; a huge page of the block belongs to at most a few pieces
constexpr int64_t kRunBytes = int64_t{128} << 10;  // of file; what is read at once

// Row groups [first, last) of one matrix, or a whole vector.
struct Piece {
    const PlanEntry* entry;
    const TensorInfo* tensor;
    std::byte* out;  // of the matrix
    int64_t matrix = 0, first = 0, last = 0;
    int home = 0;
    int64_t file_bytes = 0;
};

struct MatrixShape {
    const Format& format;
    int64_t rows, columns;

    explicit MatrixShape(const PlanEntry& entry)
        : format(*entry.source), rows(entry.shape[entry.shape.size() - 2]), columns(entry.shape.back()) {}
    int64_t row_bytes() const { return format.row_bytes(columns); }
    int64_t group_bytes() const { return rows4_bytes(format, kRowGroup, columns); }
    int64_t rows_of(int64_t first, int64_t last) const { return std::min(rows, last * kRowGroup) - first * kRowGroup; }
};

void add_pieces(const PlanEntry& entry, const TensorInfo& tensor, const RowHomes& homes, std::byte* out,
                std::vector<Piece>& pieces) {
    if (entry.form == StoredForm::binary32) {
        pieces.push_back({.entry = &entry, .tensor = &tensor, .out = out, .file_bytes = entry.file_bytes});
        return;
    }
    const MatrixShape shape(entry);
    const int64_t count = entry.kind == WeightShape::stack ? entry.shape[0] : 1;
    const int64_t rows_each = std::max<int64_t>(1, kPieceBytes / (kRowGroup * shape.row_bytes())) * kRowGroup;
    const RowItems items(homes, shape.rows, rows_each);
    for (int64_t matrix = 0; matrix < count; ++matrix) {
        for (int64_t item = 0; item < items.count(); ++item) {
            const auto [home, first_row, last_row] = items.at(item);
            pieces.push_back({.entry = &entry,
                              .tensor = &tensor,
                              .out = out + matrix * rows4_bytes(shape.format, shape.rows, shape.columns),
                              .matrix = matrix,
                              .first = first_row / kRowGroup,
                              .last = (last_row + kRowGroup - 1) / kRowGroup,
                              .home = home,
                              .file_bytes = (last_row - first_row) * shape.row_bytes()});
        }
    }
}

Result<void> pack_piece(const Piece& piece, TensorSource& source) {
    const Format& format = *piece.entry->source;
    if (piece.entry->form == StoredForm::binary32) {
        TRY_ASSIGN(const std::byte* stored, source.bytes(*piece.tensor, 0, piece.file_bytes));
        format.decode(stored, piece.entry->shape[0], reinterpret_cast<float*>(piece.out));
        const int64_t bytes = piece.entry->bytes;
        std::memset(piece.out + bytes, 0, static_cast<size_t>(padded_bytes(bytes) - bytes));
        return {};
    }
    const MatrixShape shape(*piece.entry);
    const int64_t groups_each = std::max<int64_t>(1, kRunBytes / (kRowGroup * shape.row_bytes()));
    for (int64_t first = piece.first; first < piece.last; first += groups_each) {
        const int64_t last = std::min(piece.last, first + groups_each), rows = shape.rows_of(first, last);
        const int64_t offset = (piece.matrix * shape.rows + first * kRowGroup) * shape.row_bytes();
        TRY_ASSIGN(const std::byte* stored, source.bytes(*piece.tensor, offset, rows * shape.row_bytes()));
        pack_rows4(format, stored, rows, shape.columns, 0, last - first, piece.out + first * shape.group_bytes());
    }
    return {};
}

// What the threads share: buffers to borrow, the first error.
class Work {
  public:
    Work(const GgufFile& file, WorkProgress& progress) : file_(file), progress_(progress) {}

    void run(const Piece& piece) {
        if (failed_.load(std::memory_order_relaxed)) return;
        std::unique_ptr<TensorSource> source = borrow();
        const Result<void> packed = pack_piece(piece, *source);
        give_back(std::move(source), packed);
        progress_.add(piece.file_bytes);
    }
    const Result<void>& result() const { return result_; }

  private:
    std::unique_ptr<TensorSource> borrow() {
        const std::lock_guard lock(mutex_);
        if (sources_.empty()) return std::make_unique<TensorSource>(file_);
        std::unique_ptr<TensorSource> source = std::move(sources_.back());
        sources_.pop_back();
        return source;
    }
    void give_back(std::unique_ptr<TensorSource> source, const Result<void>& packed) {
        const std::lock_guard lock(mutex_);
        sources_.push_back(std::move(source));
        if (packed || !result_) return;
        result_ = packed;
        failed_.store(true);
    }

    const GgufFile& file_;
    WorkProgress& progress_;
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    std::vector<std::unique_ptr<TensorSource>> sources_;
    Result<void> result_;
};

}  // namespace

int64_t padded_bytes(int64_t bytes) { return (bytes + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment; }

PackedPlaces packed_places(const WeightPlan& plan) {
    PackedPlaces places;
    for (const PlanEntry& entry : plan.entries) {
        places.offsets.push_back(entry.has_own_bytes() ? places.bytes : -1);
        if (entry.has_own_bytes()) places.bytes += padded_bytes(entry.bytes);
    }
    return places;
}

Result<void> fill_packed(const WeightPlan& plan, const GgufFile& file, const PackedPlaces& places,
                         const HomedWork& homed, const LoadProgress& progress, std::byte* block) {
    std::vector<Piece> pieces;
    int64_t total = 0;
    for (size_t i = 0; i < plan.entries.size(); ++i) {
        if (places.offsets[i] < 0) continue;
        const PlanEntry& entry = plan.entries[i];
        const TensorInfo* tensor = file.find(entry.tensor);
        if (tensor == nullptr)
            return fail(ErrorKind::internal, "{}: tensor '{}' is in the plan but not in the file", file.name(),
                        entry.tensor);
        add_pieces(entry, *tensor, homed.homes, block + places.offsets[i], pieces);
        total += entry.file_bytes;
    }
    WorkProgress shared_progress(progress, total);
    Work work(file, shared_progress);
    homed.run(
        static_cast<int64_t>(pieces.size()), [&](int64_t piece) { return pieces[static_cast<size_t>(piece)].home; },
        [&](int64_t piece) { work.run(pieces[static_cast<size_t>(piece)]); });
    TRY(work.result());
    shared_progress.finish();
    return {};
}

}  // namespace invar
