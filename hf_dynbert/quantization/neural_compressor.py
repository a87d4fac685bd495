# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Accuracy-driven static int8 by Neural Compressor, in a folder that `AutoModelForQuestionAnswering.from_pretrained` loads.

Neural Compressor works on an exported graph, and a graph has one budget: the full one. What it finds there (ranges of the
activations, weights, and which layers no range fits) is put into the model's own int8 layers, which run at any budget and
round row by row what it would leave in floats; and what it tunes by is F1 at every budget, measured on those.
"""

import logging

import torch
from datasets import Dataset
from neural_compressor.torch.export import export
from neural_compressor.torch.quantization import StaticQuantConfig, TuningConfig, autotune
from torch import nn

from ..int8_kernels import LEVELS
from ..int8_layers import Int8Linear
from ..utils.folder_config import load_config
from .arguments import QuantizeArguments
from .calibration import calibration_calls
from .pytorch import PyTorchInt8


INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# The parts of a block that see the outliers, the worse first: each trial gives one kind more of them no range
SENSITIVE = ("output.dense", "attention.output.dense")


class NeuralCompressorInt8(PyTorchInt8):
    """The backend `neural-compressor`.

    Args:
        args ([`QuantizeArguments`]): how; `tolerable_loss` is what `autotune` stops at.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): questions to calibrate with.
    """

    packages = ("neural-compressor", "torchao")

    def __init__(self, args: QuantizeArguments, tokenizer, data: Dataset):
        super().__init__(args, tokenizer, data)
        self.tokenizer, self.data = tokenizer, data
        logging.getLogger("neural_compressor").setLevel(logging.WARNING)  # or every setting of every trial is printed

    def tune(self, measure, reference: dict[str, float]):
        """The first of some ways to int8 that keeps F1 at every budget, or else the best.

        Args:
            measure (`Callable`): a model's F1 by budget.
            reference (`dict[str, float]`): F1 of the fp32 model by budget.

        Returns:
            The model, the layers kept in floats (none), and its F1 by budget.
        """
        exact = self.exact().eval()
        graph = export(FullLength(exact), *example(exact.config))
        layers = range(exact.config.num_hidden_layers)

        def relative_f1(candidate) -> float:
            """Worst over the budgets; 1 for the graph in fp32, with which `autotune` begins."""
            found = quantized_layers(candidate)
            if not found:
                return 1.0
            scores = measure(self.transplant(found))
            return min(scores[name] / max(score, 1e-9) for name, score in reference.items())  # an F1 of 0 stays 0

        ways = [StaticQuantConfig(act_algo="minmax"), StaticQuantConfig(act_algo="kl")]
        for index in range(len(SENSITIVE)):
            way = StaticQuantConfig(act_algo="minmax")
            for name in (f"bert.encoder.layer.{i}.{part}" for i in layers for part in SENSITIVE[: index + 1]):
                way.set_local(f"model.{name}", StaticQuantConfig(w_dtype="fp32", act_dtype="fp32"))
            ways.append(way)
        settings = TuningConfig(ways, tolerable_loss=self.args.tolerable_loss, max_trials=len(ways))
        model = self.transplant(quantized_layers(autotune(graph, settings, relative_f1, run_fn=self.calibrate)))
        return model, [], measure(model)

    @torch.no_grad()
    def calibrate(self, graph) -> None:
        """Runs the graph on training text of every length."""
        args = self.args
        calls = calibration_calls(
            load_config(args.model), self.tokenizer, self.data, args.calibration_samples,
            args.max_length, args.stride, args.seed,
        )  # fmt: skip
        for features, _ in calls:
            graph(*(torch.tensor([features[name]]) for name in INPUTS))

    @torch.no_grad()
    def transplant(self, found: dict[str, tuple]) -> nn.Module:
        """The checkpoint in int8: these layers with the ranges found, the others row by row."""
        model = self.build([])
        for name, (scale, zero_point, weight, weight_scale) in found.items():
            layer = model.get_submodule(name)
            if isinstance(layer, Int8Linear):  # heads and scorers stay exact whatever Neural Compressor says
                layer.set_input_range(-zero_point * scale, (LEVELS - zero_point) * scale)
                layer.weight.copy_(weight), layer.weight_scale.copy_(weight_scale)
        return model.eval()


class FullLength(nn.Module):
    """A model without its budgets, with the arguments and outputs that an exported graph can have."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        """`(B, L)` each; gives start and end logits `(B, L)`."""
        output = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, length_config="full"
        )
        return output.start_logits, output.end_logits


def example(config) -> tuple[tuple[torch.Tensor, ...], dict]:
    """What to export with: two short inputs, and that both their sizes may vary."""
    ids = torch.ones(2, 16, dtype=torch.long)
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=2, max=config.max_position_embeddings)
    return (ids, torch.ones_like(ids), torch.zeros_like(ids)), {name: {0: batch, 1: length} for name in INPUTS}


def quantized_layers(graph: torch.fx.GraphModule) -> dict[str, tuple]:
    """What a graph of Neural Compressor says of its linear layers.

    Args:
        graph (`torch.fx.GraphModule`): quantized, with pairs of rounding and its inverse around what is int8.

    Returns:
        `dict[str, tuple]`: for each int8 layer's name the activations' scale and zero point, the weights as integers of
        shape `(out, in)`, and their scales `(out,)`.
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
