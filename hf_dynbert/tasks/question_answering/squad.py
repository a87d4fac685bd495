# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""SQuAD data, from a file or from the Hub, as rows of one question each."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, Features, List, Value, concatenate_datasets, load_dataset

from ...utils.errors import check_number, is_utf8, reading


FEATURES = Features(
    {
        "id": Value("string"),
        "title": Value("string"),
        "context": Value("string"),
        "question": Value("string"),
        "answers": {"text": List(Value("string")), "answer_start": List(Value("int32"))},
    }
)
COLUMNS = tuple(FEATURES)
FORMAT = (
    'SQuAD\'s format is {"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", '
    '"answer_start"}]}]}]}]}.'
)


def load_squad(
    source: str | Sequence[str], split: str = "train", limit: int | None = None, name: str | None = None
) -> Dataset:
    """Reads SQuAD-shaped questions and checks them.

    Args:
        source (`str` or `list[str]`): files, or a data set on the Hub with the columns of `rajpurkar/squad`. A `.json` file
            has the format of SQuAD v1.1 or v2, or a list of flat rows (alone, or under `data`); a `.jsonl` file has one
            flat row a line. A flat row has `id`, `context`, `question`, `answers` (`text` and `answer_start`, two lists).
            Several sources are put one after another.
        split (`str`, *optional*, defaults to `"train"`): split of a data set on the Hub.
        limit (`int`, *optional*): use only the first rows.
        name (`str`, *optional*): configuration of a data set on the Hub.

    Returns:
        `datasets.Dataset`: columns `id`, `title`, `context`, `question`, and `answers` with `text` and `answer_start`. Ids
        need not be unique.

    Raises:
        ValueError: a file that is damaged or has another format, a row that does not fit, or no question at all; the error
            names the file and the question.
        FileNotFoundError: no such file.
    """
    if limit is not None:
        check_number("limit", limit, 1, whole=True)
    sources = [source] if isinstance(source, str) else list(source)
    parts = [_read_file(Path(item)) if _is_file_name(item) else _read_hub(item, split, name) for item in sources]
    data = concatenate_datasets(parts)
    if len(data) == 0:
        raise ValueError(f"{', '.join(sources)}: no question in it.")
    return data.select(range(min(limit, len(data)))) if limit else data


def load_questions(sources: Sequence[str]) -> Dataset:
    """Reads questions without answers: JSON lines with `question` and `context`, or any file that `load_squad` reads.

    Args:
        sources (`list[str]`): files, or a data set on the Hub.

    Returns:
        `datasets.Dataset`: as `load_squad`. Each context is an article of its own, and each answer is an empty text.

    Raises:
        ValueError: a damaged file, or a row without a question or a context; the error names the file and the line.
        FileNotFoundError: no such file.
    """
    rows: list[dict] = []
    for source in sources:
        if Path(source).suffix.lower() == ".jsonl" and Path(source).is_file():
            rows += _questions(Path(source))
        else:
            rows += load_squad(source).to_list()
    if not rows:
        raise ValueError(f"{', '.join(sources)}: no question in it.")
    articles = {context: str(number) for number, context in enumerate(dict.fromkeys(row["context"] for row in rows))}
    for number, row in enumerate(rows):
        row |= {"id": str(number), "title": articles[row["context"]], "answers": {"text": [""], "answer_start": [0]}}
    return Dataset.from_list(rows, features=FEATURES)


def _questions(path: Path) -> list[dict]:
    """Questions and contexts of JSON lines."""
    rows = []
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        content = _parse(line, place)
        row = {"id": f"in {place}", "answers": {"text": [], "answer_start": []}}
        for name in ("question", "context"):
            if not isinstance(content, dict) or name not in content:
                raise ValueError(f'{place} has no "{name}"; valid is {{"question": "...", "context": "..."}}.')
            row[name] = content[name]
        _check_row(row)
        rows.append(row)
    return rows


def check_rows(data: Dataset, source: str = "The data set") -> None:
    """Refuses data without the needed columns, and rows that are not a question, a context and answers in this context."""
    missing = [column for column in COLUMNS if column not in data.column_names and column != "title"]
    if missing:
        raise ValueError(
            f"{source} has no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}. It has "
            f"{', '.join(data.column_names)}."
        )
    for row in data.select_columns([column for column in COLUMNS if column != "title"]):
        _check_row(row)


def _check_row(row: dict) -> None:
    """Refuses an invalid row."""
    where = f"Question {row['id']}"
    for name in ("context", "question"):
        if not is_utf8(row[name]) or not row[name].strip():
            raise ValueError(f"{where}: the {name} is {_short(row[name])}; it must be a text that is not empty.")
    answers = row["answers"]
    texts = answers.get("text") if isinstance(answers, dict) else None
    starts = answers.get("answer_start") if isinstance(answers, dict) else None
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise ValueError(
            f"{where}: answers is {_short(answers)}; it must have two lists of the same length, text and answer_start."
        )
    for text, start in zip(texts, starts, strict=True):
        if not is_utf8(text) or not text:
            raise ValueError(
                f"{where}: an answer is {_short(text)}; it must be a text that is not empty. A question without an answer "
                "has no answers at all."
            )
        if type(start) is not int:
            raise ValueError(f"{where}: answer_start is {_short(start)}; it must be an integer, counted from 0.")
        found = row["context"][start : start + len(text)] if 0 <= start < len(row["context"]) else ""
        if found != text:
            raise ValueError(
                f"{where}: the answer {_short(text)} is not at character {_short(start)} of its context, which has "
                f"{_short(found)} there. answer_start counts characters from 0."
            )


def _short(value) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."  # enough to find it; a context has thousands of characters


def spread_over(data: Dataset, most: int | None) -> Dataset:
    """Returns `most` rows, spread evenly over the data, in which neighbouring rows are of one article."""
    if not most or len(data) <= most:
        return data
    return data.select([index * len(data) // most for index in range(most)])


def split_by_article(data: Dataset, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Splits by whole articles, so that no paragraph is in both splits.

    Articles are shuffled, and each goes to the validation split if it still fits into the fraction.

    Args:
        data (`datasets.Dataset`): rows as `load_squad` returns them.
        fraction (`float`): largest share of the questions in the validation split, in (0, 1).
        seed (`int`, *optional*, defaults to 0): of the shuffle.

    Returns:
        `datasets.Dataset`, `datasets.Dataset`: training split, validation split.

    Raises:
        ValueError: a fraction out of range, or so small that no article fits.
    """
    check_number("fraction", fraction, above=0, below=1, example=0.1)
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


def _is_file_name(source: str) -> bool:
    """Whether a source is a file; other files than SQuAD's are refused before a look-up on the Hub."""
    suffix = Path(source).suffix.lower()
    if suffix in (".csv", ".tsv", ".parquet", ".txt"):
        raise ValueError(
            f"{source}: questions are read from .json and .jsonl files. A {suffix} file holds texts for task "
            "text-classification, whose models have a sequence classification head."
        )
    return suffix in (".json", ".jsonl") or Path(source).is_file()


def _read_hub(source: str, split: str, name: str | None) -> Dataset:
    with reading(source):
        data = load_dataset(source, name, split=split)
    if "title" not in data.column_names:
        data = data.add_column("title", [""] * len(data))
    check_rows(data, source)
    return data.select_columns(list(COLUMNS))


def _read_file(path: Path) -> Dataset:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. A SQuAD file ends in .json; other names are looked up on the Hub.")
    try:
        rows = list(_rows(path))
        for row in rows:
            _check_row(row)
    except RecursionError:
        raise ValueError(f"{path} is not JSON: it is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: no question in it.")
    return Dataset.from_list(rows, features=FEATURES)


def _rows(path: Path) -> Iterator[dict]:
    """Rows of a file in any of its formats, not checked yet."""
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(_read(path).split("\n"), start=1):
            if line.strip():
                yield _flat_row(_parse(line, f"{path}, line {number}"), f"line {number}")
        return
    content = _parse(_read(path), str(path))
    items = content if isinstance(content, list) else _list(content, "data", "the top level")
    for number, item in enumerate(items):
        if isinstance(item, dict) and "paragraphs" not in item and "context" in item:
            yield _flat_row(item, f"data[{number}]")
        else:
            yield from _article_rows(item, f"data[{number}]")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None


def _parse(text: str, where: str):
    def refuse(name: str):
        raise ValueError(f"{where} is not JSON: {name} is not a number of JSON.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}.") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply.") from None


def _flat_row(row, place: str) -> dict:
    """The row of a flat item. Here and below, `_read_file` adds the path to errors."""
    return {
        "id": _identifier(row, place),
        "title": _title(row, place),
        "context": _key(row, "context", place),
        "question": _key(row, "question", place),
        "answers": _key(row, "answers", place),
    }


def _article_rows(article, place: str) -> Iterator[dict]:
    """Flattens an article of SQuAD's format."""
    title = _title(article, place)
    for p, paragraph in enumerate(_list(article, "paragraphs", place)):
        paragraph_place = f"{place}.paragraphs[{p}]"
        context = _key(paragraph, "context", paragraph_place)
        for q, question in enumerate(_list(paragraph, "qas", paragraph_place)):
            question_place = f"{paragraph_place}.qas[{q}]"
            identifier = _identifier(question, question_place)
            question_place = f"question {identifier} ({question_place})"
            impossible = question.get("is_impossible", False)
            if not isinstance(impossible, bool):
                raise ValueError(f"{question_place}: is_impossible is {_short(impossible)}; it must be true or false.")
            answers = [] if impossible else _list(question, "answers", question_place)
            yield {
                "id": identifier,
                "title": title,
                "context": context,
                "question": _key(question, "question", question_place),
                "answers": {
                    "text": [_key(answer, "text", question_place) for answer in answers],
                    "answer_start": [_key(answer, "answer_start", question_place) for answer in answers],
                },
            }


def _identifier(item, place: str) -> str:
    value = _key(item, "id", place)
    if isinstance(value, bool) or not (isinstance(value, int) or is_utf8(value)):
        raise ValueError(f"{place}: the id is {_short(value)}; it must be a text or an integer.")
    return str(value)


def _title(item, place: str) -> str:
    title = item.get("title") if isinstance(item, dict) else None
    if title is not None and not is_utf8(title):
        raise ValueError(f"{place}: the title is {_short(title)}; it must be a text.")
    return title or ""


def _list(item, key: str, place: str) -> list:
    value = _key(item, key, place)
    if not isinstance(value, list):
        raise ValueError(f'{place}: "{key}" is {_short(value)}; it must be a list. {FORMAT}')
    return value


def _key(item, key: str, place: str):
    if not isinstance(item, dict) or key not in item:
        raise ValueError(f'{place} has no "{key}". {FORMAT}')
    return item[key]
