// The merge loop of both kinds of BPE: neighbours become one, the strongest pair first, the leftmost among equals,
// until no pair is left. n symbols cost O(n log n), whatever the text. What a pair is worth, byte_pair.cpp and
// sentence_piece.cpp decide.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace invar {

inline constexpr uint32_t kNoMerge = UINT32_MAX;

// What becomes of a pair: the lowest rank is the strongest.
struct Merge {
    uint32_t rank = kNoMerge;
    int32_t token = -1;
};

struct MergeSymbol {
    uint32_t begin;  // bytes of the text that it stands for
    uint32_t size;
    int32_t token;     // -1: not known to be one
    int32_t previous;  // -1: none
    int32_t next;      // -1: none
    Merge with_next = {};
};

struct MergeWork {
    std::vector<MergeSymbol> symbols;  // a list: walk it from 0 by `next`
    std::vector<uint64_t> heap;        // rank << 32 | index of the left symbol; stale pairs stay in it

    // Appends a symbol behind the last.
    void append(uint32_t begin, uint32_t size, int32_t token) {
        const auto index = static_cast<int32_t>(symbols.size());
        if (index > 0) symbols.back().next = index;
        symbols.push_back({.begin = begin, .size = size, .token = token, .previous = index - 1, .next = -1});
    }
};

// `merge_of(left, right)` gives the Merge of two neighbouring MergeSymbols.
template <class MergeOf>
void merge_neighbours(MergeWork& work, MergeOf&& merge_of) {
    auto& symbols = work.symbols;
    auto& heap = work.heap;
    const auto look = [&](int32_t left) {
        MergeSymbol& symbol = symbols[left];
        symbol.with_next = symbol.next < 0 ? Merge{} : merge_of(symbol, symbols[symbol.next]);
        if (symbol.with_next.rank == kNoMerge) return false;
        heap.push_back(uint64_t{symbol.with_next.rank} << 32 | static_cast<uint32_t>(left));
        return true;
    };
    heap.clear();
    for (size_t i = 0; i < symbols.size(); ++i) look(static_cast<int32_t>(i));
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        const uint64_t best = heap.back();
        heap.pop_back();
        const auto index = static_cast<int32_t>(best & UINT32_MAX);
        MergeSymbol& left = symbols[index];
        // Stale if either side was merged since: each merge looks anew at the pairs it touches, and what was merged
        // away has none.
        if (left.with_next.rank != best >> 32) continue;
        MergeSymbol& right = symbols[left.next];
        left.token = left.with_next.token;
        left.size += right.size;
        left.next = right.next;
        right.with_next.rank = kNoMerge;
        if (left.next >= 0) symbols[left.next].previous = index;
        if (look(index)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
        if (left.previous >= 0 && look(left.previous)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
}

}  // namespace invar
