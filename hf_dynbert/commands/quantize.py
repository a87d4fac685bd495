# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert quantize`: makes an int8 folder."""

from ..quantization.arguments import QuantizeArguments
from ..utils.atomic_files import check_writable
from .checks import check_model, need_packages


DESCRIPTION = "Make an int8 folder of a model, for OpenVINO or PyTorch, calibrated on training data."
EXAMPLE = "hf-dynbert quantize --model outputs/model --output_dir outputs/int8 --train_file train-v1.1.json"
PACKAGES = {"openvino": ("openvino", "nncf", "optimum"), "neural-compressor": ("neural_compressor",)}
EXTRAS = {"openvino": "intel", "neural-compressor": "neural-compressor"}


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options."""
    return (QuantizeArguments,)


def run(args: QuantizeArguments) -> None:
    """Writes the int8 folder."""
    if args.backend in PACKAGES:
        need_packages(f"backend {args.backend}", PACKAGES[args.backend], EXTRAS[args.backend])
    check_writable(args.output_dir)
    check_model(args.model, "--model")
    from ..quantization.quantize import quantize

    print(f"Saved in {quantize(args)}")
