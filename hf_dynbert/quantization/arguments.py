# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert quantize`. Imports neither OpenVINO nor Optimum, so that `--help` does not wait."""

from dataclasses import dataclass

from ..utils.errors import check_choice, check_number, refuse_without_effect
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
            default those of the checkpoint. `mask` is faster, since it stores no states of dropped tokens.
        train_file (`list[str]`, *optional*): files with training data.
        dataset_name (`str`, *optional*): data set on the Hub, if there is no `train_file`; for question answering,
            `rajpurkar/squad` by default.
        validation_fraction (`float`): share of the data in the validation split, as in training. Calibration uses the
            training split, accuracy is measured on the validation split. With 0, it is measured on examples that
            calibration does not use.
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

    model: str
    output_dir: str
    backend: str = "openvino"
    drop_layers: list[int] | None = None
    dropped_logits: str | None = None
    train_file: list[str] | None = None
    dataset_name: str | None = None
    validation_fraction: float = 0.0
    calibration_samples: int = 300
    smooth_quant_alpha: float = 0.85
    max_drop: float | None = None
    tolerable_loss: float = 0.01
    accuracy_samples: int = 400
    seed: int = 0

    def __post_init__(self):
        check_choice("backend", self.backend, BACKENDS)
        check_number("calibration_samples", self.calibration_samples, 1)
        check_number("accuracy_samples", self.accuracy_samples, 0)
        check_number("validation_fraction", self.validation_fraction, 0, below=1, example=0.1)
        if self.smooth_quant_alpha != -1:
            check_number("smooth_quant_alpha", self.smooth_quant_alpha, 0, 1, example=-1)
        tuned = self.backend == "neural-compressor"
        if tuned and self.max_drop is not None:
            raise ValueError("neural-compressor takes no max_drop; give it tolerable_loss, such as 0.01 for 1 %.")
        check_number("tolerable_loss", self.tolerable_loss, 0, below=1, example=0.01)
        if self.max_drop is not None:
            check_number("max_drop", self.max_drop, above=0, example=0.5)
        if (tuned or self.max_drop is not None) and self.accuracy_samples < 1:
            raise ValueError("accuracy_samples is 0: tuning measures accuracy. Give at least 1, for example 400.")
        if self.train_file:
            refuse_without_effect(self, ["dataset_name"], "next to train_file")
        own = {"openvino": "smooth_quant_alpha", "neural-compressor": "tolerable_loss"}
        others = [name for backend, name in own.items() if backend != self.backend]
        refuse_without_effect(self, others, f"on backend {self.backend}")
