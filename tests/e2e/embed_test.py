"""Vectors of texts. The rows of a decoder are taken from the float64 logits that transformers gave for it (its head, which is known, is undone
by least squares); pooling, dense layers and lengths are computed from them in numpy. Every thread count, instruction set, batch and chunk gives
the same bits, and so do the directory and its GGUF twin. What a user can get wrong ends in one sentence."""
import json
import shutil

import gguf
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

import directory_test
import engine

NAME, WIDTH, SEED = "qwen3", 32, 7
TRANSFORMER = "sentence_transformers.models."


def modules(folder, *kinds):
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds, 1))]
    listed = [{"idx": i, "name": str(i), "path": path, "type": TRANSFORMER + kind}
              for i, (path, kind) in enumerate(zip(paths, ("Transformer", *kinds)))]
    (folder / "modules.json").write_text(json.dumps(listed))
    for path in paths[1:]:
        (folder / path).mkdir(exist_ok=True)


def dense(folder, inputs, outputs, activation, bias, random):
    tensors = {"linear.weight": random.normal(0, 0.3, (outputs, inputs)).astype(np.float32)}
    if bias:
        tensors["linear.bias"] = random.normal(0, 0.3, outputs).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"in_features": inputs, "out_features": outputs, "bias": bias,
                                                    "activation_function": f"torch.nn.modules.{activation}"}))
    return tensors


def pool(mode, rows):
    weights = np.arange(1, len(rows) + 1)[:, None]
    return {"cls": rows[0], "last": rows[-1], "max": rows.max(0), "mean": rows.mean(0), "mean_sqrt_length": rows.sum(0) / np.sqrt(len(rows)),
            "weighted_mean": (rows * weights).sum(0) / weights.sum()}[mode]


def unit(vector):
    return vector / np.linalg.norm(vector)


def embed(invar, model, texts, *flags):
    """float32 [texts, numbers], as the JSON lines and as the NumPy file hold them."""
    lines = [json.loads(line) for line in invar.run("embed", model, "--json", *flags, stdin="\n".join(texts)).splitlines()]
    out = invar.folder / "vectors.npy"
    invar.run("embed", model, "--out", out, *flags, stdin="\n".join(texts))
    assert [line["index"] for line in lines] == list(range(len(texts)))
    read = np.array([line["embedding"] for line in lines], np.float32)
    np.testing.assert_array_equal(read.view(np.uint32), np.load(out).view(np.uint32))
    return read


def near(ours, exact, what):
    error = np.abs(ours - exact).max() / np.abs(exact).max()
    assert error < 4e-6, (what, error)


def golden(folder):
    """The tokens of the golden recording as a text, and their rows behind the last norm in float64."""
    path = directory_test.GOLDENS / f"{NAME}.safetensors"
    with safe_open(path, "np") as file:
        tokens, logits = json.loads(file.metadata()["tokens"]), file.get_tensor("logits")
    stored = directory_test.GOLDENS / NAME / "model.safetensors"
    raw = stored.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8:8 + size])["model.embed_tokens.weight"]
    codes = np.frombuffer(raw[8 + size:][slice(*entry["data_offsets"])], np.uint16).astype(np.uint32) << 16
    head = codes.view(np.float32).astype(np.float64).reshape(entry["shape"])
    rows = np.linalg.lstsq(head, logits.T, rcond=None)[0].T
    assert rows.shape == (len(tokens), WIDTH) and np.abs(rows @ head.T - logits).max() < 1e-9
    return "".join(chr(33 + token) for token in tokens), rows


def check_modes(invar, folder, text, rows):
    keys = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "mean_sqrt_length": "mean_sqrt_len_tokens",
            "weighted_mean": "weightedmean_tokens", "last": "lasttoken"}
    modules(folder, "Pooling")
    for mode, key in keys.items():
        (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH, f"pooling_mode_{key}": True}))
        near(embed(invar, folder, [text])[0], pool(mode, rows), mode)
        near(embed(invar, folder, [text], "--normalize")[0], unit(pool(mode, rows)), mode)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": ["mean", "cls"]}))
    near(embed(invar, folder, [text])[0], np.concatenate([pool("mean", rows), pool("cls", rows)]), "two modes")
    near(embed(invar, folder, [text], "--pooling", "last")[0], rows[-1], "--pooling")


def check_steps(invar, folder, text, rows):
    random = np.random.default_rng(SEED)
    modules(folder, "Pooling", "Dense", "Dense", "Normalize")
    (folder / "1_Pooling/config.json").write_text(json.dumps({"embedding_dimension": WIDTH, "pooling_mode": "mean"}))
    first = dense(folder / "2_Dense", WIDTH, 48, "activation.Tanh", True, random)
    second = dense(folder / "3_Dense", 48, 20, "linear.Identity", False, random)
    x = np.tanh(first["linear.weight"].astype(float) @ pool("mean", rows) + first["linear.bias"])
    x = second["linear.weight"].astype(float) @ x
    near(embed(invar, folder, [text])[0], unit(x), "dense layers")
    near(embed(invar, folder, [text], "--no-normalize")[0], x, "--no-normalize")
    near(embed(invar, folder, [text], "--dimensions", 7)[0], unit(x[:7]), "--dimensions")
    near(embed(invar, folder, [text], "--dimensions", 7, "--no-normalize")[0], x[:7], "--dimensions alone")
    entries = {entry["role"]: entry for entry in invar.json("plan", folder)["entries"]}
    assert entries["pooled_dense_1"]["shape"] == [48, WIDTH] and "pooled_dense_1_bias" in entries and "pooled_dense_2" in entries, entries.keys()


def check_equality(invar, folder):
    random = np.random.default_rng(SEED)
    texts = ["".join(chr(33 + t) for t in random.integers(0, 41, n)) for n in (*random.integers(1, 30, 70), 200)]
    together = embed(invar, folder, texts)
    alone = np.concatenate([embed(invar, folder, [text]) for text in (texts[0], texts[33], texts[-1])])
    np.testing.assert_array_equal(together[[0, 33, -1]].view(np.uint32), alone.view(np.uint32))
    flags = [("--threads", 1), ("--threads", 3), ("--chunk", 7), ("--chunk", 64), ("--form", "as-stored")]
    for some in (*flags, *(("--isa", isa) for isa in invar.instruction_sets())):
        np.testing.assert_array_equal(together.view(np.uint32), embed(invar, folder, texts, *some).view(np.uint32), err_msg=str(some))


def write_twin(name, out, pooling=None):
    """The converter's file of a golden model with a tokenizer of 41 characters, and with a pooling type if one is given."""
    reader = gguf.GGUFReader(directory_test.GOLDENS / f"{name}.gguf")
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        kind = field.types[0]
        writer.add_key_value(key, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(pooling))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([chr(33 + i) for i in range(41)])
    writer.add_token_types([1] * 41)
    writer.add_token_merges(["! \""])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def check_gguf(invar, folder, text, rows):
    modules(folder, "Pooling")
    for pooling, mode in ((1, "mean"), (2, "cls"), (3, "last"), (None, None)):
        twin = write_twin(NAME, invar.folder / "twin.gguf", pooling)
        if mode is None:
            said = invar.call("embed", twin, stdin=text).stderr
            assert said.count("\n") == 1 and "does not say how the rows of a text become one vector (qwen3.pooling_type)" in said, said
        else:
            ours = embed(invar, twin, [text])
            near(ours[0], unit(pool(mode, rows)), mode)
            same = embed(invar, folder, [text], "--pooling", mode, "--normalize")
            np.testing.assert_array_equal(ours.view(np.uint32), same.view(np.uint32))


def check_encoders(invar):
    """Vectors of encoders, through every step that their checkpoint states (two dense layers in EmbeddingGemma's), as float64 has them."""
    random = np.random.default_rng(SEED)
    others = ["".join(chr(33 + t) for t in random.integers(0, 41, n)) for n in (1, 5, 22)]
    said = {"embedding-gemma": "mean of the tokens, a dense layer to 48, a dense layer to 32, length 1", "bert": "the first token, length 1",
            "nomic-bert": "mean of the tokens, length 1", "modernbert": "the first token, length 1"}
    for name, steps in said.items():
        folder = invar.folder / f"encoder-{name}"
        shutil.copytree(directory_test.GOLDENS / name, folder)
        directory_test.add_tokenizer(folder, 41)
        with safe_open(directory_test.GOLDENS / f"{name}.safetensors", "np") as file:
            tokens, wanted = json.loads(file.metadata()["tokens"]), file.get_tensor("embedding_vector").reshape(-1)
        text = "".join(chr(33 + token) for token in tokens)
        together = embed(invar, folder, [text, *others])
        near(together[0], wanted, name)
        assert abs(np.linalg.norm(together.astype(float), axis=1) - 1).max() < 1e-6, name
        stderr = invar.call("embed", folder, text).stderr
        assert f"{steps} (1_Pooling/config.json); 32 numbers each" in stderr, stderr
        made, twin = folder.with_suffix(".gguf"), write_twin(name, invar.folder / "twin.gguf")
        invar.run("quantize", folder, made, "f32", "--quiet")
        ways = [(folder, "--threads", 1), (folder, "--form", "as-stored"), (made,), (twin,), (twin, "--threads", 1)]
        ways += [(folder, "--isa", isa) for isa in invar.instruction_sets()]
        for model, *flags in ways:
            again = embed(invar, model, [text, *others], *flags)
            np.testing.assert_array_equal(again.view(np.uint32), together.view(np.uint32), err_msg=f"{model} {flags}")
        for model in (folder, twin):
            check_no_logits(invar, model, text)


def check_no_logits(invar, model, text):
    """Commands that need logits name the command that an encoder is for, before they compute."""
    prose = invar.folder / "prose.txt"
    prose.write_text(text * 4)
    for command in (("run", model, text), ("logits", model, "--tokens", "1,2"), ("eval", model, prose, "--context", "16"), ("bench", model)):
        done = invar.call(*command)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, (command, done)
        assert "is an encoder, which gives hidden states and no logits; use invar embed to make vectors of texts" in done.stderr, (command, done.stderr)


def check_quantized(invar, folder):
    """`quantize` writes the pooling type and the dense layers that GGUF can hold, and refuses the others."""
    random = np.random.default_rng(SEED)
    modules(folder, "Pooling", "Dense", "Normalize")
    dense(folder / "2_Dense", WIDTH, 48, "linear.Identity", False, random)
    made = invar.folder / "made.gguf"
    for mode in ("mean", "cls", "lasttoken"):
        (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": mode}))
        invar.run("quantize", folder, made, "f32", "--quiet")
        np.testing.assert_array_equal(embed(invar, folder, ["ABC", "DE"]).view(np.uint32), embed(invar, made, ["ABC", "DE"]).view(np.uint32))
    keys = gguf.GGUFReader(made).fields
    assert (keys["qwen3.pooling_type"].contents(), keys["qwen3.dense_2_feat_in"].contents(), keys["qwen3.dense_2_feat_out"].contents()) == (3, WIDTH, 48)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "max"}))
    done = invar.call("quantize", folder, made, "f32")
    assert done.returncode == 2 and "asks for max, but a GGUF file can say mean, cls or last only" in done.stderr, done.stderr
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    dense(folder / "2_Dense", WIDTH, 48, "activation.Tanh", False, random)
    done = invar.call("quantize", folder, made, "f32")
    assert done.returncode == 2 and "'2_Dense' is a dense layer that a GGUF file cannot hold" in done.stderr, done.stderr


def check_prompts_and_limits(invar, folder, text):
    modules(folder, "Pooling", "Normalize")
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    prompts = {"prompts": {"query": "!#", "none": ""}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))

    done = invar.call("quantize", folder, invar.folder / "limited.gguf", "f32", "--quiet")
    assert "note: the file cannot say that texts have at most 12 tokens (max_seq_length); use --context 12 with it\n" in done.stderr, done

    def same(a, b):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))

    plain, asked = embed(invar, folder, [text]), embed(invar, folder, ["!#" + text])
    same(asked, embed(invar, folder, [text], "--prompt-name", "query"))
    same(asked, embed(invar, folder, [text], "--prompt", "!#"))
    prompts["default_prompt_name"] = "query"
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    same(asked, embed(invar, folder, [text]))
    same(plain, embed(invar, folder, [text], "--prompt-name", "none"))
    same(plain, embed(invar, folder, [text], "--prompt", ""))
    long = text + "%&%&%&"
    cut = embed(invar, folder, [long], "--truncate", "--prompt", "")
    same(cut, embed(invar, folder, [long[:12]], "--prompt", ""))
    for flags, said in ((("--prompt", ""), "text 1: the text has 15 tokens, but the model takes at most 12; shorten it"),
                        (("--prompt-name", "q"), "has no prompt 'q' (it has query, none)"),
                        (("--dimensions", 33), "makes vectors of 32 elements, but --dimensions asks for 33"),
                                                (("--file", "/nowhere"), "/nowhere: "),
                        (("--pooling", "sum"), "--pooling is 'sum', but must be one of auto, mean, cls, last")):
        done = invar.call("embed", folder, *flags, stdin=long)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("invar: ") and done.stderr.count("\n") == 1 and said in done.stderr, done
    done = invar.call("embed", folder, "AB", "", "--prompt", "")
    assert done.returncode == 2 and "text 2: the text has no tokens" in done.stderr, done
    table = json.loads(invar.run("embed", folder, "AB", "ABC", "--prompt", "", "--cosines", "--json"))["cosines"]
    a, b = embed(invar, folder, ["AB", "ABC"], "--prompt", "").astype(float)
    assert abs(table[0][1] - a @ b) < 1e-6 and abs(table[0][0] - 1) < 1e-6 and table[0][1] == table[1][0], table


def check_hostile(invar):
    """Directories that lead elsewhere, contradict their weights or ask for too much end in one sentence, for every command that opens them."""
    folder = invar.folder / "hostile"
    shutil.copytree(directory_test.GOLDENS / "embedding-gemma", folder)
    directory_test.add_tokenizer(folder, 41)
    pooling, dense_config, listed = (folder / name for name in ("1_Pooling/config.json", "2_Dense/config.json", "modules.json"))
    entries, entry = json.loads(listed.read_text()), lambda path: {"type": TRANSFORMER + "Pooling", "path": path}
    cases = [(listed, [entry(path)], "must be the name of a subfolder") for path in ("..", "../../etc", "/etc", "1_Pooling/../..", "a/b")]
    cases += [(listed, {"0": entry("1_Pooling")}, "is an object, but a list of modules is needed"), (listed, [entry(7)], "is a number, but a text is needed"),
              (listed, entries[:1] + [entry("5_Nowhere")] + entries[2:], "5_Nowhere/config.json: is missing"),
              (listed, entries[:2] + entries[1:], "two modules have the path '1_Pooling'"),
              (pooling, {"word_embedding_dimension": 1 << 62, "pooling_mode_mean_tokens": True}, "the key 'word_embedding_dimension' is 4611686018427387904"),
              (pooling, {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True}, "the model gives 32 elements a token"),
              (pooling, {"pooling_mode_mean_tokens": "yes"}, "but true or false is needed"),
              (dense_config, {"in_features": 1 << 40, "out_features": 48, "bias": False}, "the key 'in_features' is 1099511627776"),
              (dense_config, {"in_features": 48, "out_features": 32, "bias": False}, "takes 32 elements and makes 48")]
    for path, content, said in cases:
        before = path.read_text()
        path.write_text(json.dumps(content))
        done = invar.call("embed", folder, "ABC")
        assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("invar: ") and done.stderr.count("\n") == 1 and said in done.stderr, (said, done)
        path.write_text(before)
    assert invar.call("embed", folder, "ABC").returncode == 0


def test(invar, arguments):
    folder = invar.folder / NAME
    shutil.copytree(directory_test.GOLDENS / NAME, folder)
    directory_test.add_tokenizer(folder, 41)
    done = invar.call("embed", folder, "A")
    assert done.returncode == 2 and "does not say how the rows of a text become one vector (it has no modules.json)" in done.stderr, done.stderr
    (folder / "modules.json").write_text("[]")
    done = invar.call("embed", folder, "A")
    assert done.returncode == 2 and "one vector (the list in its modules.json is empty)" in done.stderr, done.stderr
    text, rows = golden(folder)
    check_modes(invar, folder, text, rows)
    check_steps(invar, folder, text, rows)
    check_equality(invar, folder)
    check_gguf(invar, folder, text, rows)
    check_quantized(invar, folder)
    check_prompts_and_limits(invar, folder, text)
    check_encoders(invar)
    check_hostile(invar)
    print("embed: encoders, modes, steps, prompts and limits as numpy has them; bits equal over threads, chunks, batches, instruction sets and containers")


if __name__ == "__main__":
    engine.main(test)
