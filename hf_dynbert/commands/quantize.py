# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert quantize`: makes an int8 folder."""

from ..quantization.arguments import QuantizeArguments
from ..utils.atomic_files import check_writable
from .checks import check_model, need_packages


DESCRIPTION = "Make an int8 folder of a model, for OpenVINO (needs the intel extra) or PyTorch, calibrated on training data."
EXAMPLE = "hf-dynbert quantize --model outputs/model --output_dir outputs/int8 --train_file train-v1.1.json"
ARGUMENTS = (QuantizeArguments,)


def run(args: QuantizeArguments) -> None:
    """Writes the int8 folder."""
    if args.backend == "openvino":
        need_packages("backend openvino", ("openvino", "nncf", "optimum"), "intel")
    elif args.backend == "neural-compressor":
        need_packages("backend neural-compressor", ("neural_compressor",), "neural-compressor")
    check_writable(args.output_dir)
    check_model(args.model, "--model")
    from ..quantization.quantize import quantize

    print(f"Saved in {quantize(args)}")
