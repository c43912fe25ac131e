// Which CPUs stand next to which memory, as Linux tells it in /sys/devices/system. It decides on which node a worker
// computes and which CPU of it comes first; where memory lies then follows from who writes it first. Without libnuma:
// three system calls suffice. On a machine of one node nothing here has an effect.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace invar {

struct NumaNode {
    int number = 0;         // the system's
    std::vector<int> cpus;  // that this process may use; the first thread of every core before any second one
};

// CPUs this process may run on, rising; never empty.
std::vector<int> usable_cpus();

// "0-3,8,10-11" as numbers, rising; nothing where it is no such list or names a CPU above 65535.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

// Nodes with at least one of `usable`, by number. `root` is the system's folder, or a copy of it in a test. What cannot
// be read counts as a machine of one node: placement changes speed only.
std::vector<NumaNode> read_numa_nodes(const std::filesystem::path& root, std::span<const int> usable);
std::vector<NumaNode> system_numa_nodes();

// Splits `threads` workers over the nodes in proportion to their CPUs: node n has the workers first[n] to first[n + 1]
// - 1.
std::vector<int> workers_of_nodes(std::span<const NumaNode> nodes, int threads);

// Spreads the pages of a range that nobody has written yet over the nodes: for memory that all of them read. A wish.
void interleave_memory(std::span<std::byte> memory, std::span<const NumaNode> nodes);
// Node of the page at `address`, which is read; nothing where the system does not tell.
std::optional<int> node_of_memory(const std::byte* address);

}  // namespace invar
