"""Calls without `token_type_ids`: models whose configuration says so make those of BERT's tokenizer."""

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import hf_dynbert
from hf_dynbert import DynamicTinyBertModel, convert


TEXTS = [("who lit the tower?", "ada lit the tower by night."), ("who?", "ben"), ("a single text, without a pair", None)]


@pytest.fixture(params=["left", "right"])
def batches(request, tokenizer):
    """Batches of pairs and of single texts, with token types and padding on either side."""
    side = {"padding": True, "padding_side": request.param, "return_tensors": "pt"}
    pairs = [pair for pair in TEXTS if pair[1]]
    return [tokenizer([a for a, _ in pairs], [b for _, b in pairs], **side), tokenizer([TEXTS[2][0], "who?"], **side)]


@pytest.fixture(scope="module")
def folder(bert_folder, tmp_path_factory):
    return convert(str(bert_folder), tmp_path_factory.mktemp("converted"), budgets={"half": [0.8, 0.6, 0.5, 0.3]})


@pytest.fixture(scope="module", params=["pytorch", "openvino"])
def model(request, folder):
    if request.param == "openvino":
        pytest.importorskip("nncf", reason="needs the intel extra")
        model = hf_dynbert.OVDynamicTinyBertForQuestionAnswering.from_pretrained(folder, export=True)
    else:
        model = hf_dynbert.DynamicTinyBertForQuestionAnswering.from_pretrained(folder)
    model.config.min_tokens_to_drop = 0
    return model


def without_types(batch):
    return {name: values for name, values in batch.items() if name != "token_type_ids"}


def outputs(model, batch, **call):
    with torch.no_grad():
        return torch.as_tensor(model(**batch, **call)[0])


@pytest.mark.parametrize("budget", ["full", "half"])
def test_missing_token_types_are_those_of_the_tokenizer(model, budget, batches):
    assert model.config.fill_token_type_ids
    for batch in batches:
        assert torch.equal(outputs(model, without_types(batch), budget=budget), outputs(model, batch, budget=budget))
    pairs = batches[0]
    zeros = without_types(pairs) | {"token_type_ids": torch.zeros_like(pairs["input_ids"])}
    assert not torch.allclose(outputs(model, zeros, budget=budget), outputs(model, pairs, budget=budget))


def test_a_plain_checkpoint_keeps_berts_default(bert_folder, batches):
    ours, theirs = DynamicTinyBertModel.from_pretrained(bert_folder).eval(), AutoModel.from_pretrained(bert_folder).eval()
    assert not ours.config.fill_token_type_ids
    for batch in batches:
        batch = without_types(batch)
        torch.testing.assert_close(outputs(ours, batch), outputs(theirs, batch))  # torch's own tolerance for float32


def test_the_tokenizer_decides(bert_folder, tokenizer, tmp_path):
    AutoModel.from_pretrained(bert_folder).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    for names, fills in ((["input_ids", "attention_mask"], False), (["input_ids", "token_type_ids"], True)):
        own = AutoTokenizer.from_pretrained(tmp_path / "bert", model_input_names=names)
        own.save_pretrained(tmp_path / "bert")
        folder = convert(str(tmp_path / "bert"), tmp_path / str(fills), task="question-answering")
        config = DynamicTinyBertModel.from_pretrained(folder).config
        assert config.fill_token_type_ids is fills and config.sep_token_id == tokenizer.sep_token_id
