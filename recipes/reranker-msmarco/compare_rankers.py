# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Quality of rankers on the same queries: nDCG@10, MRR@10 and MAP, with paired standard errors to the first model.

python compare_rankers.py --data dl21.jsonl --models outputs/reranker-teacher outputs/reranker@full outputs/reranker@half

A model is a folder, with a budget behind `@`. BM25, with stemming (`pip install bm25s PyStemmer`), ranks the passages that
each query has in the data; its statistics are those of all passages of the data.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import Stemmer
from mine import Search
from tqdm.auto import tqdm

from hf_dynbert.budgets.search.evaluator import standard_error
from hf_dynbert.loading import load, load_tokenizer
from hf_dynbert.tasks.base import DataOptions, Scores
from hf_dynbert.tasks.reranking.evaluate import RERANKING, RerankingEvaluator
from hf_dynbert.utils.tables import markdown_table


METRICS = ("ndcg@10", "mrr@10", "map")
COLUMNS = ["ranker", "nDCG@10", "MRR@10", "MAP", "nDCG@10 minus the first model's"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--models", nargs="+", required=True, metavar="FOLDER[@BUDGET]")
    parser.add_argument("--relevance_level", type=int, default=2, help="least grade that MRR and MAP count as relevant")
    parser.add_argument("--limit", type=int, help="use the first queries only")
    parser.add_argument("--output", type=Path, help="JSON file for nDCG@10 of each query")
    args = parser.parse_args()
    data = RERANKING.load(args.data, DataOptions())
    data = data.select(range(min(len(data), args.limit or len(data))))
    scores = {"BM25": rank_by_bm25(data, args.relevance_level)}
    for model in args.models:
        scores[model] = rank_by_model(model, data, args.relevance_level)
    reference = scores[args.models[0]]
    rows = [row(name, found, reference) for name, found in scores.items()]
    print(markdown_table(COLUMNS, rows))
    if args.output is not None:
        per_query = {name: found.per_example.tolist() for name, found in scores.items()}
        args.output.write_text(json.dumps({"ids": data["id"][:], "ndcg@10": per_query}, indent=1), encoding="utf-8")


def rank_by_model(model: str, data, relevance_level: int) -> Scores:
    """The scores of a model at a budget."""
    folder, _, budget = model.partition("@")
    tokenizer, loaded = load_tokenizer(folder), load(folder)
    evaluator = evaluator_of(data, relevance_level, tokenizer, RERANKING.inputs(tokenizer, data, DataOptions()))
    return evaluator.evaluate(loaded, budget or None)


def rank_by_bm25(data, relevance_level: int) -> Scores:
    """The scores of BM25."""
    search = Search((passage for passages in data["passages"] for passage in passages), Stemmer.Stemmer("english"))
    positions = {passage: index for index, passage in enumerate(search.passages)}
    outputs = []
    for row_ in tqdm(data, desc="BM25"):
        found = search.scores(row_["query"])
        outputs += [{"logits": np.array([found[positions[passage]]])} for passage in row_["passages"]]
    return evaluator_of(data, relevance_level, None, [{"input_ids": [0]}] * len(outputs)).score(outputs)


def evaluator_of(data, relevance_level: int, tokenizer, inputs: list[dict]) -> RerankingEvaluator:
    """The metrics of the data."""
    judged = {"ids": data["id"][:], "relevance": data["relevance"][:], "unretrieved": data["unretrieved"][:]}
    return RerankingEvaluator(tokenizer, inputs, **judged, relevance_level=relevance_level, progress=True)


def row(name: str, found: Scores, reference: Scores) -> list[str]:
    """A row of the table."""
    difference = (found.per_example - reference.per_example).mean()
    error = standard_error(found.per_example, reference.per_example)
    return [name, *(f"{found.metrics[metric]:.2f}" for metric in METRICS), f"{difference:+.2f} ± {error:.2f}"]


if __name__ == "__main__":
    main()
