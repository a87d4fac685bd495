# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Rankings within a deadline: deadlines kept, and nDCG@10 beside that of simpler ways to keep them.

python deadlines.py --data dl21.jsonl --model outputs/reranker-int8 --small outputs/reranker-l3-int8

Each query has the `--passages` best of BM25, in its order. For each deadline three ways are compared, all on the clock of
`pipeline("text-reranking", max_latency_ms=...)`, each deadline and way in random order:

- cascade: the model with all its named budgets;
- full length only: the model without budgets scores as many passages as the time allows; the others follow in BM25's order;
- small model: the same with `--small`, a model of fewer layers.

A warm-up ranking of each way does not count: it times the calls.
"""

import argparse
import random
import statistics

import numpy as np
import Stemmer
from compare_rankers import evaluator_of
from datasets import Dataset
from mine import Search
from tqdm.auto import tqdm
from transformers import pipeline

import hf_dynbert
from hf_dynbert.budgets.search.evaluator import standard_error
from hf_dynbert.loading import load_tokenizer
from hf_dynbert.tasks.base import DataOptions
from hf_dynbert.tasks.reranking.evaluate import RERANKING
from hf_dynbert.utils.tables import markdown_table


COLUMNS = ["deadline (ms)", "way", "kept (%)", "median (ms)", "largest (ms)", "scored", "nDCG@10", "minus cascade's"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--model", required=True, help="length-adaptive reranker with named budgets")
    parser.add_argument("--small", help="reranker with fewer layers")
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--deadlines", type=float, nargs="+", default=[50, 100, 200])
    parser.add_argument("--rounds", type=int, default=2, help="rankings of each query")
    args = parser.parse_args()
    data = first_passages(RERANKING.load(args.data, DataOptions()), args.passages)
    ways = {"cascade": ranker(args.model), "full length only": ranker(args.model, without_budgets=True)}
    if args.small:
        ways["small model"] = ranker(args.small, without_budgets=True)
    for rank in ways.values():
        rank(query=data[0]["query"], passages=data[0]["passages"], max_latency_ms=max(args.deadlines))
    calls = [(limit, way, index) for limit in args.deadlines for way in ways for index in range(len(data))] * args.rounds
    random.Random(0).shuffle(calls)
    found = {(limit, way): [[] for _ in data] for limit in args.deadlines for way in ways}
    for limit, way, index in tqdm(calls, desc="Ranking"):
        row = data[index]
        call = {"query": row["query"], "passages": row["passages"], "max_latency_ms": limit, "return_report": True}
        found[limit, way][index].append(ways[way](**call))
    quality = {key: ndcg(data, results) for key, results in found.items()}
    rows = [
        table_row(limit, way, results, quality[limit, way], quality[limit, "cascade"])
        for (limit, way), results in found.items()
    ]
    print(markdown_table(COLUMNS, rows))


def first_passages(data, number: int):
    """The best passages of each query by BM25, in its order."""
    search = Search((passage for passages in data["passages"] for passage in passages), Stemmer.Stemmer("english"))
    positions = {passage: index for index, passage in enumerate(search.passages)}

    def cut(row: dict) -> dict:
        scores = search.scores(row["query"])
        order = sorted(range(len(row["passages"])), key=lambda index: (-scores[positions[row["passages"][index]]], index))
        kept, missed = order[:number], order[number:]
        return {
            "passages": [row["passages"][index] for index in kept],
            "relevance": [row["relevance"][index] for index in kept],
            "unretrieved": [grade for index in missed if (grade := row["relevance"][index]) is not None],
        }

    return Dataset.from_list([row | cut(row) for row in data], features=data.features)


def ranker(folder: str, without_budgets: bool = False):
    """The pipeline of a model, with its budgets or at full length alone."""
    model = hf_dynbert.load(folder)
    if without_budgets:
        model.config.budgets = {}
    return pipeline("text-reranking", model=model, tokenizer=load_tokenizer(folder))


def ndcg(data, results: list[list[dict]]) -> np.ndarray:
    """nDCG@10 of each query, mean over its rankings."""
    evaluator = evaluator_of(data, 2, None, [{"input_ids": [0]}] * sum(map(len, data["passages"])))
    rounds = []
    for number in range(len(results[0])):
        outputs = []
        for of_query in results:
            ranking = of_query[number]["ranking"]
            places = {item["index"]: place for place, item in enumerate(ranking)}
            outputs += [{"logits": np.array([-float(places[index])])} for index in range(len(ranking))]
        rounds.append(evaluator.score(outputs).per_example)
    return np.mean(rounds, axis=0)


def table_row(limit: float, way: str, results: list[list[dict]], quality: np.ndarray, cascade: np.ndarray) -> list[str]:
    """A row of the table."""
    rankings = [ranked for of_query in results for ranked in of_query]
    times = [ranked["report"]["milliseconds"] for ranked in rankings]
    kept = sum(time <= limit for time in times) / len(times)
    scored = statistics.mean(len(ranked["ranking"]) - ranked["report"]["not_scored"] for ranked in rankings)
    difference = (quality - cascade).mean()
    error = "" if way == "cascade" else f"{difference:+.2f} ± {standard_error(quality, cascade):.2f}"
    return [
        f"{limit:g}",
        way,
        f"{100 * kept:.1f}",
        f"{statistics.median(times):.0f}",
        f"{max(times):.0f}",
        f"{scored:.0f}",
        f"{quality.mean():.2f}",
        error,
    ]


if __name__ == "__main__":
    main()
