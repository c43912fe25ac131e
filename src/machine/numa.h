// Reads from /sys/devices/system which CPUs are next to which memory. It decides on which node a worker computes and
// which CPU of that node is used first; memory then lies where the first thread to write it runs. It needs no libnuma:
// three system calls suffice. On a machine with one node nothing here has an effect.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace invar {

struct NumaNode {
    int number = 0;         // as the system numbers nodes
    std::vector<int> cpus;  // usable by this process; the first threads of all cores come before any second ones
};

// CPUs this process may run on, rising; never empty.
std::vector<int> usable_cpus();

// Parses "0-3,8,10-11" into rising numbers. Returns nothing if the text is no such list or names a CPU above 65535.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

// The nodes that have at least one CPU of `usable`, by number. `root` is the system's folder, or a copy of it in a
// test. If it cannot be read, the machine counts as one node: placement changes speed only.
std::vector<NumaNode> read_numa_nodes(const std::filesystem::path& root, std::span<const int> usable);
std::vector<NumaNode> system_numa_nodes();

// Splits `threads` workers over the nodes in proportion to their CPUs. Node n has the workers first[n] to first[n + 1]
// - 1.
std::vector<int> workers_of_nodes(std::span<const NumaNode> nodes, int threads);

// Asks the system to spread the unwritten pages of a range over the nodes, for memory that all nodes read. It may
// refuse.
void interleave_memory(std::span<std::byte> memory, std::span<const NumaNode> nodes);
// Reads the page at `address` and returns its node; nothing if the system does not tell.
std::optional<int> node_of_memory(const std::byte* address);

}  // namespace invar
