"""New rows from old: seeded, with words that may stand there and the rest untouched."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM

from hf_dynbert import load_squad


SCRIPT = Path(__file__).parents[2] / "recipes" / "tinybert-squad" / "augment.py"
specification = importlib.util.spec_from_file_location("augment", SCRIPT)
script = importlib.util.module_from_spec(specification)
sys.modules["augment"] = script  # a dataclass looks its module up
specification.loader.exec_module(script)
STOP_WORDS, WORD, EmbeddingNeighbours = script.STOP_WORDS, script.WORD, script.EmbeddingNeighbours
WordSubstitution, augment = script.WordSubstitution, script.augment


@pytest.fixture(scope="module")
def masked_lm(sizes):
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(**sizes)).eval()


@pytest.fixture(scope="module")
def substitution(masked_lm, tokenizer):
    return WordSubstitution(masked_lm, tokenizer, copies=6, candidates=3, probability=0.5)


TEXT = "Who wrote the song, at 9, in Zanzibar's light-house?"


def test_only_words_of_content_change(substitution):
    copies = substitution(TEXT)
    assert len(copies) == 6 and len(set(copies)) > 1
    for copy in copies:
        assert WORD.sub("*", copy) == WORD.sub("*", TEXT)  # punctuation, digits and blanks stay
        for old, new in zip(WORD.findall(TEXT), WORD.findall(copy), strict=True):
            if old.lower() in STOP_WORDS:
                assert new == old
            assert old[0].isupper() == new[0].isupper()
            assert new.lower() not in STOP_WORDS or new == old


def test_words_are_those_the_model_would_say(masked_lm, tokenizer):
    """One piece: the mask's best words. Several: neighbours."""

    def neighbours(word, count):
        return {"zanzibar": ["lion", "tiger"]}[word][:count]

    always = WordSubstitution(masked_lm, tokenizer, neighbours, copies=40, candidates=2, probability=1.0)
    copies = [copy.split() for copy in always("zanzibar built the song")]
    assert {words[0] for words in copies} == {"lion", "tiger"}
    inputs = tokenizer("zanzibar built the song", return_tensors="pt")
    place = inputs["input_ids"][0].tolist().index(tokenizer.convert_tokens_to_ids("built"))
    masked = inputs["input_ids"].clone()
    masked[0, place] = tokenizer.mask_token_id
    with torch.no_grad():
        scores = masked_lm(input_ids=masked).logits[0, place]
    words = [tokenizer.convert_ids_to_tokens(token) for token in scores.argsort(descending=True).tolist()]
    whole = [word for word in words if word.isalpha() and word not in STOP_WORDS]
    assert {words[1] for words in copies} == set(whole[:2])
    assert {words[2] for words in copies} == {"the"}


def test_what_is_written_together_with_a_stop_word_stays(substitution):
    text = "what's this? it isn't a song, don't; who’s ada?"
    for copy in substitution(text):
        words, kept = WORD.findall(copy), WORD.findall(text)
        assert all(new == old for new, old in zip(words, kept, strict=True) if old not in ("song", "ada"))


def test_probability_and_seed(masked_lm, tokenizer, substitution):
    assert set(WordSubstitution(masked_lm, tokenizer, copies=3, probability=0.0)(TEXT)) == {TEXT}
    again = WordSubstitution(masked_lm, tokenizer, copies=6, candidates=3, probability=0.5)
    assert again(TEXT) == substitution(TEXT)
    other = WordSubstitution(masked_lm, tokenizer, copies=6, candidates=3, probability=0.5, seed=1)
    assert other(TEXT) != substitution(TEXT)
    many = WordSubstitution(masked_lm, tokenizer, copies=2000, probability=0.4)("song")
    # one word, replaced with p = 0.4: 0.05 are four and a half standard deviations; the word itself is a candidate too
    shares = sum(copy != "song" for copy in many) / len(many)
    assert 0.4 * 14 / 15 - 0.05 < shares < 0.4 + 0.05


def test_as_the_paper_does_unless_told_otherwise(masked_lm, tokenizer):
    """N = 20, K = 15, p = 0.4 (arXiv 1909.10351)."""
    usual = WordSubstitution(masked_lm, tokenizer, probability=1.0)
    assert WordSubstitution(masked_lm, tokenizer).probability == 0.4
    many = WordSubstitution(masked_lm, tokenizer, copies=2000, probability=1.0)
    assert len(usual("song")) == 20 and len(set(many("song"))) == 15


def test_neighbours_are_the_nearest_embeddings(masked_lm, tokenizer):
    own = EmbeddingNeighbours(masked_lm, tokenizer)
    assert "song" in own.words and "##a" not in own.words and "the" not in own.words
    embeddings = masked_lm.get_input_embeddings().weight
    pieces = embeddings[tokenizer.convert_tokens_to_ids(tokenizer.tokenize("zx"))].mean(0)
    wanted = torch.nn.functional.cosine_similarity(
        pieces[None], torch.stack([embeddings[tokenizer.convert_tokens_to_ids(word)] for word in own.words])
    )
    assert own("zx", 3) == tuple(own.words[place] for place in wanted.topk(3).indices)
    assert "song" not in own("song", 4) and own("Song", 4) == own("song", 4)


def test_other_neighbours_give_other_rows_and_another_cache(masked_lm, tokenizer, tmp_path):
    data, rows = Dataset.from_dict({"text": ["zanzibar"]}), []
    for word in ("lion", "tiger", "lion"):
        substitution = WordSubstitution(masked_lm, tokenizer, lambda _, count, word=word: [word], copies=1, probability=1.0)
        rows.append(augment(data, ["text"], substitution, tmp_path)["text"][:])
    assert rows == [["zanzibar", "lion"], ["zanzibar", "tiger"], ["zanzibar", "lion"]]


def test_rows_are_multiplied(questions, substitution, tmp_path):
    found = augment(questions, ["question"], substitution, tmp_path)
    for index, row in enumerate(found.select(range(14))):
        source = questions[index // 7]
        assert all(row[name] == source[name] for name in source if name != "question")
        wanted = [source["question"], *substitution(source["question"])]
        assert row["question"] == wanted[index % 7]


def test_pairs_change_together(substitution, tmp_path):
    data = Dataset.from_dict({"a": ["ada wrote", "x"], "b": ["the song", ""], "label": [1, 0]})
    found = augment(data, ["a", "b"], substitution, tmp_path)
    assert len(found) == 14 and found["label"][:] == [1] * 7 + [0] * 7
    assert found["a"][1:7] == substitution("ada wrote") and set(found["b"][7:]) == {""}


def test_what_cannot_be_augmented_is_refused(questions, substitution, masked_lm, tokenizer):
    with pytest.raises(ValueError, match="has no column title2; it has"):
        augment(questions, ["title2"], substitution)
    with pytest.raises(ValueError, match="columns=.'question'."):
        augment(questions, ["question", "context"], substitution)
    with pytest.raises(ValueError, match="probability is 1.5; valid are numbers from 0 to 1"):
        WordSubstitution(masked_lm, tokenizer, probability=1.5)
    with pytest.raises(ValueError, match="slow or has no mask"):
        WordSubstitution(masked_lm, object())


def test_the_script_writes_what_training_reads(masked_lm, tokenizer, squad_file, questions, tmp_path):
    masked_lm.save_pretrained(tmp_path / "mlm")
    tokenizer.save_pretrained(tmp_path / "mlm")
    output = tmp_path / "outputs" / "augmented.jsonl"
    command = [sys.executable, SCRIPT, "--train_file", squad_file, "--model_name_or_path", tmp_path / "mlm", "--copies", "2"]
    subprocess.run([*command, "--output", output], check=True, capture_output=True)
    assert len(load_squad(str(output))) == 3 * len(questions)
