# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Converts an existing checkpoint to a length-adaptive model in a folder, without training."""

import json
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from ..budgets.sampling import fit_length_config
from ..hub.model_card import write_card
from ..hub.records import TRAINING, origin, remove_stale_records
from ..tasks.base import task_of
from ..utils.atomic_files import replace_files
from .convert import convert_config, describe_tokenizer


BUDGETS = {"three-quarters": 0.75, "half": 0.5}  # of the operations; without training, smaller budgets lose too much


def convert(
    source: str,
    output_dir: str | Path,
    task: str | None = None,
    budgets: dict | None = None,
    revision: str | None = None,
) -> Path:
    """Makes a folder with the same answers at full length, and budgets to call it with.

    Args:
        source (`str`): folder or Hub id of a BERT, RoBERTa or DistilBERT checkpoint, in safetensors or in an old
            `pytorch_model.bin`, which is read as data alone.
        output_dir (`str` or `Path`): folder to write; all files are written or none.
        task (`str`, *optional*): for example `question-answering`; by default the task of the checkpoint's head.
        budgets (`dict`, *optional*): named length configurations; by default three quarters and half of the operations,
            with the same share dropped in each layer by received attention, as in the papers.
        revision (`str`, *optional*): branch, tag or commit of a Hub id.

    Returns:
        `Path`: the folder.

    Raises:
        ValueError: another architecture, a head of another kind and no `task`, or impossible budgets.
    """
    hub = {"revision": revision} if revision else {}
    config = AutoConfig.from_pretrained(source, trust_remote_code=False, **hub)
    task = task_of(config, task, source)
    shape = convert_config(task.model_class.config_class, config)  # or an error
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **hub)
    if budgets is None and not shape.budgets:
        layers = range(shape.num_hidden_layers)
        budgets = {name: [round(x, 4) for x in fit_length_config(shape, part, layers)] for name, part in BUDGETS.items()}
    least = None if hasattr(config, "min_tokens_to_drop") else task.min_tokens_to_drop
    given = {"budgets": budgets or None, "min_tokens_to_drop": least}
    given = {name: value for name, value in given.items() if value is not None}
    model = task.model_class.from_backbone(source, **hub, **given)
    model.config.task = task.name
    if hasattr(config, "sentence_transformers"):  # the activation of a cross-encoder's scores
        model.config.sentence_transformers = config.sentence_transformers
    describe_tokenizer(model.config, tokenizer)
    with replace_files(Path(output_dir)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        extra = task.write_extra_files(folder, config)
        (folder / TRAINING).write_text(json.dumps(origin(source)) + "\n", encoding="utf-8")
    remove_stale_records(output_dir, keep=[TRAINING, "model.safetensors", *extra])
    write_card(output_dir)
    return Path(output_dir)
