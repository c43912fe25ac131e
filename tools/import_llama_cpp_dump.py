#!/usr/bin/env python3
"""Turns the tensor dumps that users of llama.cpp can make into a recording that `invar trace` reads.

    llama-eval-callback -m model.gguf -p "Hello" > dump.txt 2>&1
    import_llama_cpp_dump.py dump.txt theirs.safetensors --tokens 9707
    invar trace record model.gguf --tokens 9707 --out ours.safetensors
    invar trace diff ours.safetensors theirs.safetensors --tolerance loose.json --allow-missing

The text of the eval-callback example (also gzipped) shows at most the first three and the last three values of every dimension, with
four decimals.  The recording holds those values and says which they are ("positions:" and "elements:"), and the diff compares them alone.
A folder of NAME.npy files (numpy, float32 or int32, [tokens, ...], named like llama.cpp's tensors, for example l_out-3.npy) gives
whole stages.  One name may stand for several results of llama.cpp (Qcur-3 is the product, its bias and its rotation).  In the text, the
operation and the weight tell which it is; in a folder, where they are unknown, Qcur and Kcur mean the last of them, the rotation.

Tensors that are no stage of ours (views, unnamed nodes, norms before their weight) are left out, and their names are listed.  If a
tensor has fewer rows than there are tokens, they are the last ones, because llama.cpp drops rows that no later layer needs.
Needs numpy.
"""
import argparse
import gzip
import json
import pathlib
import re
import struct
import sys

import numpy as np

SHOWN = 3  # of each end of a dimension, by the example

# Their name (without "-LAYER"), the operations that may have made it, our stage, and the dimensions of one position.
# The operation "" accepts files of a folder, where the operation is unknown.
NAMES = [
    ("embd|inp_embd", "GET_ROWS|", "embedding", 1),
    ("attn_norm", "MUL|", "attention_norm", 1),
    ("Qcur", "MUL_MAT", "query", 1), ("Kcur", "MUL_MAT", "key", 1), ("Vcur", "MUL_MAT|", "value", 1),
    ("Qcur", "ADD", "query_biased", 1), ("Kcur", "ADD", "key_biased", 1), ("Vcur", "ADD", "value_biased", 1),
    ("Qcur_normed", "MUL|", "query_norm", 2), ("Kcur_normed", "MUL|", "key_norm", 2),
    ("Qcur", "ROPE|", "query_rope", 2), ("Kcur", "ROPE|", "key_rope", 2),
    ("kqv_out", "RESHAPE|CONT|PERMUTE|", "attention", 1), ("kqv_merged_cont", "CONT", "attention", 1),
    ("kqv_out|attn_out", "MUL_MAT", "attention_output", 1), ("kqv_out|attn_out", "ADD", "attention_output_biased", 1),
    ("ffn_inp", "ADD|", "residual_after_attention", 1),
    ("ffn_norm", "MUL|", "ffn_norm", 1),
    ("ffn_gate", "MUL_MAT|", "gate", 1), ("ffn_up", "MUL_MAT|", "up", 1),
    ("ffn_swiglu|ffn_gate_par", "SWIGLU|GLU|MUL|", "activation", 1), ("ffn_out|ffn_down", "MUL_MAT|", "down", 1),
    ("ffn_moe_logits", "MUL_MAT|", "router", 1), ("ffn_moe_probs", "SOFT_MAX|", "router_probabilities", 1),
    ("ffn_moe_topk", "VIEW|TOP_K|", "expert_ids", 1), ("ffn_moe_weights_norm", "DIV|", "expert_weights", 1),
    ("ffn_moe_gate", "MUL_MAT_ID|", "expert_gate", 2), ("ffn_moe_up", "MUL_MAT_ID|", "expert_up", 2),
    ("ffn_moe_swiglu|ffn_moe_gate_par", "SWIGLU|GLU|MUL|", "expert_activation", 2), ("ffn_moe_down", "MUL_MAT_ID|", "expert_down", 2),
    ("ffn_moe_out", "ADD|CONT|", "expert_sum", 1),
    ("l_out", "ADD|", "residual_after_ffn", 1),
    ("result_norm", "MUL|", "output_norm", 1), ("result_output", "MUL_MAT|", "logits", 1),
]
# Products without a name in llama.cpp are recognised by their weight.
WEIGHTS = {"attn_output.weight": "attention_output"}
SLOTS = {"expert_gate", "expert_up", "expert_activation", "expert_down"}  # [slots, width] of a position; all others are one row
HEADER = re.compile(r"(?:ggml_debug|common_debug_cb_eval):\s+(?P<name>\S.*?) = \((?P<type>\w+)\)\s+(?P<op>\w+)\((?P<sources>.*)\) = "
                    r"\{(?P<ne>\d+, \d+, \d+, \d+)\}\s*$")
NUMBER = re.compile(r"[-+]?(?:\d+\.\d+|nan|inf)")
FIRST_SOURCE = re.compile(r"(?P<name>[^{]*)\{")


def fail(sentence):
    sys.exit(f"import_llama_cpp_dump: {sentence}")


def stage_of(name, op, weight=""):
    """(our stage, dimensions of a position), or nothing."""
    match = re.fullmatch(r"(.+?)(?:-(\d+))?", name)
    base, layer = match.group(1), match.group(2)
    for names, ops, ours, dims in NAMES:
        if base in names.split("|") and op in ops.split("|"):
            return (f"layer.{layer}.{ours}" if layer is not None else ours), dims
    match = re.fullmatch(r"blk\.(\d+)\.(.+)", weight)
    if match and op == "MUL_MAT" and match.group(2) in WEIGHTS:
        return f"layer.{match.group(1)}.{WEIGHTS[match.group(2)]}", 1
    return None


def shown(extent):
    """The indices of a dimension that the example prints."""
    return list(range(extent)) if extent <= 2 * SHOWN else [*range(SHOWN), *range(extent - SHOWN, extent)]


class Recording:
    def __init__(self, source):
        self.stages, self.metadata, self.left_out = {}, {"engine": "llama.cpp", "source": source}, {}

    def add(self, stage, kind, positions, values, elements, shape):
        """values: [positions, elements]; elements: indices into shape, None for all."""
        old = self.stages.get(stage)
        if old is not None and positions[0] > old["positions"][-1] and old["elements"] == elements:
            old["positions"] += positions
            old["values"] = np.concatenate([old["values"], values])
        else:
            self.stages[stage] = {"kind": kind, "positions": positions, "values": values, "elements": elements, "shape": shape}

    def save(self, path, tokens):
        metadata, header, data = dict(self.metadata), {}, []
        metadata["tokens"] = json.dumps(tokens)
        offset = 0
        for name, stage in self.stages.items():
            values = np.ascontiguousarray(stage["values"], "<i4" if stage["kind"] == "I32" else "<f4")
            shape = list(values.shape)
            if stage["elements"] is not None:
                metadata[f"elements:{name}"] = json.dumps({"shape": stage["shape"], "indices": stage["elements"]})
            else:
                shape = [len(values), *stage["shape"]]
            if stage["positions"] != list(range(len(values))):
                metadata[f"positions:{name}"] = json.dumps(stage["positions"])
            header[name] = {"dtype": stage["kind"], "shape": shape, "data_offsets": [offset, offset + values.nbytes]}
            offset += values.nbytes
            data.append(values.tobytes())
        text = json.dumps({"__metadata__": metadata, **header}).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def place(recording, stage, kind, array, rows, first_position, tokens, kept):
    """array: the printed values [rows shown, ...]; kept: indices shown of each dimension of a position, outermost first, or None."""
    extents = [extent for extent, _ in kept]
    stage_shape = extents if stage.split(".")[-1] in SLOTS else [int(np.prod(extents))]
    whole = all(len(indices) == extent for extent, indices in kept)
    elements = None
    if not whole:
        grid = np.ravel_multi_index(np.meshgrid(*[indices for _, indices in kept], indexing="ij"), extents)
        elements = [int(i) for i in grid.ravel()]
    positions = [first_position + tokens - rows[0] + i for i in rows[1]]
    recording.add(stage, kind, positions, array.reshape(len(rows[1]), -1), elements, stage_shape)


def read_text(path, recording):
    opened = gzip.open(path, "rt", errors="replace") if path.suffix == ".gz" else open(path, errors="replace")
    with opened as file:
        lines = file.read().splitlines()
    start, tokens, at, tensors = 0, 0, 0, 0
    while at < len(lines):
        header = HEADER.search(lines[at])
        at += 1
        if header is None:
            continue
        tensors += 1
        numbers, complete = [], False
        while at < len(lines) and not HEADER.search(lines[at]):
            if "sum = " in lines[at]:
                complete = True
            else:
                numbers += NUMBER.findall(lines[at])
            at += 1
        name, op, ne = header["name"], header["op"], [int(n) for n in header["ne"].split(", ")]
        source = FIRST_SOURCE.match(header["sources"])
        found = stage_of(name, op, source["name"] if source else "")
        if found is None or not complete:  # quantised tensors are printed without values
            recording.left_out[name] = recording.left_out.get(name, 0) + 1
            continue
        stage, dims = found
        if stage == "embedding":  # a new evaluation begins
            start, tokens = start + tokens, ne[1]
        if tokens == 0:
            fail(f"{path}: tensor '{name}' comes before the embedding, so its positions are unknown; dump the whole run")
        shape = ne[::-1]  # outermost first
        if any(n != 1 for n in shape[:3 - dims]):
            fail(f"{path}: tensor '{name}' has the extents {ne}, which is more than tokens and {dims} dimensions")
        rows, inner = shape[3 - dims], shape[4 - dims:]
        kept = [(n, shown(n)) for n in inner]
        expected = len(shown(rows)) * int(np.prod([len(indices) for _, indices in kept]))
        if len(numbers) != expected:
            fail(f"{path}: tensor '{name}' of {ne} should show {expected} values, but {len(numbers)} were found")
        if rows > tokens:
            fail(f"{path}: tensor '{name}' has {rows} rows, but the batch has {tokens} tokens")
        kind = "I32" if header["type"].startswith("i") else "F32"
        values = np.array([float(n) for n in numbers])
        place(recording, stage, kind, values, (rows, shown(rows)), start, tokens, kept)
    if tensors == 0:
        fail(f"{path}: has no line like 'ggml_debug: NAME = (f32) OP(...) = {{...}}'; it is no text of llama-eval-callback")
    recording.metadata["precision"] = "four decimals, as printed"


def read_folder(path, recording):
    arrays = {file.stem: np.load(file) for file in sorted(path.glob("*.npy"))}
    if not arrays:
        fail(f"{path}: has no NAME.npy files")
    found = {name: stage_of(name, "") for name in arrays}
    # All layers but the last have one row per token.
    tokens = max((len(array) for name, array in arrays.items() if found[name] and array.ndim > 1), default=0)
    for name, array in arrays.items():
        if found[name] is None:
            recording.left_out[name] = 1
            continue
        stage, _ = found[name]
        slots = stage.split(".")[-1] in SLOTS
        if array.ndim < (3 if slots else 2) or array.dtype.kind not in "fi":
            fail(f"{path}/{name}.npy: has the shape {array.shape} of {array.dtype}, but [tokens, {'slots, ' if slots else ''}width] of numbers is needed")
        kind = "I32" if array.dtype.kind == "i" else "F32"
        place(recording, stage, kind, array, (len(array), list(range(len(array)))), 0, tokens, [(n, list(range(n))) for n in array.shape[1:]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=pathlib.Path, help="text of llama-eval-callback (.txt or .gz), or a folder of .npy files")
    parser.add_argument("out", type=pathlib.Path, help="the recording, a SafeTensors file")
    parser.add_argument("--tokens", default="", help="token ids of the run, with commas: the dump does not have them")
    arguments = parser.parse_args()
    recording = Recording(arguments.dump.name)
    if not arguments.dump.exists():
        fail(f"{arguments.dump} does not exist")
    (read_folder if arguments.dump.is_dir() else read_text)(arguments.dump, recording)
    if not recording.stages:
        fail(f"{arguments.dump}: none of its {len(recording.left_out)} tensors is a stage of ours")
    recording.save(arguments.out, [int(token) for token in arguments.tokens.split(",") if token])
    values = sum(stage["values"].size for stage in recording.stages.values())
    left_out = sorted({re.sub(r"-?\d+", "*", name) for name in recording.left_out})
    print(f"{arguments.out}: {len(recording.stages)} stages, {values} values; left out {sum(recording.left_out.values())} tensors"
          + (f" ({', '.join(left_out)})" if left_out else ""), file=sys.stderr)


if __name__ == "__main__":
    main()
