# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Pairs per second beside sentence-transformers' own static int8 of the plain model, in turns.

python throughput.py --model outputs/reranker-int8 --plain outputs/plain --data outputs/reranker-data/validation.jsonl

Needs the extra `sentence-transformers`. `--plain` is a PyTorch cross-encoder of the same size; its static int8 export of
sentence-transformers is made in its folder, calibrated on the pairs of `--data`. Both models run through `predict` of
`CrossEncoder` with `backend="openvino"`, which sorts pairs by length. In each round all models, budgets and batch sizes run
once in random order, at two kinds of lengths: those of the data, and 384 tokens. Each model counts at its best batch size.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from sentence_transformers import CrossEncoder
from sentence_transformers.backend import export_static_quantized_openvino_model
from tqdm.auto import tqdm

from hf_dynbert.integrations.sentence_transformers import DynamicCrossEncoder
from hf_dynbert.tasks.base import DataOptions
from hf_dynbert.tasks.reranking.evaluate import RERANKING
from hf_dynbert.utils.tables import markdown_table


LONG = 384  # tokens of the long pairs
STATIC = "openvino/openvino_model_qint8_quantized.xml"  # where sentence-transformers writes it
COLUMNS = ["lengths", "model", "best batch", "pairs per second", "times as fast as plain int8 [quartiles]"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="length-adaptive OpenVINO int8 folder")
    parser.add_argument("--budgets", nargs="+", default=["full", "half"])
    parser.add_argument("--plain", required=True, help="plain PyTorch cross-encoder of the same size")
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", type=int, default=64, help="pairs of a timed call")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    data = RERANKING.load([args.data], DataOptions())
    pairs = [(row["query"], passage) for row in data for passage in row["passages"]]
    plain = static_int8(args.plain, pairs[:300])
    ours = DynamicCrossEncoder(args.model, backend="openvino", max_length=LONG)
    drawn = random.Random(0).sample(pairs, args.pairs)
    lengths = {"of the data": drawn, f"{LONG} tokens": [lengthened(ours.tokenizer, *pair, pairs) for pair in drawn]}
    calls = {"plain int8": lambda texts, size: plain.predict(texts, batch_size=size)}
    for budget in args.budgets:
        calls[budget] = lambda texts, size, budget=budget: ours.predict(texts, batch_size=size, budget=budget)
    rows = []
    for kind, texts in lengths.items():
        seconds = time_calls(calls, texts, args.batch_sizes, args.rounds)
        rows += table_rows(kind, seconds, len(texts))
    print(markdown_table(COLUMNS, rows))


def static_int8(folder: str, pairs: list[tuple[str, str]]) -> CrossEncoder:
    """The plain model as sentence-transformers quantizes it."""
    if not (Path(folder) / STATIC).is_file():
        model = CrossEncoder(folder, backend="openvino")
        with tempfile.TemporaryDirectory() as data:
            lines = [json.dumps({"text": f"{query} [SEP] {passage}"}) + "\n" for query, passage in pairs]
            (Path(data) / "train.jsonl").write_text("".join(lines), encoding="utf-8")
            sample = {
                "dataset_name": data,
                "dataset_config_name": "default",
                "dataset_split": "train",
                "column_name": "text",
            }
            export_static_quantized_openvino_model(model, None, folder, **sample)
    return CrossEncoder(folder, backend="openvino", max_length=LONG, model_kwargs={"file_name": Path(STATIC).name})


def lengthened(tokenizer, query: str, passage: str, pairs: list[tuple[str, str]]) -> tuple[str, str]:
    """A pair that fills `LONG` tokens: the passage is followed by others."""
    others = iter(random.Random(query).sample(pairs, 40))
    while len(tokenizer(query, passage)["input_ids"]) < LONG:
        passage += " " + next(others)[1]
    return query, passage


def time_calls(calls: dict, texts: list, batch_sizes: list[int], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of each model and batch size in each round, after one call of each that does not count."""
    variants = [(name, size) for name in calls for size in batch_sizes]
    seconds = {variant: [] for variant in variants}
    for number in tqdm(range(rounds + 1), desc="Round"):
        for name, size in random.Random(number).sample(variants, len(variants)):
            start = time.perf_counter()
            calls[name](texts, size)
            if number:
                seconds[name, size].append(time.perf_counter() - start)
    return seconds


def table_rows(kind: str, seconds: dict[tuple[str, int], list[float]], pairs: int) -> list[list[str]]:
    """A row for each model, the plain one first."""
    best = {}
    for (name, size), times in seconds.items():
        if name not in best or statistics.median(times) < statistics.median(seconds[name, best[name]]):
            best[name] = size
    reference = seconds["plain int8", best["plain int8"]]
    rows = []
    for name, size in best.items():
        times = seconds[name, size]
        ratios = [plain / own for plain, own in zip(reference, times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        speed = f"{pairs / statistics.median(times):.0f}"
        rows.append([kind, name, str(size), speed, f"{middle:.2f} [{low:.2f}, {high:.2f}]"])
    return rows


if __name__ == "__main__":
    main()
