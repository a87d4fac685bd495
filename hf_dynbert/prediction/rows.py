# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Rows to predict: the checks of one row, and files of rows. Imports nothing heavy."""

import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..utils.errors import InputError, check_number, one_line


REQUESTS = ("budget", "max_latency_ms")  # fields of a row that select its budget
PARQUET = ".parquet"
KINDS = (".jsonl", PARQUET)  # of the files in a folder of inputs
CHUNK = 1024  # rows of a Parquet file that are Python objects at the same time: a row group may have a million


class Block(NamedTuple):
    """Consecutive rows of a file: what a worker predicts and writes at once.

    Args:
        path (`str`): the file.
        number (`int`): number of the block among all blocks, from 0.
        first (`int`): number of its first row among all rows, from 0.
        rows (`int`): number of its rows.
        position (`tuple[int, int]`): where the first row is: its byte and line (JSON lines), or row group and row (Parquet).
    """

    path: str
    number: int
    first: int
    rows: int
    position: tuple[int, int]


class Row(NamedTuple):
    """One row of a file: its place for messages, its position as in [`Block`], its id, and its fields."""

    place: str
    position: tuple[int, int]
    id: object
    inputs: dict


def check_fields(row: dict, fields: tuple[str, ...], place: str) -> None:
    """Refuses an input with other fields than those of the task, or without a text; `text_pair` may be missing."""
    for name in fields:
        value = row.get(name)
        texts = value if isinstance(value, list) and name == "passages" else [value]
        valid = texts and all(isinstance(text, str) and text.strip() for text in texts)
        if not valid and not (value is None and name == "text_pair"):
            kind = "a list of texts" if name == "passages" else "a text"
            raise InputError(f"{place} has {name} {value!r:.60}; it must be {kind}. Fields are {', '.join(fields)}.")
    if wrong := set(row) - {*fields, *REQUESTS}:
        raise InputError(f"{place} has no {', '.join(sorted(wrong))}; its fields are {', '.join(fields)}.")
    if row.get("max_latency_ms") is not None:
        check_number(f"{place}: max_latency_ms", row["max_latency_ms"], above=0, example=80)
        if row.get("budget") is not None:
            raise InputError(f"{place} has budget and max_latency_ms, which both select a budget; give one of them.")


def select_fields(row: dict, fields: tuple[str, ...]) -> dict:
    """The fields of the task and of the budget that have a value; NaN is how data frames write a missing one."""
    selected = {}
    for name in (*fields, *REQUESTS):
        value = row.get(name)
        value = value.tolist() if hasattr(value, "tolist") else value  # arrays and numbers of NumPy
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            selected[name] = value
    return selected


def input_files(data: str | Path) -> list[Path]:
    """The file itself, or the files of a folder in the order of their names.

    Raises:
        InputError: no such file, a folder without files of rows, or with files of both kinds.
    """
    path = Path(data)
    if path.is_file():
        return [path]
    files = sorted(file for file in path.glob("*") if file.suffix in KINDS and file.is_file())
    if not path.is_dir() or not files:
        raise InputError(f"No such file: --data {data}. Valid are a file, and a folder of .jsonl or of .parquet files.")
    if len({file.suffix for file in files}) > 1:
        raise InputError(f"--data {data} holds .jsonl and .parquet files; give a folder with files of one kind.")
    return files


def find_blocks(files: list[Path], fields: tuple[str, ...], block_rows: int) -> tuple[list[Block], dict[str, str]]:
    """Reads and checks all rows.

    Args:
        files (`list[Path]`): files of rows.
        fields (`tuple[str, ...]`): fields of the task.
        block_rows (`int`): rows of a block; the last block of a file may have fewer.

    Returns:
        `tuple`: the blocks; and for each budget that a row names, as JSON, the place of the first such row.

    Raises:
        InputError: a row that is not valid. The message names its place.
    """
    blocks, budgets, total = [], {}, 0
    for path in files:
        position, count = None, 0
        for row in read_rows(path, fields):
            position, count = position or row.position, count + 1
            if row.inputs.get("budget") is not None:
                budgets.setdefault(json.dumps(row.inputs["budget"]), row.place)
            if count == block_rows:
                blocks.append(Block(str(path), len(blocks), total, count, position))
                position, count, total = None, 0, total + count
        if count:
            blocks.append(Block(str(path), len(blocks), total, count, position))
            total += count
    return blocks, budgets


def read_block(block: Block, fields: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a block; a row without an id has its number among all rows."""
    for number, row in enumerate(islice(read_rows(Path(block.path), fields, block.position), block.rows), block.first):
        yield row._replace(id=number if row.id is None else row.id)


def read_rows(path: Path, fields: tuple[str, ...], position: tuple[int, int] | None = None) -> Iterator[Row]:
    """The rows of a file from a position on, each one checked.

    Raises:
        InputError: a row that is not valid.
    """
    read = _parquet_rows if path.suffix == PARQUET else _json_rows
    for place, found, values in read(path, fields, position):
        inputs = select_fields(values, fields)
        check_fields(inputs, fields, place)
        yield Row(place, found, values.get("id"), inputs)


def _json_rows(path: Path, fields, position) -> Iterator[tuple[str, tuple[int, int], dict]]:
    """Place, position and object of each line that is not empty."""
    byte, first = position or (0, 1)
    with path.open("rb") as lines:
        lines.seek(byte)
        for number, line in enumerate(lines, start=first):
            text = line.decode("utf-8-sig" if byte == 0 else "utf-8")
            if text.strip():
                yield f"{path}, line {number}", (byte, number), _read_line(text, f"{path}, line {number}")
            byte += len(line)


def _read_line(text: str, place: str) -> dict:
    try:
        row = json.loads(text)
    except RecursionError:
        raise InputError(f"{place} is nested too deeply.") from None
    except ValueError as error:
        raise InputError(f"{place} is not JSON: {one_line(error)}") from error
    if not isinstance(row, dict):
        raise InputError(f'{place} is {text.strip()!r:.60}; it must be an object: {{"text": "..."}}.')
    return row


def _parquet_rows(path: Path, fields, position) -> Iterator[tuple[str, tuple[int, int], dict]]:
    """Place, position and columns of each row."""
    import pyarrow.parquet  # takes a second

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read as Parquet: {one_line(error)}") from error
    columns = [name for name in ("id", *fields, *REQUESTS) if name in file.schema_arrow.names]
    begin, skipped = position or (0, 0)
    for group in range(begin, file.num_row_groups):
        number = skipped if group == begin else 0
        for chunk in file.read_row_group(group, columns).slice(number).to_batches(max_chunksize=CHUNK):
            for row in chunk.to_pylist():
                yield f"{path}, row {number} of row group {group}", (group, number), row
                number += 1
