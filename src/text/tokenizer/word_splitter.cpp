// Steps that cut keep the text; steps that rewrite make a new one (word_splitter.h).
#include "text/tokenizer/word_splitter.h"

#include <algorithm>

#include "text/tokenizer/vocabulary.h"

namespace invar {
namespace {

struct Part {
    Span span;
    bool is_match;
};

// Appends the words of one piece. Empty words are left out.
class WordMaker {
  public:
    WordMaker(SplitBehavior behavior, std::vector<Span>& words)
        : behavior_(behavior), words_(words), first_(words.size()) {}

    void add(Span span, bool is_match) {
        const bool joins = words_.size() > first_ && joins_previous(is_match);
        was_match_ = is_match;
        if (joins) {
            words_.back().end = span.end;
        } else if (!(is_match && behavior_ == SplitBehavior::removed)) {
            words_.push_back(span);
        }
    }

  private:
    bool joins_previous(bool is_match) const {
        switch (behavior_) {
            case SplitBehavior::contiguous:
                return is_match == was_match_;
            case SplitBehavior::merged_with_previous:
                return is_match && !was_match_;
            default:
                return false;
        }
    }

    SplitBehavior behavior_;
    std::vector<Span>& words_;
    size_t first_;
    bool was_match_ = false;
};

// A match joins the part behind it, unless that is a match too.
void merge_with_next(const std::vector<Part>& parts, std::vector<Span>& words) {
    const size_t first = words.size();
    bool was_match = false;
    for (size_t i = parts.size(); i-- > 0;) {
        const bool joins = parts[i].is_match && !was_match && words.size() > first;
        was_match = parts[i].is_match;
        if (joins) {
            words.back().begin = parts[i].span.begin;
        } else {
            words.push_back(parts[i].span);
        }
    }
    std::reverse(words.begin() + static_cast<std::ptrdiff_t>(first), words.end());
}

void make_words(Span piece, const std::vector<Span>& matches, SplitBehavior behavior, bool invert,
                std::vector<Span>& words) {
    const size_t first = words.size();
    if (behavior == SplitBehavior::merged_with_next) {
        std::vector<Part> parts;
        size_t done = piece.begin;
        for (const Span match : matches) {
            if (match.begin > done) parts.push_back({{done, match.begin}, invert});
            parts.push_back({match, !invert});
            done = match.end;
        }
        if (done < piece.end) parts.push_back({{done, piece.end}, invert});
        merge_with_next(parts, words);
    } else {
        WordMaker maker(behavior, words);
        size_t done = piece.begin;
        for (const Span match : matches) {
            if (match.begin > done) maker.add({done, match.begin}, invert);
            maker.add(match, !invert);
            done = match.end;
        }
        if (done < piece.end) maker.add({done, piece.end}, invert);
    }
    const auto is_empty = [](Span word) { return word.begin == word.end; };
    words.erase(std::remove_if(words.begin() + static_cast<std::ptrdiff_t>(first), words.end(), is_empty), words.end());
}

Result<void> cut(WordSplitter::Work& work, const Pattern& pattern, SplitBehavior behavior, bool invert) {
    std::swap(work.words, work.pieces);
    work.words.clear();
    for (const Span piece : work.pieces) {
        work.matches.clear();
        const Result<void> found = pattern.find_all(work.text, piece, work.search, work.matches);
        if (!found) return fail("the pre-tokenizer: {}", found.error().message);
        make_words(piece, work.matches, behavior, invert, work.words);
    }
    const bool keeps_first = !work.pieces.empty() && !work.words.empty() && work.words[0].begin == work.pieces[0].begin;
    work.starts_text = work.starts_text && keeps_first;
    return {};
}

// Rewrites every word: `write(word, is_first)` appends the new one to `work.rewritten`.
template <class Write>
void rewrite(WordSplitter::Work& work, Write&& write) {
    work.rewritten.clear();
    work.rewritten.reserve(work.text.size() + work.text.size() / 2);
    for (size_t i = 0; i < work.words.size(); ++i) {
        const Span word = work.words[i];
        const size_t begin = work.rewritten.size();
        write(std::string_view(work.text).substr(word.begin, word.end - word.begin), i == 0);
        work.words[i] = {begin, work.rewritten.size()};
    }
    std::swap(work.text, work.rewritten);
}

Result<void> apply(const split::Metaspace& step, WordSplitter::Work& work) {
    using Prepend = split::Metaspace::Prepend;
    rewrite(work, [&](std::string_view word, bool is_first) {
        const bool wants =
            step.prepend == Prepend::always || (step.prepend == Prepend::first && is_first && work.starts_text);
        if (wants && !word.starts_with(step.mark) && !word.starts_with(' ')) work.rewritten += step.mark;
        for (const char byte : word) {
            if (byte == ' ') {
                work.rewritten += step.mark;
            } else {
                work.rewritten += byte;
            }
        }
    });
    if (!step.cut) return {};
    return cut(work, *step.cut, SplitBehavior::merged_with_next, false);
}

Result<void> apply(const split::ByteLevel& step, WordSplitter::Work& work) {
    if (step.add_prefix_space || step.writes_stand_ins) {
        rewrite(work, [&](std::string_view word, bool) {
            const bool wants = step.add_prefix_space && !word.starts_with(' ');
            if (!step.writes_stand_ins) {
                work.rewritten.append(wants ? " " : "").append(word);
                return;
            }
            if (wants) append_byte_level_text(work.rewritten, " ");
            append_byte_level_text(work.rewritten, word);
        });
    }
    return {};
}

}  // namespace

Result<void> WordSplitter::split(Work& work) const {
    work.words.clear();
    if (!work.text.empty()) work.words.push_back({0, work.text.size()});
    for (const split::Step& step : steps_) {
        if (const auto* pattern = std::get_if<split::ByPattern>(&step)) {
            TRY(cut(work, pattern->pattern, pattern->behavior, pattern->invert));
        } else if (const auto* metaspace = std::get_if<split::Metaspace>(&step)) {
            TRY(apply(*metaspace, work));
        } else {
            TRY(apply(std::get<split::ByteLevel>(step), work));
        }
    }
    return {};
}

}  // namespace invar
