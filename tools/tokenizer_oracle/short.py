"""The small jobs that tests/data/tokenizer/jobs holds: one for each kind of file and model, with vocabularies of a few hundred tokens."""
import base64
import io
import json

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from real import (LLAMA3, TEKKEN, GgufVocabulary, add_sentence_piece, add_sentence_piece_of_gguf, add_tekken, add_tiktoken, add_vocab_txt,
                  add_word_piece_of_gguf, gguf_file)
from trained import added_jobs, bpe, byte_level, corpus, split, unigram_vocabulary, without_added


def every_short_job(jobs):
    training = corpus(jobs.alphabet)[:300]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    small = bpe(training, normalizers.NFC(), pre_tokenizers.Sequence([split(LLAMA3), byte_level()]), decoders.ByteLevel(), size=400,
                trainer={"initial_alphabet": alphabet})
    added_jobs(jobs, small, "bytes")
    llama = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    back = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    jobs.add_hf("characters-llama", without_added(bpe(training, llama, None, back, size=500, unk_token="<unk>", byte_fallback=True, fuse_unk=True,
                                                      trainer={"limit_alphabet": 60})))
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    tokenizer.train_from_iterator(training, trainers.WordPieceTrainer(vocab_size=400, show_progress=False, limit_alphabet=60,
                                                                      special_tokens=["[UNK]", "[CLS]", "[SEP]"]))
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    jobs.add_hf("wordpiece", tokenizer, ends=True)
    encoder_jobs(jobs, tokenizer.get_vocab(), training)
    tokenizer = Tokenizer(models.Unigram(unigram_vocabulary(training, 500), 0, False))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizers.NFKC(), pre_tokenizers.Metaspace(), decoders.Metaspace()
    jobs.add_hf("unigram", without_added(tokenizer))
    for kind in ("bpe", "unigram"):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(t.replace("\0", "") for t in training), model_writer=model, vocab_size=900,
                                                 model_type=kind, byte_fallback=True, normalization_rule_name="identity", character_coverage=0.98,
                                                 hard_vocab_limit=False, num_threads=1, minloglevel=2, user_defined_symbols=["<|x|>", "▁▁"])
        add_sentence_piece(jobs, f"sentencepiece-{kind}", model.getvalue())
    ranks = {bytes([b]): b for b in range(256)}
    for left, right in ((b"t", b"h"), (b"th", b"e"), (b" ", b"the"), (b"e", b"r"), (b"\xe6", b"\x9d"), (b"\xe6\x9d", b"\xb1"), (b"o", b"r"), (b"H", b"e")):
        ranks[left + right] = len(ranks)
    add_tiktoken(jobs, "tiktoken", ranks)
    vocab = [{"rank": r, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for t, r in ranks.items()]
    path = jobs.folder / "tekken.json"
    path.write_text(json.dumps({"config": {"pattern": TEKKEN, "num_vocab_tokens": len(vocab), "default_vocab_size": len(vocab) + 20,
                                           "default_num_special_tokens": 20, "version": "v3"}, "vocab": vocab}))
    add_tekken(jobs, "tekken", path)
    path.unlink()


def encoder_jobs(jobs, vocabulary, training):
    """The vocabularies of encoders in the files that say least about them."""
    vocabulary = {**vocabulary, "[PAD]": len(vocabulary), "[MASK]": len(vocabulary) + 1}
    add_vocab_txt(jobs, "wordpiece-vocab-txt", vocabulary, {})
    # In GGUF's spelling a token that holds the mark of words cannot be told from one that begins a word.
    names = [f"[unused{i}]" if "\u2581" in text else text for text, i in sorted(vocabulary.items(), key=lambda pair: pair[1])]
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    tokens = [text if text in special else text[2:] if text.startswith("##") and len(text) > 2 else text if text[0] == "[" and len(text) > 1 else "\u2581" + text for text in names]
    kinds = [3 if text in special else 1 for text in names]
    file = gguf_file("bert", tokens, kinds, more={"unknown_token_id": vocabulary["[UNK]"], "cls_token_id": vocabulary["[CLS]"],
                                                  "seperator_token_id": vocabulary["[SEP]"]})
    add_word_piece_of_gguf(jobs, "gguf-wordpiece", GgufVocabulary(file))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(t.replace("\0", "") for t in training), model_writer=model, vocab_size=600, model_type="unigram",
                                             normalization_rule_name="identity", character_coverage=0.98, hard_vocab_limit=False, num_threads=1, minloglevel=2)
    pieces = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue()).pieces
    file = gguf_file("t5", [p.piece for p in pieces], [p.type for p in pieces], [p.score for p in pieces],
                     {"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "add_space_prefix": True, "remove_extra_whitespaces": True})
    add_sentence_piece_of_gguf(jobs, "gguf-unigram", GgufVocabulary(file))
