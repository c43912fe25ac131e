// Parses the folders of /sys/devices/system and makes the system calls of NUMA: see numa.h. Folders that contradict
// each other count as one node.
#include "machine/numa.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>

namespace invar {
namespace {

constexpr int kMostCpu = 65535;
constexpr int kMostNode = 1023;

// Reads the first line of a file of a few bytes.
std::optional<std::string> read_line(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    return line;
}

// True if the CPU is the first thread of its core, or if the system does not tell.
bool is_first_of_core(const std::filesystem::path& root, int cpu) {
    const auto line = read_line(root / "cpu" / ("cpu" + std::to_string(cpu)) / "topology" / "thread_siblings_list");
    const auto siblings = line ? parse_cpu_list(*line) : std::nullopt;
    return !siblings || siblings->empty() || siblings->front() == cpu;
}

}  // namespace

std::vector<int> usable_cpus() {
    std::vector<int> cpus;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
        }
    }
    if (!cpus.empty()) return cpus;
    cpus.resize(std::max(1u, std::thread::hardware_concurrency()));
    std::iota(cpus.begin(), cpus.end(), 0);
    return cpus;
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
    std::vector<int> cpus;
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    const char *at = text.data(), *const end = text.data() + text.size();
    while (at < end) {
        int first = 0;
        auto read = std::from_chars(at, end, first);
        int last = first;
        if (read.ec == std::errc() && read.ptr < end && *read.ptr == '-') {
            read = std::from_chars(read.ptr + 1, end, last);
        }
        if (read.ec != std::errc() || first < 0 || last < first || last > kMostCpu) return std::nullopt;
        if (!cpus.empty() && first <= cpus.back()) return std::nullopt;
        for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
        at = read.ptr;
        if (at == end) break;
        if (*at != ',' || ++at == end) return std::nullopt;
    }
    return cpus;
}

std::vector<NumaNode> read_numa_nodes(const std::filesystem::path& root, std::span<const int> usable) {
    const std::vector<NumaNode> one_node = {{.number = 0, .cpus = {usable.begin(), usable.end()}}};
    const auto online = read_line(root / "node" / "online");
    const auto numbers = online ? parse_cpu_list(*online) : std::nullopt;
    if (!numbers) return one_node;
    std::vector<NumaNode> nodes;
    std::vector<int> placed;
    for (const int number : *numbers) {
        const auto line = read_line(root / "node" / ("node" + std::to_string(number)) / "cpulist");
        // The line is empty for a node without CPUs (memory of a device).
        const auto cpus = line ? parse_cpu_list(*line) : std::vector<int>();
        if (!cpus || number > kMostNode) return one_node;
        NumaNode node{.number = number, .cpus = {}};
        std::set_intersection(cpus->begin(), cpus->end(), usable.begin(), usable.end(), std::back_inserter(node.cpus));
        placed.insert(placed.end(), node.cpus.begin(), node.cpus.end());
        std::stable_partition(node.cpus.begin(), node.cpus.end(), [&](int cpu) { return is_first_of_core(root, cpu); });
        if (!node.cpus.empty()) nodes.push_back(std::move(node));
    }
    std::sort(placed.begin(), placed.end());
    const bool each_once = std::equal(placed.begin(), placed.end(), usable.begin(), usable.end());
    return each_once ? nodes : one_node;  // a CPU on no node or on two: do not trust this tree
}

std::vector<NumaNode> system_numa_nodes() { return read_numa_nodes("/sys/devices/system", usable_cpus()); }

std::vector<int> workers_of_nodes(std::span<const NumaNode> nodes, int threads) {
    int64_t cpus = 0, before = 0;
    for (const NumaNode& node : nodes) cpus += static_cast<int64_t>(node.cpus.size());
    std::vector<int> first = {0};
    for (const NumaNode& node : nodes) {
        before += static_cast<int64_t>(node.cpus.size());
        first.push_back(static_cast<int>(threads * before / std::max<int64_t>(1, cpus)));
    }
    return first;
}

void interleave_memory(std::span<std::byte> memory, std::span<const NumaNode> nodes) {
    if (nodes.size() < 2 || memory.empty()) return;
    constexpr int kInterleave = 3;  // MPOL_INTERLEAVE
    constexpr size_t kBits = 8 * sizeof(unsigned long);
    unsigned long mask[(kMostNode + 1) / kBits] = {};
    for (const NumaNode& node : nodes) mask[static_cast<size_t>(node.number) / kBits] |= 1ul << node.number % kBits;
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = (reinterpret_cast<uintptr_t>(memory.data()) + page - 1) / page * page;
    const auto end = reinterpret_cast<uintptr_t>(memory.data() + memory.size()) / page * page;
    if (begin < end) (void)syscall(SYS_mbind, begin, end - begin, kInterleave, mask, kMostNode + 2, 0);
}

std::optional<int> node_of_memory(const std::byte* address) {
    constexpr int kNodeOfAddress = 1 | 2;  // MPOL_F_NODE | MPOL_F_ADDR
    int node = 0;
    (void)*static_cast<const volatile std::byte*>(address);
    if (syscall(SYS_get_mempolicy, &node, nullptr, 0ul, address, kNodeOfAddress) != 0) return std::nullopt;
    return node;
}

}  // namespace invar
