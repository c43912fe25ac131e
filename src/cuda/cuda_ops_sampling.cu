// Finds the first tokens of rows of logits: one upload of the requests before the pass, a few launches and one small
// download after it. See preselection.cuh.
#include <algorithm>
#include <bit>

#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/kernel_loading.h"
#include "cuda/preselection.cuh"

namespace invar {

using namespace cuda;

namespace {

constexpr int64_t kRowBytes = sizeof(PreselectRow), kEditBytes = sizeof(LogitEdit);
static_assert(kRowBytes == 24 && kEditBytes == 20);

int64_t blocks_of(int64_t keys) { return (keys + kSortKeys - 1) / kSortKeys; }

RankedLogit ranked_of(uint64_t key) {
    const auto order = static_cast<uint32_t>(key >> 32);
    const uint32_t bits = (order & 0x80000000u) != 0 ? order & 0x7FFFFFFFu : ~order;
    return {.token = static_cast<int32_t>(0xFFFFFFFFu - static_cast<uint32_t>(key)),
            .logit = std::bit_cast<float>(bits)};
}

// `answered` holds `count` keys of each row, then the first wrong logit of each row.
std::vector<RankedLogits> read_ranks(const std::vector<uint64_t>& answered, const std::vector<int>& counts,
                                     int64_t count) {
    std::vector<RankedLogits> results(counts.size());
    for (size_t row = 0; row < counts.size(); ++row) {
        RankedLogits& result = results[row];
        const uint64_t wrong = answered[counts.size() * static_cast<size_t>(count) + row];
        if (wrong != kNoFailure)
            result.wrong = RankedLogit{.token = static_cast<int32_t>(wrong >> 32),
                                       .logit = std::bit_cast<float>(static_cast<uint32_t>(wrong))};
        const uint64_t* const of_row = answered.data() + row * static_cast<size_t>(count);
        for (int i = 0; i < counts[row] && of_row[i] != kNoKey; ++i) result.first.push_back(ranked_of(of_row[i]));
    }
    return results;
}

// The places of the parts of Control::ranking for a number of rows and ranks.
struct RankingPlaces {
    int64_t wrong = 0, requests = 0, edits = 0;

    RankingPlaces(int64_t rows, int64_t count)
        : wrong(rows * count * 8), requests(wrong + rows * 8), edits(requests + rows * kRowBytes) {}
};

}  // namespace

Result<void> CudaOps::ask(std::span<const Preselection> requests) {
    const auto rows = static_cast<int64_t>(requests.size());
    CHECK(rows <= settings_.ranked_rows, "ranks are asked of at most as many rows as planned");
    asked_counts_.clear();
    std::vector<PreselectRow> numbers;
    std::vector<LogitEdit> edits;
    for (const Preselection& request : requests) {
        CHECK(request.count >= 1 && request.count <= kMostPreselected && request.edits.size() <= kMostLogitEdits,
              "a request is for 1 to 256 tokens, and the plan has room for 4096 edits");
        asked_counts_.push_back(request.count);
        numbers.push_back({.first_edit = static_cast<int32_t>(edits.size()),
                           .edits = static_cast<int32_t>(request.edits.size()),
                           .repetition = request.repetition_penalty,
                           .frequency = request.frequency_penalty,
                           .presence = request.presence_penalty,
                           .temperature = request.temperature});
        edits.insert(edits.end(), request.edits.begin(), request.edits.end());
    }
    asked_edits_ = static_cast<int64_t>(edits.size());
    if (settings_.measuring || rows == 0) return {};
    const RankingPlaces places(rows, *std::max_element(asked_counts_.begin(), asked_counts_.end()));
    std::vector<std::byte> upload(static_cast<size_t>(places.edits - places.wrong + asked_edits_ * kEditBytes));
    const std::vector<uint64_t> wrong(static_cast<size_t>(rows), kNoFailure);
    std::memcpy(upload.data(), wrong.data(), wrong.size() * 8);
    std::memcpy(upload.data() + (places.requests - places.wrong), numbers.data(), numbers.size() * kRowBytes);
    if (!edits.empty())
        std::memcpy(upload.data() + (places.edits - places.wrong), edits.data(), edits.size() * kEditBytes);
    keep(settings_.device.upload(control_->ranking.data() + places.wrong, upload.data(),
                                 static_cast<int64_t>(upload.size())));
    return device_error();
}

Result<std::vector<RankedLogits>> CudaOps::preselect(Tensor logits) {
    const auto rows = static_cast<int64_t>(asked_counts_.size());
    CHECK(rows == logits.rows() && logits.width() < (int64_t{1} << 31), "each row of logits has a request");
    if (rows == 0) return std::vector<RankedLogits>();
    const int64_t count = *std::max_element(asked_counts_.begin(), asked_counts_.end());
    const int64_t before = taken_, vocabulary = logits.width();
    int64_t keys = blocks_of(vocabulary) * count;
    const auto make = [&](int64_t elements) { return simt::global(take_elements<uint64_t>(elements), elements); };
    auto from = make(rows * keys), to = make(rows * blocks_of(keys) * count);
    taken_ = before;  // the next verb that takes this memory is launched later
    if (settings_.measuring) return std::vector<RankedLogits>();

    Device& device = settings_.device;
    const simt::Stream stream = stream_of(device);
    const auto grid = [&](int64_t of_keys, const char* name) {
        return simt::Grid{.x = static_cast<int>(blocks_of(of_keys)),
                          .y = static_cast<int>(rows),
                          .threads = kSortThreads,
                          .name = name};
    };
    const RankingPlaces places(rows, count);
    std::byte* const ranking = control_->ranking.data();
    const auto answer = simt::global(reinterpret_cast<uint64_t*>(ranking), rows * count);
    const bool one_round = blocks_of(vocabulary) == 1;
    simt::launch(
        stream, grid(vocabulary, "preselect"), preselect_kernel,
        PreselectArgs{.logits = rows_of(logits),
                      .vocabulary = vocabulary,
                      .rows = simt::global(reinterpret_cast<const PreselectRow*>(ranking + places.requests), rows),
                      .edits = simt::global(reinterpret_cast<const LogitEdit*>(ranking + places.edits), asked_edits_),
                      .count = static_cast<int>(count),
                      .wrong = simt::global(reinterpret_cast<uint64_t*>(ranking + places.wrong), rows),
                      .keys = one_round ? answer : from});
    while (keys > count) {
        const bool last = blocks_of(keys) == 1;
        simt::launch(
            stream, grid(keys, "keep_first"), keep_first_kernel,
            KeepFirstArgs{.from = from, .keys = keys, .count = static_cast<int>(count), .to = last ? answer : to});
        keys = blocks_of(keys) * count;
        std::swap(from, to);
    }
    TRY(device_error());
    std::vector<uint64_t> answered(static_cast<size_t>(rows * (count + 1)));
    TRY(device.download(answered.data(), ranking, places.requests));
    return read_ranks(answered, asked_counts_, count);
}

const void* cuda::kernel_of_sampling() { return reinterpret_cast<const void*>(keep_first_kernel); }

}  // namespace invar
