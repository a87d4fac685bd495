# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Products of floats, rounded to unsigned bytes, with int8 weights: PyTorch's own kernels, and one for any device.

FBGEMM's rounds while it multiplies, and needs no preparation for a new number of rows; oneDNN's takes bytes, which costs
passes over the activations. Both multiply unsigned by signed. CPUs without VNNI add pairs of such products in 16 bits, where
they overflow: a kernel is used only if its sums are exact.
"""

import functools
import threading
import warnings

import torch
from torch import nn


LEVELS = 255  # of an unsigned byte
BLOCK = 2**18  # numbers that are rounded in one go: a megabyte, so that it stays in the cache
_PACKING = threading.Lock()  # which engine packs weights is a setting of the whole process


class FbgemmKernel:
    """A layer's weights in FBGEMM's order.

    Args:
        weight (`torch.CharTensor` of shape `(out, in)`): integers of -127 to 127.
        weight_scale (`torch.FloatTensor` of shape `(out,)`): what to multiply each row of them by.
        bias (`torch.FloatTensor` of shape `(out,)`, *optional*): is added to the products.
    """

    def __init__(self, weight: torch.Tensor, weight_scale: torch.Tensor, bias: torch.Tensor | None):
        points = torch.zeros(len(weight), dtype=torch.long)
        with _PACKING, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch means to drop its quantized tensors one day; then oneDNN takes over
            quantized = torch._make_per_channel_quantized_tensor(weight, weight_scale.double(), points, 0)
            engine = torch.backends.quantized.engine
            try:
                torch.backends.quantized.engine = "fbgemm"
                self.packed = torch.ops.quantized.linear_prepack(quantized, bias)
            finally:
                torch.backends.quantized.engine = engine

    def __call__(self, rows: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """`(rows, in)` floats, rounded to `scale * (byte - zero_point)`, to `(rows, out)` floats."""
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(rows, scale, zero_point, self.packed)


class OneDnnKernel:
    """The same in oneDNN's order."""

    def __init__(self, weight: torch.Tensor, weight_scale: torch.Tensor, bias: torch.Tensor | None):
        self.packed = torch.ops.onednn.qlinear_prepack(weight, None)
        self.weight_scale, self.bias = weight_scale, bias
        self.weight_point = torch.zeros(len(weight), dtype=torch.long)

    def __call__(self, rows: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """As in [`FbgemmKernel`]."""
        return torch.ops.onednn.qlinear_pointwise(
            rounded(rows, scale, zero_point, torch.uint8), scale, zero_point, self.packed, self.weight_scale,
            self.weight_point, self.bias, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip


class FloatKernel:
    """The same for any device, no faster than floats."""

    def __init__(self, weight: torch.Tensor, weight_scale: torch.Tensor, bias: torch.Tensor | None):
        self.weight, self.weight_scale, self.bias = weight.float(), weight_scale, bias

    def __call__(self, rows: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """As in [`FbgemmKernel`]."""
        integers = rounded(rows, scale, zero_point, torch.float32) - zero_point
        # Sums of up to 514 products of 255 by 127 are exact in float32, longer ones nearly
        product = nn.functional.linear(integers, self.weight) * (self.weight_scale * scale)
        return product if self.bias is None else product + self.bias


def rounded(rows: torch.Tensor, scale: float, zero_point: int, dtype: torch.dtype) -> torch.Tensor:
    """`(rows, n)` floats to bytes, in an integer type or as floats: to the nearest step, halves to the even one."""
    bytes_ = torch.empty(rows.shape, dtype=dtype, device=rows.device)
    size = max(1, BLOCK // max(1, rows.shape[1]))
    for part, place in zip(rows.split(size), bytes_.split(size), strict=True):
        place.copy_((part * (1 / scale)).add_(zero_point).round_().clamp_(0, LEVELS))
    return bytes_


def kernel_for(device: torch.device) -> type:
    """The fastest kernel that is exact there."""
    return cpu_kernel() if device.type == "cpu" else FloatKernel


@functools.cache
def cpu_kernel() -> type:
    """The fastest kernel that this build of PyTorch has and that is exact on this CPU."""
    return next((kernel for kernel in (FbgemmKernel, OneDnnKernel) if is_exact(kernel)), FloatKernel)


def is_exact(kernel: type) -> bool:
    """Whether it is there, and sums the largest products without overflow."""
    weight = torch.tensor([[127, 127] * 32, [-127, -127] * 32], dtype=torch.int8)
    try:
        product = kernel(weight, torch.ones(2), None)(torch.full((3, 64), 1000.0), 1.0, 0)
    except (AttributeError, NotImplementedError, RuntimeError):  # no such operation, or none for this CPU
        return False
    return torch.equal(product, LEVELS * weight.sum(dim=1).float().expand(3, 2))
