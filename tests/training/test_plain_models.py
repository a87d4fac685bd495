"""Recipes that fine-tune a model as it is, such as a teacher."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, MPNetConfig, MPNetForQuestionAnswering

from hf_dynbert import DistillationArguments
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import freeze_lowest, run_recipe


@pytest.fixture
def mpnet(sizes, tokenizer, tmp_path):
    torch.manual_seed(0)
    MPNetForQuestionAnswering(MPNetConfig(**sizes)).save_pretrained(tmp_path / "mpnet")
    tokenizer.save_pretrained(tmp_path / "mpnet")
    return tmp_path / "mpnet"


def test_a_teacher_is_fine_tuned_as_it_is(mpnet, squad_file, tmp_path):
    args = DistillationArguments(str(tmp_path / "out"), length_drop=False, max_steps=2, use_cpu=True, report_to=[])
    data = DataArguments(train_file=[str(squad_file)], max_length=120, stride=8)
    folder = run_recipe(ModelArguments(str(mpnet), length_adaptive=False, hidden_dropout_prob=0.0), data, args)
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    assert type(model) is MPNetForQuestionAnswering and model.config.hidden_dropout_prob == 0.0
    before = AutoModelForQuestionAnswering.from_pretrained(mpnet)
    assert not torch.equal(model.qa_outputs.weight, before.qa_outputs.weight)


def test_frozen_layers_do_not_change(mpnet, squad_file, tmp_path):
    args = DistillationArguments(str(tmp_path / "out"), length_drop=False, max_steps=1, use_cpu=True, report_to=[])
    data = DataArguments(train_file=[str(squad_file)], max_length=120, stride=8)
    source = ModelArguments(str(mpnet), length_adaptive=False, freeze_layers=2)
    before = AutoModelForQuestionAnswering.from_pretrained(mpnet).state_dict()
    after = AutoModelForQuestionAnswering.from_pretrained(run_recipe(source, data, args)).state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    lowest = ("embeddings", "relative_attention_bias", "layer.0.", "layer.1.")
    assert moved and not [name for name in moved if any(part in name for part in lowest)]
    assert {name for name in after if "layer.2." in name} <= moved


def test_a_teacher_with_older_names_resumes_where_it_was(mpnet, squad_file, tmp_path):
    weights = load_file(mpnet / "model.safetensors")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, old in older.items():
        weights = {name.replace(new, old): tensor for name, tensor in weights.items()}
    save_file(weights, mpnet / "model.safetensors", metadata={"format": "pt"})
    data = DataArguments(train_file=[str(squad_file)], max_length=120, stride=8)
    source = ModelArguments(str(mpnet), length_adaptive=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    def train(folder):
        options = {"max_steps": 4, "save_steps": 2, "use_cpu": True, "report_to": [], "learning_rate": 1e-2}
        args = DistillationArguments(str(folder), length_drop=False, **options)
        run_recipe(source, data, args)
        return AutoModelForQuestionAnswering.from_pretrained(folder).state_dict()

    whole = train(tmp_path / "whole")
    (tmp_path / "again").mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "again" / "checkpoint-2")
    record = json.loads((tmp_path / "whole" / "_run.json").read_text())
    (tmp_path / "again" / "_run.json").write_text(json.dumps(record | {"finished": False}))
    resumed = train(tmp_path / "again")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor)


@pytest.mark.parametrize("layers", [-1, 4])
def test_a_model_is_not_frozen_altogether(bert_folder, layers):
    with pytest.raises(ValueError, match=f"freeze_layers={layers}, but the model has 4 layers"):
        freeze_lowest(AutoModelForQuestionAnswering.from_pretrained(bert_folder), layers)


def test_a_length_adaptive_model_can_be_frozen_below(make_model):
    model = make_model()
    freeze_lowest(model, 1)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen and all("embeddings" in name or "layer.0." in name for name in frozen)


def test_a_model_as_it_is_cannot_learn_to_drop(mpnet, tmp_path):
    with pytest.raises(ValueError, match="length_adaptive=False cannot; use length_drop=False"):
        run_recipe(
            ModelArguments(str(mpnet), length_adaptive=False),
            DataArguments(["none.json"]),
            DistillationArguments(str(tmp_path), use_cpu=True),
        )
