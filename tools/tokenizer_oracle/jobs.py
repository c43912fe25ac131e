"""A job is a folder that the test TokenizerOracle reads: a tokenizer's files, strings, and the ids and texts that an oracle gave.

    strings.bin   the strings           ids.bin    their ids, int32        texts.bin   the text that the oracle makes of the ids
    broken.bin    bytes that are no UTF-8, which must be refused           job.json    how the strings are read

Each .bin file is a list of records: a length as u32, then so many bytes.
"""
import json
import pathlib
import struct
import zlib
from importlib.metadata import version

from text import Text

NOT_COMPARED = b"\x01skip"  # as the text of ids that the oracle is known to break


class Jobs:
    """Makes jobs in a folder and hands each one on as it is ready: done(name, group, oracle, strings)."""

    def __init__(self, folder, seed, alphabet, done):
        self.folder, self.seed, self.alphabet, self.done = pathlib.Path(folder), seed, alphabet, done
        self.strings, self.group, self.wanted = 0, "", None
        self.skipped = []

    def begin(self, group, strings):
        """The jobs from here on belong to `group` and have so many strings each."""
        self.group, self.strings = group, strings

    def skip(self, name, reason):
        self.skipped.append((name, reason))

    def text(self, name, words=()):
        return Text(zlib.crc32(name.encode()) ^ self.seed, *self.alphabet, words)

    def add(self, name, files, encode, decode, oracle, words=(), about=None, texts=None, change=lambda text: text):
        """encode(list of texts) -> list of ids; decode(ids) -> text, or None where it is not compared."""
        if self.wanted is not None and self.wanted not in name:
            return
        source = self.text(name, words)
        if texts is None:
            texts = ["", *(change(source.string()) for _ in range(self.strings - 1))]
        job = self.folder / name
        job.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (job / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        (job / "job.json").write_text(json.dumps(about or {}))
        ids = encode(texts)
        write_records(job / "strings.bin", (t.encode() for t in texts))
        write_records(job / "ids.bin", (struct.pack(f"<{len(one)}i", *one) for one in ids))
        write_records(job / "texts.bin", (NOT_COMPARED if back is None else back.encode() for back in map(decode, ids)))
        write_records(job / "broken.bin", (source.not_utf8() for _ in range(max(10, len(texts) // 100))))
        self.done(job, self.group, f"{oracle} {version(oracle)}" if oracle else "published ids", len(texts))

    def add_hf(self, name, tokenizer, words=(), ends=False, more_files=None, json_text=None, comparable=lambda ids: True):
        self.add(name, {"tokenizer.json": json_text or tokenizer.to_str(), **(more_files or {})},
                 lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=ends)],
                 lambda ids: tokenizer.decode(ids, skip_special_tokens=False) if comparable(ids) else None, "tokenizers", words, {"ends": ends},
                 change=begins_with_text if ends else lambda text: text)


def begins_with_text(text):
    """invar does not double a BOS that the text begins with, perhaps behind characters that a normaliser removes; the libraries do."""
    return "x" + text if any(special in text[:40] for special in ("[CLS]", "<s>")) else text


def write_records(path, values):
    with open(path, "wb") as out:
        for value in values:
            out.write(struct.pack("<I", len(value)) + value)
