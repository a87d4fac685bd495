# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Queries with passages and their relevance, from JSON lines, from tables of pairs, and from TREC files."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, Features, List, Value

from ...utils.errors import is_utf8, reading
from ..text_classification.data import load_texts
from ..text_classification.labels import LABEL


QUERY_NAMES = ("query", "question")
PASSAGE_NAMES = ("positives", "positive", "negatives", "negative")
TREC_SUFFIXES = (".qrels", ".run")
LARGEST = 10**15  # of a grade or score: all integers up to it are exact as floats
FEATURES = Features(
    {
        "id": Value("string"),
        "query": Value("string"),
        "passages": List(Value("string")),
        "relevance": List(Value("float64")),
        "unretrieved": List(Value("float64")),
    }
)
FORMS = (
    '{"query": "...", "positives": ["..."], "negatives": ["..."]}, '
    '{"query": "...", "passages": ["..."], "scores": [2, 0]}, or '
    '{"query": "...", "passages": [{"text": "...", "judgment": 2}]}'
)


def load_rankings(
    sources: Sequence[str], columns: Sequence[str] = ("text",), label_column: str = LABEL, judged: bool = True, **hub
) -> Dataset:
    """Reads queries with their passages.

    Three kinds of data are read:

    - JSON lines with a query in each line (`.jsonl`): `query`, and either `positives` and `negatives`, or `passages` with
      a `judgment` each (higher is more relevant, `null` is not judged) or with a list `scores`, for example of a teacher.
    - Pairs of texts with a label, from any file that [`load_texts`] reads or from the Hub: `columns` are query and passage.
      Rows of one query are one ranking.
    - Four TREC files: a run (`.run`), judgments (`.qrels`), queries and passages (`.tsv`: id and text; if both files have
      all ids of the run, the first has the queries). The passages of a query are those of the run.

    Args:
        sources (`list[str]`): files, or one data set on the Hub.
        columns (`list[str]`): columns of query and passage of pairs. One column means JSON lines or TREC files.
        label_column (`str`): column of the relevance of pairs.
        judged (`bool`): whether each passage must have a relevance; without, its relevance is 0.
        hub: `name` and `split` of a data set on the Hub.

    Returns:
        `datasets.Dataset`: a row for each query with `id`, `query`, `passages` and `relevance`, a number or `None` for each
            passage; `unretrieved` has the grades of judged passages that the run does not have, for the metrics.

    Raises:
        ValueError: data of another form, an empty text, two queries with one id; the error names file and line.
        FileNotFoundError: no such file.
    """
    sources = [str(source) for source in sources]
    if len(columns) != 2 and (list(columns) != ["text"] or label_column != LABEL):
        raise ValueError(
            f"text_columns is {', '.join(columns)} and label_column {label_column}; they name columns of pairs, for example "
            "text_columns query passage. Leave both out for JSON lines and TREC files."
        )
    if len(columns) == 2:
        data = load_texts(list(sources), columns, label_column=label_column, **hub)
        if not judged and LABEL not in data.column_names:
            data = data.add_column(LABEL, [0.0] * len(data))
        rows = _pairs(data, sources, columns)
    elif any(Path(source).suffix.lower() in TREC_SUFFIXES for source in sources):
        rows = _trec_rows(sources)
    else:
        rows = [row for source in sources for row in _json_rows(Path(source), judged)]
    rows = [{"id": str(number)} | _checked(row) for number, row in enumerate(rows, start=1)]
    if not rows:
        raise ValueError(f"{', '.join(sources)}: there is no query.")
    _refuse_equal_ids(rows)
    content = {name: [row.get(name, []) for row in rows] for name in FEATURES}
    return Dataset.from_dict(content, features=FEATURES)


def check_positives(data: Dataset, source: str = "The data") -> None:
    """Refuses queries without a relevant passage, retrieved or not: no metric can use them.

    Raises:
        ValueError: names the first of these queries, and how many there are.
    """
    without = []
    for row in data:
        if not any(grade is not None and grade > 0 for grade in [*row["relevance"], *row["unretrieved"]]):
            without.append(row["id"])
    if without:
        raise ValueError(
            f"{source}: query {without[0]!r} has no relevant passage ({len(without)} of {len(data)} queries). Take such "
            "queries out."
        )


def _json_rows(path: Path, judged: bool) -> Iterator[dict]:
    """The queries of a file of JSON lines, each with the place that errors name."""
    if path.suffix.lower() not in (".jsonl", ".json"):
        raise ValueError(
            f"{path}: rankings are read from .jsonl files with one query in each line, for example {FORMS}; from TREC files "
            "(.run, .qrels and two .tsv files); and from tables of pairs, with text_columns query and passage."
        )
    for number, line in _lines(path):
        place = f"{path}, line {number}"
        try:
            content = json.loads(line)
        except RecursionError:
            raise ValueError(f"{place} is nested too deeply.") from None
        except ValueError as error:
            raise ValueError(f"{place} is not JSON ({error}); valid is {FORMS}.") from error
        query = next((content[name] for name in QUERY_NAMES if name in content), None) if _is_mapping(content) else None
        if query is None:
            raise ValueError(f"{place} has no query; valid is {FORMS}.")
        passages, relevance = _passages(content, place, judged)
        row = {"query": query, "passages": passages, "relevance": relevance, "place": place}
        identity = next((content[name] for name in ("id", "qid", "query_id") if name in content), None)
        yield row if identity is None else row | {"id": str(identity) if type(identity) is int else identity}


def _passages(content: dict, place: str, judged: bool) -> tuple[list, list]:
    """Texts and relevance of a JSON line."""
    if content.keys() & {*PASSAGE_NAMES}:
        if "passages" in content:
            raise ValueError(f"{place} has both passages and {PASSAGE_NAMES[0]} or {PASSAGE_NAMES[2]}; valid is {FORMS}.")
        positives = _as_list(content.get("positives", content.get("positive")))
        negatives = _as_list(content.get("negatives", content.get("negative")))
        return positives + negatives, [1.0] * len(positives) + [0.0] * len(negatives)
    passages = content.get("passages", content.get("documents"))
    if not isinstance(passages, list) or not passages:
        raise ValueError(f"{place} has no passages; valid is {FORMS}.")
    if not any(_is_mapping(passage) for passage in passages):
        scores = content.get("scores", content.get("judgments", content.get("labels")))
        if scores is None and not judged:
            return passages, [0.0] * len(passages)
        if not isinstance(scores, list) or len(scores) != len(passages):
            raise ValueError(f"{place} has {len(passages)} passages and needs as many scores; valid is {FORMS}.")
        return passages, scores
    if "scores" in content or not all(_is_mapping(passage) and "text" in passage for passage in passages):
        raise ValueError(f"{place} has a passage without text, or scores beside judgments; valid is {FORMS}.")
    names = ("judgment", "score", LABEL)
    grades = [next((passage[name] for name in names if name in passage), None) for passage in passages]
    return [passage["text"] for passage in passages], grades


def _pairs(data: Dataset, sources: Sequence[str], columns: Sequence[str]) -> list[dict]:
    """Rows of pairs, grouped by query in the order of the file."""
    if LABEL not in data.column_names:
        raise ValueError(
            f"{', '.join(sources)} has no column {LABEL}; it has {', '.join(data.column_names)}. Name it with label_column."
        )
    rows: dict[str, dict] = {}
    for number, (query, passage, label) in enumerate(
        zip(data[columns[0]][:], data[columns[1]][:], data[LABEL][:], strict=True)
    ):
        place = f"{', '.join(sources)}, row {number}"
        if not isinstance(query, str):
            raise ValueError(f"{place} has {query!r:.60} in column {columns[0]}; it must be a text.")
        row = rows.setdefault(query, {"query": query, "passages": [], "relevance": [], "place": place})
        row["passages"].append(passage)
        row["relevance"].append(label)
    return list(rows.values())


def _trec_rows(sources: Sequence[str]) -> list[dict]:
    """Queries of TREC files: the passages of the run, with the judgments."""
    run = [line for source in sources if source.lower().endswith(".run") for line in _trec_table(Path(source), 6)]
    qrels = [line for source in sources if source.lower().endswith(".qrels") for line in _trec_table(Path(source), 4)]
    texts = [source for source in sources if Path(source).suffix.lower() not in TREC_SUFFIXES]
    if not run or not qrels or len(texts) != 2:
        raise ValueError(
            f"TREC data need four files, a run, judgments, queries and passages; got {', '.join(sources)}. For example "
            "bm25.run test.qrels queries.tsv passages.tsv."
        )
    queries, passages = _queries_and_passages(run, [_trec_texts(Path(source)) for source in texts])
    rows: dict[str, dict] = {}
    for place, query, _, passage, *_ in run:
        empty = {"id": query, "query": queries[query], "passages": [], "relevance": [], "place": f"query {query}", "ids": {}}
        row = rows.setdefault(query, empty)
        if passage in row["ids"]:
            raise ValueError(f"{place} has passage {passage} of query {query} a second time.")
        row["passages"].append(passages[passage])
        row["ids"][passage] = place
    grades: dict[str, dict[str, int]] = {query: {} for query in rows}
    for place, query, _, passage, grade in qrels:
        if not re.fullmatch(r"[+-]?[0-9]{1,15}", grade):
            raise ValueError(
                f"{place} has the judgment {grade!r:.60} of passage {passage}; it must be an integer of at most 15 digits."
            )
        if grades.setdefault(query, {}).setdefault(passage, int(grade)) != int(grade):
            raise ValueError(f"{place} has another judgment of passage {passage} for query {query} than a line before.")
    for query, row in rows.items():
        row["relevance"] = [grades[query].get(passage) for passage in row["ids"]]
        row["unretrieved"] = [grade for passage, grade in grades[query].items() if passage not in row["ids"]]
    return list(rows.values())


def _queries_and_passages(run: list[list[str]], texts: list[dict[str, str]]) -> list[dict[str, str]]:
    """The two files with texts, that of the queries first. Ids of queries and of passages may be the same numbers."""
    query_ids, passage_ids = {line[1] for line in run}, {line[3] for line in run}
    for queries, passages in (texts, texts[::-1]):
        if query_ids <= queries.keys() and passage_ids <= passages.keys():
            return [queries, passages]
    missing = sorted((query_ids | passage_ids) - (texts[0].keys() | texts[1].keys()))
    raise ValueError(
        f"The run has {missing[0]!r}, which is in none of the files with texts."
        if missing
        else "One file must have the texts of all queries of the run, the other file the texts of all its passages."
    )


def _trec_table(path: Path, columns: int) -> list[list[str]]:
    """The lines of a run (six columns) or of judgments (four), each with its place."""
    table = [(number, line.split()) for number, line in _lines(path)]
    for number, line in table:
        if len(line) != columns:
            raise ValueError(
                f"{path}, line {number} has {len(line)} columns; valid are {columns}: query Q0 passage rank score name in a "
                "run, query 0 passage grade in judgments."
            )
    return [[f"{path}, line {number}", *line] for number, line in table]


def _trec_texts(path: Path) -> dict[str, str]:
    """Texts by id."""
    texts = {}
    for number, line in _lines(path):
        name, tab, text = line.partition("\t")
        if not tab:
            raise ValueError(f"{path}, line {number} has no tab; valid is an id, a tab and a text.")
        if texts.setdefault(name.strip(), text) != text:
            raise ValueError(f"{path}, line {number} has another text for the id {name.strip()!r} than a line before.")
    return texts


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line that is not empty."""
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}.")
    with reading(str(path)):
        lines = enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def _checked(row: dict) -> dict:
    """The row with numbers as relevance; refuses texts and numbers that no model can use."""
    place = row["place"]
    for name, text in [("query", row["query"]), *(("passage", passage) for passage in row["passages"])]:
        if not is_utf8(text) or not text.strip():
            raise ValueError(f"{place} has the {name} {text!r:.60}; it must be a text that is not empty.")
    if not row["passages"]:
        raise ValueError(f"{place} has no passages; valid is {FORMS}.")
    if not is_utf8(row.get("id", "")):
        raise ValueError(f"{place} has the id {row['id']!r:.60}; it must be a text or an integer.")
    for grade in row["relevance"]:
        number = isinstance(grade, (int, float)) and not isinstance(grade, bool) and abs(grade) <= LARGEST
        if grade is not None and not number:
            raise ValueError(
                f"{place} has the relevance {grade!r:.60}; it must be a finite number up to {LARGEST}, or null: not judged."
            )
    return row


def _refuse_equal_ids(rows: Sequence[dict]) -> None:
    places: dict[str, str] = {}
    for row in rows:
        if row["id"] in places:
            raise ValueError(f"Two queries have the id {row['id']!r}: {places[row['id']]}, and {row['place']}.")
        places[row["id"]] = row["place"]


def _as_list(value) -> list:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_mapping(value) -> bool:
    return isinstance(value, dict)
