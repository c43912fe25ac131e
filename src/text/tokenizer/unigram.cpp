// Builds a trie, finds the best path to every character boundary, and follows it back (unigram.h).
#include "text/tokenizer/unigram.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "files/printable.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the lowest score of all tokens

constexpr double kMostSum = 100000.0;

}  // namespace

UnigramEncoder::UnigramEncoder(const Vocabulary& vocabulary, std::vector<double> scores, std::vector<bool> takes_part,
                               UnigramRules rules)
    : vocabulary_(&vocabulary), scores_(std::move(scores)), takes_part_(std::move(takes_part)), rules_(rules) {
    double lowest = std::numeric_limits<double>::infinity();
    for (size_t token = 0; token < scores_.size(); ++token) {
        // sentencepiece considers its normal tokens only.
        const bool counts =
            !rules_.sums_in_binary32 || vocabulary.kind(static_cast<int32_t>(token)) == TokenKind::normal;
        if (counts) lowest = std::min(lowest, scores_[token]);
    }
    unknown_score_ = sum(lowest, -kUnknownPenalty);
    byte_tokens_.fill(-1);
    for (int byte = 0; byte < 256; ++byte) {
        const auto token = vocabulary.find(fmt::format("<0x{:02X}>", byte));
        if (token && static_cast<size_t>(*token) < scores_.size()) byte_tokens_[static_cast<size_t>(byte)] = *token;
    }
    build_trie();
}

double UnigramEncoder::sum(double a, double b) const {
    return rules_.sums_in_binary32 ? static_cast<double>(static_cast<float>(a) + static_cast<float>(b)) : a + b;
}

// Builds breadth first over the sorted tokens, so that the children of a node lie next to each other.
void UnigramEncoder::build_trie() {
    std::vector<int32_t> order;
    for (int32_t token = 0; static_cast<size_t>(token) < scores_.size(); ++token) {
        if (takes_part_[static_cast<size_t>(token)] && !vocabulary_->text(token).empty()) order.push_back(token);
    }
    std::sort(order.begin(), order.end(),
              [this](int32_t a, int32_t b) { return vocabulary_->text(a) < vocabulary_->text(b); });
    struct Open {
        size_t begin, end, depth;
    };
    std::vector<Open> open = {{0, order.size(), 0}};
    nodes_.emplace_back();
    for (size_t at = 0; at < open.size(); ++at) {
        auto [begin, end, depth] = open[at];
        if (begin < end && vocabulary_->text(order[begin]).size() == depth) nodes_[at].token = order[begin++];
        nodes_[at].first_child = static_cast<uint32_t>(edges_.size());
        while (begin < end) {
            const char byte = vocabulary_->text(order[begin])[depth];
            const size_t first = begin;
            while (begin < end && vocabulary_->text(order[begin])[depth] == byte) ++begin;
            edges_.push_back({static_cast<uint8_t>(byte), static_cast<uint32_t>(nodes_.size())});
            ++nodes_[at].children;
            nodes_.emplace_back();
            open.push_back({first, begin, depth + 1});
        }
    }
}

std::optional<uint32_t> UnigramEncoder::child(uint32_t node, uint8_t byte) const {
    const auto begin = edges_.begin() + nodes_[node].first_child;
    const auto end = begin + nodes_[node].children;
    const auto edge = std::lower_bound(begin, end, byte, [](const Edge& a, uint8_t b) { return a.byte < b; });
    if (edge == end || edge->byte != byte) return std::nullopt;
    return edge->node;
}

// When the sum leaves +-100000, where binary32 would lose the scores, sentencepiece subtracts it from all open ends.
void UnigramEncoder::keep_small(std::vector<Best>& best, size_t begin) const {
    const double offset = best[begin].score;
    if (offset >= -kMostSum && offset <= kMostSum) return;
    const size_t end = std::min(best.size(), begin + vocabulary_->longest_text() + 5);
    for (size_t i = begin; i < end; ++i) {
        if (i == begin || best[i].begin != SIZE_MAX) best[i].score = sum(best[i].score, -offset);
    }
    best[begin].score = 0;
}

Result<void> UnigramEncoder::find_best(std::string_view word, std::vector<Best>& best) const {
    best.assign(word.size() + 1, {});
    best[0].begin = 0;
    const auto offer = [&](size_t begin, size_t end, double score, int32_t token) {
        const double candidate = sum(score, best[begin].score);
        if (best[end].begin != SIZE_MAX && candidate <= best[end].score) return;
        best[end] = {candidate, begin, token};
    };
    for (size_t begin = 0; begin < word.size();) {
        if (rules_.sums_in_binary32) keep_small(best, begin);
        const size_t character = read_utf8(word.substr(begin)).bytes;
        bool has_character = false;
        uint32_t node = 0;
        for (size_t end = begin; end < word.size();) {
            const auto next = child(node, static_cast<uint8_t>(word[end]));
            if (!next) break;
            node = *next;
            ++end;
            const int32_t token = nodes_[node].token;
            if (token < 0) continue;
            offer(begin, end, scores_[static_cast<size_t>(token)], token);
            has_character = has_character || end == begin + character;
        }
        if (!has_character) {
            if (rules_.unknown < 0) {
                return fail("the vocabulary has no token for '{}', and no unknown token",
                            printable(word.substr(begin, character)));
            }
            offer(begin, begin + character, unknown_score_, rules_.unknown);
        }
        begin += character;
    }
    return {};
}

void UnigramEncoder::emit_unknown(std::string_view run, std::vector<int32_t>& tokens) const {
    const auto spelled = vocabulary_->find(run);  // the run may be the unknown token's own text
    if (spelled && static_cast<size_t>(*spelled) < scores_.size() && takes_part_[static_cast<size_t>(*spelled)]) {
        tokens.push_back(*spelled);
        return;
    }
    const auto has_byte = [&](char byte) { return byte_tokens_[static_cast<uint8_t>(byte)] >= 0; };
    if (rules_.byte_fallback && std::all_of(run.begin(), run.end(), has_byte)) {
        for (const char byte : run) tokens.push_back(byte_tokens_[static_cast<uint8_t>(byte)]);
    } else {
        tokens.push_back(rules_.unknown);
    }
}

Result<void> UnigramEncoder::encode(std::string_view text, Span word, ModelWork&, std::vector<int32_t>& tokens) const {
    const std::string_view bytes = text.substr(word.begin, word.end - word.begin);
    std::vector<Best> best;
    TRY(find_best(bytes, best));
    std::vector<Span> path;  // the last part first
    for (size_t end = bytes.size(); end > 0; end = best[end].begin) path.push_back({best[end].begin, end});
    for (size_t i = path.size(); i-- > 0;) {
        const int32_t token = best[path[i].end].token;
        if (token != rules_.unknown) {
            tokens.push_back(token);
            continue;
        }
        size_t end = path[i].end;  // neighbouring unknown parts become one
        const size_t begin = path[i].begin;
        while (i > 0 && best[path[i - 1].end].token == rules_.unknown) end = path[--i].end;
        emit_unknown(bytes.substr(begin, end - begin), tokens);
    }
    return {};
}

}  // namespace invar
