# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert adapt`."""

from dataclasses import dataclass, field

from ..utils.defaults import STRIDE
from ..utils.errors import check_number


@dataclass
class AdaptArguments:
    """Options of `hf-dynbert adapt`.

    Args:
        model (`str`): folder or Hub id of a fine-tuned BERT, RoBERTa or DistilBERT, or of a length-adaptive model.
        texts (`list[str]`): files with inputs of the model's task; labels in them are not used.
        output_dir (`str`): folder of the results; a killed run resumes from it.
        task (`str`, *optional*): task of the model; by default the task of the checkpoint's head.
        max_minutes (`float`): time limit; the number of training steps and the sizes of the samples follow from it.
        text_columns (`list[str]`): column of the text, or two columns that make a pair.
        max_length (`int`, *optional*): most tokens of an input; by default 384 for questions, 256 for reranking, and what
            the model reads for texts.
        stride (`int`): tokens that neighbouring windows of a context share (question answering).
        drop_layers (`list[int]`, *optional*): layers that may drop tokens, from 0; by default the first and the middle one.
        num_evaluations (`int`): budgets that the search measures, see [`SearchArguments`].
        learning_rate (`float`): peak learning rate of the model's own weights.
        seed (`int`): seed of everything that is random.
        revision (`str`, *optional*): branch, tag or commit of a Hub id.
    """

    model: str
    texts: list[str]
    output_dir: str
    task: str | None = None
    max_minutes: float = 15.0
    text_columns: list[str] = field(default_factory=lambda: ["text"])
    max_length: int | None = None
    stride: int = STRIDE
    drop_layers: list[int] | None = None
    num_evaluations: int = 36  # a grid of 6 x 6 over the two drops
    learning_rate: float = 1e-4
    seed: int = 0
    revision: str | None = None

    def __post_init__(self):
        check_number("max_minutes", self.max_minutes, above=0, example=15)
        check_number("num_evaluations", self.num_evaluations, 4, example=36)  # two levels of each of two drops
        check_number("learning_rate", self.learning_rate, 0, example=1e-4)
