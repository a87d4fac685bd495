# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Whether a graph is the one that its config.json describes."""

from collections.abc import Sequence

import openvino

from .export import LENGTH_CONFIG


def check_outputs(model: openvino.Model | openvino.CompiledModel, names: Sequence[str], source: str = "The graph") -> None:
    """Refuses a graph with the head of another task.

    Args:
        model (`openvino.Model` or `openvino.CompiledModel`): the graph.
        names (`list[str]`): outputs that the head has.
        source (`str`, *optional*): folder or Hub id, for the error.

    Raises:
        ValueError: the outputs have other names.
    """
    found = [output.get_any_name() for output in model.outputs if output.get_names()]
    if found != [*names]:
        raise ValueError(
            f"{source} has the outputs {', '.join(found) or 'without names'}; this model reads {', '.join(names)}. It is a "
            "model for another task: load it with hf_dynbert.load(folder) and the config.json that was saved with it."
        )


def check_sizes(model: openvino.Model, config) -> None:
    """Refuses a configuration whose sizes are not those of the graph.

    Token ids and positions are checked against the configuration, and OpenVINO does not check them: a wrong size would make
    it read outside of an embedding.

    Args:
        model (`openvino.Model`): the graph.
        config (`DynamicTinyBertConfig`): the configuration.

    Raises:
        ValueError: names each size that differs, as it is given and as the graph has it.
    """
    wrong = [
        f"{name} is {getattr(config, name)}, the graph has {size}"
        for name, size in graph_sizes(model).items()
        if getattr(config, name) != size
    ]
    if wrong:
        raise ValueError(
            f"config.json does not belong to the OpenVINO graph: {'; '.join(wrong)}. Take the config.json that was saved "
            "with the graph, or export the checkpoint again."
        )


def graph_sizes(model: openvino.Model) -> dict[str, int]:
    """The sizes of a graph, by field of the configuration. Quantization keeps the names of the nodes that have them."""
    sizes = {}
    for node in model.get_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        if kind == "Gather" and name.endswith(".word_embeddings/aten::embedding/Gather"):
            sizes["vocab_size"], sizes["hidden_size"] = node.input(0).get_shape()
        elif kind == "Gather" and name.endswith(".position_embeddings/aten::embedding/Gather"):
            sizes["max_position_embeddings"] = node.input(0).get_shape()[0]
        elif kind == "MatMul" and ".layer.0.intermediate.dense/" in name:
            sizes["intermediate_size"] = node.input(1).get_shape()[0]
        elif kind == "Reshape" and "/aten::view/" in name and len(node.output(0).get_partial_shape()) == 4:
            sizes["num_attention_heads"] = node.output(0).get_partial_shape()[2].get_length()  # (batch, tokens, heads, size)
        elif "token_type_embeddings/aten::mul/" in name:  # a `RowPair`
            sizes["type_vocab_size"] = 2
    for variable in model.get_variables():
        if variable.info.variable_id == LENGTH_CONFIG:
            sizes["num_hidden_layers"] = variable.info.data_shape[0].get_length()
    logits = [output.get_partial_shape()[1] for output in model.outputs if "logits" in output.get_names()]
    if logits and logits[0].is_static:
        sizes["num_labels"] = logits[0].get_length()
    return sizes
