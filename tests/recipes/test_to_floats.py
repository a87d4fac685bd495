"""The recipe script that turns an OpenVINO folder into floats: the same weights, or where they were rounded, the graph's."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_batch, quantize, randomize_scorers


pytestmark = pytest.mark.intel
pytest.importorskip("nncf", reason="needs the intel extra")  # tests/openvino looks like a package named openvino
openvino = pytest.importorskip("openvino", reason="needs the intel extra")
pytest.importorskip("optimum.intel", reason="needs the intel extra")

from optimum.intel import OVModelForQuestionAnswering  # noqa: E402  (after the skip above)

from hf_dynbert import DynamicTinyBertForQuestionAnswering  # noqa: E402
from hf_dynbert.openvino.modeling_openvino import OVDynamicTinyBertForQuestionAnswering  # noqa: E402


SCRIPT = Path(__file__).parents[2] / "recipes" / "quala-minilm-squad" / "to_floats.py"
specification = importlib.util.spec_from_file_location("to_floats", SCRIPT)
to_floats = importlib.util.module_from_spec(specification)
specification.loader.exec_module(to_floats)
float_model = to_floats.float_model

BUDGETS = {"half": [0.8, 0.5, 0.5, 0.2]}
OPTIONS = {"importance": "learned", "early_selection_until": 1, "importance_match_until": 2, "budgets": BUDGETS}
# OpenVINO's defaults: bf16 where the CPU has it, and inputs of layers with rounded weights are rounded too
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


@pytest.fixture(scope="module")
def checkpoint(bert_folder, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model = randomize_scorers(DynamicTinyBertForQuestionAnswering.from_pretrained(bert_folder, **OPTIONS))
    with torch.no_grad():  # as trained: biases of zero and norms of one are no operations of a graph
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def int8(checkpoint, squad_file, tmp_path_factory):
    return quantize(checkpoint, squad_file, tmp_path_factory.mktemp("int8"), accuracy_samples=0)


def test_an_fp32_graph_gives_back_the_very_weights(checkpoint, tmp_path):
    OVDynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint, export=True, compile=False).save_pretrained(tmp_path)
    expected = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint).state_dict()
    again = float_model(tmp_path)
    found = again.state_dict()
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        bound = 1e-6 if "token_type" in name else 0.0  # of its two rows the graph has the first and a step, in float32
        torch.testing.assert_close(found[name], weight, atol=bound, rtol=0, msg=name)
    assert again.config.early_selection_until == 1 and not again.training


def test_of_int8_they_are_what_the_graph_computes_with(checkpoint, int8):
    graph = openvino.Core().read_model(int8 / "openvino_model.xml")
    rounded = [node for node in graph.get_ops() if node.get_type_name() == "FakeQuantize"]
    assert rounded
    for node in rounded:  # inputs of layers are no longer rounded; weights are
        for port in list(node.output(0).get_target_inputs()):
            port.replace_source_output(node.input_value(0))
    compiled, batch, again = openvino.Core().compile_model(graph, "CPU", EXACT), make_batch(), float_model(int8)
    before = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint)
    real = batch["attention_mask"].bool()
    found = compiled({name: tensor.numpy() for name, tensor in batch.items()})
    for place, name in enumerate(("start_logits", "end_logits")):
        exact = torch.from_numpy(found[place])[real]
        torch.testing.assert_close(again(**batch)[name][real], exact, atol=1e-4, rtol=0)  # exports agree as far as this
        assert (before(**batch)[name][real] - exact).abs().max() > 1e-4  # so it is not what was there before rounding


def test_the_floats_can_be_trained_and_the_script_saves_them(int8, tmp_path, monkeypatch):
    again = float_model(int8)
    again.train()(**make_batch(), start_positions=torch.ones(4).long(), end_positions=torch.ones(4).long()).loss.backward()
    assert again.bert.encoder.layer[0].attention.self.query.weight.grad.abs().sum() > 0
    monkeypatch.setattr(sys, "argv", ["to_floats.py", str(int8), str(tmp_path)])
    to_floats.main()
    loaded = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in float_model(int8).state_dict().items())
    assert (tmp_path / "tokenizer_config.json").is_file()


def test_another_graph_is_refused(bert_folder, tmp_path):
    OVModelForQuestionAnswering.from_pretrained(bert_folder, export=True, compile=False).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no bert.embeddings.*hf-dynbert quantize"):
        float_model(tmp_path)


def test_a_place_without_a_graph_is_refused(bert_folder):
    with pytest.raises(FileNotFoundError, match="openvino_model.xml.*hf-dynbert quantize"):
        float_model(bert_folder)
