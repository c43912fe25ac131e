// The functions of simt.h as plain C++: every thread of a block is a fibre on one CPU thread, and every function checks
// that it is used as the hardware demands. These are found at the access, with file and line: reads and writes outside
// an array or misaligned; races in shared memory (two threads, no barrier between, at least one writes); shared memory
// read before it is written; barriers that not all threads of a block reach, or that they reach at different lines;
// warp functions whose named lanes do not take part; asynchronous copies that nobody waited for. Values are exact;
// speed and memory traffic are not modelled. Only simt.h includes it.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arithmetic/float_types.h"
#include "cuda/launch_observer.h"

#define SIMT_DEVICE inline
#define SIMT_UNROLL
#define SIMT_UNROLL_BY(count)
#define SIMT_KERNEL(threads) inline void
#define SIMT_SHARED(Type, name, count) \
    const auto name = ::invar::simt::emulation::static_shared<Type>(count, std::source_location::current())
#define SIMT_DYNAMIC_SHARED(name) const auto name = ::invar::simt::emulation::dynamic_shared()

namespace invar::simt {

inline constexpr int kWarp = 32;
inline constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

using Place = std::source_location;

struct alignas(16) Words4 {
    uint32_t w[4];
};
struct alignas(8) Words2 {
    uint32_t w[2];
};
struct alignas(16) Floats4 {
    float f[4];
};

// ---- what the running kernel asks the emulation for (simt_emulation.cpp)

namespace emulation {

[[noreturn]] void fault(const std::string& what, const Place& at);
[[noreturn]] void fault_global(int64_t index, int64_t first, int64_t count, const Place& at);
[[noreturn]] void fault_alignment(size_t bytes, const Place& at);

struct ThreadPlace {
    int thread = 0, threads = 0;
    int block[3] = {};
};
const ThreadPlace& here();

// A static array is identified by the line that declares it: every thread of the block finds the same one.
struct SharedRegion {
    int64_t first = 0, bytes = 0;
};
SharedRegion static_region(int64_t bytes, const Place& at);
SharedRegion dynamic_region();
void shared_read(SharedRegion region, int64_t offset, int64_t bytes, void* to, const Place& at);
void shared_write(SharedRegion region, int64_t offset, int64_t bytes, const void* from, const Place& at);
int32_t shared_atomic_add(SharedRegion region, int64_t offset, int32_t value, const Place& at);
void shared_copy_async(SharedRegion region, int64_t offset, int bytes, const void* from, const Place& at);

enum class WarpWord : uint8_t { sync, shuffle, ballot, mma, load_matrix };

// One lane's part in a warp function: its input and its result.
struct LanePart {
    WarpWord word = WarpWord::sync;
    uint32_t mask = 0;
    Place at;
    uint32_t give[10] = {};
    uint32_t get[4] = {};
    int source = 0;
    SharedRegion region;
    int64_t offset = 0;
};
void take_part(LanePart& part);  // returns when all lanes of the mask have

}  // namespace emulation

// An index that remembers the line where it was written.
struct Index {
    int64_t value;
    Place at;
    template <std::integral I>
    Index(I index, Place here = Place::current()) : value(static_cast<int64_t>(index)), at(here) {}
};

// ---- global memory: a pointer with the array it points into

template <class T>
class GlobalReference;

template <class T>
class Global {
  public:
    Global() = default;
    Global(T* data, int64_t count) : data_(data), count_(count) {}
    operator Global<const T>() const requires(!std::is_const_v<T>) {
        Global<const T> read_only(data_, count_);
        read_only.at_ = at_;
        return read_only;
    }

    Global operator+(int64_t elements) const {
        Global moved = *this;
        moved.at_ += elements;
        return moved;
    }
    std::remove_const_t<T> read(int64_t index, const Place& at) const {
        std::remove_const_t<T> value;
        std::memcpy(&value, checked(index, at), sizeof(T));
        return value;
    }
    void write(int64_t index, const T& value, const Place& at) const requires(!std::is_const_v<T>) {
        std::memcpy(static_cast<void*>(checked(index, at)), &value, sizeof(T));
    }
    auto operator[](Index index) const {
        if constexpr (std::is_const_v<T>) {
            return read(index.value, index.at);
        } else {
            return GlobalReference<T>(*this, index);
        }
    }
    T* checked(int64_t index, const Place& at) const {
        const int64_t element = at_ + index;
        if (element < 0 || element >= count_) emulation::fault_global(index, at_, count_, at);
        return data_ + element;
    }

    T* data() const { return data_; }
    int64_t at() const { return at_; }
    int64_t count() const { return count_; }

    // The same bytes as elements of another type. The address must be aligned for it, as on the hardware.
    template <class U>
    Global<U> viewed(const Place& at) const {
        const auto address = reinterpret_cast<uintptr_t>(data_ + at_);
        if (address % alignof(U) != 0) emulation::fault_alignment(alignof(U), at);
        const int64_t left = (count_ - at_) * static_cast<int64_t>(sizeof(T));
        return Global<U>(reinterpret_cast<U*>(data_ + at_), left / static_cast<int64_t>(sizeof(U)));
    }

  private:
    template <class>
    friend class Global;
    T* data_ = nullptr;
    int64_t count_ = 0, at_ = 0;
};

template <class T>
class GlobalReference {
  public:
    GlobalReference(const Global<T>& pointer, Index index) : pointer_(pointer), index_(index) {}
    operator T() const { return pointer_.read(index_.value, index_.at); }
    void operator=(const T& value) const { pointer_.write(index_.value, value, index_.at); }
    void operator=(const GlobalReference& other) const { *this = static_cast<T>(other); }

  private:
    Global<T> pointer_;
    Index index_;
};

// ---- shared memory

template <class T>
class SharedReference;

template <class T>
class Shared {
  public:
    Shared() = default;
    explicit Shared(emulation::SharedRegion region, int64_t offset = 0) : region_(region), offset_(offset) {}

    Shared operator+(int64_t elements) const {
        return Shared(region_, offset_ + elements * static_cast<int64_t>(sizeof(T)));
    }
    SharedReference<T> operator[](Index index) const { return SharedReference<T>(*this + index.value, index.at); }
    emulation::SharedRegion region() const { return region_; }
    int64_t offset() const { return offset_; }

  private:
    emulation::SharedRegion region_;
    int64_t offset_ = 0;  // bytes
};

template <class T>
class SharedReference {
  public:
    SharedReference(Shared<T> pointer, const Place& at) : pointer_(pointer), at_(at) {}
    operator T() const {
        T value;
        emulation::shared_read(pointer_.region(), pointer_.offset(), sizeof(T), &value, at_);
        return value;
    }
    void operator=(const T& value) const {
        emulation::shared_write(pointer_.region(), pointer_.offset(), sizeof(T), &value, at_);
    }
    void operator=(const SharedReference& other) const { *this = static_cast<T>(other); }

  private:
    Shared<T> pointer_;
    Place at_;
};

namespace emulation {
template <class T>
Shared<T> static_shared(int64_t count, const Place& at) {
    return Shared<T>(static_region(count * static_cast<int64_t>(sizeof(T)), at));
}
inline Shared<unsigned char> dynamic_shared() { return Shared<unsigned char>(dynamic_region()); }
}  // namespace emulation

template <class To, class From>
Global<To> view(const Global<From>& pointer, const Place& at = Place::current()) {
    return pointer.template viewed<To>(at);
}
template <class To, class From>
Shared<To> view(Shared<From> pointer, const Place& at = Place::current()) {
    if ((pointer.region().first + pointer.offset()) % static_cast<int64_t>(alignof(To)) != 0)
        emulation::fault_alignment(alignof(To), at);
    return Shared<To>(pointer.region(), pointer.offset());
}
template <class T>
bool is_null(const Global<T>& pointer) {
    return pointer.data() == nullptr;
}

// ---- where a thread is

inline int thread_index() { return emulation::here().thread; }
inline int block_index() { return emulation::here().block[0]; }
inline int block_index_y() { return emulation::here().block[1]; }
inline int block_index_z() { return emulation::here().block[2]; }
inline int block_threads() { return emulation::here().threads; }
inline int lane_index() { return emulation::here().thread % kWarp; }
inline int warp_index() { return emulation::here().thread / kWarp; }

// ---- barriers and warp functions

void sync_block(const Place& at = Place::current());
inline void sync_warp(const Place& at = Place::current()) {
    emulation::LanePart part{.word = emulation::WarpWord::sync, .mask = kAllLanes, .at = at};
    emulation::take_part(part);
}

template <class T>
T shuffle_among(uint32_t mask, T value, int source, const Place& at = Place::current()) {
    static_assert(sizeof(T) == 4, "a shuffle moves 32 bits");
    emulation::LanePart part{.word = emulation::WarpWord::shuffle, .mask = mask, .at = at};
    part.give[0] = std::bit_cast<uint32_t>(value);
    part.source = source & (kWarp - 1);
    emulation::take_part(part);
    return std::bit_cast<T>(part.get[0]);
}
template <class T>
T shuffle_xor_among(uint32_t mask, T value, int bits, const Place& at = Place::current()) {
    return shuffle_among(mask, value, lane_index() ^ bits, at);
}
template <class T>
T shuffle(T value, int source, const Place& at = Place::current()) {
    return shuffle_among(kAllLanes, value, source, at);
}
template <class T>
T shuffle_xor(T value, int bits, const Place& at = Place::current()) {
    return shuffle_among(kAllLanes, value, lane_index() ^ bits, at);
}
inline uint32_t ballot(bool predicate, const Place& at = Place::current()) {
    emulation::LanePart part{.word = emulation::WarpWord::ballot, .mask = kAllLanes, .at = at};
    part.give[0] = predicate ? 1 : 0;
    emulation::take_part(part);
    return part.get[0];
}
inline bool any(bool predicate, const Place& at = Place::current()) { return ballot(predicate, at) != 0; }

// Fragments as PTX ISA lays them out for mma.m16n8k32 with .s8 operands.
inline void mma_s8(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const int32_t (&c)[4],
                   const Place& at = Place::current()) {
    emulation::LanePart part{.word = emulation::WarpWord::mma, .mask = kAllLanes, .at = at};
    for (int i = 0; i < 4; ++i) part.give[i] = a[i];
    for (int i = 0; i < 2; ++i) part.give[4 + i] = b[i];
    for (int i = 0; i < 4; ++i) part.give[6 + i] = static_cast<uint32_t>(c[i]);
    emulation::take_part(part);
    for (int i = 0; i < 4; ++i) sums[i] = static_cast<int32_t>(part.get[i]);
}
// m16n8k16: the first or the second half of the registers of m16n8k32.
inline void mma_s8_half(int32_t (&sums)[4], uint32_t a0, uint32_t a1, uint32_t b, const int32_t (&c)[4],
                        const Place& at = Place::current()) {
    mma_s8(sums, {a0, a1, 0, 0}, {b, 0}, c, at);
}
inline void load_matrix(uint32_t (&r)[4], Shared<Words4> row, const Place& at = Place::current()) {
    emulation::LanePart part{.word = emulation::WarpWord::load_matrix, .mask = kAllLanes, .at = at};
    part.region = row.region();
    part.offset = row.offset();
    emulation::take_part(part);
    for (int i = 0; i < 4; ++i) r[i] = part.get[i];
}

// ---- asynchronous copies: the bytes arrive when they are waited for, not before

inline void copy_async(Shared<Words4> to, Global<const Words4> from, const Place& at = Place::current()) {
    emulation::shared_copy_async(to.region(), to.offset(), 16, from.checked(0, at), at);
}
template <class T, class From>
void copy_async4(Shared<T> to, const Global<From>& from, const Place& at = Place::current()) {
    static_assert(sizeof(T) == 4 && std::is_same_v<T, std::remove_const_t<From>>);
    emulation::shared_copy_async(to.region(), to.offset(), 4, from.checked(0, at), at);
}
void commit_copies();
void wait_for_copies_until(int left, const Place& at);
template <int kLeft>
void wait_for_copies(const Place& at = Place::current()) {
    wait_for_copies_until(kLeft, at);
}

// ---- integers

inline int32_t dot4(uint32_t w, uint32_t x, int32_t sum) {
    for (int i = 0; i < 4; ++i) sum += static_cast<int8_t>(w >> 8 * i) * static_cast<int8_t>(x >> 8 * i);
    return sum;
}
inline int32_t dot4_unsigned(uint32_t w, uint32_t x, int32_t sum) {
    for (int i = 0; i < 4; ++i) sum += static_cast<uint8_t>(w >> 8 * i) * static_cast<int8_t>(x >> 8 * i);
    return sum;
}
// Byte i of the result is byte (nibble i of the selector & 7) of high:low. Bit 3 of the nibble spreads its sign
// instead.
inline uint32_t permute(uint32_t low, uint32_t high, uint32_t selector) {
    const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t nibble = selector >> (4 * i) & 15;
        uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (nibble & 7))) & 0xFF;
        if ((nibble & 8) != 0) byte = (byte & 0x80) != 0 ? 0xFF : 0;
        result |= byte << (8 * i);
    }
    return result;
}
inline int32_t atomic_add(const Global<int32_t>& place, int32_t value, const Place& at = Place::current()) {
    int32_t* const number = place.checked(0, at);
    const int32_t before = *number;
    *number = before + value;
    return before;
}
inline int32_t atomic_add(Shared<int32_t> place, int32_t value, const Place& at = Place::current()) {
    return emulation::shared_atomic_add(place.region(), place.offset(), value, at);
}
inline void atomic_min(const Global<uint64_t>& place, uint64_t value, const Place& at = Place::current()) {
    uint64_t* const number = place.checked(0, at);
    if (value < *number) *number = value;
}

template <class T>
std::remove_const_t<T> load_once(const Global<T>& p, const Place& at = Place::current()) {
    return p.read(0, at);
}

// ---- floats: each operation rounds once

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float divide(float a, float b) { return a / b; }
inline float square_root(float a) { return __builtin_sqrtf(a); }
inline float round_to_even(float a) { return __builtin_rintf(a); }
inline float as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t as_bits(float value) { return std::bit_cast<uint32_t>(value); }
inline float f16_to_float(uint16_t bits) { return f16_to_f32(bits); }
inline uint16_t float_to_f16(float value) { return f32_to_f16(value); }

// ---- the host's side

struct Grid {
    int x = 1, y = 1, z = 1;
    int threads = 32;
    int dynamic_shared_bytes = 0;
    const char* name = "";
};

struct Fault {
    std::string kernel;
    std::string message;  // what went wrong, in which block and thread, file and line
};

// Functions that a test can leave out or get wrong at one line of a kernel, to see that this is noticed.
enum class Breakable : uint8_t { block_barrier, warp_barrier, shuffle_mask, copy_wait };

// A launch with its arguments, to be run later.
struct RecordedLaunch {
    Grid grid;
    std::function<void()> thread;
};
using Recording = std::vector<RecordedLaunch>;

// Runs launches at once, in order. After the first fault of a stream nothing runs on it any more.
class Emulator {
  public:
    // A result that depends on the order of blocks or threads is a bug: tests run both orders.
    enum class Order : uint8_t { rising, falling };

    explicit Emulator(Order order = Order::rising) : order_(order) {}

    void run(const Grid& grid, const std::function<void()>& thread);
    const std::optional<Fault>& fault() const { return fault_; }
    int64_t blocks_run() const { return blocks_run_; }

    // From now on the function at `at` does nothing; a shuffle there has a mask without lane 31.
    void break_word(Breakable word, const Place& at) { broken_ = {word, at}; }
    // The lines at which kernels have used the function.
    const std::vector<Place>& places_of(Breakable word) const { return places_[static_cast<size_t>(word)]; }
    // Called by the emulation: remembers the line, and returns whether the function is broken there.
    bool uses(Breakable word, const Place& at);
    int64_t threads_run() const { return threads_run_; }
    void observe(LaunchObserver* observer) { observer_ = observer; }  // nullptr: none

    // Between begin and end, launches are kept and not run.
    void begin_recording() { recording_.emplace(); }
    Recording end_recording();
    bool recording() const { return recording_.has_value(); }
    void replay(const Recording& launches);

  private:
    Order order_;
    std::optional<Recording> recording_;
    LaunchObserver* observer_ = nullptr;
    std::optional<Fault> fault_;
    int64_t blocks_run_ = 0, threads_run_ = 0;
    std::optional<std::pair<Breakable, Place>> broken_;
    std::vector<Place> places_[4];
};
using Stream = Emulator*;

template <class Kernel, class Args>
void launch(Stream stream, const Grid& grid, Kernel kernel, const Args& args) {
    stream->run(grid, [kernel, args] { kernel(args); });
}

template <class T>
Global<T> global(T* data, int64_t count) {
    return Global<T>(data, count);
}

}  // namespace invar::simt
