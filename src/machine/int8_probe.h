// How many int8 multiply-adds a second the threads of a pool reach right now with nothing but registers: the ceiling
// that `invar bench` states prompts against. One loop for each instruction that matrix kernels multiply with. It
// computes nothing of a model; the ceiling of reads is read_probe.h.
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
    int64_t multiply_adds_a_step = 0;  // int8 products added up, of one step of run
    void (*run)(int64_t steps) = nullptr;
};

// From the widest to the plain one. AMX is last: no kernel uses it unless it is named (linear.cpp).
std::span<const Int8Probe> int8_probes();
// The probe of the best instruction set up to `highest` that kernels take unasked; that of AMX only where a kernel of
// that set was forced.
const Int8Probe& choose_int8_probe(Isa highest, Isa of_forced_kernel);

// Best of a few passes in which every thread of the pool runs, in 1e9 multiply-adds a second of all threads together.
double int8_giga_multiply_adds_per_second(const Int8Probe& probe, ThreadPool& pool);

// Rows of the table. Independent sums in registers, enough of them to hide the latency; operands are not zero.
void int8_steps_scalar(int64_t steps);
void int8_steps_avx2(int64_t steps);
void int8_steps_avx_vnni(int64_t steps);
void int8_steps_avx512(int64_t steps);
void int8_steps_amx(int64_t steps);
inline constexpr int64_t kInt8SumsScalar = 4, kInt8SumsAvx2 = 4, kInt8SumsVnni = 12, kInt8TilesAmx = 4;
// Products of vpmaddubsw that are added up in int16 before they are widened: with codes of four bits 8 fit, 8 * 2 * 15
// * 127 = 30480. The kernels do so too (docs/kernels.md), so widening every product would be no ceiling.
inline constexpr int64_t kInt8ProductsWidenedTogether = 8;

}  // namespace invar
