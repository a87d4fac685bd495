# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Linear and embedding layers that hold int8 weights.

Activations are rounded by a range that was found once (`calibrate`), or without one row by row, as they come: a scale for
every row (a token), not one for the whole batch as in PyTorch's own dynamic quantization, so that neither padding nor batch
mates change an answer. ZeroQuant (arXiv 2206.01861, section 4.1) calls it token-wise.
"""

import functools
from collections.abc import Iterable

import torch
from torch import nn


LARGEST = 127  # symmetric: -128 stays unused, so that negation is exact
BLOCK = (
    2**18
)  # numbers of a block of rows that is rounded and multiplied in one go: a megabyte, so that it stays in the cache
LEVELS = 255  # of an unsigned byte; activations go to the kernel so: VNNI multiplies unsigned by signed
ROWS_DIFFER = 4  # times a row's own range, a range for all costs that row two of its eight bits
SHIFT = 128  # the zero point where both signs are alike


def quantize_rows(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds each row to int8, by its own largest entry.

    Args:
        values (`torch.Tensor` of shape `(..., n)`): floats.

    Returns:
        `torch.CharTensor` of shape `(..., n)` and `torch.Tensor` of shape `(..., 1)`: integers, and the scales to multiply
        them by.
    """
    scale = row_scales(values)
    return (values / scale).round_().to(torch.int8), scale


def row_scales(values: torch.Tensor) -> torch.Tensor:
    """What one step of int8 stands for in each row: `(..., n)` gives `(..., 1)`."""
    smallest = LARGEST * torch.finfo(values.dtype).tiny  # for a row of zeros; its inverse is finite
    largest = torch.maximum(values.amax(dim=-1, keepdim=True), values.amin(dim=-1, keepdim=True).neg_())
    return largest.clamp_(min=smallest).div_(LARGEST)


class Int8Linear(nn.Module):
    """A linear layer in int8: both factors are integers, their products are summed in int32.

    Args:
        in_features, out_features (`int`): as for `torch.nn.Linear`.
        bias (`bool`): whether there is one, in floats.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, dtype=torch.int8), requires_grad=False)
        self.weight_scale = nn.Parameter(torch.empty(out_features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out_features), requires_grad=False) if bias else None
        # Zero: every row by its own scale
        self.input_scale = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.input_zero_point = nn.Parameter(torch.full((1,), SHIFT, dtype=torch.uint8), requires_grad=False)
        self._packed = None  # the weights once more, in the order that the CPU's kernel reads them; made when first used

    @classmethod
    def from_float(cls, linear: nn.Linear) -> "Int8Linear":
        """Rounds a layer's weights, each output by its own scale."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None)
        weight, scale = quantize_rows(linear.weight.data)
        layer.weight.data, layer.weight_scale.data = weight, scale[:, 0]
        if linear.bias is not None:
            layer.bias.data = linear.bias.data
        return layer

    @torch.no_grad()
    def set_input_range(self, low: float, high: float) -> None:
        """From now on activations between these, 0 among them, are rounded in steps of equal size; others are cut off."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, LEVELS * torch.finfo(torch.float32).tiny) / LEVELS
        self.input_scale.fill_(scale)
        self.input_zero_point.fill_(round(-low / scale))

    @torch.no_grad()  # integers have no gradients
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(..., in_features)` to `(..., out_features)`."""
        rows = values.reshape(-1, self.in_features)
        scale = self.input_scale.item()
        output = self._by_range(rows, scale, self.input_zero_point.item()) if scale else self._by_row(rows)
        return output.view(*values.shape[:-1], self.out_features)

    def _by_range(self, rows: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        integers = torch.empty(rows.shape, dtype=torch.uint8, device=rows.device)
        for part, place in zip(self._blocks(rows), self._blocks(integers), strict=True):
            # Conversion cuts, so with the half it rounds
            place.copy_((part.float() * (1 / scale)).add_(zero_point + 0.5).clamp_(0, LEVELS))
        return self._multiply(integers, scale, zero_point, self.bias).to(rows.dtype)

    def _by_row(self, rows: torch.Tensor) -> torch.Tensor:
        output = torch.empty(len(rows), self.out_features, dtype=rows.dtype, device=rows.device)
        for part, place in zip(self._blocks(rows), self._blocks(output), strict=True):
            part = part.float()  # bfloat16 has too few digits to round by
            scale = row_scales(part)
            integers = (part * scale.reciprocal()).add_(SHIFT + 0.5).to(torch.uint8)
            torch.mul(self._multiply(integers, 1.0, SHIFT, None), scale, out=place)
            if self.bias is not None:
                place.add_(self.bias)
        return output

    def _blocks(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return rows.split(max(1, BLOCK // max(self.in_features, self.out_features)))

    def _multiply(self, integers: torch.Tensor, scale: float, zero_point: int, bias: torch.Tensor | None) -> torch.Tensor:
        """Integers less their zero point, times the weights, both with their scales: `(rows, out_features)` floats."""
        weight_scale, bias = self.weight_scale.float(), None if bias is None else bias.float()
        if integers.device.type != "cpu" or not has_kernel() or not len(integers):
            # Sums of up to 514 products of 255 by 127 are exact in float32, longer ones nearly
            product = nn.functional.linear(integers.float() - zero_point, self.weight.float()) * (weight_scale * scale)
            return product if bias is None else product + bias
        packed = self._packed
        if packed is None:  # two threads may both do it, with one result
            packed = self._packed = torch.ops.onednn.qlinear_prepack(self.weight.data, None)
        return torch.ops.onednn.qlinear_pointwise(
            integers, scale, zero_point, packed, weight_scale, _zeros(self.out_features),
            bias, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip

    def _apply(self, fn, recurse=True):
        self._packed = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **kwargs):
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self):
        """Copies make their own packed weights: the kernel's format cannot be copied."""
        return {**self.__dict__, "_packed": None}

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Int8Embedding(nn.Module):
    """An embedding in int8, each row with its own scale.

    Args:
        num_embeddings, embedding_dim (`int`): as for `torch.nn.Embedding`.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim, dtype=torch.int8), requires_grad=False)
        self.weight_scale = nn.Parameter(torch.empty(num_embeddings), requires_grad=False)

    @classmethod
    def from_float(cls, embedding: nn.Embedding) -> "Int8Embedding":
        """Rounds the rows of an embedding."""
        layer = cls(embedding.num_embeddings, embedding.embedding_dim)
        weight, scale = quantize_rows(embedding.weight.data)
        layer.weight.data, layer.weight_scale.data = weight, scale[:, 0]
        return layer

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        """`(...)` integers to `(..., embedding_dim)`."""
        scale = self.weight_scale[indices]
        return self.weight[indices].to(scale.dtype) * scale[..., None]

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


@torch.no_grad()
def calibrate(model: nn.Module, calls: Iterable[dict]) -> None:
    """Finds the range of each int8 layer's activations, and fixes it: less to do in every later call.

    Layers in which some rows are much larger than most (after an activation function, say) keep rounding row by row.

    Args:
        model (`nn.Module`): with [`Int8Linear`] layers; changed in place.
        calls (`Iterable[dict]`): arguments of calls of the model, one example each, unpadded. A layer's range is the mean of
            the ranges that they show: what only a few exceed is cut off.
    """
    seen = {module: [] for module in model.modules() if isinstance(module, Int8Linear)}

    def watch(layer, inputs):
        low, high = inputs[0].float().reshape(-1, layer.in_features).aminmax(dim=1)
        seen[layer].append(torch.stack([low.min(), high.max(), (high - low).mean()]))

    hooks = [layer.register_forward_pre_hook(watch) for layer in seen]
    try:
        for call in calls:
            model(**call)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, ranges in seen.items():
        if ranges:
            low, high, row = torch.stack(ranges).mean(dim=0).tolist()
            if high - low <= ROWS_DIFFER * row:
                layer.set_input_range(low, high)


@functools.cache
def has_kernel() -> bool:
    """Whether this build of PyTorch multiplies int8 matrices by oneDNN."""
    try:
        weight = torch.ops.onednn.qlinear_prepack(torch.ones(4, 4, dtype=torch.int8), None)
        arguments = (weight, torch.ones(4), _zeros(4), None, 1.0, 0, torch.float32, "none", [], "")
        ones = torch.full((2, 4), SHIFT + 1, dtype=torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(ones, 1.0, SHIFT, *arguments)
    except (AttributeError, NotImplementedError, RuntimeError):  # no such operation, or none for this CPU
        return False
    return bool((product == 4).all())


@functools.cache
def _zeros(length: int) -> torch.Tensor:
    return torch.zeros(length, dtype=torch.int64)  # zero points of the weights, which are symmetric
