# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Reranking: nDCG@10, MRR@10 and MAP of a model, and the task for the verbs."""

import logging
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..base import DataOptions, Evaluator, Scores, Task, register_task
from .cross_encoder import cross_encoder_files
from .data import check_positives, load_rankings
from .groups import QUERY, group_passages
from .scores import MAX_LENGTH, check_labels, encode_pairs, relevance_score


LARGEST_GRADE = 10**6  # trec_eval allocates a counter for each grade
MOST_PASSAGES = 16  # of a query without labels: within a time limit, more queries are worth more than more passages
DEPTH = 10  # passages of a ranking that nDCG and MRR look at, as in MS MARCO and TREC Deep Learning

logger = logging.getLogger(__name__)


class RerankingEvaluator(Evaluator):
    """nDCG@10, MRR@10 and MAP, as trec_eval defines them, in percent.

    A passage without a judgment counts as not relevant. Of passages with equal scores the later one in the data ranks
    higher, so that a model gains nothing from the order of the data.

    Args:
        tokenizer, inputs, batch_size, progress: see [`Evaluator`]; an input for each pair of query and passage.
        ids (`list[str]`): id of each query.
        relevance (`list[list[float | None]]`): grade of each passage of each query, an integer or `None`.
        unretrieved (`list[list[float]]`): grades of judged passages of each query that are not among the inputs.
        relevance_level (`int`, *optional*, defaults to 1): least grade that MRR and MAP count as relevant; TREC Deep
            Learning uses 2.

    Raises:
        ValueError: grades that are no integers up to 1,000,000.
        ImportError: the extra `ranking` is missing.
    """

    primary_metric = "ndcg@10"

    def __init__(
        self, tokenizer, inputs, ids: Sequence, relevance: Sequence, unretrieved=None, relevance_level=1, **options
    ):
        super().__init__(tokenizer, inputs, **options)
        self.sizes = [len(grades) for grades in relevance]
        measures = {f"ndcg_cut.{DEPTH}", "recip_rank", "map"}
        self.evaluator = _trec_evaluator(
            _judgments(ids, relevance, unretrieved or [[]] * len(ids)), measures, relevance_level
        )

    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Ranks the passages of each query by their scores."""
        scores = np.split([relevance_score(output["logits"]) for output in outputs], np.cumsum(self.sizes)[:-1])
        predictions = [of_query.tolist() for of_query in scores]
        run = {
            _name(query): {_name(position): score for position, score in enumerate(passages)}
            for query, passages in enumerate(predictions)
        }
        measured = self.evaluator.evaluate(run)
        found = [measured[query] for query in run]
        ndcg = np.array([100 * values[f"ndcg_cut_{DEPTH}"] for values in found])
        reciprocal = [values["recip_rank"] for values in found]
        metrics = {
            f"ndcg@{DEPTH}": float(ndcg.mean()),
            f"mrr@{DEPTH}": 100 * float(np.mean([rank if rank >= 1 / DEPTH else 0.0 for rank in reciprocal])),
            "map": 100 * float(np.mean([values["map"] for values in found])),
        }
        return Scores(metrics, ndcg, predictions)


class Reranking(Task):
    """Passages of a query, ordered by relevance; the model is a classifier of pairs with one or two labels."""

    name, head, primary_metric, max_length = "reranking", "ForSequenceClassification", "ndcg@10", MAX_LENGTH
    unit = "of the queries"
    pipeline, fields, hub_name = "text-reranking", ("query", "passages"), "text-ranking"
    call_size = 8  # passages of a query are scored in batches
    min_tokens_to_drop = 48  # in such calls, int8 MiniLM-L6 is faster at `half` from 48 tokens on, not at 32
    options = ("text_columns", "label_column", "max_length")
    example = 'query="Who lit the lamp?", passages=["It rained.", "Ada Marsh lit the lamp."]'

    def is_named_by(self, config: dict) -> bool:
        """As for every task; a cross-encoder of sentence-transformers with one label is a reranker too."""
        one_label = len(config.get("id2label") or ()) == 1
        return super().is_named_by(config) or ("sentence_transformers" in config and one_label)

    def check_config(self, config: dict) -> None:
        """Refuses a classifier of more than two classes."""
        check_labels(len(config.get("id2label") or (0, 1)))  # transformers leaves its default, two labels, out of files

    def load(self, sources: Sequence[str], options: DataOptions) -> Dataset:
        """Reads queries with passages; see `load_rankings`.

        Raises:
            ValueError: data of another form.
        """
        return load_rankings(
            sources, options.text_columns, options.label_column, name=options.config_name, split=options.split
        )

    def load_unlabelled(self, sources: Sequence[str], options: DataOptions, config) -> Dataset:
        """Reads queries with the first passages of each. A query with one passage has no ranking and is left out.

        Raises:
            ValueError: data of another form, or no query with two passages.
        """
        check_labels(config.num_labels)
        data = load_rankings(sources, options.text_columns, judged=False, name=options.config_name, split=options.split)
        rows = []
        for row in data:
            passages = row["passages"][:MOST_PASSAGES]
            if len(passages) > 1:
                rows.append(row | {"passages": passages, "relevance": [1.0] * len(passages), "unretrieved": []})
        if not rows:
            raise ValueError(f"{', '.join(sources)}: no query has two passages, so there is nothing to rank.")
        if len(rows) < len(data):
            logger.warning(f"{len(data) - len(rows)} of {len(data)} queries have one passage and are left out.")
        return Dataset.from_list(rows, features=data.features)

    def with_predictions(self, data: Dataset, predictions: list) -> list[dict]:
        """The queries with a grade for each passage: 10 for the one with the highest score, 9 for the next, down to 0."""
        rows = []
        for row, scores in zip(data, predictions, strict=True):
            # of equal scores the later passage ranks higher, as in `RerankingEvaluator`
            order = sorted(range(len(scores)), key=lambda position: (scores[position], position), reverse=True)
            grades = [0] * len(scores)
            for rank, position in enumerate(order[:DEPTH]):
                grades[position] = DEPTH - rank
            rows.append({"id": row["id"], "query": row["query"], "passages": row["passages"], "scores": grades})
        return rows

    def inputs(self, tokenizer, data: Dataset, options: DataOptions) -> list[dict[str, list[int]]]:
        """Tokens of each query with each of its passages. The end of a long passage is cut.

        Raises:
            ValueError: a query that leaves no room for a passage.
        """
        max_length = options.max_length or self.max_length
        inputs = encode_pairs(tokenizer, data["query"][:], data["passages"][:], max_length)
        cut = sum(len(item["input_ids"]) == max_length for item in inputs)
        if cut:
            logger.warning(f"{cut} of {len(inputs)} pairs fill max_length={max_length} tokens; longer passages are cut.")
        return inputs

    def evaluator(
        self, tokenizer, data: Dataset, config, options: DataOptions, batch_size: int = 32, progress: bool = False
    ) -> Evaluator:
        """nDCG@10, MRR@10 and MAP.

        Raises:
            ValueError: a query without a relevant passage, or a model with more than two labels.
        """
        check_labels(config.num_labels)
        check_positives(data)
        inputs, options = self.inputs(tokenizer, data, options), {"batch_size": batch_size, "progress": progress}
        return RerankingEvaluator(tokenizer, inputs, data["id"][:], data["relevance"][:], data["unretrieved"][:], **options)

    def extra_files(self, config) -> dict[str, object]:
        """Files for `CrossEncoder`; see `cross_encoder_files`."""
        return cross_encoder_files(config)

    def training_features(self, tokenizer, data: Dataset, options: DataOptions) -> Dataset:
        """A row for each judged passage. Grades 0 and 1 are classes, other grades and scores are numbers to predict."""
        inputs = self.inputs(tokenizer, data, options)
        grades = [(query, grade) for query, row in enumerate(data["relevance"]) for grade in row]
        rows = [
            item | {"labels": [float(grade)], "length": len(item["input_ids"]), QUERY: query}
            for item, (query, grade) in zip(inputs, grades, strict=True)
            if grade is not None
        ]
        return Dataset.from_list(rows)

    def group(self, features: Dataset, size: int, seed: int) -> Dataset:
        """Rows of several passages of a query; see `group_passages`."""
        return group_passages(features, size, seed)

    def texts(self, data: Dataset, options: DataOptions) -> tuple[Dataset, tuple[str, str]]:
        """The judged pairs of query and passage."""
        pairs = [
            {"query": row["query"], "passage": passage}
            for row in data
            for passage, grade in zip(row["passages"], row["relevance"], strict=True)
            if grade is not None
        ]
        return Dataset.from_list(pairs), ("query", "passage")

    def label_fields(self, data: Dataset) -> dict:
        """One label: with binary cross-entropy for grades 0 and 1, with the squared error for other grades and scores."""
        grades = {grade for row in data["relevance"] for grade in row if grade is not None}
        binary = grades <= {0.0, 1.0}
        return {"num_labels": 1, "problem_type": "multi_label_classification" if binary else "regression"}


RERANKING = register_task(Reranking())


def _judgments(ids: Sequence[str], relevance: Sequence, unretrieved: Sequence) -> dict[str, dict[str, int]]:
    judgments = {}
    for number, (query, grades, further) in enumerate(zip(ids, relevance, unretrieved, strict=True)):
        given = [grade for grade in [*grades, *further] if grade is not None]
        if not all(grade == int(grade) and grade <= LARGEST_GRADE for grade in given):
            raise ValueError(
                f"Query {query!r} has relevance {grades!r:.60}; metrics need integers up to {LARGEST_GRADE} as grades."
            )
        judged = {_name(position): max(0, int(grade)) for position, grade in enumerate(grades) if grade is not None}
        missed = {f"unretrieved {position}": max(0, int(grade)) for position, grade in enumerate(further)}
        judgments[_name(number)] = judged | missed  # ids stay here: pytrec_eval cuts names at a zero byte
    return judgments


def _name(position: int) -> str:
    """Name of a passage, and of a query. trec_eval orders passages with equal scores by name, the last name first."""
    return f"{position:06d}"


def _trec_evaluator(judgments: dict, measures: set[str], relevance_level: int):
    try:
        import pytrec_eval  # the extra `ranking`; no other task needs it
    except ImportError as error:
        raise ImportError(f'Metrics of rankings need the extra: pip install "hf_dynbert[ranking]" ({error})') from error
    return pytrec_eval.RelevanceEvaluator(judgments, measures, relevance_level=relevance_level)
