// Reads CPUID and XCR0. A tier counts only if the system also saves its registers; a CPU flag alone is not enough.
#include "machine/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <span>

namespace invar {
namespace {

constexpr std::array<std::string_view, kAllIsas.size()> kNames = {"scalar", "avx2", "avx_vnni", "avx512", "amx"};

struct CpuidRegisters {
    uint32_t a = 0, b = 0, c = 0, d = 0;
};

CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) {
    CpuidRegisters registers;
    if (__get_cpuid_count(leaf, subleaf, &registers.a, &registers.b, &registers.c, &registers.d) == 0) return {};
    return registers;
}

// The register states that the system saves (XCR0). May be read only if CPUID reports OSXSAVE.
uint64_t saved_register_states() {
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

// Linux gives a program the 8 KiB of tile registers only when it asks (arch_prctl ARCH_REQ_XCOMP_PERM, since 5.16).
bool system_permits_tiles() {
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

struct Feature {
    std::string_view name;
    bool present;
};

std::string first_missing(std::span<const Feature> features) {
    for (const Feature& feature : features) {
        if (!feature.present) return "the CPU lacks " + std::string(feature.name);
    }
    return {};
}

}  // namespace

std::string_view isa_name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

std::optional<Isa> find_isa_by_name(std::string_view name) {
    for (Isa isa : kAllIsas) {
        if (isa_name(isa) == name) return isa;
    }
    return std::nullopt;
}

Isa IsaSupport::highest() const { return all_supported().back(); }

std::vector<Isa> IsaSupport::all_supported() const {
    std::vector<Isa> supported;
    for (Isa isa : kAllIsas) {
        if (has(isa)) supported.push_back(isa);
    }
    return supported;
}

IsaSupport detect_isa() {
    const auto bit = [](uint32_t word, int index) { return (word >> index & 1) != 0; };
    const CpuidRegisters basic = cpuid(1, 0), extended = cpuid(7, 0);
    const CpuidRegisters more = extended.a >= 1 ? cpuid(7, 1) : CpuidRegisters{};  // leaf 7 names its last subleaf
    const bool os_saves = bit(basic.c, 27);
    const uint64_t states = os_saves ? saved_register_states() : 0;
    constexpr uint64_t kYmmStates = 0x06;      // xmm, upper halves of ymm
    constexpr uint64_t kZmmStates = 0xE6;      // and mask registers, upper halves of zmm 0-15, zmm 16-31
    constexpr uint64_t kTileStates = 0x60000;  // tile configuration, tile data

    const Feature avx2[] = {{"OSXSAVE", os_saves},
                            {"AVX", bit(basic.c, 28)},
                            {"AVX2", bit(extended.b, 5)},
                            {"FMA", bit(basic.c, 12)},
                            {"F16C", bit(basic.c, 29)}};
    const Feature avx_vnni[] = {{"AVX-VNNI", bit(more.a, 4)}};
    const Feature avx512[] = {{"AVX512F", bit(extended.b, 16)},
                              {"AVX512DQ", bit(extended.b, 17)},
                              {"AVX512BW", bit(extended.b, 30)},
                              {"AVX512VL", bit(extended.b, 31)},
                              {"AVX512VNNI", bit(extended.c, 11)}};
    const Feature amx[] = {{"AMX-TILE", bit(extended.d, 24)}, {"AMX-INT8", bit(extended.d, 25)}};
    IsaSupport support;
    std::string& no_avx2 = support.missing[static_cast<size_t>(Isa::avx2)];
    std::string& no_avx_vnni = support.missing[static_cast<size_t>(Isa::avx_vnni)];
    std::string& no_avx512 = support.missing[static_cast<size_t>(Isa::avx512)];
    no_avx2 = first_missing(avx2);
    if (no_avx2.empty() && (states & kYmmStates) != kYmmStates) no_avx2 = "the system does not save the ymm registers";
    no_avx_vnni = no_avx2.empty() ? first_missing(avx_vnni) : no_avx2;
    no_avx512 = no_avx2.empty() ? first_missing(avx512) : no_avx2;
    if (no_avx512.empty() && (states & kZmmStates) != kZmmStates)
        no_avx512 = "the system does not save the zmm registers";
    std::string& no_amx = support.missing[static_cast<size_t>(Isa::amx)];
    no_amx = no_avx512.empty() ? first_missing(amx) : no_avx512;
    if (no_amx.empty() && (states & kTileStates) != kTileStates) no_amx = "the system does not save the tile registers";
    if (no_amx.empty() && !system_permits_tiles()) no_amx = "the system does not permit tile registers";
    return support;
}

}  // namespace invar
