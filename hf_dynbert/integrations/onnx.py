# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""ONNX files of PyTorch models, one for each budget, with dynamic batch and length. Needs the extra `onnx`."""

from pathlib import Path

import torch
from onnxscript import opset18 as op
from onnxscript.ir import DataType
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..modeling_dynamic_tinybert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertPreTrainedModel,
)
from ..subnetwork import SubNetwork
from ..utils.atomic_files import check_writable, replace_files


OUTPUTS = {
    DynamicTinyBertForQuestionAnswering: ("start_logits", "end_logits"),
    DynamicTinyBertForSequenceClassification: ("logits",),
}


def export_onnx(model: DynamicTinyBertPreTrainedModel, path: str | Path, budget=None) -> Path:
    """Writes an ONNX file of a model at one budget.

    Inputs are those of the tokenizer, int64 of shape `(batch, length)`, with any batch and length; outputs are
    `start_logits` and `end_logits`, or `logits`. Of tokens with equal importance the earlier is kept, as in PyTorch, since
    `TopK` of ONNX breaks ties by position.

    Args:
        model ([`DynamicTinyBertForQuestionAnswering`] or [`DynamicTinyBertForSequenceClassification`]): not quantized.
        path (`str` or `Path`): the file, which is written whole or not at all, weights included.
        budget (*optional*): a budget, see [`SubNetwork.parse`]; `None` is the model's default.

    Returns:
        `Path`: the file.

    Raises:
        TypeError: not one of these two models.
        ValueError: an unknown budget, a quantized model, or a path that cannot be written.

    Example:

    ```python
    >>> import hf_dynbert
    >>> from hf_dynbert.integrations.onnx import export_onnx

    >>> export_onnx(hf_dynbert.load("outputs/reranker"), "outputs/reranker-half.onnx", budget="half")
    ```
    """
    outputs = next((names for head, names in OUTPUTS.items() if isinstance(model, head)), None)
    if outputs is None:
        valid = " or ".join(head.__name__ for head in OUTPUTS)
        raise TypeError(f"model is a {type(model).__name__}; valid is a PyTorch {valid}, as from hf_dynbert.load(folder).")
    if getattr(model.config, "quantization_config", None) is not None:
        raise ValueError("This model is quantized; export the model that it was quantized from.")
    path, subnetwork = Path(path), model.config.resolve_budget(budget)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file, for example {path / 'model.onnx'}.")
    check_writable(path.parent)

    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * (model.config.type_vocab_size > 1)
    ids = torch.ones(2, 16, dtype=torch.long, device=model.device)  # any size above 1, which the graph would fix
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    was_training = model.training
    try:
        with torch.no_grad(), _PoolInTwoDimensions():
            graph = torch.export.export(
                _Logits(model.eval(), subnetwork, inputs, outputs),
                tuple(torch.ones_like(ids) for _ in inputs),
                dynamic_shapes={"arguments": tuple(dynamic for _ in inputs)},
            )
    finally:
        model.train(was_training)
    with replace_files(path.parent) as beside:
        torch.onnx.export(
            graph,
            (),
            beside / path.name,
            input_names=inputs,
            output_names=list(outputs),
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table=TRANSLATIONS,
        )
    return path


class _Logits(torch.nn.Module):
    """A model at one budget, with positional arguments and a tuple of outputs, as exported graphs have."""

    def __init__(self, model, subnetwork: SubNetwork, inputs, outputs):
        super().__init__()
        self.model, self.subnetwork, self.inputs, self.outputs = model, subnetwork, inputs, outputs

    def forward(self, *arguments):
        """Takes inputs of shape `(B, L)`; returns the logits of the head."""
        found = self.model(**dict(zip(self.inputs, arguments, strict=True)), budget=self.subnetwork)
        return tuple(found[name] for name in self.outputs)


class _PoolInTwoDimensions(TorchFunctionMode):
    """Replaces `max_pool1d`, which `torch.export` cannot trace with a dynamic length (torch 2.13)."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not F.max_pool1d:
            return function(*args, **kwargs)
        tokens, size = args
        pooled = F.max_pool2d(tokens[:, :, None], (1, size), (1, kwargs["stride"]), (0, kwargs["padding"]))
        return pooled[:, :, 0]


def _sort(tokens, stable: bool = True, dim: int = -1, descending: bool = False):
    """`aten.sort.stable` along the second axis of two."""
    length = op.Slice(op.Shape(tokens), op.Constant(value_ints=[1]), op.Constant(value_ints=[2]))
    return op.TopK(tokens, length, axis=dim, largest=int(descending), sorted=1)


def _searchsorted(sequence, values, out_int32=False, right=False, side=None, sorter=None):
    """`aten.searchsorted` with `right=True`: the number of entries that are not greater, for each value."""
    last, middle = op.Constant(value_ints=[-1]), op.Constant(value_ints=[1])
    not_greater = op.LessOrEqual(op.Unsqueeze(sequence, middle), op.Unsqueeze(values, last))
    return op.ReduceSum(op.Cast(not_greater, to=DataType.INT64), last, keepdims=0)


def _where(condition, chosen, other):
    """`aten.where`, also of booleans, which ONNX Runtime 1.32 lacks."""
    if chosen.dtype != DataType.BOOL:
        return op.Where(condition, chosen, other)
    return op.Or(op.And(condition, chosen), op.And(op.Not(condition), other))


TRANSLATIONS = {
    torch.ops.aten.sort.stable: _sort,
    torch.ops.aten.searchsorted.Tensor: _searchsorted,
    torch.ops.aten.where.self: _where,
}
