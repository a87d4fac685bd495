# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert convert`: makes an existing checkpoint length-adaptive."""

from dataclasses import dataclass
from pathlib import Path

from ..utils.atomic_files import check_writable
from ..utils.errors import read_json_option, refuse_without_effect
from .checks import check_model


DESCRIPTION = "Make a BERT, RoBERTa or DistilBERT checkpoint length-adaptive, without training."
EXAMPLE = "hf-dynbert convert --model deepset/tinyroberta-squad2 --output_dir outputs/converted"


@dataclass
class ConvertArguments:
    """Options of `convert`.

    Args:
        model (`str`): folder or Hub id of a BERT, RoBERTa or DistilBERT checkpoint.
        output_dir (`str`): folder to write.
        task (`str`, *optional*): task of its head; read from the checkpoint when not given.
        budgets (`str`, *optional*): named length configurations as JSON, such as {"half": [0.8, 0.6, 0.4]}.
        revision (`str`, *optional*): branch, tag or commit of a Hub id.
    """

    model: str
    output_dir: str
    task: str | None = None
    budgets: str | None = None
    revision: str | None = None


ARGUMENTS = (ConvertArguments,)


def run(args: ConvertArguments) -> None:
    """Writes the folder."""
    if Path(args.model).exists():
        refuse_without_effect(args, ["revision"], "on a folder: it selects a version of a Hub repository")
    budgets = read_json_option("--budgets", args.budgets, '{"half": [0.8, 0.6, 0.4]}')
    check_writable(args.output_dir)
    check_model(args.model, "--model", revision=args.revision)
    from ..backbones.folder import convert

    print(f"Saved in {convert(args.model, args.output_dir, args.task, budgets, args.revision)}")
