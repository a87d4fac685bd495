"""Trains tiny models in several settings, alone or as one of two processes, and saves what was trained.

python two_processes.py STUDENTS TEACHERS OUTPUT        or the same behind torch.distributed.run
"""

import os
import sys
from pathlib import Path

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

from hf_dynbert import (
    DistillationArguments,
    DistillationTrainer,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    end_together,
    training_features,
)


BATCH = 8  # examples of a step, over all processes and accumulated batches
SETTINGS = {  # task, options; `teacher` is a wider model that answers on the fly
    "qa, learned importance": ("qa", {"importance": "learned"}),
    "qa, LayerDrop": ("qa", {"importance": "learned", "layer_dropout_prob": 0.4}),
    "classes, learned importance": ("classes", {"importance": "learned"}),
    "classes, LayerDrop": ("classes", {"importance": "learned", "layer_dropout_prob": 0.4}),
    "qa, teacher with projection, clipped": (
        "qa",
        {"teacher": True, "hidden_weight": 1.0, "relation_weight": 1.0, "relation_heads": 4, "max_grad_norm": 0.5},
    ),
    "qa, accumulated": ("qa", {"importance": "learned", "accumulate": 4, "layer_dropout_prob": 0.4}),
    "classes, accumulated, checkpointed": (
        "classes",
        {
            "importance": "learned",
            "accumulate": 4,
            "gradient_checkpointing": True,
            "teacher": True,
            "layer_dropout_prob": 0.4,
        },
    ),
    "classes, relations alone": (
        "classes",
        {"teacher": True, "relation_weight": 1.0, "relation_heads": 4, "hard_label_weight": 0.0, "prediction_weight": 0.0}
        | {"length_drop": False},
    ),
}
CLASSES = {
    "qa": (DynamicTinyBertForQuestionAnswering, AutoModelForQuestionAnswering),
    "classes": (DynamicTinyBertForSequenceClassification, AutoModelForSequenceClassification),
}


def features_of(task, tokenizer):
    people, things = ("ada", "ben", "cleo", "dan"), ("light", "house", "tower", "song")
    texts = [
        f"{person} wrote the {thing}{' by night' * (index % 3)}." for index, person in enumerate(people) for thing in things
    ]
    if task == "classes":
        return Dataset.from_dict({**tokenizer(texts), "labels": [index % 3 for index in range(len(texts))]})
    answers = [{"text": [text.split()[0]], "answer_start": [0]} for text in texts]
    questions = {"id": texts, "question": ["who wrote it?"] * 16, "context": texts, "answers": answers}
    return training_features(Dataset.from_dict(questions), tokenizer, max_length=128, stride=16)


def train(name, students, teachers, output):
    task, options = SETTINGS[name]
    options = dict(options)
    model_class, teacher_class = CLASSES[task]
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    student = model_class.from_pretrained(students / task, min_tokens_to_drop=0, **off)  # the texts are short
    teacher = teacher_class.from_pretrained(teachers / task) if options.pop("teacher", False) else None
    tokenizer = AutoTokenizer.from_pretrained(students / task)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    accumulated = options.pop("accumulate", 1) if processes > 1 else 1
    options.pop("accumulate", None)
    args = DistillationArguments(
        str(output / "run"), use_cpu=True, max_steps=3, per_device_train_batch_size=BATCH // processes // accumulated,
        gradient_accumulation_steps=accumulated, train_sampling_strategy="sequential", save_strategy="no", optim="sgd",
        report_to=[], logging_steps=1, disable_tqdm=True,
        **{"learning_rate": 0.02, "importance_learning_rate": 0.02, "max_grad_norm": 0} | options,
    )  # fmt: skip
    trainer = DistillationTrainer(
        student, args, train_dataset=features_of(task, tokenizer), processing_class=tokenizer, teacher=teacher
    )
    trainer.train()
    if trainer.is_world_process_zero():
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
        trained = {key: tensor.contiguous() for key, tensor in trainer.objective.state_dict().items()}
        save_file(trained | {"losses": torch.tensor(losses)}, output / f"{name}.safetensors")
    return trainer


if __name__ == "__main__":
    trainer = None
    for name in SETTINGS:
        trainer = train(name, *map(Path, sys.argv[1:]))
    end_together(trainer)
