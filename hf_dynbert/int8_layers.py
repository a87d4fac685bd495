# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Linear and embedding layers that hold int8 weights.

Activations are rounded row by row, as they come: a scale for every row (a token), not one for the whole batch as in
PyTorch's own dynamic quantization, so that neither padding nor the other examples change an answer. ZeroQuant
(arXiv 2206.01861, section 4.1) calls it token-wise. Or by a range that was found before, where one is good enough: less
to do in every call.
"""

import torch
from torch import nn

from .int8_kernels import LEVELS, kernel_for


LARGEST = 127  # symmetric: -128 stays unused, so that negation is exact
SHIFT = 128  # the zero point where both signs are alike


def quantize_rows(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds each row to int8, by its own largest entry.

    Args:
        values (`torch.Tensor` of shape `(..., n)`): floats.

    Returns:
        `torch.CharTensor` of shape `(..., n)` and `torch.Tensor` of shape `(..., 1)`: integers, and the scales to multiply
        them by.
    """
    scale = row_maxima(values) / LARGEST
    return (values / scale).round_().to(torch.int8), scale


def row_maxima(values: torch.Tensor) -> torch.Tensor:
    """The largest size of an entry in each row: `(..., n)` gives `(..., 1)`."""
    smallest = LARGEST**2 * torch.finfo(values.dtype).tiny  # for a row of zeros; a step of it has a finite inverse
    return values.abs().amax(dim=-1, keepdim=True).clamp_(min=smallest)  # aminmax is several times slower (PyTorch 2.13)


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
        self._prepared = None  # see `_prepare`; made when first used

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
        self._prepared = None

    @torch.no_grad()  # integers have no gradients
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(..., in_features)` to `(..., out_features)`."""
        rows = values.reshape(-1, self.in_features).float()  # bfloat16 has too few digits to round by
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
        """The kernel with the weights in its order, and how activations are rounded; two threads may make it, both alike."""
        scale, bias = self.input_scale.item(), None
        if scale and self.bias is not None:  # what is rounded row by row gets its bias after its rows' scales
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
        """Copies make their own: a kernel's format of the weights cannot be copied."""
        return {**self.__dict__, "_prepared": None}

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
