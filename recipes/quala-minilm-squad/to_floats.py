"""Writes an int8 OpenVINO folder as a PyTorch checkpoint in float32: to fine-tune if only the int8 file exists.

python recipes/quala-minilm-squad/to_floats.py recipes/quala-minilm-squad/checkpoint outputs/quala-minilm-squad-floats
"""

import argparse
from pathlib import Path

import numpy as np
import openvino
import torch
from transformers import AutoTokenizer

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering


ROOT = "__module.length_adaptive_graph."  # names of the traced modules, see `LengthAdaptiveGraph`
SMOOTHED = "nncf_smooth_quant"  # SmoothQuant divides inputs of a layer by a vector and multiplies its weights by the same
FOLDED = ("Constant", "Convert", "Subtract", "Multiply")  # operations that rounded weights consist of


def float_model(folder: str | Path) -> DynamicTinyBertForQuestionAnswering:
    """Returns the PyTorch model of an OpenVINO folder, in float32; of an int8 graph its weights keep int8's rounding.

    Args:
        folder (`str` or `Path`): written by `hf-dynbert quantize` (backend `openvino`), or by `save_pretrained` of an
            [`OVDynamicTinyBertForQuestionAnswering`].

    Returns:
        [`DynamicTinyBertForQuestionAnswering`]: in evaluation mode, with the folder's configuration. The factors that
            SmoothQuant moved into weights are moved back.

    Raises:
        FileNotFoundError: the folder has no graph.
        ValueError: the graph is of another kind of model or of another version, and its weights are not found.
    """
    graph = Path(folder) / "openvino_model.xml"
    if not graph.exists():
        raise FileNotFoundError(f"{graph} does not exist. Give a local folder that hf-dynbert quantize wrote.")
    config = DynamicTinyBertConfig.from_pretrained(folder)
    model = DynamicTinyBertForQuestionAnswering(config).eval()
    expected = model.state_dict()
    found = _weights(openvino.Core().read_model(graph))
    if missing := sorted(expected.keys() - found.keys()):
        raise ValueError(
            f"The graph in {folder} has no {', '.join(missing[:3])}; {len(missing)} weights of a length-adaptive model for "
            "question answering are missing. Give a folder that this version's hf-dynbert quantize wrote."
        )
    state = {name: torch.from_numpy(found[name]).float().reshape(like.shape) for name, like in expected.items()}
    model.load_state_dict(state)
    return model


def _weights(graph: openvino.Model) -> dict[str, np.ndarray]:
    """All parameters by their names in PyTorch."""
    found, types = {}, {}
    for node in graph.get_ordered_ops():
        if node.get_friendly_name().endswith(SMOOTHED):
            continue  # its name is that of the layer whose inputs it divides
        module, _, operation = node.get_friendly_name().removeprefix(ROOT).partition("/")
        module, kind = "qa_outputs" if module == "head" else module, node.get_type_name()
        if kind == "MatMul" and operation.startswith("aten::linear"):
            found |= _linear(node, module)
        elif kind == "Gather" and operation.startswith("aten::embedding"):
            found[f"{module}.weight"] = _value(_input(node, 0))
        elif operation.startswith("aten::layer_norm") and kind in ("Multiply", "Add"):
            found[f"{module}.weight" if kind == "Multiply" else f"{module}.bias"] = _constant(node)
        elif module.endswith("token_type_embeddings") and kind in ("Multiply", "Add"):  # see `graph.RowPair`
            types[module, kind] = _constant(node)
        elif module.endswith("token_scorer") and operation.startswith("aten::mul/"):
            found[f"{module}.slope"] = _constant(node)
        elif module.endswith("token_scorer") and operation.startswith("aten::sub/"):
            found[f"{module}.threshold"] = -_constant(node)  # the graph subtracts the threshold
    for module, kind in types:
        if kind == "Add":
            first = types[module, kind].reshape(-1)
            found[f"{module}.weight"] = np.stack([first, first + types[module, "Multiply"].reshape(-1)])
    return found


def _linear(product: openvino.Node, module: str) -> dict[str, np.ndarray]:
    weight = _value(_input(product, 1))
    weight = weight if product.get_attributes()["transpose_b"] else weight.T
    found, source = {}, _input(product, 0)
    while source.get_type_name() in ("FakeQuantize", "Reshape"):
        source = _input(source, 0)
    if source.get_friendly_name().endswith(SMOOTHED):
        weight = weight * _constant(source).reshape(-1)
    found[f"{module}.weight"] = weight
    for port in product.output(0).get_target_inputs():
        after = port.get_node()
        if after.get_type_name() == "Add" and "/aten::linear/" in after.get_friendly_name():
            found[f"{module}.bias"] = _constant(after)
    return found


def _input(node: openvino.Node, index: int) -> openvino.Node:
    return node.input_value(index).get_node()


def _constant(node: openvino.Node) -> np.ndarray:
    """The constant factor or summand of a node."""
    first, second = _input(node, 0), _input(node, 1)
    return _value(first if _is_constant(first) else second)


def _is_constant(node: openvino.Node) -> bool:
    kind = node.get_type_name()
    return kind == "Constant" or (kind in FOLDED and all(_is_constant(port.get_node()) for port in node.input_values()))


def _value(node: openvino.Node) -> np.ndarray:
    """The value of a constant expression."""
    kind = node.get_type_name()
    if kind == "Constant":
        return node.data.astype(np.float32)
    if not _is_constant(node):
        raise ValueError(f"{node.get_friendly_name()} ({kind}) is not a weight: the graph is of another kind or version.")
    parts = [_value(port.get_node()) for port in node.input_values()]
    return parts[0] if kind == "Convert" else parts[0] - parts[1] if kind == "Subtract" else parts[0] * parts[1]


def main() -> None:
    """Reads and saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder that hf-dynbert quantize wrote")
    parser.add_argument("output", help="folder to save the checkpoint in")
    args = parser.parse_args()
    float_model(args.folder).save_pretrained(args.output)
    AutoTokenizer.from_pretrained(args.folder).save_pretrained(args.output)
    print(f"Saved in {args.output}")


if __name__ == "__main__":
    main()
