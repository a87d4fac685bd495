# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that people already have, in the shapes they were published in; only their vocabularies are smaller here."""

import json
import os
import pickle
import shutil

import pytest
import torch
from conftest import make_batch
from safetensors.torch import save_file
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from hf_dynbert import (
    DynamicInt8Config,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
)
from hf_dynbert.backbones.folder import convert
from hf_dynbert.commands.main import main


WEIGHTS = "model.safetensors"
SHAPE = {"vocab_size": 200, "num_hidden_layers": 6, "num_attention_heads": 12}
PUBLISHED = {
    # 6 layers, hidden 768, ReLU: the shape of Intel/dynamic_tinybert
    "dynamic-tinybert": lambda: BertForQuestionAnswering(
        BertConfig(**SHAPE, hidden_size=768, intermediate_size=3072, hidden_act="relu", length_config=None)
    ),
    # MiniLMv2 from RoBERTa: the shape of sguskin/dynamic-minilmv2-L6-H384-squad1.1
    "minilmv2": lambda: RobertaForQuestionAnswering(
        RobertaConfig(
            **SHAPE,
            hidden_size=384,
            intermediate_size=1536,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        )
    ),
    "distilbert": lambda: DistilBertForQuestionAnswering(DistilBertConfig(vocab_size=200)),
}


@pytest.fixture(params=PUBLISHED)
def source(request, tokenizer, tmp_path):
    torch.manual_seed(0)
    model = PUBLISHED[request.param]().eval()
    model.save_pretrained(tmp_path / request.param)
    tokenizer.save_pretrained(tmp_path / request.param)
    return model, tmp_path / request.param


@pytest.mark.parametrize("old", [False, True], ids=["safetensors", "pytorch_model.bin"])
def test_answers_stay_and_budgets_run(source, tmp_path, old):
    model, folder = source
    if old:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert main(["convert", "--model", str(folder), "--output_dir", str(tmp_path / "out")]) == 0
    converted = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert type(converted) is DynamicTinyBertForQuestionAnswering
    batch = make_batch()
    if model.config.model_type != "bert":
        batch.pop("token_type_ids")
    if model.config.model_type == "roberta":  # whose padding has number 1
        batch["input_ids"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 1)
    with torch.inference_mode():
        wanted, found = model(**batch), converted(**batch)
        converted.config.min_tokens_to_drop = 0  # the texts are short
        half = converted(**batch, length_config="half", output_hidden_states=True)
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(found.start_logits[real], wanted.start_logits[real], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.end_logits[real], wanted.end_logits[real], atol=1e-5, rtol=0)
    assert not torch.allclose(half.start_logits[real], wanted.start_logits[real], atol=1e-5)
    assert set(converted.config.budgets) == {"three-quarters", "half"}
    assert f"| started from | {folder.name} |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("model_type", ["bert", "dynamic_tinybert"])
def test_weights_that_miss_a_layer_are_refused(model_type, bert, bert_folder, tmp_path, capsys):
    folder = tmp_path / "incomplete"
    shutil.copytree(bert_folder, folder)
    if model_type != "bert":
        DynamicTinyBertForQuestionAnswering.from_backbone(bert).save_pretrained(folder)
    save_file({name: tensor for name, tensor in bert.state_dict().items() if "layer.2." not in name}, folder / WEIGHTS)
    assert main(["convert", "--model", str(folder), "--output_dir", str(tmp_path / "out")]) == 2
    assert "incomplete: 16 of the encoder are missing" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_another_head_needs_a_task(sizes, tokenizer, tmp_path):
    BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="Give the task, one of"):
        convert(str(tmp_path / "encoder"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert(str(tmp_path / "encoder"), tmp_path / "out", task="text-classification", budgets={"low": [4, 3, 2, 1]})
    model = DynamicTinyBertForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.budgets == {"low": [4, 3, 2, 1]}


def test_bad_sources_are_one_line_and_status_2(sizes, tokenizer, tmp_path, capsys):
    folder = tmp_path / "gpt"
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2ForQuestionAnswering"]}))
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    assert main(["convert", "--model", str(folder), "--output_dir", str(tmp_path / "out")]) == 2
    assert "'gpt2' model cannot become" in capsys.readouterr().err
    assert main(["convert", "--model", str(folder), "--output_dir", str(tmp_path / "out"), "--budgets", "{"]) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_an_impossible_budget_is_one_line_and_status_2(bert_folder, tmp_path, capsys):
    budgets = ["--budgets", '{"half": 0.5}']
    assert main(["convert", "--model", str(bert_folder), "--output_dir", str(tmp_path / "out"), *budgets]) == 2
    assert "budgets" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_head_whose_class_has_another_name_is_kept(bert, bert_folder, tokenizer, tmp_path):
    config = json.loads((bert_folder / "config.json").read_text())
    shutil.copytree(bert_folder, tmp_path / "old")
    (tmp_path / "old" / "config.json").write_text(json.dumps(config | {"architectures": ["MyForQuestionAnswering"]}))
    convert(str(tmp_path / "old"), tmp_path / "out")
    found = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert torch.equal(found.qa_outputs.weight, bert.qa_outputs.weight)


class Bomb:
    """A pickle that leaves a trace when it is loaded as pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_an_old_checkpoint_is_read_as_data_alone(bert_folder, tokenizer, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.json").write_text((bert_folder / "config.json").read_text())
    tokenizer.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(OSError, match="a pickle that holds more than tensors"):
        convert(str(folder), tmp_path / "out")
    torch.save({"weight": torch.zeros(1000)}, folder / "pytorch_model.bin")
    for size in (2000, 0):  # of an archive, and of nothing
        os.truncate(folder / "pytorch_model.bin", size)
        with pytest.raises(OSError, match="damaged, incomplete"):
            convert(str(folder), tmp_path / "out")
    assert not (tmp_path / "exploded").exists() and not (tmp_path / "out").exists()


def test_int8_is_no_start(bert_folder, tokenizer, tmp_path):
    convert(str(bert_folder), tmp_path / "floats")
    int8 = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "floats", quantization_config=DynamicInt8Config())
    int8.save_pretrained(tmp_path / "int8")
    tokenizer.save_pretrained(tmp_path / "int8")
    with pytest.raises(ValueError, match="in int8; a model starts from floats"):
        convert(str(tmp_path / "int8"), tmp_path / "out")


def test_where_to_get_it_is_no_configuration(bert_folder, tmp_path):
    hub = {"token": "hf_secret", "cache_dir": str(tmp_path)}
    model = DynamicTinyBertForQuestionAnswering.from_backbone(str(bert_folder), importance="cls", **hub)
    assert model.config.importance == "cls" and not {"token", "cache_dir"} & set(model.config.to_dict())
    with pytest.raises(ValueError, match="has no 'importanc'; the nearest valid name is 'importance'"):
        DynamicTinyBertForQuestionAnswering.from_backbone(str(bert_folder), importanc="cls")


def test_what_an_earlier_model_left_goes(bert_folder, tmp_path):
    convert(str(bert_folder), tmp_path / "out")
    for name in ("quantization.json", "evaluation.json"):
        (tmp_path / "out" / name).write_text("{}")
    for name in ("front.png", "openvino_model.xml", "notes.txt"):
        (tmp_path / "out" / name).write_text("old")
    convert(str(bert_folder), tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert not {"quantization.json", "evaluation.json", "front.png", "openvino_model.xml"} & left and "notes.txt" in left
