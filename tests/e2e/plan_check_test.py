"""invar plan --check on the demonstration models: every entry as planned, memory as planned, with the file sizes that the gguf package
sees. A cache of repacked weights is planned, is mapped instead of held in memory, gives the same answers, and is refused when damaged.
"""
import pathlib
import shutil
import tempfile

import gguf

import engine


def check(invar, path, *flags):
    done = invar.call("plan", path, "--check", "--json", *flags)
    assert done.returncode == 0, f"{path} {flags}: exit code {done.returncode}: {done.stderr}{done.stdout[-600:]}"
    report = engine.json.loads(done.stdout)
    memory = report["memory"]
    planned = sum(part["planned"] for part in memory["parts"])
    assert planned == memory["planned"] and abs(memory["measured"] - planned) <= max(0.03 * planned, 1 << 19)
    assert report["holds"] and report["differences"] == 0
    return report, {part["name"]: part["planned"] for part in memory["parts"]}, done.stderr


def test_weight_cache(invar, model, folder):
    """The first start writes the file, the second maps it, a damaged one is named, not used, and written anew."""
    path = shutil.copy(model, folder)
    flags = ("--weight-cache", folder)
    ask = ("Hello", "--temperature", "0", "--max-tokens", "24")
    expected = invar.run("run", path, *ask)
    bare = engine.json.loads(invar.run("plan", path, "--json", *flags))
    size = pathlib.Path(path).stat().st_size
    scratch = sum(r["bytes"] for r in bare["reserves"] if r["name"] == "scratch")
    assert bare["file_bytes"] == size and bare["above_file_bytes"] == bare["weight_bytes"] + scratch - size
    assert bare["cache_file"] == ""

    _, written, notes = check(invar, path, *flags)
    cache = next(pathlib.Path(folder).glob("*.packed.safetensors"))
    assert str(cache) in notes and "kept here" in notes, notes
    report, mapped, notes = check(invar, path, *flags)
    assert "kept here" not in notes and "not used" not in notes, notes
    packed = sum(e["bytes"] for e in report["entries"] if e["form"] != "as_stored")
    assert packed > 0 and written["weights in memory"] == packed and mapped["weights in memory"] == 0
    assert mapped["weights in the mapped file"] == written["weights in the mapped file"] + packed
    assert {e["owner"] for e in report["entries"] if e["form"] != "as_stored" and e["bytes"]} == {"the cache file"}
    assert engine.json.loads(invar.run("plan", path, "--json", *flags))["cache_file"] == str(cache)
    assert invar.run("run", path, *ask, *flags) == expected

    bytes_of_cache = bytearray(cache.read_bytes())
    bytes_of_cache[-1000] ^= 1
    cache.write_bytes(bytes_of_cache)
    done = invar.call("run", path, *ask, *flags)
    assert done.returncode == 0 and done.stdout == expected and "is damaged" in done.stderr, done.stderr
    assert check(invar, path, *flags)[1] == mapped
    print(f"[weight cache] {packed} bytes written, mapped, refused when one bit is wrong, written anew; 3 answers equal")


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    entries = 0
    for model in ("demo-dense-q8_0", "demo-dense-q4_k_m", "demo-moe-q8_0", "demo-moe-q4_k_m"):
        path = folder / f"{model}.gguf"
        sizes = {t.name: int(t.n_bytes) for t in gguf.GGUFReader(str(path)).tensors}
        for flags in ((), ("--form", "as-stored"), ("--isa", "scalar", "--cache", "f32"), ("--context", "128", "--chunk", "32")):
            report, _, _ = check(invar, path, *flags)
            memory = report["memory"]
            owners = {e["tensor"]: e for e in report["entries"] if e["source_hash"]}
            assert owners.keys() == sizes.keys(), f"{path}: {owners.keys() ^ sizes.keys()}"
            as_stored = [e for e in owners.values() if e["form"] == "as_stored"]
            assert all(e["bytes"] == sizes[e["tensor"]] for e in as_stored)
            # Weights that stay in the file are resident once they were read; repacked weights are not resident a second time.
            mapped = next(p for p in memory["parts"] if p["name"] == "weights in the mapped file")
            assert mapped["planned"] == sum(e["bytes"] for e in as_stored)
            assert memory["file_rest"]["written"] < 256 * 1024, memory["file_rest"]
            entries += len(report["entries"])
    with tempfile.TemporaryDirectory() as temporary:
        test_weight_cache(invar, folder / "demo-moe-q4_k_m.gguf", temporary)
    text = invar.run("plan", folder / "demo-moe-q8_0.gguf", "--check")
    assert "0 differ" in text and "within" in text and "NOT" not in text
    print(f"[plan check] {entries} entries compared, memory within 3 % (or 512 KiB) of every plan")


if __name__ == "__main__":
    engine.main(test)
