"""Bad input gives one sentence on stderr that says what and where, exit code 2 (3 for lack of memory), nothing on stdout, no file left behind."""
import json
import os
import pathlib
import shutil
import subprocess

import engine
import tiny_models

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "data" / "goldens_hf" / "qwen3"

def cases(folder, model, tiny):
    """(what the sentence must contain, arguments)"""
    missing = folder / "missing.gguf"
    truncated = folder / "truncated.gguf"
    truncated.write_bytes(pathlib.Path(tiny).read_bytes()[:5000])
    no_payload = folder / "no_payload.gguf"
    no_payload.write_bytes(pathlib.Path(tiny).read_bytes()[:-4096])
    text = folder / "text.gguf"
    text.write_text("this is not a model")
    empty = folder / "empty.gguf"
    empty.write_bytes(b"")
    raising = folder / "raising.jinja"
    raising.write_text("{{ raise_exception('roles must alternate') }}")
    broken = folder / "broken.jinja"
    broken.write_text("line one\n{% for x in %}")
    yield ("missing.gguf",), ("run", missing, "hello")
    yield ("truncated.gguf",), ("run", truncated, "hello")
    yield ("no_payload.gguf", "tensor"), ("run", no_payload, "hello")
    yield ("text.gguf", "GGUF"), ("run", text, "hello")
    yield ("empty.gguf", "empty"), ("plan", empty)
    yield (str(folder), "has no SafeTensors weights"), ("inspect", folder)
    yield ("roles must alternate", "line 1"), ("run", tiny, "hello", "--chat-template", raising)
    yield ("line 2",), ("run", tiny, "hello", "--chat-template", broken)
    blank = folder / "blank.jinja"
    blank.write_text("")
    yield ("blank.jinja", "is empty"), ("run", tiny, "hello", "--chat-template", blank)
    yield ("tokens", "context"), ("run", tiny, "word " * 2000, "--raw")
    yield ("UTF-8",), ("run", tiny, b"\xff\xfe broken", "--raw")
    yield ("--isa", "sse9"), ("run", tiny, "hello", "--isa", "sse9")
    yield ("kernel", "nonsense"), ("run", tiny, "hello", "--kernel", "nonsense")
    yield ("--threads", "-3"), ("run", tiny, "hello", "--threads", "-3")
    yield ("--context", "100000"), ("run", tiny, "hello", "--context", "100000")
    yield ("does not fit", "--memory"), ("run", tiny, "hello", "--memory", "100K")
    yield ("--memory", "lots"), ("run", tiny, "hello", "--memory", "lots")
    yield ("temperature",), ("run", tiny, "hello", "--temperature", "-1")
    yield ("--raw", "--system"), ("run", tiny, "hello", "--raw", "--system", "be brief")
    yield ("--conversations",), ("run", tiny, "hello", "--conversations", missing)
    yield ("prompt is empty",), ("run", tiny, "")
    yield ("prompt is empty",), ("run", tiny)
    yield ("missing.gguf",), ("run", missing)
    yield ("does not fit", "--memory is 1024 bytes"), ("run", tiny, "hello", "--memory", "1K")
    yield ("q9_9", "q4_k_m"), ("quantize", tiny, folder / "out.gguf", "q9_9")
    yield ("missing.gguf",), ("quantize", missing, folder / "out.gguf", "q8_0")
    yield ("--decode",), ("tokenize", tiny, "--decode", "99999")
    yield ("--nonsense",), ("run", tiny, "hello", "--nonsense")
    yield ("token 99999",), ("logits", tiny, "--tokens", "99999")
    yield ("missing.gguf",), ("audit", missing)
    yield ("truncated.gguf",), ("audit", truncated)
    yield ("missing.gguf",), ("diff", tiny, missing)
    yield ("text.gguf", "GGUF"), ("diff", text, tiny)
    yield ("token 99999",), ("diff", tiny, tiny, "--tokens", "99999")
    yield ("missing.gguf",), ("eval", tiny, missing)
    yield ("empty.gguf", "empty"), ("eval", tiny, empty)
    yield ("--stride", "4096"), ("eval", tiny, text, "--stride", "4096")
    yield ("missing.gguf",), ("plan", missing, "--check")
    yield from text_cases(folder, tiny)
    yield from nameless_cases(folder, tiny)
    yield from conflicts(folder, tiny)
    yield from output_cases(folder, tiny)


def text_cases(folder, tiny):
    """A directory where a text file is needed."""
    wanted = (str(folder), "is a directory", "a file is needed")
    yield wanted, ("run", tiny, "--prompt-file", folder)
    yield wanted, ("run", tiny, "--conversations", folder)
    yield wanted, ("run", tiny, "hello", "--chat-template", folder)
    yield wanted, ("eval", tiny, folder)
    yield wanted, ("verify", tiny, "--inject", f"@{folder}")


def nameless_cases(folder, tiny):
    """An empty name of a model, as an unset variable of a shell leaves it."""
    nameless = ("the model's name is empty; name a GGUF file or a model directory",)
    for command in ("plan", "bench", "verify", "inspect", "audit", "embed", "tokenize", "logits"):
        yield nameless, (command, "")
    yield nameless, ("run", "", "hi")
    yield nameless, ("diff", "", tiny)
    yield nameless, ("diff", tiny, "")
    yield nameless, ("eval", "", tiny)
    yield nameless, ("quantize", "", folder / "out.gguf", "q8_0")
    yield nameless, ("trace", "record", "", "hi", "--out", folder / "out")


def conflicts(folder, tiny):
    """Options of which one would be ignored."""
    def apart(first, second):
        return (f"{first} and {second} exclude each other, because ", "; leave one of them out")
    yield apart("--tokens", "--prompt"), ("diff", tiny, tiny, "--tokens", "1,2,3", "--prompt", "hi")
    yield apart("--inject", "--weights-only"), ("diff", tiny, tiny, "--weights-only", "--inject", "missing_bias")
    yield ("--inject is empty",), ("diff", tiny, tiny, "--inject", "")
    yield ("--inject is empty",), ("verify", tiny, "--inject", "")
    yield ("--inject was given 2 times",), ("diff", tiny, tiny, "--inject", "a", "--inject", "b")
    yield apart("--tokens", "the text"), ("logits", tiny, "--tokens", "1,2", "hello")
    yield apart("--out", "--json"), ("logits", tiny, "--tokens", "1,2", "--out", folder / "out.npy", "--json")
    yield apart("--decode", "the text"), ("tokenize", tiny, "--decode", "5", "hello")
    yield apart("--decode", "--json"), ("tokenize", tiny, "--decode", "5", "--json")
    yield apart("--ids", "--json"), ("tokenize", tiny, "hello", "--ids", "--json")
    yield ("--layers is about a shape", "add --shape"), ("plan", "--layers", "3")
    yield ("--format is about a shape", "add --shape"), ("plan", tiny, "--format", "q8_0")
    yield apart("--shape", "the model"), ("plan", "--shape", "tiny", "--format", "q8_0", tiny)
    yield apart("--shape", "--check"), ("plan", "--shape", "tiny", "--check")
    yield ("--raw", "--chat-template"), ("run", tiny, "hi", "--raw", "--chat-template", "x.jinja")
    yield apart("--normalize", "--no-normalize"), ("embed", tiny, "hi", "--normalize", "--no-normalize")
    yield apart("--out", "--json"), ("embed", tiny, "hi", "--json", "--out", folder / "x.npy")
    yield apart("--out", "--cosines"), ("embed", tiny, "hi", "--cosines", "--out", folder / "x.npy")
    yield apart("--prompt", "--prompt-name"), ("embed", tiny, "hi", "--prompt", "a", "--prompt-name", "b")
    yield apart("--faults", "--inject"), ("verify", tiny, "--faults", "--inject", "missing_bias")
    yield apart("--faults", "--html"), ("verify", tiny, "--faults", "--html", folder / "x.html")
    yield ("--places is about --faults",), ("verify", tiny, "--places", "3")
    yield ("standard output ('-')", "write to a file"), ("quantize", tiny, "-", "q8_0")
    yield ("nowhere_yet/: ends in '/' as the name of a directory does",), ("quantize", tiny, f"{folder}/nowhere_yet/", "q8_0")
    yield ("model is required; see invar embed --help",), ("embed",)
    yield ("at byte 0 (0xFF) of one of its texts; convert it to UTF-8",), ("run", tiny, b"\xff")
    one = folder / "one_position"
    shutil.copytree(GOLDEN, one)
    config = json.loads((one / "config.json").read_text())
    (one / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1}))
    yield ("the context holds 1; shorten it, because the model was trained for no more",), ("logits", one, "--tokens", "1,2")


def output_cases(folder, tiny):
    """Outputs that would take the place of the model's own files, or of something that is no file."""
    model = folder / "directory"
    shutil.copytree(GOLDEN, model)
    (model / "tokenizer.json").write_text("{}")
    weights = next(model.glob("*.safetensors"))
    pipe, link, nowhere, alias = folder / "pipe", folder / "link", folder / "nowhere", folder / "alias"
    os.mkfifo(pipe)
    link.symlink_to("directory/config.json")
    nowhere.symlink_to("missing")
    alias.symlink_to(pathlib.Path(tiny).name if pathlib.Path(tiny).parent == folder else tiny)
    own = ("is a file of the model", "another name")
    for name in (model / "config.json", model / "tokenizer.json", weights, link):
        yield (str(name), *own), ("quantize", model, name, "q8_0")
        yield (str(name), *own), ("logits", model, "--tokens", "1", "--out", name)
        yield (str(name), *own), ("trace", "record", model, "--tokens", "1", "--out", name)
        yield (str(name), *own), ("verify", model, "--html", name)
    yield own, ("quantize", tiny, alias, "q8_0")
    for out, wanted in ((pipe, ("not a regular file", "a pipe")), (nowhere, ("link that leads to no file",))):
        yield wanted, ("quantize", tiny, out, "q8_0")
        yield wanted, ("logits", tiny, "--tokens", "1", "--out", out)
        yield wanted, ("trace", "record", tiny, "--tokens", "1", "--out", out)
        yield wanted, ("verify", tiny, "--html", out)
        yield wanted, ("synth", "tiny", "q8_0", out, "--layers", "1")
        yield ("exists already",), ("synth", "tiny", "hf-bf16", out, "--layers", "1")


def snapshot(folder):
    """What is in the folder: a file that was replaced has another inode, one that was written another time."""
    status = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (one.st_mode, one.st_ino, one.st_size, one.st_mtime_ns) for path, one in status.items() if not path.is_dir()}


def check_streams(invar, tiny):
    """Standard input that is a directory, or a pipe under a file's name; standard output that takes no byte."""
    binary, folder = str(invar.binary), invar.folder
    directory = os.open(folder, os.O_RDONLY)
    for command in (("tokenize", tiny), ("run", tiny, "--raw")):
        done = subprocess.run([binary, *map(str, command)], stdin=directory, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (2, "") and "standard input: cannot be read" in done.stderr, (command, done)
    os.close(directory)
    done = invar.call("run", tiny, "--raw", "-n", "1", "--prompt-file", "/dev/stdin", stdin="hello")
    assert done.returncode == 0, f"a prompt from a pipe: {done.stderr}"
    unwritable = folder / "unwritable"
    unwritable.write_text("")
    for command in (("--help",), ("run", "--help"), ("--version",), ("tokenize", tiny, "hello")):
        with open(unwritable, "rb") as closed:
            done = subprocess.run([binary, *map(str, command)], stdout=closed, stderr=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == 2 and "standard output could not be written" in done.stderr, (command, done)


def check_plan(invar, tiny):
    """A plan that does not fit is printed before it is refused, and only what would help is advised."""
    encoder = GOLDEN.parent / "bert"
    enough = {model: invar.json("plan", model)["weight_bytes"] + 1 for model in (tiny, encoder)}
    for model, memory, advice in ((tiny, 1000, "use a smaller format or model, or"), (encoder, 1000, "use a smaller format or model, or"),
                                  (tiny, enough[tiny], "use a smaller --context or --chunk, a smaller format"),
                                  (encoder, enough[encoder], "use a smaller --context, a smaller format")):
        for how in ("--summary", "--json"):
            done = invar.call("plan", model, how, "--memory", memory)
            assert done.returncode == 3 and "total" in done.stdout, (model, memory, done)
            assert advice in done.stderr and "give another budget with --memory" in done.stderr, (model, memory, done.stderr)
    assert invar.call("plan", tiny, "--summary", "--memory", "1T").returncode == 0


def test(invar, arguments):
    tiny = tiny_models.write_all(invar.folder, ["llama"])["llama"]
    count = 0
    for wanted, command in cases(invar.folder, invar.folder, tiny):
        before = snapshot(invar.folder)
        encoded = [c if isinstance(c, bytes) else str(c).encode() for c in command]
        done = subprocess.run([invar.binary.encode(), *encoded], input=b"", capture_output=True, timeout=120)
        message = done.stderr.decode(errors="replace").strip()
        shown = " ".join(map(str, command))[:100]
        expected = 3 if "does not fit" in wanted else 2
        assert done.returncode == expected, f"{shown}: exit code {done.returncode}, expected {expected}; stderr: {message}"
        assert done.stdout == b"", f"{shown}: printed on stdout: {done.stdout[:200]}"
        assert message.startswith("invar: ") and "\n" not in message, f"{shown}: not one sentence: {message}"
        for word in wanted:
            assert word in message, f"{shown}: '{word}' is not in: {message}"
        assert snapshot(invar.folder) == before, f"{shown}: left files behind or changed one"
        print(f"  {message}")
        count += 1
    check_streams(invar, tiny)
    check_plan(invar, tiny)
    print(f"[bad input] {count} commands, each ended with 2 and one sentence")


if __name__ == "__main__":
    engine.main(test)
