// Measures how many int8 multiply-adds per second the threads of a pool reach right now when they use registers only.
// `invar bench` compares the speed of prompts with this ceiling. There is one loop for each instruction that matrix
// kernels multiply with. The ceiling of memory reads is in read_probe.h.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "machine/isa.h"
#include "machine/thread_pool.h"

namespace invar {

struct Int8Probe {
    std::string_view name;  // of the instruction
    Isa isa = Isa::scalar;
    int64_t multiply_adds_a_step = 0;  // int8 products that one step of run adds up
    void (*run)(int64_t steps) = nullptr;
};

// The widest instruction comes first and the plain loop last but one; AMX is last, because no kernel uses it unless it
// is named (linear.cpp).
std::span<const Int8Probe> int8_probes();
// Returns the probe of the best instruction set up to `highest` that kernels take unasked. The AMX probe is returned
// only if a kernel of AMX was forced.
const Int8Probe& choose_int8_probe(Isa highest, Isa of_forced_kernel);

// The best of a few passes in which every thread runs, in 1e9 multiply-adds per second of all threads together.
double int8_giga_multiply_adds_per_second(const Int8Probe& probe, ThreadPool& pool);

// The loops of the table. Each keeps enough independent sums in registers to hide the latency; operands are not zero.
void int8_steps_scalar(int64_t steps);
void int8_steps_avx2(int64_t steps);
void int8_steps_avx_vnni(int64_t steps);
void int8_steps_avx512(int64_t steps);
void int8_steps_amx(int64_t steps);
inline constexpr int64_t kInt8SumsScalar = 4, kInt8SumsAvx2 = 4, kInt8SumsVnni = 12, kInt8TilesAmx = 4;
// How many products of vpmaddubsw are added up in int16 before they are widened. With 4-bit codes 8 fit: 8 * 2 * 15 *
// 127 = 30480. The kernels do the same (docs/kernels.md); a loop that widened every product would be slower than they
// are, and no ceiling.
inline constexpr int64_t kInt8ProductsWidenedTogether = 8;

}  // namespace invar
