"""A task of its own, in at most forty lines outside of the package, that a verb then reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM

from hf_dynbert.commands import main as cli
from hf_dynbert.tasks import Evaluator, Scores, Task, get_task, register_task, task_of
from hf_dynbert.tasks.base import TASKS


class CountingEvaluator(Evaluator):
    """Share of the texts whose number of words is on the right side of the mean."""

    primary_metric = "agreement"

    def __init__(self, tokenizer, inputs, counts, **options):
        super().__init__(tokenizer, inputs, **options)
        self.counts = np.array(counts)

    def score(self, outputs):
        predicted = np.array([output["logits"][0] for output in outputs])
        right = 100.0 * ((predicted > predicted.mean()) == (self.counts > self.counts.mean()))
        return Scores({"agreement": float(right.mean())}, right, predicted.tolist())


class WordCounting(Task):
    """Number of words of a text."""

    name, head, max_length, primary_metric = "word-counting", "ForSequenceClassification", 64, "agreement"

    def load(self, sources, options):
        return Dataset.from_dict({"text": [line for name in sources for line in Path(name).read_text().splitlines()]})

    def split(self, data, validation_fraction, seed=0):
        return tuple(data.train_test_split(validation_fraction, seed=seed).values())

    def inputs(self, tokenizer, data, options):
        encoding = tokenizer(data["text"][:], truncation=True, max_length=options.max_length or self.max_length)
        return [{name: encoding[name][row] for name in encoding} for row in range(len(data))]

    def evaluator(self, tokenizer, data, config, options, batch_size=32, progress=False):
        counts, inputs = [len(text.split()) for text in data["text"]], self.inputs(tokenizer, data, options)
        return CountingEvaluator(tokenizer, inputs, counts, batch_size=batch_size, progress=progress)

    def training_features(self, tokenizer, data, options):
        rows = zip(self.inputs(tokenizer, data, options), data["text"], strict=True)
        return Dataset.from_list(
            [row | {"labels": float(len(text.split())), "length": len(row["input_ids"])} for row, text in rows]
        )

    def label_fields(self, data):
        return {"num_labels": 1, "problem_type": "regression"}


@pytest.fixture
def counting():
    yield register_task(WordCounting())
    TASKS.pop("word-counting")


def test_evaluate_reads_a_new_task(counting, make_model, tokenizer, tmp_path, capsys):
    make_model("text-classification").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "lines.txt").write_text("ada wrote\nben lit the tower by night\nwho built the ship in 1907\nthe song\n")
    argv = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "lines.txt"), "--latency_samples", "1"]
    assert cli.main([*argv, "--task", "word-counting", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 <= result["agreement"] <= 100 and result["examples"] == 4
    assert cli.main([*argv, "--task", "word-counting", "--json", "--validation_fraction", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 2


def test_train_reads_a_new_task(counting, bert_folder, tmp_path, capsys):
    (tmp_path / "lines.txt").write_text("ada wrote\nben lit the tower by night\nwho built the ship in 1907\nthe song\n")
    argv = ["train", "--model_name_or_path", str(bert_folder), "--train_file", str(tmp_path / "lines.txt")]
    argv += ["--task", "word-counting", "--output_dir", str(tmp_path / "model"), "--max_steps", "1", "--use_cpu"]
    assert cli.main([*argv, "--validation_fraction", "0.5", "--eval_strategy", "steps", "--eval_steps", "1"]) == 0
    evaluate = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "lines.txt"), "--json"]
    capsys.readouterr()
    assert cli.main([*evaluate, "--task", "word-counting", "--latency_samples", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 4


def test_heads_choose_tasks(counting):
    config = BertConfig(architectures=["BertForSequenceClassification"])
    assert task_of(config).name == "text-classification"  # the first that was registered
    assert task_of(config, "word-counting") is get_task("word-counting")
    with pytest.raises(
        ValueError, match="valid are 'question-answering', 'text-classification', 'reranking', 'word-counting'"
    ):
        get_task("counting")
    with pytest.raises(ValueError, match="is a model for text-classification"):
        task_of(config, "question-answering")
    with pytest.raises(ValueError, match="has no head for a task"):
        task_of(BertConfig(architectures=[BertForMaskedLM.__name__]))
