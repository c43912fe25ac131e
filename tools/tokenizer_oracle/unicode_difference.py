"""Which characters the oracles and invar class differently because they follow different versions of Unicode.

invar follows Unicode 14 in expressions (PCRE2 10.42) and 15 in normal forms, case and BERT's classes (utf8proc 2.8); the two differ in
characters that Unicode 14 lacks. Python 3.11's unicodedata is of Unicode 14 and stands for it here. The libraries of the oracles hold several
versions: `tokenizers` has Unicode 8 for punctuation and marks, an old one for normal forms, a newer one for expressions and case. So each
library is asked for the class of every character, through the same steps that tokenizers are made of, and a character is left
out of the random text when one answer differs from Unicode 14's. Nothing is listed by hand: what is left out follows from the
versions installed.
"""
import unicodedata

import tiktoken
from tokenizers import Regex, normalizers, pre_tokenizers

UNICODE = "14.0.0"
PROPERTIES = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "N", "Nd", "P", "S", "Z", "Cc", "Cf", "Cn", "Co"]


def everything():
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def of_property(characters, name):
    return {c for c in characters if unicodedata.category(chr(c)).startswith(name)}


def expressions_of_tokenizers(characters, text):
    for name in PROPERTIES:
        step = pre_tokenizers.Split(Regex(r"\p{%s}+" % name), "removed")
        rest = {ord(c) for piece, _ in step.pre_tokenize_str(text) for c in piece}
        yield f"tokenizers' expression \\p{{{name}}}", (set(characters) - rest) ^ of_property(characters, name)


def expressions_of_tiktoken(characters, text):
    for name in PROPERTIES:
        encoding = tiktoken.Encoding(name=name, pat_str=r"\p{%s}+" % name, mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={})
        found = {ord(c) for c in encoding.decode(encoding.encode_ordinary(text))}
        yield f"tiktoken's expression \\p{{{name}}}", found ^ of_property(characters, name)


def steps_of_tokenizers(characters, text):
    ascii_punctuation = {c for c in range(0x21, 0x7F) if not chr(c).isalnum()}
    rest = {ord(c) for piece, _ in pre_tokenizers.Punctuation("removed").pre_tokenize_str(text) for c in piece}
    yield "tokenizers' Punctuation", (set(characters) - rest) ^ (of_property(characters, "P") | ascii_punctuation)
    pieces = pre_tokenizers.Digits(True).pre_tokenize_str("a".join(map(chr, [0x61, *characters, 0x61])))
    digits = {ord(piece) for piece, _ in pieces if len(piece) == 1 and piece != "a"}
    yield "tokenizers' Digits", digits ^ of_property(characters, "N")


def normalizers_of_tokenizers(characters):
    """Each character by itself, between line breaks."""
    def without(kind):
        return lambda c: "".join(part for part in unicodedata.normalize("NFD", c) if not unicodedata.category(part).startswith(kind))
    steps = {name: (getattr(normalizers, name)(), lambda c, name=name: unicodedata.normalize(name, c)) for name in ("NFC", "NFD", "NFKC", "NFKD")}
    steps["Lowercase"] = (normalizers.Lowercase(), str.lower)
    steps["StripAccents"] = (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), without("M"))
    steps["BertNormalizer, accents"] = (normalizers.BertNormalizer(False, False, True, False), without("Mn"))
    characters = [c for c in characters if c != 0x0A]
    for name, (step, expected) in steps.items():
        results = step.normalize_str("\n".join(map(chr, characters))).split("\n")
        assert len(results) == len(characters), name
        yield f"tokenizers' {name}", {c for c, result in zip(characters, results) if result != expected(chr(c))}
    # Control characters are removed; how it treats NUL, U+FFFD and white space follows from no table of Unicode's.
    step = normalizers.BertNormalizer(True, False, False, False)
    gone = {c for c in characters if c not in (0, 0xFFFD) and step.normalize_str(chr(c)) == ""}
    named = {c for c in characters if c not in (0, 0x09, 0x0A, 0x0D) and unicodedata.category(chr(c)) in ("Cc", "Cf", "Co")}
    yield "tokenizers' BertNormalizer, control characters", gone ^ named


def common_alphabet(report=print):
    """The characters that all versions class alike, those without a character among them only where no version has one."""
    if unicodedata.unidata_version != UNICODE:
        raise SystemExit(f"this Python's unicodedata is of Unicode {unicodedata.unidata_version}, but invar follows {UNICODE}: use Python 3.11")
    characters = everything()
    text = "".join(map(chr, characters))
    differing = set()
    for group in (expressions_of_tokenizers(characters, text), expressions_of_tiktoken(characters, text), steps_of_tokenizers(characters, text),
                  normalizers_of_tokenizers(characters)):
        for name, found in group:
            differing |= found
            if found:
                report(f"{name}: {len(found)} characters are classed otherwise than in Unicode {UNICODE}")
    assigned = [c for c in characters if c not in differing and unicodedata.category(chr(c)) != "Cn"]
    unassigned = [c for c in characters if c not in differing and unicodedata.category(chr(c)) == "Cn"]
    report(f"{len(differing)} characters are left out, {len(assigned)} are used, and {len(unassigned)} places without a character")
    return assigned, unassigned
