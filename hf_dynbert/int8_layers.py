# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Linear and embedding layers that hold int8 weights; activations are rounded row by row, as they come.

A scale for every row of the activations (a token), not one for the whole batch as in PyTorch's own dynamic quantization: so
that neither padding nor batch mates change an answer. ZeroQuant (arXiv 2206.01861, section 4.1) calls it token-wise.
"""

import functools

import torch
from torch import nn


LARGEST = 127  # symmetric: -128 stays unused, so that negation is exact
BLOCK = (
    2**18
)  # numbers of a block of rows that is rounded and multiplied in one go: a megabyte, so that it stays in the cache
SHIFT = 128  # activations go to the kernel as unsigned bytes: VNNI multiplies unsigned by signed


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

    @torch.no_grad()  # integers have no gradients
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(..., in_features)` to `(..., out_features)`."""
        rows = values.reshape(-1, self.in_features)
        block = max(1, BLOCK // max(self.in_features, self.out_features))
        output = torch.empty(len(rows), self.out_features, dtype=values.dtype, device=values.device)
        for part, place in zip(rows.split(block), output.split(block), strict=True):
            part = part.float()  # bfloat16 has too few digits to round by
            scale = row_scales(part)
            shifted = (part * scale.reciprocal()).add_(SHIFT + 0.5).to(torch.uint8)  # cuts, so it rounds
            torch.mul(self._multiply(shifted), scale, out=place)
            if self.bias is not None:
                place.add_(self.bias)
        return output.view(*values.shape[:-1], self.out_features)

    def _multiply(self, shifted: torch.Tensor) -> torch.Tensor:
        """Rows of integers (all are `SHIFT` too large) times the weights and their scales: `(rows, out_features)`."""
        if shifted.device.type != "cpu" or not has_kernel() or not len(shifted):
            # Sums of up to 1040 products of 127 by 127 are exact in float32, longer ones nearly
            return nn.functional.linear(shifted.float() - SHIFT, self.weight.float()) * self.weight_scale.float()
        packed = self._packed
        if packed is None:  # two threads may both do it, with one result
            packed = self._packed = torch.ops.onednn.qlinear_prepack(self.weight.data, None)
        return torch.ops.onednn.qlinear_pointwise(
            shifted, 1.0, SHIFT, packed, self.weight_scale.float(), _zeros(self.out_features),
            None, 1.0, 0, torch.float32, "none", [], "",
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
