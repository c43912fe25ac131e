// The repacked form of a weight matrix (StoredForm::rows4): four rows x 256 columns are interleaved so that vector
// kernels load whole registers and a strand is a lane (docs/kernels.md). The same bytes serve every instruction set. No
// information is lost: unpack_row returns the row as stored. The plan decides when to repack, and cpu/linear_*.cpp how
// kernels read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

namespace invar {

inline constexpr int64_t kRowGroup = 4;       // rows interleaved; a matrix is padded with zero rows to a multiple
inline constexpr int64_t kLaneColumns = 256;  // columns of a group record: 8 strands x 32
inline constexpr int64_t kPackedAlignment = 64;

bool has_rows4(const Format& format);  // whether a rows4 layout is defined for the format (formats/description.h)
// Bytes of [rows, columns] in this form, a multiple of 64. `columns` is any number the format allows; a last partial
// record is padded.
int64_t rows4_bytes(const Format& format, int64_t rows, int64_t columns);
// Packs the row groups [first_group, last_group) of a matrix stored as in the file. `packed` is the start of the whole
// packed matrix, 64-byte aligned. Groups are independent: callers may run ranges in parallel, or pack a range as a
// matrix of its own. rows4_scales_agree must hold for them.
enum class Packing : uint8_t { plain, fastest };  // the same bytes; plain: the loops that define them
void pack_rows4(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns, int64_t first_group,
                int64_t last_group, std::byte* packed, Packing packing = Packing::fastest);
// Whether the rows that share a stored scale in the packed form have equal scales. f8_e4m3_b128 stores one scale for
// four neighbouring rows, because they share one in a grid of 128 x 128. False if rows of another order or of another
// grid met in a group; such a matrix can only be multiplied as stored. The device's form has the same condition
// (cuda/weight_packing.h).
bool rows4_scales_agree(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns,
                        int64_t first_group, int64_t last_group);
// The exact bytes of a row as stored in the file (columns / block_weights * block_bytes of them).
void unpack_row(const Format& format, const std::byte* packed, int64_t rows, int64_t columns, int64_t row,
                std::byte* as_stored);

// The same for the columns 256 record .. 256 record + 255 (or the last) only.
void unpack_row_record(const Format& format, const std::byte* packed, int64_t columns, int64_t row, int64_t record,
                       std::byte* as_stored);

}  // namespace invar
