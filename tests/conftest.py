"""Tiny real models, a tokenizer and questions, all made here: nothing is downloaded."""

import gc
import json
import os
import string
from pathlib import Path

import huggingface_hub
import pytest
import torch
from datasets import Dataset
from hub_server import TOKEN, Hub
from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification, BertTokenizerFast

from hf_dynbert import DynamicTinyBertForQuestionAnswering, DynamicTinyBertForSequenceClassification


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,  # ten times the usual, so that different tokens give clearly different scores
}
LENGTH_CONFIGS = ([0.8, 0.6, 0.5, 0.3], [1.0, 0.5, 0.5, 0.2], [20, 12, 12, 3], [9, 9, 2, 2], [100, 99, 98, 97])
IMPORTANCES = ("all", "question", "cls", "learned")
WORDS = "who what where when keeps wrote lit built ada ben cleo dan light house tower song ship in at by 1 9 0 7".split()


def pytest_configure(config):
    """Gives each worker of pytest-xdist a core of its own: OpenVINO takes all cores, and its threads wait for each other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_finish(session):
    """Leaves the imported modules out of garbage collection: walking them is a quarter of the time of each export."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def cpuinfo(monkeypatch):
    """A function that sets what Linux says about the CPU; `None` stands for another system."""
    file, texts, read_text, exists = Path("/proc/cpuinfo"), [None], Path.read_text, Path.exists

    def read(path, *args, **kwargs):
        return texts[-1] if path == file else read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(Path, "exists", lambda path, **kwargs: bool(texts[-1]) if path == file else exists(path, **kwargs))
    return texts.append


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    letters = [*string.ascii_lowercase, *string.digits]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *letters, *(f"##{x}" for x in letters)]
    vocabulary = list(dict.fromkeys([*tokens, "the", "a", *WORDS]))
    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(vocabulary), encoding="utf-8")
    return BertTokenizerFast(vocab=str(path), model_max_length=128)


@pytest.fixture(scope="session")
def sizes(tokenizer):
    return {**SIZES, "vocab_size": len(tokenizer)}


@pytest.fixture(scope="session")
def bert(sizes):
    torch.manual_seed(0)
    return BertForQuestionAnswering(BertConfig(**sizes)).eval()


@pytest.fixture(scope="session")
def bert_folder(bert, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier_folder(sizes, tokenizer, tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("classifier")
    BertForSequenceClassification(BertConfig(**sizes, num_labels=3)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def randomize_scorers(model):
    """Gives learned importance something to say."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "token_scorer" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="session")
def make_model(bert_folder, classifier_folder):
    def make(task="question-answering", **config):
        model_class, folder = {
            "question-answering": (DynamicTinyBertForQuestionAnswering, bert_folder),
            "text-classification": (DynamicTinyBertForSequenceClassification, classifier_folder),
        }[task]
        config = {"min_tokens_to_drop": 0, **config}  # the tests' inputs are shorter than those that usually lose tokens
        return randomize_scorers(model_class.from_pretrained(folder, **config)).eval()

    return make


def make_batch(lengths=(24, 11, 40, 5), width=None, seed=3, first=4):
    """Random pairs of segments of these lengths, padded on the right to `width`."""
    generator = torch.Generator().manual_seed(seed)
    width = width or max(lengths)
    ids = torch.randint(10, 60, (len(lengths), width), generator=generator)
    positions = torch.arange(width).expand(len(lengths), -1)
    real = positions < torch.tensor(lengths)[:, None]
    ids[:, 0], ids[:, first - 1] = 2, 3  # CLS and SEP as in the vocabulary above
    return {
        "input_ids": ids.masked_fill(~real, 0),
        "attention_mask": real.long(),
        "token_type_ids": ((positions >= first) & real).long(),
    }


@pytest.fixture
def batch():
    return make_batch()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The client looks at this Hub, with an empty cache, and waits for nothing between attempts."""
    with Hub() as served:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", served.endpoint)
        monkeypatch.setattr(
            "transformers.utils.hub._hf_api", None, raising=False
        )  # newer releases keep one with its address
        monkeypatch.setattr("time.sleep", lambda _: None)
        yield served


@pytest.fixture(scope="session")
def questions():
    rows = []
    people, things, places = ("ada", "ben", "cleo", "dan"), ("light", "house", "tower", "song"), ("ship", "tower")
    for i, person in enumerate(people):
        for j, thing in enumerate(things):
            context = f"{person} wrote the {thing} in 19{i}{j}. the ship lit the {places[i % 2]}{' by night' * (1 + j)}."
            rows.append(
                {
                    "id": f"q{i}{j}",
                    "title": person,
                    "context": context,
                    "question": f"who wrote the {thing}?",
                    "answers": {"text": [person], "answer_start": [0]},
                }
            )
    return Dataset.from_list(rows)


@pytest.fixture(scope="session")
def squad_file(questions, tmp_path_factory):
    paragraphs = [
        {"context": row["context"], "qas": [{"id": row["id"], "question": row["question"], "answers": answers(row)}]}
        for row in questions
    ]
    path = tmp_path_factory.mktemp("squad") / "train.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "tiny", "paragraphs": paragraphs}]}))
    return path


@pytest.fixture(scope="session")
def articles_file(questions, tmp_path_factory):
    """The same questions as articles, one a person: some can be held out."""
    articles = {}
    for row in questions:
        paragraph = {
            "context": row["context"],
            "qas": [{"id": row["id"], "question": row["question"], "answers": answers(row)}],
        }
        articles.setdefault(row["title"], []).append(paragraph)
    path = tmp_path_factory.mktemp("articles") / "train.json"
    path.write_text(json.dumps({"data": [{"title": title, "paragraphs": found} for title, found in articles.items()]}))
    return path


def answers(row):
    return [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}]


def quantize(checkpoint, squad_file, folder, accuracy_samples):
    """int8 in OpenVINO by the command, with as little calibration as there can be."""
    from hf_dynbert.commands import main as cli  # the command imports more than most tests need

    argv = ["quantize", "--model", str(checkpoint), "--output_dir", str(folder), "--train_file", str(squad_file)]
    sizes = ["--calibration_samples", "8", "--accuracy_samples", str(accuracy_samples)]
    assert cli.main([*argv, *sizes, "--max_length", "120", "--stride", "8"]) == 0
    return folder
