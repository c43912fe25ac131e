"""invar audit from outside: the demonstration models have no findings; a changed byte in a copy is reported at the offset where the
block lies according to the gguf package, which shares no code with us; exit codes.
"""
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
    missing = invar.call("audit", invar.folder / "missing.gguf")
    assert missing.returncode == 2 and "missing.gguf" in missing.stderr and missing.stdout == ""
    print(f"[audit] {sound} demonstration models sound, {found} damaged scales found at the byte that the gguf package names")


def audit_text(invar, path):
    return invar.run("audit", path)


if __name__ == "__main__":
    engine.main(test)
