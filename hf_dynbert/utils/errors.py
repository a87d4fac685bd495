# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Distinguishes errors of input from faults of the program, and checks values."""

import dataclasses
import dis
import json
import math
import numbers
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import yaml
from huggingface_hub.errors import HTTPError, StrictDataclassError
from safetensors import SafetensorError


PACKAGE = __name__.partition(".")[0]
LONGEST = 600  # characters of an error message from another library: some list every class that the library has
ARCHIVE = "inline_container.cc"  # of torch.save, which raises a RuntimeError when it cannot write
# Errors of files, folders and networks, whoever raises them
OF_FILES = (OSError, HTTPError, StrictDataclassError, yaml.YAMLError, UnicodeError, pickle.UnpicklingError)
OF_FILES += (SafetensorError,)
OF_TRAINING = ("transformers.training_args", "transformers.trainer", "transformers.integrations")  # raise about options


class InputError(ValueError):
    """Input that cannot be used: an option, a recipe, a file. The message is all that a user needs."""


def check_number(
    name: str, value: object, least=None, most=None, example=None, *, above=None, below=None, whole: bool = False
) -> None:
    """Refuses a value that is not a finite number in a range.

    Args:
        name, value: argument and what was given. `True` and `False` are not numbers.
        least, most, above, below (`float`, *optional*): limits; the first two are valid themselves.
        example (`float`, *optional*): a valid value, for the message.
        whole (`bool`): whether the value must be an integer.

    Raises:
        ValueError: "stride is -1; valid are whole numbers from 0 on, for example 128."
    """
    limits = {"from": least, "above": above, "to": most, "and below": below}
    words = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
    words = f"{words[0]} on" if words == [f"from {least}"] else " ".join(words)
    hint = "" if example is None else f", for example {example}"
    kind = "whole numbers" if whole else "numbers"
    valid = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    valid = valid and value == value and value not in (math.inf, -math.inf)
    valid = valid and (least is None or value >= least) and (above is None or value > above)
    valid = valid and (most is None or value <= most) and (below is None or value < below)
    if not valid:
        raise ValueError(f"{name} is {value!r:.60}; valid are {f'{kind} {words}'.strip()}{hint}.")


def check_choice(name: str, value: object, valid: Iterable) -> None:
    """Refuses a value that is none of the valid ones: "cost is 'time'; valid are 'latency', 'macs'."."""
    if value not in valid:
        raise ValueError(f"{name} is {value!r:.60}; valid are {', '.join(map(repr, valid))}.")


def refuse_without_effect(arguments, names: Iterable[str], reason: str) -> None:
    """Refuses options that differ from their default although they have no effect.

    Args:
        arguments: dataclass with the options; names that it does not have are skipped.
        names (`list[str]`): the options.
        reason (`str`): the rest of the message, for example "without train_file".

    Raises:
        InputError: "--stride has no effect for task reranking. Leave it out."
    """
    for field in dataclasses.fields(arguments):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.name in names and getattr(arguments, field.name) != default:
            raise InputError(f"--{field.name} has no effect {reason}. Leave it out.")


def is_utf8(value: object) -> bool:
    """Whether a value is a text that can be written as UTF-8; half of a surrogate pair cannot."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def read_json_option(name: str, text: str | None, example: str) -> dict | None:
    """The JSON object in an option; `None` if it is not given.

    Raises:
        InputError: "--budgets is not JSON (...); write for example --budgets '{"half": [0.8, 0.6]}'."
    """
    hint = f"write for example {name} '{example}'."
    try:
        value = json.loads(text or "null")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON ({one_line(error)}); {hint}") from error
    if text and not isinstance(value, dict):
        raise InputError(f"{name} is {text:.60}, which is no JSON object; {hint}")
    return value


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turns the errors of a damaged or missing option, file, folder or Hub id into an [`InputError`] that names it.

    Use it around reading alone, not around work.
    """
    try:
        yield
    except (InputError, ImportError):
        raise
    except Exception as error:  # readers of files raise every type, the bare Exception of `tokenizers` too
        if is_check(error):  # the message of a check names the source
            raise
        message = one_line(error)
        named = message if source in message else f"{source} cannot be read: {message}"
        raise InputError(named) from error


def is_input_error(error: BaseException) -> bool:
    """Whether an error is about input, so that its message is enough without a traceback.

    It is if a file, a folder or the network caused it, or if a `raise` statement of this package raised a `ValueError`: a
    check of arguments or data, or an `ImportError`: an extra that is not installed. What a `raise` statement of
    transformers' trainer raises is about its options. Any other error, for example `zip` over lists of two lengths, is a
    fault of the program.
    """
    return isinstance(error, (InputError, *OF_FILES)) or is_check(error) or _is_failed_write(error)


def _is_failed_write(error: BaseException) -> bool:
    return type(error) is RuntimeError and ARCHIVE in str(error)


def is_check(error: BaseException) -> bool:
    """Whether a `raise` statement of this package, or of transformers' trainer, raised an error about input."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "")
    is_ours = module.partition(".")[0] == PACKAGE and isinstance(error, (ValueError, ImportError))
    if not is_ours and not module.startswith(OF_TRAINING):
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def one_line(error: BaseException) -> str:
    """The message of an error on one line; the type where there is no message."""
    text = " ".join(str(error).split())
    if isinstance(error, (RecursionError, KeyError, AttributeError, IndexError, TypeError)) or not text:
        text = f"{type(error).__name__}: {text}"
    if _is_failed_write(error):
        text = f"a file could not be written, for example since the disk is full or the file too large: {text}"
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."
