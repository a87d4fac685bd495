# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert benchmark`. Imports neither OpenVINO nor Optimum, so that `--help` does not wait."""

from dataclasses import dataclass, field

from ..utils.defaults import MAX_LENGTH, STRIDE


@dataclass
class BenchmarkArguments:
    """Options of `hf-dynbert benchmark`.

    Args:
        model (`str`): folder or Hub id of a DynamicTinyBert checkpoint for question answering, in PyTorch.
        data (`list[str]`): SQuAD files, or a data set on the Hub, for inputs of real lengths.
        output_dir (`str`): folder for `benchmark.json`, `benchmark.md`, `benchmark.png` and the exported plain models.
        int8 (`list[str]`): folders of the same model in int8, made by `hf-dynbert quantize` with any backend.
        length_configs (`list[str]`): budgets to measure; `named` stands for full length and all named budgets.
        repeats (`int`): turns of each case, each of `benchmark.BURST` timed calls.
        threads (`int`, *optional*): threads of PyTorch and OpenVINO; all cores by default.
        plain (`bool`): whether to measure BERT-base, DistilBERT and MiniLM-L6 too (random weights; OpenVINO fp32 and int8).
        only (`list[str]`): measure only rows whose names contain one of these texts; all rows if empty.
        padded_length, stride (`int`): see `encode_windows`; inputs of the first two cases have `padded_length` tokens.
    """

    model: str = field(metadata={"help": "Folder or Hub id of a DynamicTinyBert checkpoint."})
    data: list[str] = field(metadata={"help": "SQuAD files, or a data set on the Hub, for real lengths."})
    output_dir: str = field(default="outputs/benchmark", metadata={"help": "Folder of the results."})
    int8: list[str] = field(default_factory=list, metadata={"help": "Folders that hf-dynbert quantize made of the model."})
    length_configs: list[str] = field(
        default_factory=lambda: ["full", "half", "third"], metadata={"help": "Budgets to measure."}
    )
    repeats: int = field(default=6, metadata={"help": "Turns of each case, each of eight timed calls."})
    threads: int | None = field(default=None, metadata={"help": "Threads of PyTorch and OpenVINO."})
    plain: bool = field(default=True, metadata={"help": "Measure BERT-base, DistilBERT and MiniLM-L6 too."})
    only: list[str] = field(default_factory=list, metadata={"help": "Rows to measure: parts of their names."})
    padded_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of the padded case, and most of the others."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})

    def __post_init__(self):
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; valid are 1 and more.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; valid are 1 and more.")
