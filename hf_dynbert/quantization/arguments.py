# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What `hf-dynbert quantize` and `benchmark` can be told. Neither OpenVINO nor Optimum: `--help` answers at once."""

from dataclasses import dataclass, field

from ..utils.defaults import MAX_LENGTH, STRIDE


BACKENDS = ("openvino", "pytorch", "neural-compressor")


@dataclass
class QuantizeArguments:
    """What `hf-dynbert quantize` can be told.

    Args:
        model (`str`): folder or Hub id of a DynamicTinyBert checkpoint in PyTorch.
        output_dir (`str`): folder of the int8 model.
        backend (`str`): `openvino` (static int8 by NNCF; needs the `intel` extra), `pytorch` (int8 weights, each token's
            activations rounded by themselves, for `AutoModelForQuestionAnswering`) or `neural-compressor` (the same with
            static ranges, tuned by Neural Compressor's `autotune`; needs the extra of this name).
        drop_layers (`list[int]`, *optional*): the layers that may drop in the int8 model, from 0; the others need no scorer
            then, and nothing that has to be computed. All that may in the checkpoint when not given.
        importance_match_until (`int`, *optional*): layers that match tokens with the question in the int8 model, see
            [`DynamicTinyBertConfig`]; as the checkpoint when not given. The others learn from calibration's questions to say
            the same by a token's own state (least squares).
        dropped_logits (`str`, *optional*): what a dropped token answers in the int8 model, see [`DynamicTinyBertConfig`]; as
            the checkpoint when not given. `mask` is faster: nothing has to be remembered of what has gone.
        train_file, dataset_name, held_out: as for training. Calibration takes the questions that training saw; accuracy is
            measured on those held out, if there are any, or else on others than calibration's.
        calibration_samples (`int`): windows to calibrate with.
        smooth_quant_alpha (`float`): how far activations' outliers move into the weights, from 0 to 1 (SmoothQuant, arXiv
            2211.10438, section 4); -1 leaves it out. Only `openvino` has it.
        max_f1_drop (`float`, *optional*): most F1 that int8 may lose at any budget; layers that cost most stay in fp32
            until it holds. Not for `neural-compressor`.
        tolerable_loss (`float`): most of its F1 that int8 may lose at any budget, relative; `neural-compressor` tries one
            way after the other until it holds.
        accuracy_samples (`int`): questions to measure F1 on; 0 measures none.
    """

    model: str = field(metadata={"help": "Folder or Hub id of a DynamicTinyBert checkpoint."})
    output_dir: str = field(metadata={"help": "Folder of the int8 model."})
    backend: str = field(default="openvino", metadata={"help": f"Who makes int8 of it: {', '.join(BACKENDS)}."})
    drop_layers: list[int] | None = field(default=None, metadata={"help": "Layers that may drop, from 0."})
    importance_match_until: int | None = field(default=None, metadata={"help": "Layers that match with the question."})
    dropped_logits: str | None = field(default=None, metadata={"help": "What a dropped token answers: restore or mask."})
    train_file: list[str] | None = field(default=None, metadata={"help": "SQuAD files to calibrate with."})
    dataset_name: str = field(default="rajpurkar/squad", metadata={"help": "Data set on the Hub."})
    held_out: float = field(default=0.0, metadata={"help": "Part of the questions to measure on, by article."})
    calibration_samples: int = field(default=300, metadata={"help": "Windows to calibrate with."})
    smooth_quant_alpha: float = field(default=0.85, metadata={"help": "SmoothQuant's alpha; -1 leaves it out."})
    max_f1_drop: float | None = field(default=None, metadata={"help": "Most F1 that int8 may lose at any budget."})
    tolerable_loss: float = field(default=0.01, metadata={"help": "Most relative F1 to lose (neural-compressor)."})
    accuracy_samples: int = field(default=400, metadata={"help": "Questions to measure F1 on."})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of a window."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    seed: int = field(default=0, metadata={"help": "Of the calibration samples."})

    def __post_init__(self):
        if self.backend not in BACKENDS:
            raise ValueError(f"backend is {self.backend!r}; valid are {', '.join(BACKENDS)}.")
        if self.calibration_samples < 1:
            raise ValueError(f"calibration_samples is {self.calibration_samples}; valid are 1 and more.")
        if self.smooth_quant_alpha != -1 and not 0 <= self.smooth_quant_alpha <= 1:
            raise ValueError(f"smooth_quant_alpha is {self.smooth_quant_alpha}; valid are numbers in [0, 1], and -1.")
        if self.backend == "neural-compressor":
            if self.max_f1_drop is not None:
                raise ValueError("neural-compressor takes no max_f1_drop; give it tolerable_loss, such as 0.01 for 1 %.")
            if not 0 <= self.tolerable_loss < 1 or not self.accuracy_samples:
                raise ValueError(
                    f"tolerable_loss is {self.tolerable_loss} with accuracy_samples={self.accuracy_samples}; valid are "
                    "numbers in [0, 1) with accuracy_samples of at least 1."
                )
        if self.max_f1_drop is not None and (self.max_f1_drop <= 0 or not self.accuracy_samples):
            raise ValueError(
                f"max_f1_drop is {self.max_f1_drop} with accuracy_samples={self.accuracy_samples}; valid are numbers above "
                "0 with accuracy_samples of at least 1."
            )


@dataclass
class BenchmarkArguments:
    """What `hf-dynbert benchmark` can be told.

    Args:
        model (`str`): folder or Hub id of a DynamicTinyBert checkpoint in PyTorch.
        data (`list[str]`): SQuAD files, or a data set on the Hub: where the real lengths come from.
        output_dir (`str`): where `benchmark.json`, `benchmark.md`, `benchmark.png` and the exported plain models go.
        int8 (`list[str]`): folders of the same model in int8, made by `hf-dynbert quantize`, by any backend.
        length_configs (`list[str]`): budgets of the model to measure; `named` are full length and all that have a name.
        repeats (`int`): turns of each case, each of `benchmark.BURST` timed calls.
        threads (`int`, *optional*): of PyTorch and OpenVINO; all cores when not given.
        plain (`bool`): whether to measure BERT-base, DistilBERT and MiniLM-L6 too (random weights; OpenVINO fp32 and int8).
        only (`list[str]`): measure rows alone whose names contain one of these; all when empty.
        padded_length, stride (`int`): windows, see `encode_windows`; the first two cases have this length.
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
