// Runs a block. Its threads are fibres that switch where a barrier or a warp function makes them wait. The bookkeeping
// of shared memory is per byte: who wrote and read it since the last barrier. simt.h defines the functions.
#undef _FORTIFY_SOURCE  // its longjmp refuses to change stacks
#include "cuda/emulation/simt_emulation.h"

#include <setjmp.h>
#include <ucontext.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace invar::simt {
namespace {

using emulation::LanePart;
using emulation::SharedRegion;
using emulation::ThreadPlace;
using emulation::WarpWord;

constexpr size_t kStackBytes = 128 << 10;
constexpr int64_t kSharedLimit = 227 << 10;  // the most a block can have (compute capability 9.0)
constexpr int kMostThreads = 1024;

std::string name_of(const Place& at) {
    const std::string path = at.file_name();
    return fmt::format("{}:{}", path.substr(path.find_last_of('/') + 1), at.line());
}

// Who touched a byte of shared memory since the last barrier. A stamp counts the block's barriers, a warp stamp those
// of the warp; an access with an older stamp is ordered before any access now.
struct ByteHistory {
    enum class Readers : uint8_t { none, one, warp, block };
    uint32_t write_stamp = 0, write_warp_stamp = 0;
    uint32_t read_stamp = 0, read_warp_stamp = 0;
    int16_t writer = -1, reader = -1;
    Readers readers = Readers::none;
    bool written = false, atomic = false;
};

enum class Waits : uint8_t { ready, block_barrier, warp_word, ended };

struct PendingCopy {
    int64_t at;
    std::array<std::byte, 16> bytes;
    int size, group;
};

struct Thread {
    std::unique_ptr<std::byte[]> stack;
    jmp_buf resume;
    bool started = false;
    Waits waits = Waits::ready;
    Place barrier;
    LanePart* part = nullptr;
    ThreadPlace place;
    std::vector<PendingCopy> copies;
    int copy_groups = 0;  // committed
};

}  // namespace

// One block at a time; its stacks and shared memory serve all blocks that the CPU thread runs.
class Block {
  public:
    static Block*& running() {
        static thread_local Block* block = nullptr;
        return block;
    }

    std::optional<std::string> run(const Grid& grid, const std::function<void()>& body, const int (&index)[3],
                                   Emulator& emulator, Emulator::Order order);
    Emulator& emulator() { return *emulator_; }

    [[noreturn]] void fault(const std::string& what, const Place* at);
    void wait(Waits waits) {
        Thread& self = current();
        self.waits = waits;
        if (_setjmp(self.resume) == 0) _longjmp(scheduler_, 1);
    }

    Thread& current() { return threads_[static_cast<size_t>(current_)]; }
    SharedRegion static_region(int64_t bytes, const Place& at);
    SharedRegion dynamic_region() const { return {.first = 0, .bytes = dynamic_bytes_}; }
    std::byte* access(SharedRegion region, int64_t offset, int64_t bytes, const char* what, const Place& at);
    void note_read(int64_t first, int64_t bytes, const Place& at);
    void note_write(int64_t first, int64_t bytes, bool atomic, const Place& at);
    void mark_unwritten(int64_t first, int64_t bytes) {
        for (int64_t i = first; i < first + bytes; ++i) history_[static_cast<size_t>(i)].written = false;
    }
    void arrive(LanePart& part);
    void land_copies(int left);
    int64_t offset_of(const std::byte* byte) const { return byte - memory_.data(); }
    std::byte* bytes_at(int64_t offset) { return memory_.data() + offset; }

  private:
    static void entry() {
        Block& block = *running();
        block.run_threads_body();
    }
    [[noreturn]] void run_threads_body() {
        for (;;) {
            (*body_)();
            if (!current().copies.empty())
                fault("the thread ended with asynchronous copies nobody waited for", nullptr);
            wait(Waits::ended);
        }
    }
    void prepare(const Grid& grid, const int (&index)[3]);
    void resume(int thread);
    bool release_barrier();
    void resolve(int warp, uint32_t mask);
    void explain_standstill();
    std::string where(int thread) const;

    jmp_buf scheduler_;
    Emulator* emulator_ = nullptr;
    const std::function<void()>* body_ = nullptr;
    std::vector<Thread> threads_;
    int count_ = 0, current_ = 0;
    std::vector<std::byte> memory_;
    std::vector<ByteHistory> history_;
    int64_t used_ = 0, dynamic_bytes_ = 0;
    std::map<std::pair<const char*, uint64_t>, SharedRegion> regions_;
    uint32_t stamp_ = 1;
    std::array<uint32_t, kMostThreads / kWarp> warp_stamp_{};
    std::optional<std::string> fault_;
};

// ---- the schedule

void Block::prepare(const Grid& grid, const int (&index)[3]) {
    CHECK(grid.threads >= 1 && grid.threads <= kMostThreads, "a block has 1 to 1024 threads");
    CHECK(grid.dynamic_shared_bytes <= kSharedLimit, "a block has at most 227 KiB of shared memory");
    count_ = grid.threads;
    if (threads_.size() < static_cast<size_t>(count_)) threads_.resize(static_cast<size_t>(count_));
    if (memory_.empty()) {
        memory_.resize(kSharedLimit);
        history_.resize(kSharedLimit);
    }
    // Data of an earlier block must not look valid: each byte becomes 0xFF, a NaN and an index far outside.
    std::memset(memory_.data(), 0xFF, static_cast<size_t>(std::max(used_, int64_t{grid.dynamic_shared_bytes})));
    std::fill_n(history_.begin(), std::max(used_, int64_t{grid.dynamic_shared_bytes}), ByteHistory{});
    regions_.clear();
    dynamic_bytes_ = grid.dynamic_shared_bytes;
    used_ = (dynamic_bytes_ + 15) / 16 * 16;
    stamp_ = 1;
    warp_stamp_.fill(1);
    fault_.reset();
    for (int i = 0; i < count_; ++i) {
        Thread& thread = threads_[static_cast<size_t>(i)];
        thread.waits = Waits::ready;
        thread.part = nullptr;
        thread.copies.clear();
        thread.copy_groups = 0;
        thread.place = {.thread = i, .threads = count_, .block = {index[0], index[1], index[2]}};
    }
}

void Block::resume(int thread) {
    current_ = thread;
    Thread& next = threads_[static_cast<size_t>(thread)];
    if (_setjmp(scheduler_) != 0) return;
    if (next.started) _longjmp(next.resume, 1);
    if (!next.stack) next.stack = std::make_unique<std::byte[]>(kStackBytes);
    next.started = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = next.stack.get();
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, &Block::entry, 0);
    setcontext(&context);
}

std::optional<std::string> Block::run(const Grid& grid, const std::function<void()>& body, const int (&index)[3],
                                      Emulator& emulator, Emulator::Order order) {
    running() = this;
    emulator_ = &emulator;
    body_ = &body;
    prepare(grid, index);
    for (bool progress = true; progress && !fault_;) {
        progress = false;
        for (int i = 0; i < count_ && !fault_; ++i) {
            const int thread = order == Emulator::Order::rising ? i : count_ - 1 - i;
            if (threads_[static_cast<size_t>(thread)].waits != Waits::ready) continue;
            resume(thread);
            progress = true;
        }
        if (!progress && !fault_) progress = release_barrier();
    }
    if (!fault_) explain_standstill();
    // Fibres in the middle of a kernel are abandoned; the next ones begin on the same stacks.
    if (fault_)
        for (Thread& thread : threads_) thread.started = false;
    running() = nullptr;
    return fault_;
}

bool Block::release_barrier() {
    const Thread* first = nullptr;
    for (int i = 0; i < count_; ++i) {
        const Thread& thread = threads_[static_cast<size_t>(i)];
        if (thread.waits != Waits::block_barrier) return false;
        if (first == nullptr) first = &thread;
        if (thread.barrier.line() != first->barrier.line() ||
            std::string_view(thread.barrier.file_name()) != first->barrier.file_name()) {
            fault_ = fmt::format("{} and {}: threads of a block wait at different barriers", where(0), where(i));
            return false;
        }
    }
    ++stamp_;
    for (int i = 0; i < count_; ++i) threads_[static_cast<size_t>(i)].waits = Waits::ready;
    return true;
}

std::string Block::where(int thread) const {
    const Thread& it = threads_[static_cast<size_t>(thread)];
    switch (it.waits) {
        case Waits::ready:
            return fmt::format("thread {} runs", thread);
        case Waits::block_barrier:
            return fmt::format("thread {} waits at the barrier of {}", thread, name_of(it.barrier));
        case Waits::warp_word:
            return fmt::format("thread {} waits for lanes {:08x} at {}", thread, it.part->mask, name_of(it.part->at));
        case Waits::ended:
            return fmt::format("thread {} has ended", thread);
    }
    return "";
}

// Called when nothing can run: either all threads have ended, or some wait for what never comes.
void Block::explain_standstill() {
    int waiting = -1, ended = -1;
    for (int i = 0; i < count_; ++i) {
        const Waits waits = threads_[static_cast<size_t>(i)].waits;
        if (waits == Waits::ended) ended = i;
        // A waiting warp function explains more than a waiting barrier.
        if (waits == Waits::warp_word && (waiting < 0 || threads_[static_cast<size_t>(waiting)].part == nullptr))
            waiting = i;
        if (waits == Waits::block_barrier && waiting < 0) waiting = i;
    }
    if (waiting < 0) return;
    const Thread& it = threads_[static_cast<size_t>(waiting)];
    if (it.waits == Waits::block_barrier) {
        fault_ = fmt::format("not all threads reach a barrier: {}, {}", where(waiting), where(ended));
        return;
    }
    for (int lane = 0; lane < kWarp; ++lane) {
        const int other = waiting / kWarp * kWarp + lane;
        if ((it.part->mask >> lane & 1) == 0) continue;
        const bool same = other < count_ && threads_[static_cast<size_t>(other)].part != nullptr &&
                          threads_[static_cast<size_t>(other)].part->mask == it.part->mask;
        if (same) continue;
        fault_ = fmt::format("a lane that the mask names does not take part: {}, {}", where(waiting),
                             other < count_ ? where(other) : fmt::format("thread {} does not exist", other));
        return;
    }
}

void Block::fault(const std::string& what, const Place* at) {
    const ThreadPlace& place = current().place;
    fault_ = fmt::format("{}: block ({}, {}, {}), thread {}: {}", at ? name_of(*at) : std::string("kernel"),
                         place.block[0], place.block[1], place.block[2], place.thread, what);
    _longjmp(scheduler_, 1);
}

// ---- functions of a warp

void Block::arrive(LanePart& part) {
    const int warp = current_ / kWarp, lane = current_ % kWarp;
    if ((part.mask >> lane & 1) == 0)
        fault(fmt::format("lane {} is not in its own mask {:08x}", lane, part.mask), &part.at);
    bool complete = true;
    for (int other = 0; other < kWarp; ++other) {
        if ((part.mask >> other & 1) == 0 || other == lane) continue;
        const int index = warp * kWarp + other;
        if (index >= count_ || threads_[static_cast<size_t>(index)].waits == Waits::ended)
            fault(fmt::format("the mask {:08x} names lane {}, which {}", part.mask, other,
                              index >= count_ ? "does not exist" : "has ended"),
                  &part.at);
        const Thread& thread = threads_[static_cast<size_t>(index)];
        if (thread.waits != Waits::warp_word) {
            complete = false;
            continue;
        }
        const LanePart& theirs = *thread.part;
        if (theirs.mask != part.mask && (theirs.mask >> lane & 1) == 0) {
            complete = false;  // busy with other lanes; it may still come
            continue;
        }
        if (theirs.mask != part.mask || theirs.word != part.word || theirs.at.line() != part.at.line())
            fault(
                fmt::format("lanes that name each other disagree: lane {} says {:08x} here, lane {} says {:08x} at {}",
                            lane, part.mask, other, theirs.mask, name_of(theirs.at)),
                &part.at);
    }
    current().part = &part;
    if (complete) {
        resolve(warp, part.mask);
        for (int other = 0; other < kWarp; ++other) {
            if ((part.mask >> other & 1) == 0) continue;
            Thread& thread = threads_[static_cast<size_t>(warp * kWarp + other)];
            thread.part = nullptr;
            thread.waits = Waits::ready;
        }
        return;
    }
    wait(Waits::warp_word);
}

namespace {

int8_t byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i)); }

// The parts of lane l. Of A: rows l / 4 (registers 0, 2) and l / 4 + 8 (1, 3), columns 4 (l % 4) .. + 3 (0, 1) and 16
// more (2, 3). Of B: column l / 4, rows 4 (l % 4) .. + 3 (0) and 16 more (1). Of C: rows l / 4 (0, 1) and + 8 (2, 3),
// columns 2 (l % 4) and + 1.
void multiply_matrices(const std::array<LanePart*, kWarp>& lanes) {
    int8_t a[16][32], b[32][8];
    for (int l = 0; l < kWarp; ++l) {
        for (int i = 0; i < 4; ++i) {
            for (int r = 0; r < 4; ++r)
                a[l / 4 + 8 * (r % 2)][4 * (l % 4) + 16 * (r / 2) + i] =
                    byte_of(lanes[static_cast<size_t>(l)]->give[r], i);
            for (int r = 0; r < 2; ++r)
                b[4 * (l % 4) + 16 * r + i][l / 4] = byte_of(lanes[static_cast<size_t>(l)]->give[4 + r], i);
        }
    }
    for (int l = 0; l < kWarp; ++l) {
        for (int r = 0; r < 4; ++r) {
            LanePart& part = *lanes[static_cast<size_t>(l)];
            int32_t sum = static_cast<int32_t>(part.give[6 + r]);
            for (int k = 0; k < 32; ++k) sum += a[l / 4 + 8 * (r / 2)][k] * b[k][2 * (l % 4) + r % 2];
            part.get[r] = static_cast<uint32_t>(sum);
        }
    }
}

}  // namespace

void Block::resolve(int warp, uint32_t mask) {
    std::array<LanePart*, kWarp> lanes{};
    for (int lane = 0; lane < kWarp; ++lane)
        if ((mask >> lane & 1) != 0)
            lanes[static_cast<size_t>(lane)] = threads_[static_cast<size_t>(warp * kWarp + lane)].part;
    const LanePart& self = *current().part;
    switch (self.word) {
        case WarpWord::sync:
            ++warp_stamp_[static_cast<size_t>(warp)];
            return;
        case WarpWord::ballot: {
            uint32_t votes = 0;
            for (int lane = 0; lane < kWarp; ++lane) votes |= lanes[static_cast<size_t>(lane)]->give[0] << lane;
            for (LanePart* lane : lanes) lane->get[0] = votes;
            return;
        }
        case WarpWord::shuffle:
            for (LanePart* lane : lanes) {
                if (lane == nullptr) continue;
                const LanePart* source = lanes[static_cast<size_t>(lane->source)];
                if (source == nullptr)
                    fault(
                        fmt::format("a shuffle reads lane {}, which the mask {:08x} does not name", lane->source, mask),
                        &lane->at);
                lane->get[0] = source->give[0];
            }
            return;
        case WarpWord::mma:
            return multiply_matrices(lanes);
        case WarpWord::load_matrix:
            // Lane 8 t + i gives the address of row i of tile t; register t of lane l is bytes 4 (l % 4) .. of row l
            // / 4.
            for (int l = 0; l < kWarp; ++l) {
                for (int tile = 0; tile < 4; ++tile) {
                    const LanePart& row = *lanes[static_cast<size_t>(8 * tile + l / 4)];
                    emulation::shared_read(row.region, row.offset + 4 * (l % 4), 4,
                                           &lanes[static_cast<size_t>(l)]->get[tile], self.at);
                }
            }
            return;
    }
}

// ---- shared memory

SharedRegion Block::static_region(int64_t bytes, const Place& at) {
    const auto key = std::make_pair(at.file_name(), static_cast<uint64_t>(at.line()) << 32 | at.column());
    const auto known = regions_.find(key);
    if (known != regions_.end()) return known->second;
    const SharedRegion region{.first = used_, .bytes = bytes};
    used_ = (used_ + bytes + 15) / 16 * 16;
    if (used_ > kSharedLimit) fault(fmt::format("the block needs {} bytes of shared memory", used_), &at);
    std::memset(memory_.data() + region.first, 0xFF, static_cast<size_t>(bytes));
    std::fill_n(history_.begin() + region.first, bytes, ByteHistory{});
    return regions_[key] = region;
}

std::byte* Block::access(SharedRegion region, int64_t offset, int64_t bytes, const char* what, const Place& at) {
    if (offset < 0 || offset + bytes > region.bytes)
        fault(fmt::format("{} {} bytes at byte {} of a shared array of {}", what, bytes, offset, region.bytes), &at);
    return memory_.data() + region.first + offset;
}

void Block::note_read(int64_t first, int64_t bytes, const Place& at) {
    const int warp = current_ / kWarp;
    const uint32_t warp_stamp = warp_stamp_[static_cast<size_t>(warp)];
    for (int64_t i = first; i < first + bytes; ++i) {
        ByteHistory& byte = history_[static_cast<size_t>(i)];
        if (!byte.written) fault("reads shared memory that nobody has written", &at);
        const bool ordered = byte.write_stamp != stamp_ || byte.writer == current_ ||
                             (byte.writer / kWarp == warp && byte.write_warp_stamp != warp_stamp);
        if (!ordered)
            fault(fmt::format("race: reads shared memory that thread {} wrote since the last barrier", byte.writer),
                  &at);
        using Readers = ByteHistory::Readers;
        const bool same_warp = byte.readers != Readers::block && byte.reader / kWarp == warp;
        if (byte.read_stamp != stamp_ || byte.readers == Readers::none ||
            (same_warp && byte.read_warp_stamp != warp_stamp)) {
            byte.readers = Readers::one;  // earlier reads are ordered before this one
        } else if (byte.reader != current_) {
            byte.readers =
                byte.reader / kWarp != warp || byte.readers == Readers::block ? Readers::block : Readers::warp;
        }
        byte.read_stamp = stamp_;
        byte.read_warp_stamp = warp_stamp;
        byte.reader = static_cast<int16_t>(current_);
    }
}

void Block::note_write(int64_t first, int64_t bytes, bool atomic, const Place& at) {
    const int warp = current_ / kWarp;
    const uint32_t warp_stamp = warp_stamp_[static_cast<size_t>(warp)];
    for (int64_t i = first; i < first + bytes; ++i) {
        ByteHistory& byte = history_[static_cast<size_t>(i)];
        const bool after_writes = byte.writer < 0 || byte.write_stamp != stamp_ || byte.writer == current_ ||
                                  (byte.writer / kWarp == warp && byte.write_warp_stamp != warp_stamp) ||
                                  (atomic && byte.atomic);
        using Readers = ByteHistory::Readers;
        const bool same_warp = byte.readers != Readers::block && byte.reader / kWarp == warp;
        const bool after_reads = byte.readers == Readers::none || byte.read_stamp != stamp_ ||
                                 (same_warp && byte.read_warp_stamp != warp_stamp) ||
                                 (byte.readers == Readers::one && byte.reader == current_);
        if (!after_writes || !after_reads)
            fault(fmt::format("race: writes shared memory that thread {} {} since the last barrier",
                              after_writes ? byte.reader : byte.writer, after_writes ? "read" : "wrote"),
                  &at);
        byte.write_stamp = stamp_;
        byte.write_warp_stamp = warp_stamp;
        byte.writer = static_cast<int16_t>(current_);
        byte.atomic = atomic;
        byte.written = true;
    }
}

void Block::land_copies(int left) {
    Thread& self = current();
    const Place nowhere;
    for (const PendingCopy& copy : self.copies) {
        if (copy.group >= self.copy_groups - left) continue;
        note_write(copy.at, copy.size, false, nowhere);
        std::memcpy(bytes_at(copy.at), copy.bytes.data(), static_cast<size_t>(copy.size));
    }
    std::erase_if(self.copies, [&](const PendingCopy& copy) { return copy.group < self.copy_groups - left; });
}

// ---- the functions of the header

namespace emulation {

void fault(const std::string& what, const Place& at) {
    CHECK(Block::running() != nullptr, "kernel words are used in kernels only");
    Block::running()->fault(what, &at);
}
void fault_global(int64_t index, int64_t first, int64_t count, const Place& at) {
    fault(fmt::format("touches element {} of a global array of {}", first + index, count), at);
}
void fault_alignment(size_t bytes, const Place& at) {
    fault(fmt::format("an address is not a multiple of {} bytes", bytes), at);
}

const ThreadPlace& here() { return Block::running()->current().place; }
SharedRegion static_region(int64_t bytes, const Place& at) { return Block::running()->static_region(bytes, at); }
SharedRegion dynamic_region() { return Block::running()->dynamic_region(); }

void shared_read(SharedRegion region, int64_t offset, int64_t bytes, void* to, const Place& at) {
    Block& block = *Block::running();
    const std::byte* from = block.access(region, offset, bytes, "reads", at);
    block.note_read(block.offset_of(from), bytes, at);
    std::memcpy(to, from, static_cast<size_t>(bytes));
}
void shared_write(SharedRegion region, int64_t offset, int64_t bytes, const void* from, const Place& at) {
    Block& block = *Block::running();
    std::byte* to = block.access(region, offset, bytes, "writes", at);
    block.note_write(block.offset_of(to), bytes, false, at);
    std::memcpy(to, from, static_cast<size_t>(bytes));
}
int32_t shared_atomic_add(SharedRegion region, int64_t offset, int32_t value, const Place& at) {
    Block& block = *Block::running();
    std::byte* place = block.access(region, offset, 4, "adds to", at);
    block.note_write(block.offset_of(place), 4, true, at);
    int32_t before = 0;
    std::memcpy(&before, place, 4);
    const int32_t after = before + value;
    std::memcpy(place, &after, 4);
    return before;
}
void shared_copy_async(SharedRegion region, int64_t offset, int bytes, const void* from, const Place& at) {
    Block& block = *Block::running();
    std::byte* to = block.access(region, offset, bytes, "copies", at);
    const int64_t place = block.offset_of(to);
    // From here on the bytes may change at any moment: reading them before the copy has been waited for is an error.
    block.note_write(place, bytes, false, at);
    block.mark_unwritten(place, bytes);
    PendingCopy copy{.at = place, .bytes = {}, .size = bytes, .group = block.current().copy_groups};
    std::memcpy(copy.bytes.data(), from, static_cast<size_t>(bytes));
    block.current().copies.push_back(copy);
}
void take_part(LanePart& part) {
    Block& block = *Block::running();
    if (part.word == WarpWord::sync && block.emulator().uses(Breakable::warp_barrier, part.at)) return;
    if (part.word == WarpWord::shuffle && block.emulator().uses(Breakable::shuffle_mask, part.at))
        part.mask &= ~(1u << 31);
    block.arrive(part);
}

}  // namespace emulation

void sync_block(const Place& at) {
    Block& block = *Block::running();
    if (block.emulator().uses(Breakable::block_barrier, at)) return;
    block.current().barrier = at;
    block.wait(Waits::block_barrier);
}
void commit_copies() { ++Block::running()->current().copy_groups; }
void wait_for_copies_until(int left, const Place& at) {
    Block& block = *Block::running();
    if (!block.emulator().uses(Breakable::copy_wait, at)) block.land_copies(left);
}

bool Emulator::uses(Breakable word, const Place& at) {
    const auto same = [&](const Place& place) {
        return place.line() == at.line() && place.column() == at.column() &&
               std::string_view(place.file_name()) == at.file_name();
    };
    std::vector<Place>& places = places_[static_cast<size_t>(word)];
    if (std::none_of(places.begin(), places.end(), same)) places.push_back(at);
    return broken_ && broken_->first == word && same(broken_->second);
}

Recording Emulator::end_recording() {
    Recording launches = recording_ ? std::move(*recording_) : Recording();
    recording_.reset();
    return launches;
}

void Emulator::replay(const Recording& launches) {
    for (const RecordedLaunch& launch : launches) run(launch.grid, launch.thread);
}

void Emulator::run(const Grid& grid, const std::function<void()>& thread) {
    static thread_local Block block;
    if (recording_) {
        recording_->push_back({grid, thread});
        return;
    }
    CHECK(grid.x >= 0 && grid.y >= 0 && grid.z >= 0, "a grid has no negative side");
    if (observer_ != nullptr) observer_->before(grid.name);
    const int64_t blocks = int64_t{grid.x} * grid.y * grid.z;
    for (int64_t i = 0; i < blocks && !fault_; ++i) {
        const int64_t b = order_ == Order::rising ? i : blocks - 1 - i;
        const int index[3] = {static_cast<int>(b % grid.x), static_cast<int>(b / grid.x % grid.y),
                              static_cast<int>(b / grid.x / grid.y)};
        const auto failed = block.run(grid, thread, index, *this, order_);
        if (failed) fault_ = Fault{.kernel = grid.name, .message = *failed};
        ++blocks_run_;
        threads_run_ += grid.threads;
    }
    if (observer_ != nullptr) observer_->after();
}

}  // namespace invar::simt
