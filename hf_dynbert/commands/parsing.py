# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options from a recipe and from the command line, which wins."""

import dataclasses
import difflib
import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from transformers import HfArgumentParser


def parse_arguments(argv: list[str], classes: tuple[type, ...], prog: str = "hf-dynbert") -> tuple:
    """Reads a recipe, if the first argument names one, and options, which win.

    Args:
        argv (`list[str]`): `[RECIPE.yaml] --option value ...`.
        classes: dataclasses that hold the options.
        prog (`str`): name in the help text.

    Returns:
        One instance of each class.

    Raises:
        ValueError: an unknown option; the error names the nearest valid one. Or a recipe that is not a mapping.
    """
    parser = HfArgumentParser(classes, prog=prog, allow_abbrev=False)
    known = known_options(classes)
    options = []
    if argv and not argv[0].startswith("-"):
        options = recipe_options(Path(argv[0]), known)
        argv = argv[1:]
    for option in argv:
        if option.startswith("--") and option not in ("--help", "--"):
            name = option[2:].split("=")[0].replace("-", "_")
            if name not in known and name.removeprefix("no_") not in known:
                raise ValueError(unknown(f"option --{name}", name, known))
    *parsed, rest = parser.parse_args_into_dataclasses([*options, *argv], return_remaining_strings=True)
    if rest:
        raise ValueError(f"Cannot make sense of {' '.join(rest)}. Options are written --name value.")
    return tuple(parsed)


def known_options(classes: tuple[type, ...]) -> list[str]:
    """Names of all options that the classes have."""
    return sorted({field.name for item in classes for field in dataclasses.fields(item) if field.init})


def recipe_options(path: Path, known: list[str]) -> list[str]:
    """A recipe's values as command-line options."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a recipe: it must be a YAML mapping of options, such as learning_rate: 1.0e-4.")
    options = []
    for name, value in content.items():
        if name not in known:
            raise ValueError(unknown(f"{path}: key {name!r}", str(name), known))
        if value is None:
            continue
        options.append(f"--{name}")
        if isinstance(value, list):
            options += map(str, value)
        else:
            options.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return options


def read_options(words: Sequence[str]) -> dict[str, list[str]]:
    """Options and their values, as words; of what is said twice, the last.

    Args:
        words (`list[str]`): `--name value value --other=value`.

    Returns:
        `dict[str, list[str]]`: names with underscores; of a flag without a value `["true"]`.

    Raises:
        ValueError: a value before any option.
    """
    found: dict[str, list[str]] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = [value] if equals else []
        elif name is None:
            raise ValueError(f"Cannot make sense of {word}. Options are written --name value.")
        else:
            found[name].append(word)
    return {name: values or ["true"] for name, values in found.items()}


def unknown(what: str, name: str, known: list[str]) -> str:
    """Says so, and names the nearest valid one."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"{what} is unknown; the nearest valid one is {close[0]}."
