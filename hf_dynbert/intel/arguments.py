# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What `hf-dynbert quantize` can be told. Imports neither OpenVINO nor Optimum, so that `--help` answers at once."""

from dataclasses import dataclass, field

from ..question_answering.features import MAX_LENGTH, STRIDE


@dataclass
class QuantizeArguments:
    """What `hf-dynbert quantize` can be told.

    Args:
        model (`str`): folder or Hub id of a DynamicTinyBert checkpoint in PyTorch.
        output_dir (`str`): folder of the int8 model.
        train_file, dataset_name, held_out: as for training. Calibration takes the questions that training saw; accuracy is
            measured on those held out, if there are any, or else on others than calibration's.
        calibration_samples (`int`): windows to calibrate with.
        smooth_quant_alpha (`float`): how far activations' outliers move into the weights, from 0 to 1 (SmoothQuant, arXiv
            2211.10438, section 4); -1 leaves it out.
        max_f1_drop (`float`, *optional*): most F1 that int8 may lose at any budget; layers that cost most stay in fp32
            until it holds.
        accuracy_samples (`int`): questions to measure F1 on; 0 measures none.
    """

    model: str = field(metadata={"help": "Folder or Hub id of a DynamicTinyBert checkpoint."})
    output_dir: str = field(metadata={"help": "Folder of the int8 model."})
    train_file: list[str] | None = field(default=None, metadata={"help": "SQuAD files to calibrate with."})
    dataset_name: str = field(default="rajpurkar/squad", metadata={"help": "Data set on the Hub."})
    held_out: float = field(default=0.0, metadata={"help": "Part of the questions to measure on, by article."})
    calibration_samples: int = field(default=300, metadata={"help": "Windows to calibrate with."})
    smooth_quant_alpha: float = field(default=0.6, metadata={"help": "SmoothQuant's alpha; -1 leaves it out."})
    max_f1_drop: float | None = field(default=None, metadata={"help": "Most F1 that int8 may lose at any budget."})
    accuracy_samples: int = field(default=400, metadata={"help": "Questions to measure F1 on."})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of a window."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    seed: int = field(default=0, metadata={"help": "Of the calibration samples."})

    def __post_init__(self):
        if self.calibration_samples < 1:
            raise ValueError(f"calibration_samples is {self.calibration_samples}; valid are 1 and more.")
        if self.smooth_quant_alpha != -1 and not 0 <= self.smooth_quant_alpha <= 1:
            raise ValueError(f"smooth_quant_alpha is {self.smooth_quant_alpha}; valid are numbers in [0, 1], and -1.")
        if self.max_f1_drop is not None and (self.max_f1_drop <= 0 or not self.accuracy_samples):
            raise ValueError(
                f"max_f1_drop is {self.max_f1_drop} with accuracy_samples={self.accuracy_samples}; valid are numbers above "
                "0 with accuracy_samples of at least 1."
            )
