# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert ask`: answers one question from a text."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..utils.errors import InputError, reading
from .checks import check_model, print_json, print_values


DESCRIPTION = "Answer a question with a span of a text."
EXAMPLE = 'hf-dynbert ask --model outputs/model --question "Who built it?" --context "Ada Marsh built the tower."'
CHOICES = ("max_latency_ms", "max_macs", "min_f1", "speedup")  # criteria by which the model chooses a budget


@dataclass
class AskArguments:
    """Options of `ask`."""

    model: str = field(metadata={"help": "Folder or Hub id of a model for extractive question answering."})
    question: str = field(metadata={"help": "The question."})
    context: str | None = field(default=None, metadata={"help": "Text to search for the answer."})
    context_file: str | None = field(default=None, metadata={"help": "File with the text; - reads standard input."})
    budget: str | None = field(
        default=None, metadata={"help": "Budget: a name, full, or a list such as 0.9,0.6,0.5,0.4,0.3,0.3."}
    )
    length_config: str | None = field(default=None, metadata={"help": "The same as --budget."})
    max_latency_ms: float | None = field(
        default=None, metadata={"help": "Choose the most accurate budget within so many milliseconds."}
    )
    max_macs: float | None = field(
        default=None, metadata={"help": "Choose the most accurate budget within so many multiply-accumulates."}
    )
    min_f1: float | None = field(
        default=None, metadata={"help": "Choose the fastest budget with at least this F1 (percent)."}
    )
    speedup: float | None = field(
        default=None, metadata={"help": "Choose the most accurate budget that is so many times as fast as full length."}
    )
    top_k: int = field(default=1, metadata={"help": "Number of answers."})
    max_answer_len: int = field(default=15, metadata={"help": "Largest number of tokens of an answer."})
    json: bool = field(default=False, metadata={"help": "Print one JSON value: an object, or a list with top_k above 1."})

    def __post_init__(self):
        if (self.context is None) == (self.context_file is None):
            raise InputError("ask needs --context TEXT or --context_file FILE, one of the two.")
        given = [f"--{name}" for name in CHOICES if getattr(self, name) is not None]
        given += [f"--{name}" for name in ("budget", "length_config") if getattr(self, name) is not None]
        if len(given) > 1 and not set(given) <= {f"--{name}" for name in CHOICES}:
            raise InputError(f"{' and '.join(given)} all select a budget; give one of them.")


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options."""
    return (AskArguments,)


def run(args: AskArguments) -> None:
    """Prints the answer."""
    text = _context(args)
    check_model(args.model, "--model")
    from transformers import pipeline  # takes seconds: what can be checked before is checked before

    from ..loading import load, load_tokenizer

    with reading(args.model):
        model, tokenizer = load(args.model, "question-answering"), load_tokenizer(args.model)
    answer = pipeline("extractive-qa", model=model, tokenizer=tokenizer)(
        question=args.question,
        context=text,
        top_k=args.top_k,
        max_answer_len=args.max_answer_len,
        **_budget(model, args),
    )
    answers = answer if isinstance(answer, list) else [answer]
    if args.json:
        print_json(answers if args.top_k > 1 else answers[0])
    else:
        for item in answers:
            print_values(item)


def _context(args: AskArguments) -> str:
    if args.context is not None:
        return args.context
    if args.context_file == "-":
        return sys.stdin.read()
    with reading(f"--context_file {args.context_file}"):
        return Path(args.context_file).read_text(encoding="utf-8-sig")


def _budget(model, args: AskArguments) -> dict:
    """The arguments of the pipeline that select the budget: its value, or criteria."""
    from ..budgets.sampling import parse_length_config

    criteria = {name: getattr(args, name) for name in CHOICES if getattr(args, name) is not None}
    if criteria and not hasattr(model, "choose_budget"):
        raise InputError(f"{type(model).__name__} has no budgets to choose from; give a length-adaptive model.")
    value = args.budget or args.length_config
    return criteria if value is None else {"budget": parse_length_config(value)}
