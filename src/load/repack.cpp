// Pieces of a few MiB go to the threads as one list, so that nobody waits at the end of a tensor. A thread reads its
// piece in runs of row groups into a buffer that stays in its L2 cache, and packs from there. It reads instead of
// mapping, because mapped pages cost a fault per 64 KiB and another sweep to release them (docs/loading.md).
#include "load/repack.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "layout/rows4.h"
#include "load/work_progress.h"
#include "machine/try_items.h"

namespace invar {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;  // of file; a huge page of the block belongs to at most a few pieces
constexpr int64_t kRunBytes = int64_t{128} << 10;  // of file, read at once

// Row groups [first, last) of one matrix, or a whole vector.
struct Piece {
    const PlanEntry* entry;
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
    // Bytes of a row group in the entry's form.
    int64_t group_bytes(StoredForm form) const {
        return form == StoredForm::rows4 ? rows4_bytes(format, kRowGroup, columns) : kRowGroup * row_bytes();
    }
    int64_t rows_of(int64_t first, int64_t last) const { return std::min(rows, last * kRowGroup) - first * kRowGroup; }
};

void add_pieces(const PlanEntry& entry, const RowHomes& homes, std::byte* out, std::vector<Piece>& pieces) {
    if (entry.form == StoredForm::binary32) {
        pieces.push_back({.entry = &entry, .out = out, .file_bytes = entry.file_bytes});
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
                              .out = out + matrix * (entry.bytes / count),
                              .matrix = matrix,
                              .first = first_row / kRowGroup,
                              .last = (last_row + kRowGroup - 1) / kRowGroup,
                              .home = home,
                              .file_bytes = (last_row - first_row) * shape.row_bytes()});
        }
    }
}

Result<void> pack_piece(const Piece& piece, RowReader& reader) {
    const PlanEntry& entry = *piece.entry;
    if (entry.form == StoredForm::binary32) {
        TRY(reader.vector(entry.stored, reinterpret_cast<float*>(piece.out)));
        std::memset(piece.out + entry.bytes, 0, static_cast<size_t>(padded_bytes(entry.bytes) - entry.bytes));
        return {};
    }
    const MatrixShape shape(entry);
    const int64_t group_bytes = shape.group_bytes(entry.form);
    const int64_t groups_each = std::max<int64_t>(1, kRunBytes / (kRowGroup * shape.row_bytes()));
    for (int64_t first = piece.first; first < piece.last; first += groups_each) {
        const int64_t last = std::min(piece.last, first + groups_each), rows = shape.rows_of(first, last);
        TRY_ASSIGN(const std::byte* stored,
                   reader.rows(entry.stored, piece.matrix * shape.rows + first * kRowGroup, rows));
        std::byte* out = piece.out + first * group_bytes;
        if (entry.form == StoredForm::rows4) {
            if (!rows4_scales_agree(shape.format, stored, rows, shape.columns, 0, last - first)) {
                return fail(
                    "{} (tensor '{}') has other scales in neighbouring rows, but rows of {} are packed four by "
                    "four with one scale for each {} columns; use --form as-stored",
                    to_string(entry.id), entry.tensor, shape.format.name, shape.format.block_weights);
            }
            pack_rows4(shape.format, stored, rows, shape.columns, 0, last - first, out);
        } else {
            std::memcpy(out, stored, static_cast<size_t>(rows * shape.row_bytes()));
        }
    }
    return {};
}

// Buffers that the threads share: one for each that works at the same time.
class Readers {
  public:
    std::unique_ptr<RowReader> borrow() {
        const std::lock_guard lock(mutex_);
        if (readers_.empty()) return std::make_unique<RowReader>(RowReader::Access::read);
        std::unique_ptr<RowReader> reader = std::move(readers_.back());
        readers_.pop_back();
        return reader;
    }
    void give_back(std::unique_ptr<RowReader> reader) {
        const std::lock_guard lock(mutex_);
        readers_.push_back(std::move(reader));
    }

  private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<RowReader>> readers_;
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

Result<void> fill_packed(const WeightPlan& plan, const PackedPlaces& places, ThreadPool& pool,
                         const LoadProgress& progress, std::byte* block) {
    std::vector<Piece> pieces;
    int64_t total = 0;
    for (size_t i = 0; i < plan.entries.size(); ++i) {
        if (places.offsets[i] < 0) continue;
        const PlanEntry& entry = plan.entries[i];
        add_pieces(entry, pool.row_homes(), block + places.offsets[i], pieces);
        total += entry.file_bytes;
    }
    WorkProgress shared_progress(progress, total);
    Readers readers;
    const auto piece_at = [&](int64_t item) -> const Piece& { return pieces[static_cast<size_t>(item)]; };
    TRY(try_items(
        pool, std::ssize(pieces), [&](int64_t item) { return piece_at(item).home; },
        [&](int64_t item) {
            std::unique_ptr<RowReader> reader = readers.borrow();
            Result<void> packed = pack_piece(piece_at(item), *reader);
            readers.give_back(std::move(reader));
            shared_progress.add(piece_at(item).file_bytes);
            return packed;
        }));
    shared_progress.finish();
    return {};
}

}  // namespace invar
