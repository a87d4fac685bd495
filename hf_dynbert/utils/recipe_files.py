# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Recipes: YAML files of options, whose values are read as they are written."""

import json
from pathlib import Path

import yaml

from .errors import InputError, reading


NULLS = ("", "~", "null", "Null", "NULL")  # of YAML; such a line leaves the option at its default


class Quoted(str):
    """A text in quotes: text also where it looks like a number."""


class RecipeLoader(yaml.BaseLoader):
    """Reads scalars as text; refuses aliases, since a few lines of them can stand for gigabytes, and repeated keys."""

    def compose_node(self, parent, index):
        """The next node of the file."""
        if self.check_event(yaml.AliasEvent):
            raise InputError(f"*{self.peek_event().anchor} is an alias; write the value where it is used.")
        return super().compose_node(parent, index)

    def construct_scalar(self, node):
        """A text, as written."""
        return str(node.value) if node.style is None else Quoted(node.value)

    def construct_mapping(self, node, deep=False):
        """A mapping, each key once."""
        names = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"line {line}: a key must be a name.")
            if key.value in names:
                raise InputError(f"line {line}: key {key.value!r} appears twice; delete one.")
            names.add(key.value)
        return super().construct_mapping(node, deep)


def read_recipe(path: str | Path) -> dict[str, str | list[str]]:
    """Reads a recipe: a YAML file with one mapping of options.

    Values stay as they are written: `no`, `1:30` and `1e-3` are text until the option converts them. A mapping, such as
    `budgets: {half: [0.8, 0.6]}`, becomes JSON. Options whose value is empty or `null` are left out.

    Raises:
        InputError: the file is missing, is not YAML, repeats a key, has aliases, or holds something else than options.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no recipe {path}. Give a YAML file of options, or options alone: --name value.")
    try:
        with reading(str(path)):
            content = yaml.load(path.read_text(encoding="utf-8-sig"), RecipeLoader)  # noqa: S506 (it constructs text alone)
            if not isinstance(content, dict):
                raise InputError("it must be a YAML mapping of options, for example learning_rate: 1.0e-4.")
            return {name: _option(name, value) for name, value in content.items() if not _is_null(value)}
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path} is not a recipe: {error}") from error


def _is_null(value) -> bool:
    return value in NULLS and not isinstance(value, Quoted)


def _option(name: str, value) -> str | list[str]:
    if isinstance(value, dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    if isinstance(value, list) and not value:
        raise InputError(f"{name} is an empty list; delete the line to use the default, or give one value or more.")
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise InputError(f"{name} has a list or a mapping in its list; valid are numbers and texts.")
    return value


def _plain(value):
    """A value inside a mapping: numbers (`.5` too), `true`, `false` and `null` as JSON has them, all else as text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, Quoted):
        for read in (json.loads, float):
            try:
                return read(value)
            except ValueError:
                continue
    return str(value)
