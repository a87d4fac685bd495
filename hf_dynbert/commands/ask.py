# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert ask`: answers one question from a text."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..utils.errors import InputError, reading
from .checks import check_model, print_json, print_values


DESCRIPTION = "Answer a question with a span of a text."
EXAMPLE = 'hf-dynbert ask --model outputs/model --question "Who built it?" --context "Ada Marsh built the tower."'
CRITERIA = ("max_latency_ms", "speedup")  # by which the model chooses a budget


@dataclass
class AskArguments:
    """Options of `ask`.

    Args:
        model (`str`): folder or Hub id of a model for extractive question answering.
        question (`str`): the question.
        context (`str`, *optional*): text to search for the answer.
        context_file (`str`, *optional*): file with the text, in UTF-8; - reads standard input.
        budget (`str`, *optional*): budget: a name, full, or a list such as 0.9,0.6,0.5,0.4,0.3,0.3.
        max_latency_ms (`float`, *optional*): choose the most accurate budget within so many milliseconds.
        speedup (`float`, *optional*): choose the most accurate budget that is so many times as fast as full length.
        top_k (`int`): number of answers.
        max_answer_len (`int`): largest number of tokens of an answer.
        json (`bool`): print one JSON value: an object, or a list with top_k above 1.
    """

    model: str
    question: str
    context: str | None = None
    context_file: str | None = None
    budget: str | None = None
    max_latency_ms: float | None = None
    speedup: float | None = None
    top_k: int = 1
    max_answer_len: int = 15
    json: bool = False

    def __post_init__(self):
        if (self.context is None) == (self.context_file is None):
            raise InputError("ask needs --context TEXT or --context_file FILE, one of the two.")
        criteria = [f"--{name}" for name in self.criteria()]
        if self.budget is not None and criteria:
            raise InputError(f"--budget and {' and '.join(criteria)} all select a budget; give one of them.")

    def criteria(self) -> dict[str, float]:
        """The criteria that are given."""
        return {name: getattr(self, name) for name in CRITERIA if getattr(self, name) is not None}


ARGUMENTS = (AskArguments,)


def run(args: AskArguments) -> None:
    """Prints the answer."""
    text = args.context if args.context is not None else _read_text(args.context_file)
    check_model(args.model, "--model")
    from transformers import pipeline  # takes seconds: what can be checked before is checked before

    from ..budgets.sampling import parse_length_config
    from ..loading import load, load_tokenizer

    with reading(args.model):
        model, tokenizer = load(args.model, "question-answering"), load_tokenizer(args.model)
    selected = args.criteria() if args.budget is None else {"budget": parse_length_config(args.budget)}
    if args.criteria() and not hasattr(model, "choose_budget"):
        raise InputError(f"{type(model).__name__} has no budgets to choose from; give a length-adaptive model.")
    answer = pipeline("extractive-qa", model=model, tokenizer=tokenizer)(
        question=args.question, context=text, top_k=args.top_k, max_answer_len=args.max_answer_len, **selected
    )
    answers = answer if isinstance(answer, list) else [answer]
    if args.json:
        print_json(answers if args.top_k > 1 else answers[0])
    else:
        for item in answers:
            print_values(item)


def _read_text(name: str) -> str:
    """The text as written: start and end of an answer count its characters, carriage returns too."""
    with reading("standard input" if name == "-" else f"--context_file {name}"):
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode("utf-8-sig")
