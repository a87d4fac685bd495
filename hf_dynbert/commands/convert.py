# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert convert`: makes an existing checkpoint length-adaptive."""

import json
from dataclasses import dataclass, field
from typing import Literal

from ..utils.atomic_files import check_writable
from ..utils.errors import InputError, one_line
from .checks import check_model


DESCRIPTION = "Make a BERT, RoBERTa or DistilBERT checkpoint length-adaptive, without training."
EXAMPLE = "hf-dynbert convert --model deepset/tinyroberta-squad2 --output_dir outputs/converted"


@dataclass
class ConvertArguments:
    """Options of `convert`."""

    model: str = field(metadata={"help": "Folder or Hub id of a BERT, RoBERTa or DistilBERT checkpoint."})
    output_dir: str = field(metadata={"help": "Folder to write."})
    task: Literal["question-answering", "text-classification"] | None = field(
        default=None, metadata={"help": "Task of its head; read from the checkpoint when not given."}
    )
    budgets: str | None = field(
        default=None, metadata={"help": 'Named length configurations as JSON, such as {"half": [0.8, 0.6, 0.4]}.'}
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a Hub id."})


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options."""
    return (ConvertArguments,)


def run(args: ConvertArguments) -> None:
    """Writes the folder."""
    budgets = None
    if args.budgets:
        try:
            budgets = json.loads(args.budgets)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"--budgets is not JSON ({one_line(error)}); write for example '{{\"half\": [0.8, 0.6, 0.4]}}'."
            ) from error
    check_writable(args.output_dir)
    check_model(args.model, "--model", revision=args.revision)
    from ..backbones.folder import convert

    print(f"Saved in {convert(args.model, args.output_dir, args.task, budgets, args.revision)}")
