# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Accuracy-driven static int8 by Neural Compressor, in folders that transformers' Auto classes load.

Neural Compressor works on an exported graph, which has one budget, the full one. The ranges of activations and the weights
that Neural Compressor finds are copied into the model's own int8 layers, which run at any budget. Layers without a range
round their activations row by row. The tuning measures the primary metric of these int8 layers at every named budget.
"""

import logging

import torch
from neural_compressor.torch.export import export
from neural_compressor.torch.quantization import StaticQuantConfig, TuningConfig, autotune
from torch import nn

from ..int8_kernels import LEVELS
from ..int8_layers import Int8Linear
from ..tasks.base import Task
from ..tasks.inference import OUTPUTS
from .accuracy_control import SENSITIVE_PARTS
from .arguments import QuantizeArguments
from .pytorch import PyTorchInt8


INPUTS = ("input_ids", "attention_mask", "token_type_ids")
WORST_FIRST = SENSITIVE_PARTS[::-1]


class NeuralCompressorInt8(PyTorchInt8):
    """The backend `neural-compressor`.

    Args:
        args ([`QuantizeArguments`]): options; `autotune` stops at `tolerable_loss`.
        task ([`Task`]): task of the model.
        inputs (`list[dict[str, list[int]]]`): calibration inputs.
    """

    packages = ("neural-compressor", "torchao")

    def __init__(self, args: QuantizeArguments, task: Task, inputs: list[dict]):
        super().__init__(args, task, inputs)
        logging.getLogger("neural_compressor").setLevel(logging.WARNING)  # INFO prints every setting of every trial

    def tune(self, measure, reference: dict[str, float]):
        """Returns the first setting that keeps the primary metric at every budget, or else the best setting."""
        exact = self.exact().eval()
        graph = export(FullLength(exact), *example(exact.config))

        def relative_score(candidate) -> float:
            """The least ratio to fp32 over the budgets; 1 for the graph in fp32, which `autotune` measures first."""
            found = quantized_layers(candidate)
            if not found:
                return 1.0
            scores = measure(self.transplant(found))
            return min(scores[name] / max(score, 1e-9) for name, score in reference.items())  # no division by zero

        ways = [StaticQuantConfig(act_algo="minmax"), StaticQuantConfig(act_algo="kl")]
        for number in range(1, len(WORST_FIRST) + 1):  # each of these ways leaves one more kind of part without a range
            way = StaticQuantConfig(act_algo="minmax")
            for layer in range(exact.config.num_hidden_layers):
                for part in WORST_FIRST[:number]:
                    without_range = StaticQuantConfig(w_dtype="fp32", act_dtype="fp32")
                    way.set_local(f"model.bert.encoder.layer.{layer}.{part}", without_range)
            ways.append(way)
        settings = TuningConfig(ways, tolerable_loss=self.args.tolerable_loss, max_trials=len(ways))
        tuned = autotune(graph, settings, relative_score, run_fn=self.calibrate)
        model = self.transplant(quantized_layers(tuned))
        return model, [], measure(model)

    @torch.no_grad()
    def calibrate(self, graph) -> None:
        """Runs the graph on the calibration inputs."""
        for inputs in self.inputs:
            graph(*(torch.tensor([inputs[name]]) for name in INPUTS))

    @torch.no_grad()
    def transplant(self, found: dict[str, tuple]) -> nn.Module:
        """The checkpoint in int8: the layers in `found` with their ranges, the other layers row by row."""
        model = self.build([])
        for name, (scale, zero_point, weight, weight_scale) in found.items():
            layer = model.get_submodule(name)
            if isinstance(layer, Int8Linear):  # heads and scorers stay in fp32
                layer.set_input_range(-zero_point * scale, (LEVELS - zero_point) * scale)
                layer.weight.copy_(weight)
                layer.weight_scale.copy_(weight_scale)
        return model.eval()


class FullLength(nn.Module):
    """A model at full length, with positional arguments and a tuple of outputs, as exported graphs have."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        """Takes inputs of shape `(B, L)`; returns the logits of the head."""
        output = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, length_config="full"
        )
        return tuple(output[name] for name in OUTPUTS if output.get(name) is not None)


def example(config) -> tuple[tuple[torch.Tensor, ...], dict]:
    """Inputs for the export, and their dynamic shapes."""
    ids = torch.ones(2, 16, dtype=torch.long)
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=2, max=config.max_position_embeddings)
    return (ids, torch.ones_like(ids), torch.zeros_like(ids)), {name: {0: batch, 1: length} for name in INPUTS}


def quantized_layers(graph: torch.fx.GraphModule) -> dict[str, tuple]:
    """Reads the int8 linear layers of a graph of Neural Compressor.

    Args:
        graph (`torch.fx.GraphModule`): quantized, with a pair of quantize and dequantize around each int8 tensor.

    Returns:
        `dict[str, tuple]`: by name of an int8 layer: scale and zero point of the activations, weights as integers of shape
        `(out, in)`, and their scales of shape `(out,)`.
    """
    decomposed, found = torch.ops.quantized_decomposed, {}
    for node in graph.graph.nodes:
        if node.target is not torch.ops.aten.linear.default:
            continue
        activations, weights = node.args[0], node.args[1]
        if activations.target is not decomposed.dequantize_per_tensor.default:
            continue
        _, scale, zero_point = activations.args[:3]
        rounded, weight_scale = weights.args[:2]
        weight_scale = _attribute(graph, weight_scale)
        if rounded.target is decomposed.quantize_per_channel.default:
            weight = _attribute(graph, rounded.args[0])
            low, high = rounded.args[4:6]
            integers = (weight / weight_scale[:, None]).round().clamp(low, high).to(torch.int8)
        else:
            integers = _attribute(graph, rounded)
        path = list(node.meta["nn_module_stack"].values())[-1][0]
        found[path.removeprefix("model.")] = (scale, zero_point, integers, weight_scale)
    return found


def _attribute(graph: torch.fx.GraphModule, node: torch.fx.Node) -> torch.Tensor:
    value = graph
    for name in node.target.split("."):
        value = getattr(value, name)
    return value.detach()
