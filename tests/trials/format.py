"""A new weight format: a folder and a line. Its codes and scales are made of pieces that exist, so it is fast on every instruction
set and on a CUDA device (emulated), and the audit knows its scales."""
from trials import insert, new_file

SAYS = "a weight format: toy, 32 weights of 5 bits under a bfloat16 scale"
LIMIT = 3

EDITS = [
    insert("src/formats/list.h", "    FORMAT(toy)               \\\n", before="    FORMAT(int4_g32)          \\\n"),
    insert("src/formats/list.h", '#include "formats/toy/toy.h"\n', after='#include "formats/q8_0/q8_0.h"\n'),
    new_file("src/formats/toy/toy.h", """// TOY: 32 weights, one bfloat16 scale, signed 5-bit codes. 5.5 bits per weight.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "arithmetic/dot.h"
#include "formats/code_runs.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::toy {

struct Block {
    static constexpr int kWeights = 32;
    StoredBF16 d;
    uint8_t tops[4];
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 22 && alignof(Block) == 1);

inline constexpr Description kDescription{.nibbles = true, .bits = true, .offset = 16, .scales = ScaleForm::bf16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::bf16, offsetof(Block, d), 0}};

inline int code(const Block& block, int i) {
    return ((block.nibbles[i / 2] >> (4 * (i % 2)) & 15) | (block.tops[i / 8] >> (i % 8) & 1) << 4) - 16;
}
inline float weight(const Block& block, int i) { return block.d.value() * static_cast<float>(code(block, i)); }

inline void accumulate(const Block& block, const QuantisedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(block.d.value() * x->d, static_cast<float>(idot), s);
}

inline void split(const Block& block, int at, RowRecord& row) {
    row.d[at] = block.d.bits();
    code_runs::split_neighbours<16>(block.nibbles, row.codes + 32 * at);
    code_runs::split_tops(block.tops, row.codes + 32 * at);
}
inline void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredBF16::from_bits(row.d[at]);
    code_runs::join_neighbours<16>(row.codes + 32 * at, block.nibbles);
    code_runs::join_tops(row.codes + 32 * at, block.tops);
}

inline void encode(const float* x, const float*, Block& block) {
    float amax = 0;
    for (int i = 0; i < 32; ++i) amax = std::fabs(x[i]) > amax ? std::fabs(x[i]) : amax;
    block.d = StoredBF16::from_bits(f32_to_bf16(amax / 15));
    RowRecord row{};
    row.d[0] = block.d.bits();
    const float inverse = block.d.value() == 0 ? 0 : 1 / block.d.value();
    for (int i = 0; i < 32; ++i) row.codes[i] = static_cast<uint8_t>(std::lrint(x[i] * inverse) + 16) & 31;
    join(row, 0, block);
}

}  // namespace invar::toy
"""),
]


def check(copy):
    copy.add_program("trial_format", ["tests/trials/format_check.cpp", "tests/cpu/linear_case.cpp"],
                     ["invar_proof", "invar_cpu", "invar_cuda_emulated", "GTest::gtest_main"])
    copy.build("trial_format")
    print("  " + copy.run("build/trial_format", "--gtest_brief=1").strip().replace("\n", "\n  "))
