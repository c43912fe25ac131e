// Nodes from copies of the system's folder: two sockets, threads of a core, CPUs that are not ours, and trees that lie.
#include "machine/numa.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <numeric>
#include <string>

namespace invar {
namespace {

namespace fs = std::filesystem;
using Cpus = std::vector<int>;

class FakeSystem {
  public:
    FakeSystem() : root_(fs::temp_directory_path() / ("invar_numa_" + std::to_string(::getpid()))) {
        fs::remove_all(root_);
    }
    ~FakeSystem() { fs::remove_all(root_); }
    void write(const fs::path& path, const std::string& text) {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
    }
    void add_node(int number, const std::string& cpus) {
        write("node/node" + std::to_string(number) + "/cpulist", cpus + "\n");
    }
    const fs::path& root() const { return root_; }

  private:
    fs::path root_;
};

Cpus count_up(int count) {
    Cpus cpus(static_cast<size_t>(count));
    std::iota(cpus.begin(), cpus.end(), 0);
    return cpus;
}

TEST(Numa, ReadsListsOfCpusAndRefusesOthers) {
    EXPECT_EQ(parse_cpu_list("0-3,8,10-11\n"), (Cpus{0, 1, 2, 3, 8, 10, 11}));
    EXPECT_EQ(parse_cpu_list("7"), Cpus{7});
    EXPECT_EQ(parse_cpu_list("\n"), Cpus{});
    for (const char* text : {"a", "1-", "-1", "3-1", "1,", ",1", "1,,2", "1 2", "2,1", "1-3,3", "0-65536",
                             "0-99999999999999999999", "1-2-3"}) {
        EXPECT_EQ(parse_cpu_list(text), std::nullopt) << text;
    }
}

TEST(Numa, TwoSocketsWithTwoThreadsACoreListFirstThreadsFirst) {
    FakeSystem system;
    system.write("node/online", "0-1\n");
    system.add_node(0, "0-1,4-5");
    system.add_node(1, "2-3,6-7");
    for (int cpu = 0; cpu < 8; ++cpu) {
        system.write("cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
                     std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4) + "\n");
    }
    const auto nodes = read_numa_nodes(system.root(), count_up(8));
    ASSERT_EQ(nodes.size(), 2u);
    EXPECT_EQ(nodes[0].cpus, (Cpus{0, 1, 4, 5}));
    EXPECT_EQ(nodes[1].cpus, (Cpus{2, 3, 6, 7}));
    EXPECT_EQ(workers_of_nodes(nodes, 2), (Cpus{0, 1, 2}));  // two threads use both memories
    EXPECT_EQ(workers_of_nodes(nodes, 5), (Cpus{0, 2, 5}));
    EXPECT_EQ(workers_of_nodes(nodes, 1), (Cpus{0, 0, 1}));
    // Siblings that interleave: cores are 0+1, 2+3.
    for (int cpu = 0; cpu < 8; ++cpu) {
        system.write("cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
                     std::to_string(cpu / 2 * 2) + "-" + std::to_string(cpu / 2 * 2 + 1) + "\n");
    }
    EXPECT_EQ(read_numa_nodes(system.root(), count_up(8))[0].cpus, (Cpus{0, 4, 1, 5}));
}

TEST(Numa, CountsOnlyCpusThatThisProcessMayUseAndNodesThatHaveOne) {
    FakeSystem system;
    system.write("node/online", "0,2-3\n");
    system.add_node(0, "0-3");
    system.add_node(2, "4-7");
    system.add_node(3, "");  // memory alone
    const auto nodes = read_numa_nodes(system.root(), Cpus{1, 3, 6});
    ASSERT_EQ(nodes.size(), 2u);
    EXPECT_EQ(nodes[0].cpus, (Cpus{1, 3}));
    EXPECT_EQ(nodes[1].number, 2);
    EXPECT_EQ(nodes[1].cpus, Cpus{6});
    EXPECT_EQ(workers_of_nodes(nodes, 3), (Cpus{0, 2, 3}));
    EXPECT_EQ(read_numa_nodes(system.root(), Cpus{0, 1}).size(), 1u);
}

TEST(Numa, WhatCannotBeReadIsOneNode) {
    FakeSystem system;
    const auto expect_one = [&](const char* why) {
        const auto nodes = read_numa_nodes(system.root(), count_up(4));
        ASSERT_EQ(nodes.size(), 1u) << why;
        EXPECT_EQ(nodes[0].cpus, count_up(4)) << why;
    };
    expect_one("no folder");
    system.write("node/online", "zero\n");
    expect_one("no list");
    system.write("node/online", "0-1\n");
    system.add_node(0, "0-1");
    expect_one("a CPU on no node");
    system.add_node(1, "1-3");
    expect_one("a CPU on two nodes");
    system.add_node(1, "2-");
    expect_one("a broken list");
    system.add_node(1, "2-3");
    EXPECT_EQ(read_numa_nodes(system.root(), count_up(4)).size(), 2u);
}

TEST(Numa, ThisMachinesNodesHoldEveryUsableCpuOnce) {
    Cpus all;
    const auto nodes = system_numa_nodes();
    for (const NumaNode& node : nodes) all.insert(all.end(), node.cpus.begin(), node.cpus.end());
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, usable_cpus());
    const std::vector<std::byte> memory(4096);
    const auto node = node_of_memory(memory.data());
    std::printf("[numa] %zu nodes, %zu CPUs, the heap is on node %d\n", nodes.size(), all.size(), node.value_or(-1));
    if (node) EXPECT_LT(*node, 1024);
}

}  // namespace
}  // namespace invar
