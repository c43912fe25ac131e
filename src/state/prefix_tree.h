// Prefixes of token sequences in blocks of one page, as a tree. A node is a block of 64 tokens behind its parent, and
// names the unit of each group that holds the results for it. A node is found by a 128-bit hash of its parent's key and
// its tokens, and taken only if parent and tokens are equal, so a collision costs only a comparison. A root stands for
// a model, an arithmetic, a cache type and a salt, so that nothing is shared between any two of those.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "state/unit_pool.h"

namespace invar {

class PrefixTree {
  public:
    // Makes a key from bytes: XXH3-128 unless a test wants collisions.
    using KeyOf = std::function<std::string(std::span<const std::byte> bytes)>;
    PrefixTree(int groups, std::string digest, KeyOf key_of);

    // Returns a node and holds it once; it and its ancestors stay until it is dropped.
    int32_t hold_root(std::string_view salt);
    int32_t hold_child(int32_t parent, std::span<const int32_t> tokens);
    void hold(int32_t node);
    void drop(int32_t node);
    // kNoUnit if there is none. The result is not held.
    int32_t find_root(std::string_view salt) const;
    int32_t find_child(int32_t parent, std::span<const int32_t> tokens) const;

    // The unit of a group that has the node's content: a page of the node's tokens, or the state after them; or
    // kNoUnit.
    int32_t unit(int32_t node, int group) const {
        return nodes_[static_cast<size_t>(node)].units[static_cast<size_t>(group)];
    }
    void set_unit(int32_t node, int group, int32_t unit);
    int64_t size() const { return size_; }

  private:
    struct Node {
        int32_t parent = kNoUnit;
        int32_t children = 0, holders = 0;
        std::string key;
        std::vector<int32_t> tokens;  // empty for a root
        std::string salt;             // of a root only
        std::vector<int32_t> units;   // by group
    };

    std::string key_of_root(std::string_view salt) const;
    std::string key_of_child(int32_t parent, std::span<const int32_t> tokens) const;
    int32_t make(Node node);
    void prune(int32_t node);

    int groups_;
    std::string digest_;
    KeyOf key_of_;
    std::vector<Node> nodes_;
    std::vector<int32_t> unused_;
    std::unordered_multimap<std::string, int32_t> by_key_;
    int64_t size_ = 0;
};

}  // namespace invar
