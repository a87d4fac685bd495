# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Texts and pairs of texts, from files or from the Hub: with labels, or plain text to learn from a teacher."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas
from datasets import Dataset, Features, IterableDataset, Value, load_dataset
from datasets.exceptions import DatasetGenerationError

from ...utils.errors import reading
from .labels import LABEL, set_size


MAX_TEXT_LENGTH = 128  # tokens, as in BERT's and TinyBERT's classification (arXiv 1909.10351, section 4.2)
MOST_BRACKETS = 500  # of a line that is not parsed here: Arrow reads as many levels in less than a second
READERS = {".txt": "text", ".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


def load_texts(
    source: str | Sequence[str],
    columns: Sequence[str],
    name: str | None = None,
    split: str = "train",
    streaming: bool = False,
    label_column: str = LABEL,
) -> Dataset | IterableDataset:
    """Reads texts.

    Args:
        source (`str` or `list[str]`): `.txt` (one text a line, column `text`), `.json`, `.jsonl`, `.csv`, `.tsv` or
            `.parquet` files, all of one kind; or a data set on the Hub.
        columns (`list[str]`): the text's column, or two columns that make a pair.
        name (`str`, *optional*): configuration of a data set on the Hub, for example `qnli` of `nyu-mll/glue`.
        split (`str`, *optional*, defaults to `"train"`): split of a data set on the Hub.
        streaming (`bool`, *optional*): read during training, for data that do not fit on the disk.
        label_column (`str`, *optional*, defaults to `"label"`): column of the labels, if there is one.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`: these columns, and `label` where there is one.

    Raises:
        ValueError: files of several kinds, a damaged file, or without one of the columns.
        FileNotFoundError: no such file.
    """
    if not 0 < len(columns) < 3 or len({*columns, label_column}) <= len(columns):
        raise ValueError(
            f"text_columns is {', '.join(columns)} and label_column {label_column}; valid are one column of texts, or two "
            "that make a pair, and another one for the labels."
        )
    files = [source] if isinstance(source, str) else list(source)
    kinds = {Path(file).suffix.lower() if Path(file).suffix.lower() in READERS else None for file in files}
    if kinds == {None} and len(files) == 1 and not Path(files[0]).is_file():
        with reading(files[0]):
            data = load_dataset(files[0], name, split=split, streaming=streaming)
    elif len(kinds) == 1 and None not in kinds:
        data = _read_files(files, kinds.pop(), streaming)
    else:
        raise ValueError(
            f"{', '.join(files)}: valid are one data set on the Hub, or files of one kind of {', '.join(READERS)}."
        )
    there = column_names(data)
    needed = [*columns, *([label_column] if label_column != LABEL else [])]
    absent = [column for column in needed if column not in there]
    if absent:
        hints = {"data": "questions with their contexts is for task question-answering"}
        hints |= {"passages": "queries with their passages is for task reranking"}
        hint = "".join(f" A file of {text}." for column, text in hints.items() if column in there)
        raise ValueError(
            f"{', '.join(files)} has no column {', '.join(absent)}; it has {', '.join(there)}. Name the columns with "
            f"text_columns and label_column.{hint}"
        )
    data = data.select_columns([column for column in dict.fromkeys([*columns, label_column]) if column in there])
    return data.rename_column(label_column, LABEL) if label_column != LABEL else data


def check_texts(values: Iterable, column: str, where: str = "") -> None:
    """Refuses values that are no texts, and empty texts."""
    for row, value in enumerate(values):
        if isinstance(value, str) and value.strip():
            continue
        raise ValueError(
            f"{where}row {row} has {value!r:.60} in column {column}; it must be a text that is not empty. Take such rows "
            "out. In a CSV file, cells such as NA, None and null are read as empty."
        )


def _read_files(files: Sequence[str], suffix: str, streaming: bool) -> Dataset | IterableDataset:
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f"No such file: {', '.join(missing)}.")
    empty = [file for file in files if not Path(file).stat().st_size]
    if empty:
        raise ValueError(f"{', '.join(empty)}: the file is empty.")
    for file in files:
        if suffix in (".json", ".jsonl"):
            _check_json_start(file, suffix)
            _check_depth(file)
    options = {"sep": "\t"} if suffix == ".tsv" else {}
    try:
        for file in files if READERS[suffix] == "csv" else ():
            if not isinstance(pandas.read_csv(file, nrows=1, **options).index, pandas.RangeIndex):
                raise ValueError("the first row has more cells than there are columns; put texts with separators in quotes.")
        return load_dataset(
            READERS[suffix], data_files=[str(file) for file in files], split="train", streaming=streaming, **options
        )
    except (DatasetGenerationError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]  # pandas and Arrow quote whole lines of the file
        raise ValueError(f"{', '.join(files)} cannot be read as {suffix}: {reason}") from error


def _check_json_start(file: str, suffix: str) -> None:
    """Refuses a JSON file that does not begin with an object or list: `datasets` never returns for some of them."""
    with Path(file).open("rb") as content:
        start = content.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    valid = (b"{", b"[") if suffix == ".json" else (b"{",)
    if not start.startswith(valid):
        raise ValueError(
            f"{file} begins with {start[:20].decode(errors='replace')!r}; each row must be an object, such as "
            '{"text": "some words", "label": 1}.'
        )


def _check_depth(file: str) -> None:
    """Refuses lines that are nested too deeply: Arrow reads 10,000 levels in half a minute, and 100,000 in hours."""
    with Path(file).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.count(b"[") + line.count(b"{") <= MOST_BRACKETS:
                continue
            try:
                json.loads(line)
            except RecursionError:
                raise ValueError(f"{file}, line {number} is nested too deeply.") from None
            except ValueError:
                continue  # the reader reports it


def text_features(
    data: Dataset | IterableDataset, tokenizer, columns: Sequence[str], max_length: int = MAX_TEXT_LENGTH
) -> Dataset | IterableDataset:
    """Makes the features that a Trainer takes.

    Args:
        data (`datasets.Dataset` or `datasets.IterableDataset`): rows as `load_texts` returns them.
        tokenizer (`PreTrainedTokenizerBase`): of the model.
        columns (`list[str]`): the text, or two texts that make a pair.
        max_length (`int`, *optional*, defaults to 128): largest number of tokens; the longer text of a pair is cut first.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`: the model's inputs, `labels` where the data has them, and `length`
        for `train_sampling_strategy="group_by_length"`.
    """

    classes = set_size(data)

    def as_label(value):
        return value if classes is None else [float(number in value) for number in range(classes)]

    def features(batch: dict) -> dict:
        encoding = encode_texts(tokenizer, batch, columns, max_length)
        labels = {"labels": [as_label(value) for value in batch[LABEL]]} if LABEL in batch else {}
        return {**encoding, **labels, "length": [len(ids) for ids in encoding["input_ids"]]}

    return data.map(features, batched=True, remove_columns=column_names(data))


def column_names(data: Dataset | IterableDataset) -> list[str]:
    """Columns of the data; those of a stream may be unknown before its first row."""
    return data.column_names or list(next(iter(data)))


def encode_texts(tokenizer, batch: dict, columns: Sequence[str], max_length: int, **options):
    """Tokens of a batch's text, or of its pairs."""
    for column in columns:
        if not all(isinstance(text, str) for text in batch[column]):
            raise ValueError(
                f"A row has no text in column {column}; take such rows out. In a CSV file, cells such as NA, None and null "
                "are read as empty."
            )
    return tokenizer(*(batch[column] for column in columns), truncation=True, max_length=max_length, **options)


def read_texts(encoding, batch: dict, columns: Sequence[str]) -> list[list[str]]:
    """The texts as the tokenizer truncated them: a list of texts for each column."""
    left = [[] for _ in columns]
    for index, row in enumerate(encoding.encodings):
        for text, column in enumerate(columns):
            ends = [end for (_, end), of in zip(row.offsets, row.sequence_ids, strict=True) if of == text]
            left[text].append(batch[column][index][: max(ends, default=0)])
    return left


def cut_texts(data: Dataset | IterableDataset, tokenizer, column: str, max_length: int = MAX_TEXT_LENGTH):
    """Joins rows of text and cuts them between words into pieces that fill a window.

    Args:
        data (`datasets.Dataset` or `datasets.IterableDataset`): rows of text in their order.
        tokenizer (`PreTrainedTokenizerFast`): counts the tokens.
        column (`str`): the text's column.
        max_length (`int`, *optional*, defaults to 128): tokens of a window, special ones included.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`: column `column`. A thousand rows are joined at a time, so the last
        piece of each thousand is short.
    """
    room = max_length - tokenizer.num_special_tokens_to_add()

    def pieces(batch: dict) -> dict:
        text = " ".join(" ".join(row.split()) for row in batch[column] if row and row.strip())
        return {column: _pieces(text, tokenizer, room)}

    features = Features({column: Value("string")})  # else the columns of a stream are unknown
    return data.map(pieces, batched=True, remove_columns=column_names(data), features=features)


def _pieces(text: str, tokenizer, room: int) -> list[str]:
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans, words, pieces, start = tokens["offset_mapping"], tokens.word_ids(), [], 0
    while start < len(spans):
        stop = min(start + room, len(spans))
        whole = stop
        while start < whole < len(spans) and words[whole] == words[whole - 1]:
            whole -= 1
        stop = whole if whole > start else stop  # a word longer than a window is cut
        pieces.append(text[spans[start][0] : spans[stop - 1][1]])
        start = stop
    return pieces
