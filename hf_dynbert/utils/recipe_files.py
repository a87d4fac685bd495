# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Recipes: YAML files of options, whose values are read as they are written."""

import json
from pathlib import Path

import yaml

from .errors import InputError, reading


NULLS = ("", "~", "null", "Null", "NULL")  # of YAML; such a line leaves the option at its default


def read_recipe(path: str | Path) -> dict[str, str | list[str]]:
    """Reads a recipe.

    Values stay as they are written: `no`, `1:30` and `1e-3` are text until the option converts them. A mapping, such as
    `budgets: {half: [0.8, 0.6]}`, becomes JSON.

    Args:
        path (`str` or `Path`): a YAML file with one mapping of options.

    Returns:
        `dict[str, str | list[str]]`: option to value, without the options whose value is empty or `null`.

    Raises:
        InputError: the file is missing, is not YAML, repeats a key, has aliases, or holds something else than options.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no recipe {path}. Give a YAML file of options, or options alone: --name value.")
    with reading(str(path)):
        text = path.read_text(encoding="utf-8-sig")
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent):  # a few lines of aliases can stand for gigabytes
                raise InputError(f"{path}: *{event.anchor} is an alias; write the value where it is used.")
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if not isinstance(root, yaml.MappingNode):
            raise InputError(
                f"{path} is not a recipe: it must be a YAML mapping of options, for example learning_rate: 1.0e-4."
            )
        return {name: value for name, value in _options(root, path) if value is not None}


def _options(root: yaml.MappingNode, path: Path) -> list[tuple[str, str | list[str] | None]]:
    options = []
    for name, node in _pairs(root, path):
        if isinstance(node, yaml.MappingNode):
            options.append((name, json.dumps(_plain(node, path), ensure_ascii=False)))
        elif isinstance(node, yaml.SequenceNode):
            options.append((name, _texts(node, f"{path}: {name}")))
        else:
            options.append((name, _text(node)))
    return options


def _pairs(mapping: yaml.MappingNode, path: Path) -> list[tuple[str, yaml.Node]]:
    """Keys and values of a mapping, each key once."""
    pairs: dict[str, yaml.Node] = {}
    for key, value in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{path}, line {key.start_mark.line + 1}: a key must be a name.")
        if key.value in pairs:
            raise InputError(f"{path}, line {key.start_mark.line + 1}: key {key.value!r} appears twice; delete one.")
        pairs[key.value] = value
    return list(pairs.items())


def _texts(sequence: yaml.SequenceNode, what: str) -> list[str]:
    if not sequence.value:
        raise InputError(f"{what} is an empty list; delete the line to use the default, or give one value or more.")
    for item in sequence.value:
        if not isinstance(item, yaml.ScalarNode):
            raise InputError(f"{what} has a list or a mapping in its list; valid are numbers and texts.")
    return [item.value for item in sequence.value]


def _text(node: yaml.ScalarNode) -> str | None:
    """A scalar as written; `None` for an empty one without quotes."""
    return None if node.style is None and node.value in NULLS else node.value


def _plain(node: yaml.Node, path: Path):
    """A value inside a mapping, for JSON: numbers, `true`, `false` and `null` as JSON has them, all else as text."""
    if isinstance(node, yaml.MappingNode):
        return {name: _plain(value, path) for name, value in _pairs(node, path)}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path) for item in node.value]
    if node.style is not None:  # in quotes
        return node.value
    try:
        return json.loads(node.value)
    except ValueError:
        return _number(node.value)


def _number(text: str) -> float | str:
    """Numbers that YAML has and JSON has not, such as `.5`; else the text."""
    try:
        return float(text)
    except ValueError:
        return text
