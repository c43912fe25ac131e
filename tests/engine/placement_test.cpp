// Which thread writes a row first and which reads it, seen by the memory itself: pages are out of reach until a thread
// touches them, and the fault tells which one. On a machine of several memories a page lies where it was written first.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <map>

#include "cpu/cpu_ops.h"
#include "layout/rows4.h"
#include "load/repack.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

constexpr size_t kPage = 4096;
constexpr size_t kMostPages = 16384;

// What the signal handler may touch: globals, because it gets no argument of ours.
std::byte* watched_begin = nullptr;
size_t watched_pages = 0;
std::atomic<int> owners[kMostPages];  // thread that touched the page first; 0: none

void on_fault(int signal, siginfo_t* info, void*) {
    auto* const address = static_cast<std::byte*>(info->si_addr);
    const auto page = static_cast<size_t>(address - watched_begin) / kPage;
    if (address < watched_begin || page >= watched_pages) {
        ::signal(signal, SIG_DFL);  // a fault of another kind: back to it
        return;
    }
    int nobody = 0;
    owners[page].compare_exchange_strong(nobody, static_cast<int>(::syscall(SYS_gettid)));
    ::mprotect(watched_begin + page * kPage, kPage, PROT_READ | PROT_WRITE);
}

class WatchedMemory {
  public:
    explicit WatchedMemory(int64_t bytes) : pages_((static_cast<size_t>(bytes) + kPage - 1) / kPage) {
        CHECK(pages_ <= kMostPages, "the test's table is large enough");
        void* start = ::mmap(nullptr, pages_ * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(start != MAP_FAILED, "there is memory for a test");
        watched_begin = static_cast<std::byte*>(start);
        watched_pages = pages_;
        struct sigaction action {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO;
        ::sigaction(SIGSEGV, &action, &before_);
    }
    ~WatchedMemory() {
        ::sigaction(SIGSEGV, &before_, nullptr);
        ::munmap(watched_begin, pages_ * kPage);
        watched_pages = 0;
    }
    std::byte* data() const { return watched_begin; }
    // Who touched each page since the last call; forgets it.
    std::vector<int> take_owners() {
        std::vector<int> taken;
        for (size_t page = 0; page < pages_; ++page) taken.push_back(owners[page].exchange(0));
        ::mprotect(watched_begin, pages_ * kPage, PROT_NONE);
        return taken;
    }

  private:
    size_t pages_;
    struct sigaction before_ {};
};

std::unique_ptr<ThreadPool> two_nodes(int threads) {
    // Both nodes have all CPUs: what is tested is who does what, on a machine that has one node.
    const std::vector<int> cpus = usable_cpus();
    const std::vector<NumaNode> nodes = {{.number = 0, .cpus = cpus}, {.number = 1, .cpus = cpus}};
    return ThreadPool::create({.threads = threads, .nodes = nodes, .steal = false}).value();
}

// Thread number -> home.
std::map<int, int> homes_of_threads(ThreadPool& pool) {
    std::vector<int> threads(static_cast<size_t>(pool.threads()));
    pool.parallel_for(pool.threads(), 1, [&](int64_t, int64_t, int worker) {
        threads[static_cast<size_t>(worker)] = static_cast<int>(::syscall(SYS_gettid));
    });
    std::map<int, int> homes;
    for (size_t w = 0; w < threads.size(); ++w)
        homes[threads[w]] = pool.row_homes().home_of_worker(static_cast<int>(w));
    return homes;
}

struct Compared {
    int64_t pages = 0, of_each_home[2] = {0, 0};
};

// Of the pages of a matrix whose rows are all of one home.
void expect_home(const RowHomes& homes, const WeightMatrix& matrix, const std::map<int, int>& home_of_thread,
                 const std::vector<int>& owners_of_pages, const char* when, Compared& compared) {
    const int64_t group_bytes = rows4_bytes(*matrix.format, kRowGroup, matrix.columns);
    // Rows too few for every home are one item, which the caller multiplies itself: a fork would cost more.
    if (homes.first_row(1, matrix.rows) == 0) return;
    for (int home = 0; home < homes.homes(); ++home) {
        const int64_t begin = homes.first_row(home, matrix.rows) / kRowGroup * group_bytes;
        const int64_t end =
            home + 1 == homes.homes() ? matrix.bytes : homes.first_row(home + 1, matrix.rows) / kRowGroup * group_bytes;
        const auto offset = static_cast<size_t>(matrix.data - watched_begin);
        const size_t first = (offset + static_cast<size_t>(begin) + kPage - 1) / kPage;
        const size_t last = (offset + static_cast<size_t>(end)) / kPage;
        for (size_t page = first; page < last; ++page) {
            ASSERT_NE(owners_of_pages[page], 0) << when << ": page " << page << " was not touched";
            EXPECT_EQ(home_of_thread.at(owners_of_pages[page]), home) << when << " " << to_string(matrix.id);
            ++compared.pages;
            ++compared.of_each_home[home];
        }
    }
}

void multiply(CpuOps& ops, const WeightMatrix& matrix, int64_t experts) {
    ops.begin_pass();
    const Tensor x = ops.scratch(1, matrix.columns);
    std::fill_n(x.host(), matrix.columns, 1.0f);
    if (experts == 0) return ops.linear({}, matrix, x, ops.scratch(1, matrix.rows));
    const ExpertSlots routing = ops.scratch_slots(1, static_cast<int>(experts));
    for (int64_t expert = 0; expert < experts; ++expert) routing.experts[expert] = static_cast<int32_t>(expert);
    const WeightStack stack{.first = matrix, .count = experts, .stride_bytes = matrix.bytes};
    ops.expert_linear({}, stack, routing, SlotInput::row_of_slot, x, ops.scratch(experts, matrix.rows));
}

TEST(Placement, TheNodeThatWritesARowFirstIsTheOneThatReadsIt) {
    TinyModel model = tiny("qwen3moe");
    model.matrix_format = FormatId::q8_0;
    model.width = model.expert_width = 512;
    model.vocabulary = 1003;
    const std::vector<std::byte> bytes = model.bytes();
    const Checkpoint file = Checkpoint::from_bytes(bytes, "placed").value();
    const Architecture* architecture = find_architecture(file).value();
    const ModelConfig config = architecture->read_config(file).value();
    const WeightPlan plan = make_weight_plan(config, architecture->declare(config, file), file, {}).value();
    const PackedPlaces places = packed_places(plan);
    Compared written, read;
    for (const int threads : {2, 4, 5}) {
        const auto pool = two_nodes(threads);
        const RowHomes& homes = pool->row_homes();
        ASSERT_EQ(homes.homes(), 2);
        const std::map<int, int> home_of_thread = homes_of_threads(*pool);
        const auto ops = CpuOps::create({.pool = *pool,
                                         .highest = detect_isa().highest(),
                                         .forced_linear = "",
                                         .scratch_bytes = 64 << 20,
                                         .measuring = false})
                             .value();
        WatchedMemory block(places.bytes);
        ASSERT_TRUE(fill_packed(plan, places, *pool, nullptr, block.data()));
        const std::vector<int> writers = block.take_owners();
        for (size_t i = 0; i < plan.entries.size(); ++i) {
            const PlanEntry& entry = plan.entries[i];
            if (places.offsets[i] < 0 || entry.form != StoredForm::rows4) continue;
            const int64_t experts = entry.kind == WeightShape::stack ? entry.shape[0] : 0;
            WeightMatrix matrix{.id = entry.id,
                                .format = entry.source,
                                .form = entry.form,
                                .rows = entry.shape[entry.shape.size() - 2],
                                .columns = entry.shape.back(),
                                .data = block.data() + places.offsets[i],
                                .bytes = entry.bytes / std::max<int64_t>(1, experts)};
            multiply(*ops, matrix, experts);
            const std::vector<int> readers = block.take_owners();
            for (int64_t expert = 0; expert < std::max<int64_t>(1, experts); ++expert) {
                expect_home(homes, matrix, home_of_thread, writers, "written", written);
                expect_home(homes, matrix, home_of_thread, readers, "read", read);
                matrix.data += matrix.bytes;
            }
        }
    }
    std::printf(
        "[placement] %lld pages written first, %lld read first, all by the home of their rows (%lld and %lld)\n",
        static_cast<long long>(written.pages), static_cast<long long>(read.pages),
        static_cast<long long>(read.of_each_home[0]), static_cast<long long>(read.of_each_home[1]));
    EXPECT_EQ(written.pages, read.pages);
    EXPECT_GT(read.of_each_home[0], 3000);
    EXPECT_GT(read.of_each_home[1], 3000);
}

}  // namespace
}  // namespace invar
