// What products cost on one core of this machine, for the formats of model directories and Q4_K beside them: printed,
// never asserted. Decoding is a share of plain reads of the same weights, taken in turns with them; a prompt is
// multiply-adds a second. Times are the thread's own, so that other programs change shares little.
#include <gtest/gtest.h>

#include <time.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/huge_pages.h"
#include "cpu/linear.h"
#include "layout/rows4.h"

namespace invar {
namespace {

constexpr int64_t kColumns = 2560;  // of qwen3-4b
constexpr FormatId kFormats[] = {FormatId::q4_k,  FormatId::int4_g32, FormatId::int4_g128, FormatId::nvfp4,
                                 FormatId::mxfp4, FormatId::bf16,     FormatId::f8_e4m3,   FormatId::f8_e4m3_b128};

double thread_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class Work>
double seconds_of(Work work) {
    const double start = thread_seconds();
    work();
    return thread_seconds() - start;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

using Memory = std::shared_ptr<std::byte>;
Memory allocate(int64_t bytes) { return map_huge_pages(static_cast<size_t>(bytes)); }

// `groups` times the same four rows, packed.
struct Weights {
    Memory memory;
    WeightMatrix matrix;
};
Weights make_weights(const Format& format, int64_t groups) {
    std::mt19937 random(75);
    std::normal_distribution<float> normal(0.0f, 0.5f);
    std::vector<float> row(kColumns);
    for (float& weight : row) weight = normal(random);
    std::vector<std::byte> stored(static_cast<size_t>(format.row_bytes(kColumns) * kRowGroup));
    for (int64_t r = 0; r < kRowGroup; ++r) {
        format.encode(row.data(), kColumns, nullptr, stored.data() + r * format.row_bytes(kColumns));
    }
    const int64_t group_bytes = rows4_bytes(format, kRowGroup, kColumns);
    Weights made{.memory = allocate(groups * group_bytes), .matrix = {}};
    pack_rows4(format, stored.data(), kRowGroup, kColumns, 0, 1, made.memory.get());
    for (int64_t g = 1; g < groups; ++g) {
        std::memcpy(made.memory.get() + g * group_bytes, made.memory.get(), static_cast<size_t>(group_bytes));
    }
    made.matrix = {.id = {},
                   .format = &format,
                   .form = StoredForm::rows4,
                   .rows = groups * kRowGroup,
                   .columns = kColumns,
                   .data = made.memory.get(),
                   .bytes = groups * group_bytes};
    return made;
}

// One kernel over all rows, 320 rows a call as threads take them.
class Product {
  public:
    Product(const Weights& weights, Isa isa, int64_t tokens)
        : weights_(weights.matrix),
          kernel_(choose_linear_kernel({.format = weights_.format->id,
                                        .form = weights_.form,
                                        .rows = weights_.rows,
                                        .columns = kColumns,
                                        .tokens = tokens},
                                       isa, "")),
          tokens_(tokens),
          x_(allocate(tokens * activation_bytes(kernel_.reads, kColumns))),
          scratch_(allocate(kLinearScratchBytes)),
          out_(static_cast<size_t>(tokens * weights_.rows)) {
        std::mt19937 random(76);
        std::normal_distribution<float> normal;
        std::vector<float> row(kColumns);
        const int64_t bytes = activation_bytes(kernel_.reads, kColumns);
        for (int64_t token = 0; token < tokens; ++token) {
            for (float& x : row) x = normal(random);
            prepare_activations(kernel_.reads, isa, row.data(), kColumns, x_.get() + token * bytes);
        }
    }
    const char* kernel() const { return kernel_.name.data(); }
    void run() {
        for (int64_t first = 0; first < weights_.rows; first += 320) {
            kernel_.run({.weight = &weights_,
                         .activations = x_.get(),
                         .tokens = tokens_,
                         .out = out_.data(),
                         .out_stride = weights_.rows,
                         .first_row = first,
                         .last_row = std::min(weights_.rows, first + 320),
                         .worker_scratch = scratch_.get()});
        }
    }

  private:
    const WeightMatrix& weights_;
    const LinearKernel& kernel_;
    int64_t tokens_;
    Memory x_, scratch_;
    std::vector<float> out_;
};

// Seconds to read all bytes in 64-byte lines, as the probe of `bench` does (machine/read_probe.h).
double read_seconds(const WeightMatrix& weights) {
    static volatile uint64_t kept = 0;
    return seconds_of([&] {
        uint64_t sums[8] = {};
        for (int64_t at = 0; at + 64 <= weights.bytes; at += 64) {
            uint64_t words[8];
            __builtin_prefetch(weights.data + at + 3072);
            std::memcpy(words, weights.data + at, 64);
            for (int i = 0; i < 8; ++i) sums[i] += words[i];
        }
        for (const uint64_t sum : sums) kept = kept + sum;
    });
}

std::vector<Isa> vector_isas() {
    std::vector<Isa> isas;
    for (const Isa isa : detect_isa().all_supported()) {
        if (isa != Isa::scalar && isa != Isa::amx) isas.push_back(isa);
    }
    return isas;
}

TEST(ProductSpeed, DecodingAgainstPlainReadsOfTheSameWeights) {
    for (const FormatId id : kFormats) {
        const int64_t groups = (int64_t{256} << 20) / rows4_bytes(format(id), kRowGroup, kColumns);
        const Weights weights = make_weights(format(id), groups);
        for (const Isa isa : vector_isas()) {
            Product product(weights, isa, 1);
            product.run();
            std::vector<double> shares, rates;
            double before = read_seconds(weights.matrix);
            for (int turn = 0; turn < 11; ++turn) {
                const double seconds = seconds_of([&] { product.run(); }), after = read_seconds(weights.matrix);
                shares.push_back((before + after) / 2 / seconds);
                rates.push_back(static_cast<double>(weights.matrix.bytes) / seconds / 1e9);
                before = after;
            }
            printf("[speed] decode %-13s %-9s %-17s %.1f GB/s, %.2f of plain reads\n", format(id).name.data(),
                   isa_name(isa).data(), product.kernel(), median(rates), median(shares));
        }
    }
}

TEST(ProductSpeed, APromptOf128) {
    constexpr int64_t kTokens = 128, kGroups = 64;
    for (const FormatId id : kFormats) {
        const Weights weights = make_weights(format(id), kGroups);
        for (const Isa isa : vector_isas()) {
            Product product(weights, isa, kTokens);
            product.run();
            std::vector<double> rates;
            for (int turn = 0; turn < 21; ++turn) {
                const double products = static_cast<double>(kGroups * kRowGroup * kColumns * kTokens);
                rates.push_back(products / seconds_of([&] { product.run(); }) / 1e9);
            }
            printf("[speed] prompt %-13s %-9s %-17s %.0f GMAC/s\n", format(id).name.data(), isa_name(isa).data(),
                   product.kernel(), median(rates));
        }
    }
}

}  // namespace
}  // namespace invar
