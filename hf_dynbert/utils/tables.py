# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Tables for the terminal and for Markdown files."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


WIDEST = 10_000  # columns if the output is a file or a pipe, so that no line is wrapped or cut


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Prints a table to standard output. Colours and line breaks appear in a terminal only.

    Args:
        columns (`list[str]`): headers; a table of names and values may have empty ones.
        rows (`list[list[str]]`): cells, as many in each row as there are columns.
        title (`str`, *optional*): line above the table.
    """
    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns), show_edge=False, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in a cell are no markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDEST)
    if title:
        console.print(Text(title))
    console.print(table)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of headers and rows of cells, without a line break at the end."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("|" + "".join(f" {_cell(cell)} |" if cell else " |" for cell in line) for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")  # no line break and no bar
