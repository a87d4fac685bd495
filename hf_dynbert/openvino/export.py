# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Export to OpenVINO through Optimum-Intel: one file, any budget. Importing this module registers our models there."""

import re

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.frontend.pytorch import ConversionExtension
from optimum.exporters.openvino.model_configs import BertOpenVINOConfig
from optimum.exporters.openvino.patching_utils import ModelPatcher
from optimum.exporters.tasks import TasksManager
from torch import nn

from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from ..subnetwork import SHARE_UNIT
from .graph import LengthAdaptiveGraph, RowPair
from .graph_operations import LOWEST


LENGTH_CONFIG = "length_config"  # the variable that holds the length configuration
LENGTH_CONFIG_NODE = "length_config_entry"  # name of the node that passes it to the graph
# Nodes that `without_drops` removes: name -> index of the input that replaces the node's output
DROPS = {"dropped_tokens": 0, "restored_tokens": 0, "kept_outputs": 1, "placed_outputs": 2}
BIAS, BIAS_OF_KEPT = "attention_bias", "bias_of_kept_tokens"
OPTIMUM_TASKS = ("question-answering", "text-classification")  # names of Optimum, for `optimum-cli export`


class LengthAdaptivePatcher(ModelPatcher):
    """Modifications: traces the model's [`LengthAdaptiveGraph`]."""

    def __init__(self, config, model, model_kwargs=None):
        super().__init__(config, model, model_kwargs)
        self.graph = LengthAdaptiveGraph(model)
        self.conversion_extensions = [
            ConversionExtension("hf_dynbert::length_config", _convert_length_config),
            ConversionExtension("hf_dynbert::take_tokens", _convert_take_tokens),
            ConversionExtension("hf_dynbert::put_tokens", _convert_put_tokens),
            ConversionExtension("hf_dynbert::top_slots", _convert_top_slots),
            ConversionExtension("hf_dynbert::drop_tokens", _named("dropped_tokens", _convert_take_tokens)),
            ConversionExtension("hf_dynbert::restore_tokens", _named("restored_tokens", _convert_take_tokens)),
            ConversionExtension("hf_dynbert::keep_outputs", _named("kept_outputs", _convert_keep_outputs)),
            ConversionExtension("hf_dynbert::place_outputs", _named("placed_outputs", _convert_put_tokens)),
            ConversionExtension("hf_dynbert::attention_bias", _named(BIAS, _convert_attention_bias)),
            ConversionExtension("hf_dynbert::attention_bias_of_kept", _named(BIAS_OF_KEPT, _convert_attention_bias)),
        ]
        names = list(config.outputs)

        def patched_forward(input_ids=None, attention_mask=None, token_type_ids=None):
            outputs = self.graph(input_ids, attention_mask, token_type_ids)
            return dict(zip(names, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))

        self.patched_forward = patched_forward

    def __enter__(self):
        super().__enter__()
        self._model.length_adaptive_graph = self.graph  # TorchScript traces modules of the model only
        embeddings = self._model.base_model.embeddings
        self.token_types = embeddings.token_type_embeddings
        if type(self.token_types) is nn.Embedding and self.token_types.num_embeddings == 2:
            embeddings.token_type_embeddings = RowPair(self.token_types)

    def __exit__(self, *exception):
        self._model.base_model.embeddings.token_type_embeddings = self.token_types
        del self._model.length_adaptive_graph
        super().__exit__(*exception)


@TasksManager.create_register("openvino", overwrite_existing=True)(DynamicTinyBertConfig.model_type, *OPTIMUM_TASKS)
class DynamicTinyBertOpenVINOConfig(BertOpenVINOConfig):
    """Modifications: no token types where the model has none (RoBERTa's, DistilBERT's)."""

    _MODEL_PATCHER = LengthAdaptivePatcher

    @property
    def inputs(self) -> dict:
        """Names and dynamic axes."""
        inputs = super().inputs
        if self._config.type_vocab_size < 2:
            del inputs["token_type_ids"]
        return inputs


def _convert_length_config(context):
    """The default length configuration, behind a minimum that changes no value but prevents constant folding."""
    default, input_ids = context.get_input(0), context.get_input(1)
    batch = ops.gather(ops.shape_of(input_ids, output_type="i32"), ops.constant(np.int32(0)), ops.constant(np.int32(0)))
    node = ops.minimum(default, ops.multiply(batch, ops.constant(np.int32(SHARE_UNIT))))  # no entry is above one unit
    node.set_friendly_name(LENGTH_CONFIG_NODE)
    return node.outputs()


def _convert_take_tokens(context):
    """Gathers along the second axis, example by example."""
    tokens, slots = context.get_input(0), context.get_input(1)
    return ops.gather(tokens, slots, ops.constant(np.int32(1)), batch_dims=1).outputs()


def _convert_keep_outputs(context):
    """Sets the outputs of dropped tokens to the lowest number."""
    return ops.select(context.get_input(1), context.get_input(0), ops.constant(np.float32(LOWEST))).outputs()


def _convert_attention_bias(context):
    """0 for real tokens, the lowest number for the others."""
    return ops.select(context.get_input(0), ops.constant(np.float32(0)), ops.constant(np.float32(LOWEST))).outputs()


def _named(name: str, convert):
    """Returns a conversion that also names its node, for `without_drops`."""

    def converted(context):
        outputs = convert(context)
        outputs[0].get_node().set_friendly_name(name)
        return outputs

    return converted


def _convert_put_tokens(context):
    """Writes along the last axis."""
    return ops.scatter_elements_update(*(context.get_input(index) for index in range(3)), -1).outputs()


def _convert_top_slots(context):
    """Indices of the largest values along the second axis; of equal values the earlier first, as in eager mode."""
    ranking, width = context.get_input(0), context.get_input(1)
    return [ops.topk(ranking, width, 1, "max", "value", index_element_type="i64", stable=True).output(1)]


def _length_config_node(model: openvino.Model):
    """The node that passes the length configuration to the graph."""
    nodes = [node for node in model.get_ops() if node.get_friendly_name() == LENGTH_CONFIG_NODE]
    if len(nodes) != 1:
        raise ValueError(
            f"This OpenVINO model has no node {LENGTH_CONFIG_NODE!r}, so it was not exported from a length-adaptive model. "
            "Export the PyTorch checkpoint: OVDynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint, export=True)."
        )
    return nodes[0]


def has_length_config_state(model: openvino.Model) -> bool:
    """Whether callers can set the model's length configuration."""
    return any(variable.info.variable_id == LENGTH_CONFIG for variable in model.get_variables())


def add_length_config_state(model: openvino.Model, default: list[int] | None = None) -> openvino.Model:
    """Makes the length configuration a state variable of the OpenVINO model. Callers that do not set it get the default."""
    node = _length_config_node(model)
    initial = (
        node.input(0).get_source_output() if default is None else ops.constant(np.array(default, dtype=np.int32)).output(0)
    )
    info = openvino.op.util.VariableInfo()
    info.data_shape, info.data_type, info.variable_id = initial.get_partial_shape(), openvino.Type.i32, LENGTH_CONFIG
    variable = openvino.op.util.Variable(info)
    value = openvino.op.read_value(initial, variable)
    _replace_length_config(node, value)
    model.add_sinks([openvino.op.assign(value, variable)])
    model.validate_nodes_and_infer_types()
    return model


def state_to_input(model: openvino.Model) -> openvino.Model:
    """Makes the length configuration an input in place, so that each calibration sample can set its own."""
    (assign,) = [sink for sink in model.get_sinks() if sink.get_variable_id() == LENGTH_CONFIG]
    node = _length_config_node(model)
    parameter = ops.parameter(node.output(0).get_partial_shape(), np.int32)
    model.remove_sink(assign)
    _replace_length_config(node, parameter)
    model.remove_variable(model.get_variable_by_id(LENGTH_CONFIG))
    model.add_parameters([parameter])
    model.validate_nodes_and_infer_types()
    parameter.output(0).set_names({LENGTH_CONFIG})  # last, since replacing a node adds the names of its output
    return model


def fix_length_config(model: openvino.Model, entries: list[int]) -> openvino.Model:
    """Makes the length configuration of a model with the state a constant, in place."""
    constant = ops.constant(np.array(entries, dtype=np.int32))
    _replace_length_config(_length_config_node(model), constant)
    _remove_state(model)
    return model


def input_to_state(model: openvino.Model, default: list[int]) -> openvino.Model:
    """Undoes `state_to_input`, with this default; in place."""
    parameter = _length_config_node(model)
    add_length_config_state(model, default)
    model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()
    return model


def without_drops(model: openvino.Model) -> openvino.Model | None:
    """Returns a graph of the same weights that keeps all tokens, as fast as a plain model; `None` if no layer drops."""
    plain = model.clone()
    nodes = plain.get_ordered_ops()
    if not any(_named_nodes(nodes, name) for name in DROPS):
        return None
    for restored in _named_nodes(nodes, "restored_tokens"):  # read the last states instead of the table
        table = _state_table(restored)
        _replace(table, table.input_value(table.get_input_size() - 1))
    for name, index in DROPS.items():
        for node in _named_nodes(nodes, name):
            _replace(node, node.input_value(index))
    (bias,) = _named_nodes(nodes, BIAS)
    for node in _named_nodes(nodes, BIAS_OF_KEPT):
        _replace(node, bias.output(0))
    _remove_state(plain)
    return plain


def _remove_state(model: openvino.Model) -> None:
    """Removes the state variable, which no node reads any more."""
    for sink in model.get_sinks():
        model.remove_sink(sink)
    for variable in model.get_variables():
        model.remove_variable(variable)
    model.validate_nodes_and_infer_types()


def _named_nodes(nodes: list, name: str) -> list:
    """The nodes with this name; OpenVINO appends numbers to equal names."""
    return [node for node in nodes if re.fullmatch(rf"{name}(_\d+)?", node.get_friendly_name())]


def _state_table(restored):
    """The Concat of states from which the head computes what a node `restored_tokens` reads. It has no name of its own."""
    node = restored
    while node.get_type_name() != "Concat":
        node = node.input_value(0).get_node()
    return node


def _replace(node, output) -> None:
    """Connects all readers of a node to this output instead."""
    for target in node.output(0).get_target_inputs():
        target.replace_source_output(output)


def _replace_length_config(node, replacement) -> None:
    """Replaces the node that passes the length configuration to the graph."""
    _replace(node, replacement.output(0))
    node.set_friendly_name(f"{LENGTH_CONFIG_NODE}_before")
    replacement.set_friendly_name(LENGTH_CONFIG_NODE)
