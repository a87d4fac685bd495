# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Checks of verbs before any work, and printing."""

import importlib.util
import json
from collections.abc import Mapping, Sequence

from ..utils.errors import InputError, reading
from ..utils.model_folders import check_readable
from ..utils.tables import print_table


def print_values(values: Mapping[str, object]) -> None:
    """Prints names and values."""
    rows = [[name, f"{value:.4g}" if isinstance(value, float) else str(value)] for name, value in values.items()]
    print_table(["", ""], rows)


def print_json(value: object) -> None:
    """Prints one JSON value on one line; NaN, which JSON does not have, as `null`."""
    text = json.dumps(value)
    print(json.dumps(json.loads(text, parse_constant=lambda name: None), ensure_ascii=False))


def need_packages(what: str, packages: Sequence[str], extra: str) -> None:
    """Refuses a verb whose packages are not installed, and names the extra that installs them."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(f'{what} needs the package {package}: pip install "hf_dynbert[{extra}]"')


def check_model(name: str, option: str, weights: bool = True, revision: str | None = None) -> None:
    """Refuses a model that cannot be read, or that needs code of its repository: that code never runs here.

    Args:
        name, option (`str`): folder or Hub id, and the option that has this value, for the message.
        weights (`bool`): whether a folder must hold weights.
        revision (`str`, *optional*): branch, tag or commit of a Hub id.
    """
    check_readable(name, option, weights)
    from transformers import AutoConfig, AutoTokenizer  # takes seconds; the files have been checked before

    with reading(name):
        for auto_class in (AutoConfig, AutoTokenizer):
            auto_class.from_pretrained(name, trust_remote_code=False, revision=revision or "main")
