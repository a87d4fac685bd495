# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Does a sentence answer a question? Pair classification at any budget, with each of the four importances.

python compare_importances.py --start sentence-transformers/all-MiniLM-L6-v2 --train_file FILE.json [FILE.json ...]

Pairs are those of make_pairs.py. One plain fine-tune, then one LengthDrop run for each importance; accuracy on
the validation split. Prints a table and writes results.json.
"""

import argparse
import json
from pathlib import Path

import torch
from datasets import Dataset
from make_pairs import pairs, take
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, DataCollatorWithPadding, set_seed

from hf_dynbert import (
    DistillationArguments,
    DistillationTrainer,
    DynamicTinyBertForSequenceClassification,
    count_macs,
    fit_length_config,
    load_squad,
)
from hf_dynbert.configuration_dynamic_tinybert import IMPORTANCES
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.utils.tables import markdown_table


RATIOS = (1.0, 0.5, 1 / 3)
COMMON = {
    "per_device_train_batch_size": 32,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "train_sampling_strategy": "group_by_length",
    "save_strategy": "no",
    "report_to": "none",
    "logging_steps": 25,
    "seed": 0,
}


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", default="sentence-transformers/all-MiniLM-L6-v2", help="checkpoint without a head")
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, default=0.1, help="part of the questions, by article")
    parser.add_argument("--samples", type=int, default=5000, help="questions to train on, two pairs each")
    parser.add_argument("--limit", type=int, default=700, help="held-out questions to evaluate on, two pairs each")
    parser.add_argument("--importances", nargs="+", default=list(IMPORTANCES))
    parser.add_argument("--output", type=Path, default=Path("outputs/pair-classification"))
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.start)
    train, held_out = split_by_article(load_squad(args.train_file), args.held_out)
    train, held_out = (
        features(pairs(take(data, most)), tokenizer) for data, most in ((train, args.samples), (held_out, args.limit))
    )
    plain = args.output / "plain"
    if not (plain / "config.json").exists():
        fit(load(args.start), tokenizer, train, plain, length_drop=False, num_train_epochs=2, learning_rate=1e-4)
    results = {}
    for importance in args.importances:
        folder = args.output / importance
        if not (folder / "config.json").exists():
            model = load(plain, importance=importance)
            fit(
                model,
                tokenizer,
                train,
                folder,
                importance=importance,
                num_sandwich=0,
                num_train_epochs=1,
                learning_rate=5e-5,
            )
        model = DynamicTinyBertForSequenceClassification.from_pretrained(folder).eval()
        results[importance] = [evaluate(model, tokenizer, held_out, ratio) for ratio in RATIOS]
    (args.output / "results.json").write_text(json.dumps(results, indent=1))
    rows = [[name, *(f"{100 * right:.1f} ({macs:.2f})" for right, macs in cells)] for name, cells in results.items()]
    print(f"\nAccuracy on {len(held_out)} held-out pairs (MACs on real tokens as a part of full length), one run each\n")
    print(markdown_table(["importance", "full", "half the MACs", "a third"], rows))


def features(rows: list[dict], tokenizer) -> Dataset:
    """What the model takes."""

    def encode(batch: dict) -> dict:
        encoding = tokenizer(batch["question"], batch["sentence"], truncation=True, max_length=128)
        return {**encoding, "labels": batch["label"], "length": [len(ids) for ids in encoding["input_ids"]]}

    data = Dataset.from_list(rows)
    return data.map(encode, batched=True, remove_columns=data.column_names)


def load(source, **options) -> DynamicTinyBertForSequenceClassification:
    """The model without dropout, as in-place distillation wants it."""
    return DynamicTinyBertForSequenceClassification.from_pretrained(
        source, dtype="float32", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2, **options
    )


def fit(model, tokenizer, data: Dataset, folder: Path, **options) -> None:
    """One training run."""
    set_seed(0)
    cpu = not torch.cuda.is_available()
    arguments = DistillationArguments(output_dir=str(folder), use_cpu=cpu, **COMMON, **options)
    trainer = DistillationTrainer(
        model, arguments, train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer), processing_class=tokenizer
    )
    trainer.train()
    trainer.save_model()


@torch.no_grad()
def evaluate(model, tokenizer, data: Dataset, ratio: float) -> tuple[float, float]:
    """Accuracy, and the MACs on real tokens as a part of full length, with every layer dropping the same share."""
    length_config = None if ratio == 1 else fit_length_config(model.config, ratio, range(model.config.num_hidden_layers))
    lengths = data["length"]
    macs = sum(count_macs(model.config, length_config, length) for length in lengths)
    full = sum(count_macs(model.config, None, length) for length in lengths)
    right = 0
    loader = DataLoader(data.sort("length").remove_columns("length"), 32, collate_fn=DataCollatorWithPadding(tokenizer))
    for batch in loader:
        labels = batch.pop("labels")
        right += (model(**batch, length_config=length_config or "full").logits.argmax(-1) == labels).sum().item()
    return right / len(data), macs / full


if __name__ == "__main__":
    main()
