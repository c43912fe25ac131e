"""invar audit from outside: the demonstration models have no findings; a changed byte in a copy is reported at the offset where the
block lies according to the gguf package, which shares no code with us; exit codes.
"""
import json
import pathlib
import shutil

import gguf
import numpy as np

import engine

BLOCK_BYTES = {"q8_0": 34, "q4_k_m": 144}


def audit(invar, path, expected):
    done = invar.call("audit", path, "--json")
    assert done.returncode == expected, f"{path}: exit code {done.returncode}, expected {expected}: {done.stderr}"
    return engine.json.loads(done.stdout)


def damaged(source, copy, name, block, block_bytes, bits):
    """Writes a copy in which the binary16 at the start of one block is replaced, and returns the block's offset in the file."""
    shutil.copy(source, copy)
    tensor = next(t for t in gguf.GGUFReader(str(source)).tensors if t.name == name)
    offset = int(tensor.data_offset) + block * block_bytes
    with open(copy, "r+b") as file:
        file.seek(offset)
        file.write(np.uint16(bits).tobytes())
    return offset


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    sound = found = 0
    for model in ("demo-dense", "demo-moe"):
        for mix, block_bytes in BLOCK_BYTES.items():
            path = folder / f"{model}-{mix}.gguf"
            report = audit(invar, path, 0)
            assert report["errors"] == report["warnings"] == 0, f"{path}: {report['findings']}"
            assert report["tensors"] == len(gguf.GGUFReader(str(path)).tensors)
            sound += 1
            for name in ("blk.1.attn_q.weight", "blk.2.attn_output.weight"):
                for block, bits in ((0, 0x7C00), (101, 0x7E00), (127, 0xFC00)):
                    copy = invar.folder / "damaged.gguf"
                    offset = damaged(path, copy, name, block, block_bytes, bits)
                    report = audit(invar, copy, 1)
                    where = [(f["check"], f["subject"], f.get("block"), f.get("offset")) for f in report["findings"] if f["severity"] != "note"]
                    wanted = ("non-finite-scale", name, block, offset)
                    assert where == [wanted], f"{path}: wanted {wanted}, found {where}"
                    found += 1
    assert audit_text(invar, folder / "demo-moe-q8_0.gguf").endswith("0 errors, 0 warnings, 0 notes\n")
    check_encoder(invar)
    missing = invar.call("audit", invar.folder / "missing.gguf")
    assert missing.returncode == 2 and "missing.gguf" in missing.stderr and missing.stdout == ""
    print(f"[audit] {sound} demonstration models sound, {found} damaged scales found at the byte that the gguf package names")


def check_encoder(invar):
    """An uncased WordPiece encoder: case, accents and white space do not come back, it has no byte tokens, and it generates nothing. Both containers are sound."""
    model = invar.folder / "encoder"
    shutil.copytree(pathlib.Path(__file__).resolve().parents[1] / "data/goldens_hf/bert", model)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", ",", "!", "two", "##s", "don", "e", "##e", "it", "'", "s", "done", ".", "space", ";", "n", "##n"]
    tokens += [f"[unused{i}]" for i in range(41 - len(tokens))]
    specials = [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i in range(4)]
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    frame = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
    ends = {name: {"id": name, "ids": [tokens.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    word_piece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(tokens)}}
    (model / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": specials, "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": word_piece,
        "post_processor": {"type": "TemplateProcessing", "single": frame, "pair": frame, "special_tokens": ends},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}))
    vectors = [invar.run("embed", model, text).splitlines() for text in ("[hello, world]", "hello, world")]
    assert [len(lines) for lines in vectors] == [1, 1] and vectors[0] != vectors[1], "an argument in brackets is one text"
    made = invar.folder / "encoder.gguf"
    invar.run("quantize", model, made, "f32", "--quiet")
    about = {"round-trip", "bytes-missing", "no-end-token", "template-missing"}
    verdicts = []
    for path in (model, made):
        report = audit(invar, path, 0)
        found = {finding["check"] for finding in report["findings"]}
        assert report["errors"] == 0 and not found & about, (path, report["findings"])
        verdicts.append((report["errors"], report["warnings"], report["notes"]))
    assert verdicts[0] == verdicts[1], verdicts


def audit_text(invar, path):
    return invar.run("audit", path)


if __name__ == "__main__":
    engine.main(test)
