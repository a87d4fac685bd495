# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Static int8 by NNCF, through Optimum-Intel's quantizer: one OpenVINO file, any budget."""

from .. import openvino as _  # noqa: F401  (first, since it switches off the telemetry of the next imports)


# isort: split
import logging

import nncf
import numpy as np
import openvino
from openvino import opset13 as ops
from optimum.intel import OVConfig, OVQuantizationConfig, OVQuantizer
from optimum.intel.openvino.quantization import OVCalibrationDataset

from ..openvino.cpu import OVERFLOW_FIX, overflow_fix
from ..openvino.export import LENGTH_CONFIG, input_to_state, state_to_input
from ..openvino.modeling_openvino import model_class
from ..subnetwork import encode_entry
from ..tasks.base import Task
from .accuracy_control import keep_sensitive_layers_in_fp32
from .arguments import QuantizeArguments
from .calibration import calibration_calls


nncf.set_log_level(logging.WARNING)  # it lists each operation that stays in fp32

# Token scorers and heads are under 2 % of the operations, and their outputs select the tokens and the answers
KEPT_EXACT = [".*token_scorer.*", ".*/qa_outputs.*", ".*/classifier.*", r".*length_adaptive_graph\.head.*"]


class StaticInt8:
    """The backend `openvino`.

    Args:
        args ([`QuantizeArguments`]): options.
        task ([`Task`]): task of the model.
        inputs (`list[dict[str, list[int]]]`): calibration inputs.

    Raises:
        ValueError: there is no OpenVINO class for the task.
    """

    packages = ("openvino", "nncf", "optimum-intel")

    def __init__(self, args: QuantizeArguments, task: Task, inputs: list[dict]):
        self.args, self.inputs, self.model_class = args, inputs, model_class(task.head)

    def exact(self):
        """The checkpoint in fp32."""
        return self.model_class.from_pretrained(self.args.model, export=True, compile=False)

    def tune(self, measure, reference: dict[str, float]):
        """See `keep_sensitive_layers_in_fp32`."""
        return keep_sensitive_layers_in_fp32(self.build, measure, reference, self.args.max_drop)

    def build(self, kept: list[str]):
        """The checkpoint in int8, except for the layers `kept`, see `keep_sensitive_layers_in_fp32`."""
        model, args = self.exact(), self.args
        config = model.config
        inputs = [graph_input(*call) for call in calibration_calls(config, self.inputs, args.seed)]
        state_to_input(model.model)
        quantize_graph(model, inputs, args.smooth_quant_alpha, [rf".*{part.replace('.', '[.]')}/.*" for part in kept])
        input_to_state(model.model, config.resolve_budget().encode(config))
        return model


def graph_input(inputs: dict[str, list[int]], length_config: list) -> dict[str, np.ndarray]:
    """Arrays for a graph whose length configuration is an input, see `state_to_input`."""
    arrays = {name: np.array([ids], dtype=np.int64) for name, ids in inputs.items()}
    return arrays | {LENGTH_CONFIG: np.array([encode_entry(entry) for entry in length_config], dtype=np.int32)}


def quantize_graph(model, inputs: list, smooth_quant_alpha: float, kept: list[str] | None = None) -> None:
    """Quantizes an OpenVINO model of Optimum-Intel to static int8, in place."""
    fix = overflow_fix()
    quantization_config = OVQuantizationConfig(
        num_samples=len(inputs),
        smooth_quant_alpha=smooth_quant_alpha,
        ignored_scope={"patterns": KEPT_EXACT + (kept or []), "validate": False},  # not every model has scorers
        overflow_fix=fix,
    )
    OVQuantizer.from_pretrained(model).quantize(
        OVCalibrationDataset(nncf.Dataset(inputs)), ov_config=OVConfig(quantization_config=quantization_config)
    )
    _undo_smoothing(model.model)
    model.model.set_rt_info(fix, OVERFLOW_FIX)


def _undo_smoothing(model: openvino.Model) -> None:
    """Removes SmoothQuant's scales from layers that stay in fp32: multiplies the scale into their weights."""
    for node in [node for node in model.get_ops() if node.get_friendly_name().endswith("nncf_smooth_quant")]:
        scale = node.input_value(1).get_node().data.reshape(-1)
        for user in [port.get_node() for port in node.output(0).get_target_inputs()]:
            weight = user.input_value(1).get_node() if user.get_type_name() == "MatMul" else None
            if not isinstance(weight, openvino.op.Constant):
                continue  # an int8 layer reads the scaled input through a FakeQuantize
            scaled = weight.data * (scale if user.get_attributes()["transpose_b"] else scale[:, None])
            user.input(1).replace_source_output(ops.constant(scaled.astype(np.float32)).output(0))
            user.input(0).replace_source_output(node.input_value(0))
