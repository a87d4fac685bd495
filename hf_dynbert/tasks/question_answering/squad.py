# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""SQuAD data, from a file or from the Hub, as rows of one question each."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset, concatenate_datasets, load_dataset


COLUMNS = ("id", "title", "context", "question", "answers")


def load_squad(source: str | list[str], split: str = "train", limit: int | None = None) -> Dataset:
    """Reads SQuAD-shaped questions and checks them.

    Args:
        source (`str` or `list[str]`): `.json` files in SQuAD's own format (v1.1 or v2), or a data set on the Hub with the
            columns of `rajpurkar/squad`. Several are put one behind the other.
        split (`str`, *optional*, defaults to `"train"`): split of a data set on the Hub.
        limit (`int`, *optional*): use the first so many questions.

    Returns:
        `datasets.Dataset`: columns `id`, `title`, `context`, `question`, and `answers` with `text` and `answer_start`.

    Raises:
        ValueError: missing keys or columns, an answer that does not stand where it says, or no question at all; the error
            names the place or the question's id.
        FileNotFoundError: no such file.
    """
    sources = [source] if isinstance(source, str) else list(source)
    parts = [_read_file(Path(item)) if item.endswith(".json") else _read_hub(item, split) for item in sources]
    data = concatenate_datasets(parts)
    if len(data) == 0:
        raise ValueError(f"{', '.join(sources)}: no question in it.")
    return data.select(range(min(limit, len(data)))) if limit else data


def check_rows(data: Dataset) -> None:
    """Refuses rows without the needed columns, without a question, or with answers that do not stand in their context.

    Args:
        data (`datasets.Dataset`): rows as `load_squad` returns them.

    Raises:
        ValueError: naming the columns or the question's id.
    """
    missing = [column for column in COLUMNS if column not in data.column_names and column != "title"]
    if missing:
        raise ValueError(f"The data set has no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}.")
    for row in data.select_columns(["id", "context", "answers"]):
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            found = row["context"][start : start + len(text)]
            if start < 0 or found != text:
                raise ValueError(
                    f"Question {row['id']}: the answer {text!r} does not stand at character {start} of its context, "
                    f"where {found!r} stands. answer_start counts characters from 0."
                )


def spread_over(data: Dataset, most: int | None) -> Dataset:
    """So many rows, spread evenly over the data; neighbours are of one article.

    Args:
        data (`datasets.Dataset`): rows.
        most (`int` or `None`): how many; all where there are no more, or for `None`.
    """
    if not most or len(data) <= most:
        return data
    return data.select([index * len(data) // most for index in range(most)])


def split_by_article(data: Dataset, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Holds out whole articles, so that no paragraph is on both sides.

    Articles are shuffled, and each is held out if it still fits into the fraction.

    Args:
        data (`datasets.Dataset`): rows as `load_squad` returns them.
        fraction (`float`): most of the questions to hold out, in (0, 1).
        seed (`int`, *optional*, defaults to 0): of the shuffle.

    Returns:
        `datasets.Dataset`, `datasets.Dataset`: questions to train on, questions held out.

    Raises:
        ValueError: a fraction out of range, or so small that no article fits.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}; valid are numbers between 0 and 1, for example 0.1.")
    titles = data["title"]
    sizes = Counter(titles)
    room, held = fraction * len(data), set()
    shuffled = sorted(sizes)
    random.Random(seed).shuffle(shuffled)
    for title in shuffled:
        if sizes[title] <= room:
            held.add(title)
            room -= sizes[title]
    if not held:
        raise ValueError(
            f"No article fits into {fraction} of {len(data)} questions: the smallest has {min(sizes.values())}. "
            "Use a larger fraction."
        )
    rows = [title in held for title in titles]
    return (
        data.select([row for row, out in enumerate(rows) if not out]),
        data.select([row for row, out in enumerate(rows) if out]),
    )


def _read_hub(name: str, split: str) -> Dataset:
    data = load_dataset(name, split=split)
    check_rows(data)
    return data.select_columns(list(COLUMNS))


def _read_file(path: Path) -> Dataset:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file. A SQuAD file ends in .json; other names are looked up on the Hub.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None
    rows = list(_rows(content, path))
    if not rows:
        raise ValueError(f"{path}: no question in it.")
    data = Dataset.from_list(rows)
    try:
        check_rows(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return data


def _rows(content, path: Path) -> Iterator[dict]:
    """Flattens SQuAD's nested format."""
    for a, article in enumerate(_key(content, "data", path, "")):
        for p, paragraph in enumerate(_key(article, "paragraphs", path, f"data[{a}]")):
            where = f"data[{a}].paragraphs[{p}]"
            context = _key(paragraph, "context", path, where)
            for q, question in enumerate(_key(paragraph, "qas", path, where)):
                place = f"{where}.qas[{q}]"
                question_id = _key(question, "id", path, place)
                place = f"question {question_id} ({place})"
                answers = [] if question.get("is_impossible") else _key(question, "answers", path, place)
                yield {
                    "id": question_id,
                    "title": article.get("title", ""),
                    "context": context,
                    "question": _key(question, "question", path, place),
                    "answers": {
                        "text": [_key(answer, "text", path, place) for answer in answers],
                        "answer_start": [_key(answer, "answer_start", path, place) for answer in answers],
                    },
                }


def _key(item, key: str, path: Path, place: str):
    if not isinstance(item, dict) or key not in item:
        raise ValueError(
            f'{path}: {place or "the top level"} has no "{key}". SQuAD\'s format is {{"data": [{{"title", "paragraphs": '
            '[{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}.'
        )
    return item[key]
