# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Answers many questions with `datasets.map`, and measures questions per second for each number of processes.

python answer_corpus.py --model outputs/quala-minilm-squad --data dev-v1.1.json --length_config balanced --processes 1 2 \
    --output outputs/answers.parquet [--shard 0 --num_shards 8]

The data are SQuAD's files (.json), or rows with question and context (.jsonl, .csv, .parquet). A machine takes a
shard. Stored answers are not computed again. Prints a table with a row for each number of processes, which share the cores.
"""

import argparse
import os
import time
from pathlib import Path

from datasets import Dataset, load_dataset
from transformers import pipeline

from hf_dynbert import load_squad
from hf_dynbert.budgets.sampling import parse_length_config
from hf_dynbert.loading import load, load_tokenizer
from hf_dynbert.utils.tables import markdown_table


READERS = {".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


class Answerer:
    """Answers a batch of `datasets.map`; each process loads the model at its first batch.

    Args:
        model (`str`): folder or Hub id, of any runtime.
        length_config (`list` or `str`): the budget.
        threads (`int`): of this process.
        windows (`int`): windows of a batch, padded to the longest; with 1 nothing is padded.
    """

    def __init__(self, model: str, length_config, threads: int, windows: int):
        self.model, self.length_config, self.threads, self.windows = model, length_config, threads, windows
        self._ask = None

    def __call__(self, batch: dict) -> dict:
        """Answer, its place in the context and its score, for each row."""
        if self._ask is None:
            model, tokenizer = load(self.model, threads=self.threads), load_tokenizer(self.model)
            self._ask = pipeline("extractive-qa", model=model, tokenizer=tokenizer, batch_size=self.windows)
        found = self._ask(question=batch["question"], context=batch["context"], length_config=self.length_config)
        return {name: [answer[name] for answer in found] for name in ("answer", "start", "score")}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_ask": None}


def main() -> None:
    """Answers, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--length_config", default="full")
    parser.add_argument("--processes", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--windows", type=int, default=1, help="windows of a batch, padded to the longest")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--num_shards", type=int, default=1)
    parser.add_argument("--limit", type=int, help="number of questions")
    parser.add_argument("--output", type=Path, help="a .parquet file; nothing is written when not given")
    args = parser.parse_args()
    if args.output and args.output.suffix != ".parquet":
        parser.error(f"--output is {args.output}; valid are files that end in .parquet.")
    if args.output and args.output.exists():
        print(f"{args.output} is there; nothing to do.")
        return
    data = read(args.data).shard(args.num_shards, args.shard)
    data, rows = data.select(range(min(args.limit or len(data), len(data)))), []
    for number in args.processes:
        threads = max(1, os.cpu_count() // number)
        answer = Answerer(args.model, parse_length_config(args.length_config), threads, args.windows)
        begin = time.perf_counter()
        found = data.map(answer, batched=True, batch_size=256, num_proc=number, load_from_cache_file=False, desc="Answers")
        seconds = time.perf_counter() - begin
        rows.append([f"{number}", f"{threads}", f"{len(data) / seconds:.0f}", f"{seconds:.0f}"])
    if args.output:
        beside = args.output.with_suffix(".part")
        found.to_parquet(beside)
        beside.replace(args.output)
    print(
        f"\n{len(data)} questions at {args.length_config}, {args.windows} windows a batch, models loaded in each process\n"
    )
    print(markdown_table(["processes", "threads of each", "questions a second", "seconds"], rows))


def read(sources: list[str]) -> Dataset:
    """Rows with a question and a context."""
    reader = READERS.get(Path(sources[0]).suffix)
    data = load_dataset(reader, data_files=sources, split="train") if reader else load_squad(sources)
    return data.select_columns([name for name in ("id", "question", "context") if name in data.column_names])


if __name__ == "__main__":
    main()
