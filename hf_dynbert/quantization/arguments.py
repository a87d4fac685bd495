# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert quantize`. Imports neither OpenVINO nor Optimum, so that `--help` does not wait."""

from dataclasses import dataclass, field

from ..utils.task_arguments import TaskArguments


BACKENDS = ("openvino", "pytorch", "neural-compressor")


@dataclass
class QuantizeArguments(TaskArguments):
    """Options of `hf-dynbert quantize`. Options of the data: see [`~hf_dynbert.utils.task_arguments.TaskArguments`].

    Args:
        model (`str`): folder or Hub id of a DynamicTinyBert checkpoint in PyTorch.
        output_dir (`str`): folder of the int8 model.
        backend (`str`): `openvino` (static int8 by NNCF; needs the `intel` extra), `pytorch` (int8 weights, activations
            rounded token by token; transformers' Auto classes load the folder) or `neural-compressor` (as `pytorch`, with
            static ranges, tuned by Neural Compressor's `autotune`; needs the extra of this name).
        drop_layers (`list[int]`, *optional*): layers of the int8 model that may drop tokens, from 0; by default those of the
            checkpoint. The int8 model has no token scorers in other layers.
        dropped_logits (`str`, *optional*): logits of dropped tokens in the int8 model, see [`DynamicTinyBertConfig`]; by
            default those of the checkpoint. `mask` is faster, since no states of dropped tokens have to be kept.
        train_file (`list[str]`, *optional*): files with training data.
        dataset_name (`str`, *optional*): data set on the Hub, if there is no `train_file`; for question answering,
            `rajpurkar/squad` by default.
        validation_fraction (`float`): share of the data in the validation split, as in training. Calibration uses the
            training split, accuracy is measured on the validation split. With 0, other examples than those of the
            calibration measure accuracy.
        calibration_samples (`int`): number of inputs to calibrate with.
        smooth_quant_alpha (`float`): how much of the activations' outliers moves into the weights, from 0 to 1 (SmoothQuant,
            arXiv 2211.10438, section 4); -1 switches SmoothQuant off. Only for `openvino`.
        max_drop (`float`, *optional*): largest loss of the primary metric (F1, accuracy), in points, at any named budget.
            Layers stay in fp32, the most sensitive first, until the loss is smaller. Not for `neural-compressor`.
        tolerable_loss (`float`): largest relative loss of the primary metric at any named budget. `neural-compressor` tries
            several settings until the loss is smaller.
        accuracy_samples (`int`): number of examples to measure accuracy on; 0 measures none.
        seed (`int`): seed of the samples.
    """

    model: str = field(metadata={"help": "Folder or Hub id of a DynamicTinyBert checkpoint."})
    output_dir: str = field(metadata={"help": "Folder of the int8 model."})
    backend: str = field(default="openvino", metadata={"help": f"Backend: {', '.join(BACKENDS)}."})
    drop_layers: list[int] | None = field(default=None, metadata={"help": "Layers that may drop tokens, from 0."})
    dropped_logits: str | None = field(default=None, metadata={"help": "Logits of dropped tokens: restore or mask."})
    train_file: list[str] | None = field(default=None, metadata={"help": "Files with training data, to calibrate with."})
    dataset_name: str | None = field(default=None, metadata={"help": "Data set on the Hub."})
    validation_fraction: float = field(default=0.0, metadata={"help": "Share of the data that training left out."})
    calibration_samples: int = field(default=300, metadata={"help": "Number of inputs to calibrate with."})
    smooth_quant_alpha: float = field(default=0.85, metadata={"help": "SmoothQuant's alpha; -1 switches it off."})
    max_drop: float | None = field(default=None, metadata={"help": "Largest loss of F1 or accuracy, in points."})
    tolerable_loss: float = field(default=0.01, metadata={"help": "Largest relative loss (neural-compressor)."})
    accuracy_samples: int = field(default=400, metadata={"help": "Number of examples to measure accuracy on."})
    seed: int = field(default=0, metadata={"help": "Seed of the samples."})

    def __post_init__(self):
        if self.backend not in BACKENDS:
            raise ValueError(f"backend is {self.backend!r}; valid are {', '.join(BACKENDS)}.")
        if self.calibration_samples < 1:
            raise ValueError(f"calibration_samples is {self.calibration_samples}; valid are 1 and more.")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction is {self.validation_fraction}; valid are numbers in [0, 1), such as 0.1.")
        if self.smooth_quant_alpha != -1 and not 0 <= self.smooth_quant_alpha <= 1:
            raise ValueError(f"smooth_quant_alpha is {self.smooth_quant_alpha}; valid are numbers in [0, 1], and -1.")
        if self.backend == "neural-compressor":
            if self.max_drop is not None:
                raise ValueError("neural-compressor takes no max_drop; give it tolerable_loss, such as 0.01 for 1 %.")
            if not 0 <= self.tolerable_loss < 1 or self.accuracy_samples < 1:
                raise ValueError(
                    f"tolerable_loss is {self.tolerable_loss} with accuracy_samples={self.accuracy_samples}; valid are "
                    "numbers in [0, 1) with accuracy_samples of at least 1."
                )
        if self.max_drop is not None and (not self.max_drop > 0 or self.accuracy_samples < 1):
            raise ValueError(
                f"max_drop is {self.max_drop} with accuracy_samples={self.accuracy_samples}; valid are numbers above 0 with "
                "accuracy_samples of at least 1."
            )
