# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Linear and embedding layers with int8 weights.

Activations are rounded row by row, with a scale for each row (ZeroQuant, arXiv 2206.01861, section 4.1: token-wise), or by a
range that calibration has set. Either way the output of a row depends on this row alone, bit for bit. The floats between
these layers (attention, LayerNorm) may differ in the last bit with padding and batch size, and rounding can turn this
difference into a step of int8, so the other examples of a batch may change an answer.
"""

import torch
from torch import nn

from .int8_kernels import LEVELS, kernel_for


LARGEST = 127  # symmetric: -128 stays unused, so that negation is exact
SHIFT = 128  # the zero point of a symmetric range


def quantize_rows(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds each row of `(..., n)` to int8 by its own largest entry; returns integers `(..., n)` and scales `(..., 1)`."""
    scale = row_maxima(values) / LARGEST
    return (values / scale).round_().to(torch.int8), scale


def row_maxima(values: torch.Tensor) -> torch.Tensor:
    """The largest absolute value of each row: `(..., n)` gives `(..., 1)`."""
    smallest = LARGEST**2 * torch.finfo(values.dtype).tiny  # for a row of zeros: the inverse of a step stays finite
    return values.abs().amax(dim=-1, keepdim=True).clamp_(min=smallest)  # aminmax is several times slower (PyTorch 2.13)


class Int8Module(nn.Module):
    """A layer with int8 weights `(rows, columns)` and a scale for each row."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns, dtype=torch.int8), requires_grad=False)
        self.weight_scale = nn.Parameter(torch.empty(rows), requires_grad=False)

    @classmethod
    def from_float(cls, layer: nn.Module) -> "Int8Module":
        """Rounds the weights of a layer of floats."""
        rounded = cls.like(layer)
        weight, scale = quantize_rows(layer.weight.data)
        rounded.weight.data, rounded.weight_scale.data = weight, scale[:, 0]
        if getattr(layer, "bias", None) is not None:
            rounded.bias.data = layer.bias.data
        return rounded


class Int8Linear(Int8Module):
    """A linear layer that multiplies int8 weights by rounded activations and sums the products in int32."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(out_features, in_features)
        self.in_features, self.out_features = in_features, out_features
        self.bias = nn.Parameter(torch.empty(out_features), requires_grad=False) if bias else None
        # Zero: each row has its own scale
        self.input_scale = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.input_zero_point = nn.Parameter(torch.full((1,), SHIFT, dtype=torch.uint8), requires_grad=False)
        self._prepared = None  # see `_prepare`

    @classmethod
    def like(cls, layer: nn.Linear) -> "Int8Linear":
        """Makes a layer of the same shape, with weights to be loaded."""
        return cls(layer.in_features, layer.out_features, layer.bias is not None)

    @torch.no_grad()
    def set_input_range(self, low: float, high: float) -> None:
        """Rounds activations in equal steps from `low` to `high` from now on, and clips others; 0 is in the range."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, LEVELS * torch.finfo(torch.float32).tiny) / LEVELS
        self.input_scale.fill_(scale)
        self.input_zero_point.fill_(round(-low / scale))
        self._prepared = None

    @torch.no_grad()  # integers have no gradients
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(..., in_features)` to `(..., out_features)`."""
        rows = values.reshape(-1, self.in_features).float()  # bfloat16 has too few digits to round from
        kernel, scale, zero_point = self._prepared or self._prepare()
        if not len(rows):
            output = rows.new_empty(0, self.out_features)
        elif scale:
            output = kernel(rows, scale, zero_point)
        else:
            largest = row_maxima(rows)
            output = kernel(rows / largest, 1 / LARGEST, SHIFT)
            output = output * largest if self.bias is None else torch.addcmul(self.bias.float(), output, largest)
        return output.view(*values.shape[:-1], self.out_features).to(values.dtype)

    def _prepare(self) -> tuple:
        """The kernel with packed weights, and the rounding of activations. Two threads may both make it, with one result."""
        scale, bias = self.input_scale.item(), None
        if scale and self.bias is not None:  # with a scale for each row, the bias is added after these scales
            bias = self.bias.data.float()
        kernel = kernel_for(self.weight.device)(self.weight.data, self.weight_scale.data.float(), bias)
        self._prepared = kernel, scale, self.input_zero_point.item()
        return self._prepared

    def _apply(self, fn, recurse=True):
        self._prepared = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **kwargs):
        self._prepared = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self):
        return {**self.__dict__, "_prepared": None}  # packed weights cannot be copied


class Int8Embedding(Int8Module):
    """An embedding in int8, with a scale for each row."""

    @classmethod
    def like(cls, layer: nn.Embedding) -> "Int8Embedding":
        """Makes a layer of the same shape, with weights to be loaded."""
        return cls(layer.num_embeddings, layer.embedding_dim)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers `(...)` to `(..., embedding_dim)`."""
        scale = self.weight_scale[indices]
        return self.weight[indices].to(scale.dtype) * scale[..., None]
