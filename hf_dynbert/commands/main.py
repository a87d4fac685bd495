# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The command `hf-dynbert`: a module of this folder for each verb. Nothing heavy is imported before a verb runs."""

import difflib
import importlib
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable

from ..utils.errors import InputError, is_input_error, one_line
from ..version import __version__
from .parsing import WIDEST, help_text, parse_arguments


PROG = "hf-dynbert"
VERBS = {
    "train": "fine-tune a checkpoint so that it answers at any budget",
    "search": "find the budgets worth keeping on this machine (needs the search extra)",
    "quantize": "make an int8 folder, for OpenVINO (needs the intel extra) or PyTorch",
    "evaluate": "measure accuracy, operations and latency at one budget or several",
    "benchmark": "measure latencies beside plain models (needs the intel extra)",
    "ask": "answer one question from a text",
    "convert": "make a BERT, RoBERTa or DistilBERT checkpoint length-adaptive, without training",
    "push": "publish a folder on the Hugging Face Hub, in one commit",
}
WRONG_INPUT, STOPPED = 2, 130  # exit statuses: as argparse has it, and as shells have it after Ctrl-C
# Loggers of libraries that transformers imports: each import prints lines about parts that this package does not use
NOISY = ("torchao", "torch.utils._pytree")


def usage() -> str:
    """The help of the command."""
    verbs = "\n".join(f"  {name:<10} {summary}" for name, summary in VERBS.items())
    return (
        f"usage: {PROG} VERB [RECIPE.yaml] [--option value ...]\n\n{verbs}\n\n"
        "A recipe is a YAML file of options; options of the command line win over it.\n"
        f"{PROG} VERB --help (or {PROG} help VERB) shows the options of a verb, {PROG} --version the version.\n"
        "--debug shows the traceback of every error.\n\n"
        f'example: {PROG} ask --model outputs/model --question "Who built it?" --context "Ada Marsh built the tower."'
    )


def main(argv: list[str] | None = None, before_work: Callable[[], None] | None = None) -> int:
    """Entry point of the command.

    Args:
        argv (`list[str]`, *optional*): arguments; those of the process when not given.
        before_work (`Callable`, *optional*): called before a verb runs, and not for help.

    Returns:
        `int`: exit status: 0; 2 for wrong input, with one line on standard error; 130 after Ctrl-C. A fault of the program
        raises its error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    try:
        return _dispatch(argv, before_work)
    except KeyboardInterrupt:
        print(f"\n{PROG}: stopped.", file=sys.stderr)
        return STOPPED
    except Exception as error:
        if not is_input_error(error):
            raise
        if debug:
            traceback.print_exc()
        print(f"{PROG}: {one_line(error)}", file=sys.stderr)
        return WRONG_INPUT


def _dispatch(argv: list[str], before_work: Callable[[], None] | None) -> int:
    if not argv or argv[0] in ("-h", "--help") or argv == ["help"]:
        print(usage())
        return 0 if argv else WRONG_INPUT
    if argv[0] in ("--version", "version"):
        print(f"hf_dynbert {__version__}")
        return 0
    if argv[0] == "help":
        argv = [argv[1], "--help"]
    name, words = argv[0], argv[1:]
    if name not in VERBS:
        nearest = difflib.get_close_matches(name, VERBS, n=1, cutoff=0)[0]
        raise InputError(f"verb {name!r} is unknown; the nearest valid one is {nearest}. See {PROG} --help.")
    verb = importlib.import_module(f".{name}", __package__)
    if "--help-all" in words or "--help" in words or "-h" in words:
        print(_help(name, verb, everything="--help-all" in words))
        return 0
    for logger in NOISY:
        logging.getLogger(logger).setLevel(logging.ERROR)
    begin = time.perf_counter()
    arguments = parse_arguments(words, verb.argument_classes(), prog=f"{PROG} {name}")
    if before_work is not None:
        before_work()
    verb.run(*arguments)
    if os.environ.get("RANK", "0") == "0":  # of several processes that train together, one reports
        print(f"{name} took {(time.perf_counter() - begin) / 60:.1f} minutes", file=sys.stderr)
    return 0


def _help(name: str, verb, everything: bool) -> str:
    prog = f"{PROG} {name}"
    if name == "train" and not everything:
        return verb.short_help(prog, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))
    groups = getattr(verb, "GROUPS", None)
    return help_text(prog, verb.DESCRIPTION, verb.EXAMPLE, verb.argument_classes(), groups)


if __name__ == "__main__":
    sys.exit(main())
