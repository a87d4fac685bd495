"""Checkpoints of other architectures keep their answers."""

import pytest
import torch
from conftest import make_batch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from hf_dynbert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
)


DISTIL = {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 128, "vocab_size": 99}
HEADS = {
    "QuestionAnswering": DynamicTinyBertForQuestionAnswering,
    "SequenceClassification": DynamicTinyBertForSequenceClassification,
    "Model": DynamicTinyBertModel,
}
SOURCES = [
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaModel,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertModel,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
    CamembertForSequenceClassification,
]
ROBERTAS = {"Roberta": RobertaConfig, "XLMRoberta": XLMRobertaConfig, "Camembert": CamembertConfig}


def make_source(model_class, sizes):
    torch.manual_seed(0)
    labels = 3 if "Sequence" in model_class.__name__ else 2
    if model_class.__name__.startswith("Distil"):
        return model_class(DistilBertConfig(**DISTIL, initializer_range=0.2, num_labels=labels)).eval()
    for name, config_class in ROBERTAS.items():
        if model_class.__name__.startswith(name):
            sizes = {**sizes, "type_vocab_size": 1, "pad_token_id": 1, "eos_token_id": 3, "hidden_act": "relu"}
            return model_class(config_class(**sizes, num_labels=labels)).eval()
    return model_class(BertConfig(**sizes, num_labels=labels)).eval()


@pytest.mark.parametrize("from_folder", [False, True])
@pytest.mark.parametrize("source_class", SOURCES)
def test_answers_stay_the_same(source_class, sizes, tmp_path, from_folder):
    source = make_source(source_class, sizes)
    target_class = next(target for name, target in HEADS.items() if source_class.__name__.endswith(name))
    source.save_pretrained(tmp_path)
    target = target_class.from_backbone(str(tmp_path) if from_folder else source)
    inputs = make_batch()
    del inputs["token_type_ids"]
    if isinstance(source.config, tuple(ROBERTAS.values())):
        inputs["input_ids"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, 1)
    with torch.no_grad():
        one, two = source(**inputs), target(**inputs)
    for name in one:
        if name != "last_hidden_state":
            torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0)  # the project's stated tolerance
        else:
            real = inputs["attention_mask"].bool()
            torch.testing.assert_close(two[name][real], one[name][real], atol=1e-5, rtol=0)
    with torch.no_grad():
        target(**inputs, length_config=[0.8, 0.6, 0.4, 0.2])
    target.save_pretrained(tmp_path / "converted")
    again = target_class.from_pretrained(tmp_path / "converted")
    with torch.no_grad():
        assert torch.equal(again(**inputs)[0], two[0])


def test_question_protection_works_on_roberta_without_token_types(sizes):
    target = DynamicTinyBertForQuestionAnswering.from_backbone(
        make_source(RobertaForQuestionAnswering, sizes), protect_first_segment=True, min_tokens_to_drop=0
    )
    inputs = make_batch((20,))
    del inputs["token_type_ids"]
    assert target(**inputs, length_config=[0.3] * 4).kept_tokens[0, :4].all()


def test_another_head_is_new_and_named(sizes, caplog):
    model = DynamicTinyBertForQuestionAnswering.from_backbone(make_source(BertForSequenceClassification, sizes))
    assert model.config.num_labels == 2
    assert "qa_outputs.weight" in caplog.text
    DynamicTinyBertForQuestionAnswering.from_backbone(make_source(BertForMaskedLM, sizes))


def test_arguments_of_loading_are_used_or_refused(bert, bert_folder):
    for source in (bert, str(bert_folder)):
        made = DynamicTinyBertForQuestionAnswering.from_backbone(
            source, dtype="bfloat16", attn_implementation="eager", device_map="cpu"
        )
        assert {parameter.dtype for parameter in made.parameters()} == {torch.bfloat16}
        assert made.dtype == made.config.dtype == torch.bfloat16
        assert made(**make_batch(), output_attentions=True).attentions is not None
    assert made.config.name_or_path == str(bert_folder)
    assert DynamicTinyBertForQuestionAnswering.from_backbone(bert, dtype=torch.float64).dtype == torch.float64
    for wrong in (
        {"dtype": "int8"},
        {"dtype": "half-float"},
        {"attn_implementation": "nope"},
        {"device_map": {"a": 0, "b": 1}},
    ):
        with pytest.raises(
            ValueError, match=next(iter(wrong.values())) if "attn" in next(iter(wrong)) else next(iter(wrong))
        ):
            DynamicTinyBertForQuestionAnswering.from_backbone(bert, **wrong)


def test_overrides_reach_the_configuration(bert):
    model = DynamicTinyBertForQuestionAnswering.from_backbone(bert, importance="learned", budgets={"a": [0.5] * 4})
    assert model.config.importance == "learned"
    assert model.config.budgets == {"a": [0.5] * 4}


@pytest.mark.parametrize(
    "source_class", [BertForQuestionAnswering, RobertaForQuestionAnswering, DistilBertForQuestionAnswering]
)
@pytest.mark.parametrize("layers", [[1, 3], [0, 1, 2], [2]])
def test_some_layers_are_the_source_without_the_others(source_class, layers, sizes):
    source = make_source(source_class, sizes)
    student = DynamicTinyBertForQuestionAnswering.from_backbone(source, layers=layers)
    blocks = source.base_model.transformer if "Distil" in source_class.__name__ else source.base_model.encoder
    blocks.layer = torch.nn.ModuleList(blocks.layer[layer] for layer in layers)
    inputs = {name: tensor for name, tensor in make_batch((20, 20)).items() if name != "token_type_ids"}
    inputs["input_ids"] += 2  # none is RoBERTa's padding
    with torch.no_grad():
        one, two = source(**inputs), student(**inputs)
    assert student.config.num_hidden_layers == len(layers)
    torch.testing.assert_close(two.start_logits, one.start_logits, atol=1e-5, rtol=0)  # the project's stated tolerance


def test_layers_of_our_own_leave_their_budgets(make_model, tmp_path):
    make_model(importance="learned", budgets={"half": [0.5] * 4}, drop_layers=[0, 3]).save_pretrained(tmp_path)
    student = DynamicTinyBertForQuestionAnswering.from_backbone(str(tmp_path), layers=[0, 3], budgets={"half": [0.7, 0.4]})
    whole = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path)
    assert (student.config.budgets, student.config.drop_layers) == ({"half": [0.7, 0.4]}, None)
    for mine, theirs in ((0, 0), (1, 3)):
        names = dict(student.bert.encoder.layer[mine].named_parameters())
        same = dict(whole.bert.encoder.layer[theirs].named_parameters())
        assert names.keys() == same.keys() and all(torch.equal(names[name], same[name]) for name in names)
    assert torch.equal(student.qa_outputs.weight, whole.qa_outputs.weight)


@pytest.mark.parametrize("layers", [[], [4], [1, 1], [3, 1], [-1]])
def test_layers_that_are_not_there_are_refused(bert, layers):
    with pytest.raises(ValueError, match=r"0 to 3, for example layers=\[1, 3\]"):
        DynamicTinyBertForQuestionAnswering.from_backbone(bert, layers=layers)


def test_unsupported_architectures_are_refused(sizes, tmp_path):
    sizes = {name: value for name, value in sizes.items() if name != "initializer_range"}
    ElectraModel(ElectraConfig(**sizes, embedding_size=32)).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError,
        match="no conversion for this architecture.*'bert', 'roberta', 'xlm-roberta', 'camembert', 'distilbert'",
    ):
        DynamicTinyBertModel.from_backbone(str(tmp_path))
    with pytest.raises(ValueError, match="'electra' checkpoint.*'camembert' and 'distilbert'"):
        DynamicTinyBertModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="decoder"):
        DynamicTinyBertModel.from_backbone(BertModel(BertConfig(**sizes, is_decoder=True)))
