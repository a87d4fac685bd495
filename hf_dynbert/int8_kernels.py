# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Products of floats, rounded to unsigned bytes, with int8 weights: FBGEMM's kernel in PyTorch, and one for any device.

FBGEMM multiplies unsigned by signed integers. CPUs without VNNI add pairs of such products in 16 bits, which may overflow:
FBGEMM's kernel is used only if its sums are exact. (oneDNN's kernel is slower, and its results depend on the batch size.)
"""

import functools
import threading
import warnings

import torch
from torch import nn


LEVELS = 255  # of an unsigned byte
EXACT = 512  # number of products of 255 by 127 whose sum is exact in float32
_PACKING = threading.Lock()  # the engine that packs weights is a setting of the whole process


class FbgemmKernel:
    """Weights `(out, in)` from -127 to 127 in FBGEMM's order; a scale and, in floats, a bias for each output, `(out,)`."""

    def __init__(self, weight: torch.Tensor, weight_scale: torch.Tensor, bias: torch.Tensor | None):
        points = torch.zeros(len(weight), dtype=torch.long)
        with _PACKING, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch plans to remove quantized tensors
            quantized = torch._make_per_channel_quantized_tensor(weight, weight_scale.double(), points, 0)
            engine = torch.backends.quantized.engine
            try:
                torch.backends.quantized.engine = "fbgemm"
                self.packed = torch.ops.quantized.linear_prepack(quantized, bias)
            finally:
                torch.backends.quantized.engine = engine

    def __call__(self, rows: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """Multiplies floats `(rows, in)`, rounded to `scale * (byte - zero_point)`; returns floats `(rows, out)`."""
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(rows, scale, zero_point, self.packed)


class FloatKernel:
    """The same products on any device, no faster than floats, with the arguments of [`FbgemmKernel`]."""

    def __init__(self, weight: torch.Tensor, weight_scale: torch.Tensor, bias: torch.Tensor | None):
        self.weight, self.weight_scale, self.bias = weight.float(), weight_scale, bias

    def __call__(self, rows: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """See [`FbgemmKernel`]."""
        integers = (rows * (1 / scale)).add_(zero_point).round_().clamp_(0, LEVELS) - zero_point
        # Partial sums are exact, so that the result does not depend on the order in which a device sums
        parts = zip(integers.split(EXACT, dim=1), self.weight.split(EXACT, dim=1), strict=True)
        product = sum(nn.functional.linear(part, weight) for part, weight in parts) * (self.weight_scale * scale)
        return product if self.bias is None else product + self.bias


def kernel_for(device: torch.device) -> type:
    """The fastest kernel that is exact on the device."""
    return FbgemmKernel if device.type == "cpu" and is_exact(FbgemmKernel) else FloatKernel


@functools.cache
def is_exact(kernel: type) -> bool:
    """Whether PyTorch has the kernel, and the kernel sums the largest products without overflow."""
    weight = torch.tensor([[127, 127] * 32, [-127, -127] * 32], dtype=torch.int8)
    try:
        product = kernel(weight, torch.ones(2), None)(torch.full((3, 64), 1000.0), 1.0, 0)
    except (AttributeError, NotImplementedError, RuntimeError):  # no such operation, or not for this CPU
        return False
    return torch.equal(product, LEVELS * weight.sum(dim=1).float().expand(3, 2))
