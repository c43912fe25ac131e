// The instruction-set tiers that CPU kernels are written for, and a check whether this machine and its system can run
// them. The choice of a kernel is in linear.h; a setting limits the tier (--isa).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace invar {

enum class Isa : uint8_t {
    scalar,    // plain C++
    avx2,      // AVX2 + FMA + F16C
    avx_vnni,  // avx2 + AVX-VNNI: client chips without AVX-512
    avx512,    // avx2 + AVX-512 F, BW, VL, DQ, VNNI; AVX-VNNI may be missing (Cascade Lake, Zen 4)
    amx,       // avx512 + AMX-TILE, AMX-INT8
};
inline constexpr std::array<Isa, 5> kAllIsas = {Isa::scalar, Isa::avx2, Isa::avx_vnni, Isa::avx512, Isa::amx};

std::string_view isa_name(Isa isa);  // as in the enum
std::optional<Isa> find_isa_by_name(std::string_view name);

// The answer of CPUID and XCR0. If both have AMX, the system is also asked for permission to use it, which then holds
// for all threads of the program. CPUID is slow under a hypervisor: detect once and keep the answer.
struct IsaSupport {
    std::array<std::string, kAllIsas.size()>
        missing;  // by Isa: empty if the tier runs here, otherwise the reason: "the CPU lacks VNNI"

    bool has(Isa isa) const { return missing[static_cast<size_t>(isa)].empty(); }
    Isa highest() const;
    std::vector<Isa> all_supported() const;  // rising
};
IsaSupport detect_isa();

}  // namespace invar
