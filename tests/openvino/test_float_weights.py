"""Floats out of an OpenVINO folder: the very weights, or where those were rounded, what the graph computes with."""

import pytest
import torch
from conftest import make_batch, quantize, randomize_scorers


pytestmark = pytest.mark.intel
openvino = pytest.importorskip("openvino", reason="needs the intel extra")
pytest.importorskip("optimum.intel", reason="needs the intel extra")

from optimum.intel import OVModelForQuestionAnswering  # noqa: E402  (after the skip above)

from hf_dynbert import DynamicTinyBertForQuestionAnswering  # noqa: E402
from hf_dynbert.openvino.float_weights import float_model  # noqa: E402
from hf_dynbert.openvino.modeling_openvino import OVDynamicTinyBertForQuestionAnswering  # noqa: E402


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


def test_what_it_gives_learns_and_can_be_saved(int8, tmp_path):
    again = float_model(int8)
    again.train()(**make_batch(), start_positions=torch.ones(4).long(), end_positions=torch.ones(4).long()).loss.backward()
    assert again.bert.encoder.layer[0].attention.self.query.weight.grad.abs().sum() > 0
    again.save_pretrained(tmp_path)
    loaded = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in again.state_dict().items())


def test_another_graph_is_refused(bert_folder, tmp_path):
    OVModelForQuestionAnswering.from_pretrained(bert_folder, export=True, compile=False).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no bert.embeddings.*hf-dynbert quantize"):
        float_model(tmp_path)


def test_a_place_without_a_graph_is_refused(bert_folder):
    with pytest.raises(FileNotFoundError, match="openvino_model.xml.*hf-dynbert quantize"):
        float_model(bert_folder)
