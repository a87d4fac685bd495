# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Pairs per second of one process and of workers of Ray, and whether they predict the same.

python recipes/scaling/compare_workers.py --model outputs/reranker-int8 --data queries.jsonl --budget half --rounds 3

The data are those of `hf-dynbert predict`. A pair is a query with one passage; for other tasks it is a row. The rate begins
when each worker has written its first block, so that it has neither the start of Ray nor the loading of models; the column
"seconds" has both.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from transformers import AutoConfig

from hf_dynbert.budgets.sampling import parse_length_config
from hf_dynbert.integrations.ray import BatchPredictor, predict_blocks
from hf_dynbert.prediction.folder import write_block
from hf_dynbert.prediction.rows import find_blocks, input_files, read_block
from hf_dynbert.tasks import task_of
from hf_dynbert.utils.tables import markdown_table


def main() -> None:
    """Measures all forms in turns and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--budget", default="full")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of all workers together")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--block_rows", type=int, default=8, help="rows of a block; give each worker ten blocks at least")
    parser.add_argument("--max_length", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    task = task_of(AutoConfig.from_pretrained(args.model, trust_remote_code=False), source=args.model)
    blocks, _ = find_blocks(input_files(args.data), task.fields, args.block_rows)
    pairs = {block.number: count_pairs(block, task.fields) for block in blocks}
    arguments = {"model": args.model, "budget": parse_length_config(args.budget)}
    arguments |= {"batch_size": args.batch_size, "max_length": args.max_length}
    forms = {  # name -> workers of Ray (0: none) and threads of each
        "one process": (0, args.threads),
        "Ray, one worker": (1, args.threads),
        "Ray, one worker with its share": (1, args.threads // 2),
        "Ray, two workers": (2, args.threads // 2),
    }
    rates, seconds, equal = {name: [] for name in forms}, {name: [] for name in forms}, {}
    for _ in range(args.rounds):
        right = None
        for name, (workers, threads) in forms.items():
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                found = predict(blocks, Path(folder), arguments, workers, threads)
                seconds[name].append(time.perf_counter() - begin)
                rates[name].append(steady_rate(found, pairs))
                lines = [part.read_bytes() for part in sorted(Path(folder).glob("part-*"))]
            right = right or lines
            equal[name] = sum(one == other for one, other in zip(right, lines, strict=True))
    rows = []
    for name, (_, threads) in forms.items():
        rate, whole = statistics.median(rates[name]), statistics.median(seconds[name])
        rows.append([name, f"{threads}", f"{rate:.1f}", f"{whole:.0f}", f"{equal[name]} of {len(blocks)}"])
    print(f"\n{sum(pairs.values())} pairs in {len(blocks)} blocks at {args.budget}, medians of {args.rounds} rounds\n")
    print(markdown_table(["form", "threads of each", "pairs per second", "seconds", "blocks equal to one process"], rows))
    two, one = (statistics.median(rates[name]) for name in ("Ray, two workers", "Ray, one worker with its share"))
    print(f"\nTwo workers of {args.threads // 2} threads do {two / one:.2f} times as many pairs per second as one of them.")


def predict(blocks: list, folder: Path, arguments: dict, workers: int, threads: int) -> list[dict]:
    """Writes all blocks; returns for each one its number, its worker, and when it began and ended."""
    if workers:
        return list(predict_blocks(blocks, folder, arguments, workers, threads))
    predictor, found = BatchPredictor(**arguments, threads=threads), []
    for block in blocks:
        begin = time.time()
        write_block(folder, block, predictor)
        found.append({"number": block.number, "worker": os.getpid(), "begin": begin, "end": time.time()})
    return found


def steady_rate(found: list[dict], pairs: dict[int, int]) -> float:
    """Pairs per second from the moment when the last worker has written its first block."""
    first_ends: dict[int, float] = {}
    for block in found:
        first_ends[block["worker"]] = min(block["end"], first_ends.get(block["worker"], block["end"]))
    start = max(first_ends.values())
    later = [block for block in found if block["end"] > start]
    if not later:
        raise SystemExit("There are too few blocks to measure; give more data, or a smaller --block_rows.")
    # a block that was begun before counts with the share of its time that is after
    done = sum(pairs[b["number"]] * (b["end"] - max(start, b["begin"])) / (b["end"] - b["begin"]) for b in later)
    return done / (max(block["end"] for block in later) - start)


def count_pairs(block, fields: tuple[str, ...]) -> int:
    """Queries with a passage in a block, or its rows."""
    return sum(len(row.inputs.get("passages", [None])) for row in read_block(block, fields))


if __name__ == "__main__":
    main()
