# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert benchmark`. Imports neither OpenVINO nor Optimum, so that `--help` does not wait."""

from dataclasses import dataclass, field

from ..utils.errors import check_number, refuse_without_effect
from ..utils.task_arguments import TaskArguments


@dataclass
class BenchmarkArguments(TaskArguments):
    """Options of `hf-dynbert benchmark`.

    Args:
        model (`str`): folder or Hub id of a DynamicTinyBert checkpoint with a head for the task, in PyTorch.
        data (`list[str]`): files, or a data set on the Hub, for inputs of real lengths.
        output_dir (`str`): folder for `benchmark.json`, `benchmark.md`, `benchmark.png` and the exported plain models.
        int8 (`list[str]`): folders of the same model in int8, made by `hf-dynbert quantize` with any backend.
        length_configs (`list[str]`): budgets to measure; `named` stands for full length and all named budgets.
        repeats (`int`): turns of each case, each of eight timed calls.
        threads (`int`, *optional*): threads of PyTorch and OpenVINO; all cores by default.
        plain (`bool`): whether to measure BERT-base, DistilBERT and MiniLM-L6 too (random weights; OpenVINO fp32 and int8).
        only (`list[str]`): measure only rows whose names contain one of these texts; all rows if empty.
    """

    model: str
    data: list[str]
    output_dir: str = "outputs/benchmark"
    int8: list[str] = field(default_factory=list)
    length_configs: list[str] = field(default_factory=lambda: ["full", "half", "third"])
    repeats: int = 6
    threads: int | None = None
    plain: bool = True
    only: list[str] = field(default_factory=list)

    def __post_init__(self):
        refuse_without_effect(self, ["handle_impossible_answer"], "on latencies: benchmark scores no answers")
        check_number("repeats", self.repeats, 1)
        if self.threads is not None:
            check_number("threads", self.threads, 1)
