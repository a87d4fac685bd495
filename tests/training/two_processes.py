"""Trains tiny models in several settings, alone or as one of two processes, and saves what was trained.

python two_processes.py FOLDER OUTPUT        or the same behind torch.distributed.run
"""

import contextlib
import json
import os
import sys
from pathlib import Path

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

from hf_dynbert import (
    DistillationArguments,
    DistillationTrainer,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    end_together,
    teacher_predictions,
    training_features,
)
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.tasks.reranking.groups import QUERY, group_passages


BATCH = 8  # examples of a step, over all processes and accumulated batches
STEPS = 2
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
RELATIONS = {"relation_weight": 1.0, "relation_heads": 4}
SETTINGS = {  # task, options; `teacher` is a wider model that answers on the fly
    "qa, LayerDrop": ("qa", {"importance": "learned", "layer_dropout_prob": 0.4}),
    "classes, LayerDrop": ("classes", {"importance": "learned", "layer_dropout_prob": 0.4}),
    "qa, teacher with projection, clipped": (
        "qa",
        {"teacher": True, "hidden_weight": 1.0, "max_grad_norm": 0.5, **RELATIONS},
    ),
    "qa, accumulated": ("qa", {"importance": "learned", "accumulate": 4, "layer_dropout_prob": 0.4}),
    "classes, accumulated, checkpointed": (
        "classes",
        {"importance": "learned", "accumulate": 4, "gradient_checkpointing": True, "teacher": True},
    ),
    "rankings, margins": ("rankings", {"importance": "learned", "ranking_loss": "margin_mse", "teacher": True}),
    "rankings, lists, accumulated": ("rankings", {"importance": "all", "ranking_loss": "kl_div", "accumulate": 4}),
}
PLAIN_TEXT, STORED_ANSWERS = "plain text, relations alone", "stored answers of a teacher"
CLASSES = {
    "qa": (DynamicTinyBertForQuestionAnswering, AutoModelForQuestionAnswering),
    "classes": (DynamicTinyBertForSequenceClassification, AutoModelForSequenceClassification),
    "rankings": (DynamicTinyBertForSequenceClassification, AutoModelForSequenceClassification),
}


def processes():
    return int(os.environ.get("WORLD_SIZE", "1"))


def arguments(folder, accumulated=1, **options):
    return DistillationArguments(
        str(folder), use_cpu=True, max_steps=STEPS, per_device_train_batch_size=BATCH // processes() // accumulated,
        gradient_accumulation_steps=accumulated, train_sampling_strategy="sequential", optim="sgd", report_to=[],
        logging_steps=1, disable_tqdm=True,
        **{"learning_rate": 0.02, "importance_learning_rate": 0.02, "max_grad_norm": 0, "save_strategy": "no"} | options,
    )  # fmt: skip


def questions(number):
    people, things = ("ada", "ben", "cleo", "dan"), ("light", "house", "tower", "song")
    texts = [
        f"{people[index // 4 % 4]} wrote the {things[index % 4]}{' by night' * (index % 3)}." for index in range(number)
    ]
    answers = [{"text": [text.split()[0]], "answer_start": [0]} for text in texts]
    ids = [str(index) for index in range(number)]
    return Dataset.from_dict({"id": ids, "question": ["who wrote it?"] * number, "context": texts, "answers": answers})


def features_of(task, tokenizer):
    data = questions(48 if task == "rankings" else 16)
    if task == "rankings":
        tokens = tokenizer(data["question"][:], data["context"][:])
        columns = {"labels": [[float(index % 3 == 1)] for index in range(48)], "length": [1] * 48}
        return group_passages(Dataset.from_dict({**tokens, **columns, QUERY: [index // 3 for index in range(48)]}), 3)
    if task == "classes":
        return Dataset.from_dict({**tokenizer(data["context"][:]), "labels": [index % 3 for index in range(16)]})
    return training_features(data, tokenizer, max_length=128, stride=16)


def save_trained(output, name, trained, history):
    losses = [value for line in history for key, value in sorted(line.items()) if key.startswith("loss")]
    save_file(trained | {"losses": torch.tensor(losses)}, output / f"{name}.safetensors")


def train(folder, output, name):
    task, options = SETTINGS[name]
    options = dict(options)
    model_class, teacher_class = CLASSES[task]
    student = model_class.from_pretrained(folder / "students" / task, min_tokens_to_drop=0, **STILL)  # texts are short
    teacher = teacher_class.from_pretrained(folder / "teachers" / task) if options.pop("teacher", False) else None
    tokenizer = AutoTokenizer.from_pretrained(folder / "students" / task)
    accumulated = options.pop("accumulate", 1)
    args = arguments(output / "run", accumulated if processes() > 1 else 1, **options)
    data = {"train_dataset": features_of(task, tokenizer), "processing_class": tokenizer}
    trainer = DistillationTrainer(student, args, teacher=teacher, **data)
    trainer.train()
    if trainer.is_world_process_zero():
        trained = {key: tensor.contiguous() for key, tensor in trainer.objective.state_dict().items()}
        save_trained(output, name, trained, trainer.state.log_history)
    return trainer


def train_on_plain_text(folder, output):
    """With relations alone, the loss comes from inside the model and reaches no output."""
    options = {"importance": "all", "save_strategy": "steps", "save_steps": STEPS, "length_drop": False, **RELATIONS}
    args = arguments(output / "plain", **options)
    model = ModelArguments(
        str(folder / "students" / "qa"), teacher_model_name_or_path=str(folder / "teachers" / "qa"), **STILL
    )
    run_recipe(model, DataArguments([str(folder / "text.txt")], "plain-text", max_length=16), args)
    if args.process_index == 0:
        checkpoint = output / "plain" / f"checkpoint-{STEPS}"
        history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
        save_trained(output, PLAIN_TEXT, load_file(checkpoint / "model.safetensors"), history)


def store_answers(folder, output):
    """Each process begins with another part of the rows; the last one saves what it got."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "teachers" / "qa")
    teacher = AutoModelForQuestionAnswering.from_pretrained(folder / "teachers" / "qa")
    data = questions(600)
    options = {"max_length": 100, "stride": 8, "cache_dir": output / "cache"}
    answers = teacher_predictions(teacher, tokenizer, tokenizer, data, **options)
    if int(os.environ.get("RANK", "0")) == processes() - 1:
        trained = {
            f"{name} {row}": torch.tensor(answers[row][name]) for name in answers.column_names for row in (0, 300, 599)
        }
        save_trained(output, STORED_ANSWERS, trained, [])


def train_all(folder, output):
    trainer = None
    for name in SETTINGS:
        trainer = train(folder, output, name)
    train_on_plain_text(folder, output)
    store_answers(folder, output)
    return trainer


def check_that_no_thread_of_gloo_runs():
    """Such a thread may abort the process when Python ends."""
    threads = []
    for path in Path("/proc/self/task").glob("*/comm"):  # where there is Linux
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            threads.append(path.read_text().strip())
    assert "pt_gloo_runloop" not in threads, threads


if __name__ == "__main__":
    end_together(train_all(*map(Path, sys.argv[1:])))
    check_that_no_thread_of_gloo_runs()
