"""The byte-level BPE of the demonstration models: training, encoding and decoding.

Decides the vocabulary: 256 bytes in the GPT-2 byte alphabet, merges learnt from generated text cut by
the qwen2 pattern (every digit is a piece of its own), then the special tokens.  Saved as one JSON file.
"""
import argparse
import collections
import json
import random

import regex

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
CONTROL = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}


def byte_alphabet():
    """The printable character that stands for each byte in token texts."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return table


BYTES = byte_alphabet()
UNBYTES = {c: b for b, c in BYTES.items()}


class Tokenizer:
    def __init__(self, merges, vocab_size):
        self.merges = [tuple(m) for m in merges]
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.tokens = [BYTES[b] for b in sorted(range(256), key=lambda b: BYTES[b])] + [a + b for a, b in self.merges] + SPECIALS
        assert len(self.tokens) == len(set(self.tokens)) == vocab_size, (len(self.tokens), vocab_size)
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.pieces = regex.compile(PATTERN)
        self.special = regex.compile("(" + "|".join(regex.escape(s) for s in SPECIALS) + ")")
        self.cache = {}

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        return cls(data["merges"], data["vocab_size"])

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"vocab_size": len(self.tokens), "merges": self.merges}, f, ensure_ascii=False)

    def encode_piece(self, piece):
        ids = self.cache.get(piece)
        if ids is None:
            parts = [BYTES[b] for b in piece.encode("utf-8")]
            while len(parts) > 1:
                best = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
                if (parts[best], parts[best + 1]) not in self.rank:
                    break
                parts[best:best + 2] = [parts[best] + parts[best + 1]]
            ids = [self.ids[p] for p in parts]
            if len(self.cache) < 500_000:
                self.cache[piece] = ids
        return ids

    def encode(self, text):
        ids = []
        for span in self.special.split(text):
            if span in self.ids and span in SPECIALS:
                ids.append(self.ids[span])
            elif span:
                for piece in self.pieces.findall(span):
                    ids.extend(self.encode_piece(piece))
        return ids

    def decode(self, ids, skip=()):
        out = bytearray()
        for i in ids:
            token = self.tokens[i]
            if token in SPECIALS:
                if token not in skip:
                    out += token.encode()
            else:
                out += bytes(UNBYTES[c] for c in token)
        return out.decode("utf-8", errors="replace")


def learn_merges(counts, number):
    """The most frequent pair again and again, over pieces weighted by their counts."""
    words = [([BYTES[b] for b in piece.encode("utf-8")], n) for piece, n in counts.items()]
    merges = []
    for _ in range(number):
        pairs = collections.Counter()
        for parts, n in words:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        joined = best[0] + best[1]
        for parts, _ in words:
            i = 0
            while i < len(parts) - 1:
                if parts[i] == best[0] and parts[i + 1] == best[1]:
                    parts[i:i + 2] = [joined]
                i += 1
    return merges


def main():
    import chat
    import world
    parser = argparse.ArgumentParser(description="Learn the merges from generated conversations.")
    parser.add_argument("--out", required=True)
    parser.add_argument("--vocab", type=int, default=768)
    parser.add_argument("--count", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    rng, pattern, counts = random.Random(args.seed), regex.compile(PATTERN), collections.Counter()
    special = regex.compile("|".join(regex.escape(s) for s in SPECIALS))
    for _ in range(args.count):
        for prefix, branch, _ in chat.turn_texts(world.training_conversation(rng)):
            for span in special.split(branch) + special.split(prefix[-200:]):
                counts.update(pattern.findall(span))
    counts = {piece: n for piece, n in counts.items() if n > 3}
    tokenizer = Tokenizer(learn_merges(counts, args.vocab - 256 - len(SPECIALS)), args.vocab)
    tokenizer.save(args.out)
    print(f"{len(counts)} pieces, {len(tokenizer.merges)} merges, last ones: {tokenizer.merges[-12:]}")


if __name__ == "__main__":
    main()
