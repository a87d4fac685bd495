"""The identities of the model: full is BERT, nothing but the example counts, and a slow reference agrees."""

import copy
import json

import pytest
import torch
from conftest import IMPORTANCES, LENGTH_CONFIGS, make_batch, randomize_scorers
from reference import reference_states
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import hf_dynbert
from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering, DynamicTinyBertModel, count_macs
from hf_dynbert.budgets.model_budgets import named_budgets
from hf_dynbert.subnetwork import SubNetwork


TOLERANCE = 1e-5  # fp32 on states of order 1: sums in another order differ by a few 1e-7 a layer


def logits(model, inputs, **kwargs):
    with torch.no_grad():
        output = model(**inputs, **kwargs)
    return torch.stack([output.start_logits, output.end_logits], dim=-1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("importance", IMPORTANCES)
def test_all_tokens_kept_is_upstream_bit_for_bit(bert, make_model, batch, importance, attention):
    model = make_model(importance=importance)
    model.set_attn_implementation(attention)
    upstream = copy.deepcopy(bert)
    upstream.set_attn_implementation(attention)
    expected = logits(upstream, batch)
    for length_config in (None, "full", [1.0] * 4, [100] * 4):
        assert torch.equal(logits(model, batch, length_config=length_config), expected), length_config


def test_classification_at_full_length_is_upstream(make_model, classifier_folder, batch):
    upstream = AutoModelForSequenceClassification.from_pretrained(classifier_folder)
    model = make_model("text-classification")
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, upstream(**batch).logits)


# Which tokens are protected: keep_cls, protect_first_segment, protect_first_segment_until
PROTECTED = [(False, False, None), (True, True, 2), (True, False, None), (False, True, None), (True, True, None)]


@pytest.mark.parametrize("protected", PROTECTED, ids=str)
@pytest.mark.parametrize(
    ("importance", "match", "windows", "early"),
    [
        ("all", 0, [0], 2),
        ("question", 0, [0], 0),
        ("cls", 0, [0], 0),
        ("learned", 0, [0], 0),
        ("learned", 8, [0], 0),
        ("learned", 8, [1, 4], 0),
        ("learned", 8, [1, 4], 2),
        ("learned", 0, [0], 4),
    ],
)
def test_reference(bert, make_model, batch, importance, match, windows, early, protected):
    keep_cls, protect, until = protected
    options = {"importance_match": match, "importance_windows": windows, "importance_match_until": until}
    options["early_selection_until"] = early
    options["protect_first_segment_until"] = until
    model = make_model(importance=importance, keep_cls=keep_cls, protect_first_segment=protect, **options)
    scorers = [layer.token_scorer for layer in model.bert.encoder.layer]
    for length_config in LENGTH_CONFIGS[PROTECTED.index(protected) % 2 :: 2]:
        with torch.no_grad():
            wanted, kept = reference_states(
                bert.bert, scorers, batch, length_config, importance, keep_cls, protect, until, early
            )
            output = model.bert(**batch, length_config=length_config)
        for row, (states, alive) in enumerate(zip(wanted, kept, strict=True)):
            torch.testing.assert_close(output.last_hidden_state[row, : len(states)], states, atol=TOLERANCE, rtol=0)
            if output.kept_tokens is not None:
                assert output.kept_tokens[row].nonzero().flatten().tolist() == alive


@pytest.mark.parametrize(("importance", "early"), [*((name, 0) for name in IMPORTANCES), ("learned", 2)])
def test_padding_batch_mates_and_order_change_nothing(make_model, importance, early):
    model = make_model(importance=importance, early_selection_until=early, protect_first_segment=True)
    lengths, order = (24, 11, 40, 5), [2, 0, 3, 1]
    batch = make_batch(lengths)
    padded = {name: torch.nn.functional.pad(tensor, (0, 23)) for name, tensor in batch.items()}
    shuffled = {name: tensor[order] for name, tensor in batch.items()}
    for length_config in LENGTH_CONFIGS:
        together, with_padding, in_order = (
            logits(model, inputs, length_config=length_config) for inputs in (batch, padded, shuffled)
        )
        for row, n in enumerate(lengths):
            alone = {name: tensor[row : row + 1, :n] for name, tensor in batch.items()}
            alone = logits(model, alone, length_config=length_config)[0]
            for found in (together[row, :n], with_padding[row, :n], in_order[order.index(row), :n]):
                torch.testing.assert_close(found, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_content_of_padding_changes_nothing(make_model, batch, importance):
    model = make_model(importance=importance)
    dirty = {**batch, "input_ids": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 55)}
    one, two = (logits(model, inputs, length_config=[0.6, 0.5, 0.4, 0.3]) for inputs in (batch, dirty))
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(one[real], two[real], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("importance", "early"), [*((name, 0) for name in IMPORTANCES), ("learned", 2)])
def test_padding_on_the_left(make_model, importance, early):
    model = make_model(importance=importance, early_selection_until=early)
    inputs = make_batch((17,))
    positions = torch.arange(17)[None]
    left = {name: torch.nn.functional.pad(tensor, (6, 0)) for name, tensor in inputs.items()}
    left["position_ids"] = torch.nn.functional.pad(positions, (6, 0))
    one = logits(model, inputs, length_config=[0.8, 0.6, 0.4, 0.2])
    two = logits(model, left, length_config=[0.8, 0.6, 0.4, 0.2])
    torch.testing.assert_close(two[:, 6:], one, atol=TOLERANCE, rtol=0)


def test_question_ends_at_the_separator_without_token_types(make_model, batch):
    model = make_model(importance="question", protect_first_segment=True, sep_token_id=3)
    config = {"length_config": [0.7, 0.5, 0.4, 0.3]}
    without = {name: tensor for name, tensor in batch.items() if name != "token_type_ids"}
    embedding = model.bert.embeddings.token_type_embeddings.weight
    with torch.no_grad():
        embedding[1] = embedding[0]  # types then only tell the segments apart
    torch.testing.assert_close(logits(model, batch, **config), logits(model, without, **config), atol=TOLERANCE, rtol=0)


def test_kept_tokens_follow_the_budget_and_hold_cls_and_question(make_model, batch):
    model = make_model(importance="learned", protect_first_segment=True)
    kept = model(**batch, length_config=[0.5, 0.5, 0.4, 0.4]).kept_tokens
    assert kept.sum(dim=1).tolist() == [10, 5, 16, 2]
    assert kept[:3, :4].all()  # CLS, question and separator


@pytest.mark.parametrize("early", [0, 1, 4])
def test_operations_that_run_are_those_that_are_counted(make_model, early):
    model = make_model(importance="learned", importance_match=0, early_selection_until=early)
    model.set_attn_implementation("eager")
    config, length, length_config = model.config, 40, [0.5, 0.5, 0.3, 0.1]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.bert(**make_batch((length,)), length_config=length_config)
    entering, leaving = [40, 20, 20, 12], [20, 20, 12, 4]
    scorers = sum(before for before, after in zip(entering, leaving, strict=True) if after < before)
    norms = length + sum((after if layer < early else entering[layer]) + after for layer, after in enumerate(leaving))
    counted = counter.get_total_flops() // 2 + (norms - scorers) * config.hidden_size
    assert counted == count_macs(config, length_config, length)


def test_who_chooses_early_is_the_same_to_those_that_stay(make_model, batch):
    """Where importance is the same before attention and after it, so are all answers."""
    early, late = (make_model(importance="learned", importance_match=0, early_selection_until=n) for n in (4, 0))
    for model in (early, late):
        for layer in model.bert.encoder.layer:
            torch.nn.init.zeros_(layer.token_scorer.unit.weight)  # ties go by place
    for length_config in LENGTH_CONFIGS:
        one, two = (logits(model, batch, length_config=length_config) for model in (early, late))
        torch.testing.assert_close(one, two, atol=TOLERANCE, rtol=0)


def test_masks_of_another_kind_let_all_ask(make_model, batch, monkeypatch):
    """Flash attention has one mask for those that ask and those that are asked."""
    model = make_model(importance="learned", early_selection_until=4)
    wanted = logits(model, batch, length_config=LENGTH_CONFIGS[0])
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flat", flat_mask_attention)
    masks = ALL_MASK_ATTENTION_FUNCTIONS._global_mapping  # an entry of the instance alone gets no mask
    monkeypatch.setitem(masks, "flat", masks["flash_attention_2"])
    model.set_attn_implementation("flat")
    torch.testing.assert_close(logits(model, batch, length_config=LENGTH_CONFIGS[0]), wanted, atol=TOLERANCE, rtol=0)


def flat_mask_attention(module, query, key, value, attention_mask, scaling, **kwargs):
    """As flash attention: a mask `(batch, length)` of zeros and ones, or none."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        assert attention_mask.dim() == 2 and query.shape[2] == key.shape[2]
        scores = scores.masked_fill(~attention_mask[:, None, None, :].bool(), torch.finfo(scores.dtype).min)
    return (scores.softmax(dim=-1) @ value).transpose(1, 2), None


def test_restored_logits_and_masked_logits(make_model, batch):
    restored, masked = (make_model(importance="cls", dropped_logits=how) for how in ("restore", "mask"))
    one, two = (model(**batch, length_config=[0.5] * 4) for model in (restored, masked))
    kept = one.kept_tokens
    assert torch.equal(one.start_logits[kept], two.start_logits[kept])
    assert (two.start_logits[~kept] == torch.finfo(torch.float32).min).all()
    assert (one.start_logits[~kept] > -100).all()


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_gradients_flow_and_checkpointing_changes_none(make_model, batch, importance):
    gradients = []
    for checkpointing in (False, True):
        model = make_model(importance=importance, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        spans = torch.tensor([5, 6, 7, 4])
        loss = model(**batch, length_config=[0.8, 0.6, 0.4, 0.2], start_positions=spans, end_positions=spans).loss
        loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if "token_scorer" not in name})
    assert all(gradient.abs().sum() > 0 for name, gradient in gradients[0].items() if "key.bias" not in name)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=TOLERANCE, rtol=0)


def test_hidden_states_are_restored_at_every_layer(bert, make_model, batch):
    model = make_model(importance="all")
    output = model(**batch, length_config=[0.5] * 4, output_hidden_states=True)
    assert [tuple(state.shape) for state in output.hidden_states] == [(4, 40, 32)] * 5
    full = bert(**batch, output_hidden_states=True)
    dropped = ~output.kept_tokens & batch["attention_mask"].bool()
    for states in output.hidden_states:  # all drops happen in the first layer: the dropped keep their embeddings
        torch.testing.assert_close(states[dropped], full.hidden_states[0][dropped])
    full, plain = model(**batch, output_hidden_states=True), full
    for one, two in zip(full.hidden_states, plain.hidden_states, strict=True):
        assert torch.equal(one, two)


def test_attentions_have_the_shape_of_the_tokens_still_there(make_model):
    model = make_model(importance="cls")
    model.set_attn_implementation("eager")
    inputs = make_batch((20,))
    attentions = model(**inputs, length_config=[1.0, 0.5, 0.5, 0.2], output_attentions=True).attentions
    assert [tuple(attention.shape) for attention in attentions] == [(1, 4, n, n) for n in (20, 20, 10, 10)]
    torch.testing.assert_close(attentions[2].sum(-1), torch.ones(1, 4, 10))
    early = make_model(importance="learned", early_selection_until=2)
    early.set_attn_implementation("eager")
    attentions = early(**inputs, length_config=[0.8, 0.5, 0.5, 0.2], output_attentions=True).attentions
    shapes = [(16, 20), (10, 16), (10, 10), (10, 10)]  # who asks, and who is asked
    assert [tuple(attention.shape) for attention in attentions] == [(1, 4, *shape) for shape in shapes]


def test_inputs_embeds(make_model, batch):
    model = make_model(importance="learned")
    embeds = model.get_input_embeddings()(batch["input_ids"])
    rest = {name: tensor for name, tensor in batch.items() if name != "input_ids"}
    config = {"length_config": [0.8, 0.6, 0.4, 0.2]}
    assert torch.equal(logits(model, {**rest, "inputs_embeds": embeds}, **config), logits(model, batch, **config))


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_bf16(make_model, batch, importance):
    model = make_model(importance=importance)
    wanted = logits(model, batch, length_config=[9, 9, 9, 9])
    output = logits(model.bfloat16(), batch, length_config=[9, 9, 9, 9])
    assert output.dtype == torch.bfloat16
    kept = model(**batch, length_config=[9, 9, 9, 9]).kept_tokens
    assert kept.sum(dim=1).tolist() == [9, 9, 9, 5]
    assert (output.float() - wanted).abs().median() < 0.1  # 8 bits of mantissa on logits of order 1


@pytest.mark.slow
@pytest.mark.parametrize(("importance", "early"), [("all", 0), ("learned", 0), ("learned", 2)])
def test_torch_compile(make_model, batch, importance, early):
    model = make_model(importance=importance, early_selection_until=early, protect_first_segment=True)
    compiled = torch.compile(model)
    for length_config in ([0.8, 0.6, 0.4, 0.2], [20, 12, 12, 3]):
        one, two = (logits(m, batch, length_config=length_config) for m in (compiled, model))
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(one[real], two[real], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_save_and_load_are_bit_equal(make_model, batch, tmp_path, importance):
    budgets = {"half": [1.0, 0.5, 0.5, 0.3], "tokens": [20, 10, 5, 3]}
    model = make_model(importance=importance, budgets=budgets, length_config=[0.9, 0.8, 0.7, 0.6])
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert type(again) is DynamicTinyBertForQuestionAnswering
    assert again.config.budgets == budgets
    assert all(type(entry) is int for entry in again.config.budgets["tokens"])
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    for length_config in (None, "half", "tokens", "full"):
        one, two = (logits(m, batch, length_config=length_config) for m in (model, again))
        assert torch.equal(one, two)
    assert not torch.equal(logits(again, batch), logits(again, batch, length_config="full"))


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_batch_mates_change_nothing_where_a_mask_has_gaps(make_model, importance):
    """A gap closes at the first layer that may drop, whether a batch mate loses tokens there or not."""
    model = make_model(importance=importance, importance_windows=[0, 1, 3])
    batch = make_batch((30, 30), width=30)
    batch["attention_mask"][0, 8:12] = 0
    batch["attention_mask"][0, 20] = 0
    alone = {name: tensor[:1] for name, tensor in batch.items()}
    for length_config in ([26, 25, 12, 8], [30, 25, 10, 9], [0.9, 0.9, 0.5, 0.3]):  # the first two drop in the mate only
        together, one = model(**batch, budget=length_config), model(**alone, budget=length_config)
        assert torch.equal(together.kept_tokens[0], one.kept_tokens[0])
        real = alone["attention_mask"][0].bool()
        torch.testing.assert_close(together.start_logits[0][real], one.start_logits[0][real], atol=TOLERANCE, rtol=0)
    model.config.drop_layers = [0]
    budget = {"layers": [1, 2], "length_config": [0.5] * 4}  # no layer that runs may drop
    assert torch.equal(logits(model, batch, budget=budget), logits(model, batch, budget={"layers": [1, 2]}))


def test_no_layer_is_made_to_be_thrown_away(bert, sizes, monkeypatch):
    made, make = [], torch.nn.Linear.__init__

    def count(self, *args, **kwargs):
        made.append(self)
        make(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Linear, "__init__", count)
    for model_class in (
        DynamicTinyBertModel,
        DynamicTinyBertForQuestionAnswering,
        hf_dynbert.DynamicTinyBertForSequenceClassification,
    ):
        made.clear()
        model = model_class(DynamicTinyBertConfig(**sizes))
        assert len(made) == sum(isinstance(module, torch.nn.Linear) for module in model.modules())


@pytest.mark.parametrize("model_class", [DynamicTinyBertModel, DynamicTinyBertForQuestionAnswering])
def test_gradient_checkpointing_of_the_configuration_is_used(sizes, model_class):
    config = DynamicTinyBertConfig(**sizes)
    assert not model_class(config).is_gradient_checkpointing
    config.gradient_checkpointing = True
    model = model_class(config)
    layers = model.base_model.encoder.layer
    assert model.is_gradient_checkpointing and all(layer.gradient_checkpointing for layer in layers)


def test_a_call_leaves_nothing_on_the_model(make_model, batch):
    model = make_model(importance="learned")
    before = logits(model, batch)
    logits(model, batch, length_config=[0.5, 0.4, 0.3, 0.2])
    assert torch.equal(logits(model, batch), before)
    assert model.config.length_config is None


def test_layers_left_out(make_model, bert, batch):
    model = make_model(importance="cls")
    short = copy.deepcopy(bert)
    short.bert.encoder.layer = torch.nn.ModuleList([bert.bert.encoder.layer[0], bert.bert.encoder.layer[2]])
    assert torch.equal(logits(model, batch, budget={"layers": [0, 2]}), logits(short, batch))
    kept = model(**batch, budget={"layers": [0, 2], "length_config": [0.9, 0.5, 0.5, 0.2]}).kept_tokens
    assert kept.sum(dim=1).tolist() == [12, 6, 20, 3]  # layer 1 is left out: its drop happens in layer 2


@pytest.mark.parametrize("early", [0, 1])
def test_token_scores_are_full_length_and_absent_where_tokens_are(make_model, batch, early):
    model = make_model(importance="learned", early_selection_until=early)
    output = model(**batch, length_config=[0.5] * 4, output_token_scores=True)
    whole = model(**batch, output_token_scores=True).token_scores[0]  # of the first layer: who goes there changes none
    torch.testing.assert_close(output.token_scores[0], whole, atol=TOLERANCE, rtol=0)
    real, finite = batch["attention_mask"].bool(), [torch.isfinite(scores) for scores in output.token_scores]
    assert torch.equal(finite[0], real)
    assert all(torch.equal(mask, output.kept_tokens) for mask in finite[1:])
    with pytest.raises(ValueError, match="needs learned importance"):
        make_model(importance="all")(**batch, output_token_scores=True)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_a_model_that_drops_in_few_layers(make_model, batch, importance, tmp_path):
    length_config, narrow_config = [0.6, 0.6, 0.3, 0.3], {"importance": importance, "drop_layers": [0, 2]}
    every = make_model(importance=importance)
    every.save_pretrained(tmp_path / "every")
    narrow = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "every", **narrow_config).eval()
    narrow.save_pretrained(tmp_path / "narrow")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "narrow")
    assert again.config.drop_layers == [0, 2]
    scorers = {int(name.split(".layer.")[1][0]) for name in again.state_dict() if "token_scorer" in name}
    assert scorers == ({0, 2} if importance == "learned" else set())
    for layers in (None, [1, 2, 3], [0, 3]):
        budget = {"length_config": length_config, "layers": layers}
        assert torch.equal(logits(again, batch, budget=budget), logits(narrow, batch, budget=budget))
    assert torch.equal(logits(narrow, batch, length_config=length_config), logits(every, batch, length_config=length_config))
    with pytest.raises(ValueError, match="drops in layers 1, 3 only"):
        narrow(**batch, length_config=[0.6, 0.5, 0.3, 0.3])
    if importance == "learned":
        assert len(narrow(**batch, output_token_scores=True).token_scores) == 2


@pytest.mark.parametrize("task", ["question-answering", "text-classification", "encoder"])
def test_arguments_of_a_call_are_used_or_refused(make_model, batch, task):
    budgets = {"fast": [0.9, 0.5, 0.5, 0.3]}
    encoder = task == "encoder"
    model = make_model("text-classification" if encoder else task, importance="cls", budgets=budgets)
    model = model.bert if encoder else model

    def kept(**arguments):
        return model(**batch, **arguments).kept_tokens

    wanted = kept(length_config=[0.9, 0.5, 0.5, 0.3])
    for arguments in (
        {"budget": "fast"},
        {"length_config": "fast"},
        {"budget": [0.9, 0.5, 0.5, 0.3]},
        {"budget": {"length_config": (0.9, 0.5, 0.5, 0.3)}},
        {"budget": SubNetwork([0.9, 0.5, 0.5, 0.3])},
    ):
        assert torch.equal(kept(**arguments), wanted)
    for name, nearest in (("length_cfg", "length_config"), ("lenght_config", "length_config"), ("budgets", "budget")):
        with pytest.raises(TypeError, match=f"'{name}' is no argument of this call. Did you mean '{nearest}'"):
            kept(**{name: "fast"})
    for name in ("layer_config", "encoder_hidden_states", "anything"):
        with pytest.raises(TypeError, match=f"'{name}' is no argument of this call.* Valid are .*budget"):
            kept(**{name: [0]})
    with pytest.raises(ValueError, match="a call takes one of them"):
        kept(budget="fast", length_config="fast")
    with pytest.raises(ValueError, match="budget=.* takes this value"):
        kept(length_config={"layers": [0]})
    output = model(**batch, output_hidden_states=True, num_items_in_batch=torch.tensor(4), return_dict=False)
    assert isinstance(output, tuple)
    model.set_attn_implementation("eager")
    assert len(model(**batch, output_attentions=True).attentions) == 4


def test_drops_in_other_layers_are_refused(sizes):
    with pytest.raises(ValueError, match=r'budgets\["fast"\]: length_config drops in layer 2'):
        DynamicTinyBertConfig(**sizes, drop_layers=[0], budgets={"fast": [0.9, 0.5, 0.5, 0.5]})


def test_set_importance_adds_and_removes_scorers(bert_folder, batch, tmp_path):
    model = DynamicTinyBertForQuestionAnswering.from_pretrained(bert_folder)
    assert model.config.importance == "all"
    model.set_importance("learned")
    assert all(layer.token_scorer is not None for layer in model.bert.encoder.layer)
    randomize_scorers(model).eval().save_pretrained(tmp_path)
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert torch.equal(logits(model, batch, length_config=[0.5] * 4), logits(again, batch, length_config=[0.5] * 4))
    model.set_importance("cls")
    assert not any("token_scorer" in name for name, _ in model.named_parameters())
    with pytest.raises(ValueError, match="'all', 'question', 'cls', 'learned'"):
        model.set_importance("attention")


def test_auto_classes(sizes):
    config = AutoConfig.for_model("dynamic_tinybert", **sizes)
    assert type(config) is DynamicTinyBertConfig
    assert type(AutoModel.from_config(config)) is DynamicTinyBertModel
    assert type(AutoModelForQuestionAnswering.from_config(config)) is DynamicTinyBertForQuestionAnswering
    assert (
        type(AutoModelForSequenceClassification.from_config(config)) is hf_dynbert.DynamicTinyBertForSequenceClassification
    )


def test_plain_bert_takes_every_weight_without_a_warning(bert_folder, caplog):
    _, info = DynamicTinyBertForQuestionAnswering.from_pretrained(bert_folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


NAN = float("nan")
IMPOSSIBLE = {
    "length_config": {
        "3 entries, the model has 4 layers": [0.5] * 3,
        "increases": [0.2, 0.3, 0.3, 0.3],
        "out of range": [[1.0, NAN, 0.5, 0.5], [2**31, 9, 9, 9], [2**63] * 4, [0, 0, 0, 0], [1.1, 1.0, 1.0, 1.0]],
        "length_config is": [True] * 4,
        "no budget": "half",
    },
    "budgets": {
        r'budgets\["fast"\].*1 entries': {"fast": [0.5]},
        r'budgets\["fast"\].*out of range': [
            {"fast": [1.0, 0.5, NAN, 0.5]},
            {"fast": {"length_config": [2.0] * 4, "f1": 1}},
        ],
        r'budgets\["fast"\].*increasing indices': [{"fast": {"layers": [3, 1]}}, {"fast": {"layers": []}}],
        r'budgets\["fast"\].*needs at least one of': {"fast": {"f1": 80.0}},
        "always keeps all tokens": [{"full": [0.5] * 4}, {"full": {"layers": [0]}}, {"full": {"layers": []}}, {"full": 1}],
        "budgets is": [[0.5], "half", {3: [0.5] * 4}],
    },
    "importance": {"importance is": ["attention", "", None, ["all"]]},
    "dropped_logits": {"'restore', 'mask'": "zero"},
    "pooler_act": {"'tanh'": "nope"},
    "hidden_act": {"'gelu'": "nope"},
    "drop_layers": {"valid are lists of layers from 0 to 3|drop_layers is": [[], [4], [-1], [0, 9], [True], [0.0], "ab", 0]},
    "importance_windows": {"lists of integers from 0|importance_windows is": [[], [4, -1], [2**63], [NAN], [True], 4]},
    "keep_cls": {"keep_cls is": ["yes", 1, None]},
    "protect_first_segment": {"protect_first_segment is": "no"},
    **{
        name: {f"{name} is": [-1, 2**31, 2**63, True, NAN, 1.5, "4"]}
        for name in (
            "importance_match",
            "importance_match_until",
            "early_selection_until",
            "protect_first_segment_until",
            "min_tokens_to_drop",
            "sep_token_id",
            "position_ids_start",
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "max_position_embeddings",
            "intermediate_size",
        )
    },
    **{
        name: {f"{name} is": [-0.1, NAN, float("inf"), "0.1"]}
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "layer_norm_eps")
    },
}


def impossible_values():
    for name, cases in IMPOSSIBLE.items():
        for message, values in cases.items():
            several = isinstance(values, list) and name not in ("length_config",) or message == "out of range"
            for value in values if several else [values]:
                yield name, value, message


def paths(folder, sizes, bert):
    """All ways to set a field, each a function of the field's name and value."""
    config = DynamicTinyBertConfig(**sizes)
    saved = config.to_dict()
    return {
        "constructor": lambda name, value: DynamicTinyBertConfig(**{**sizes, name: value}),
        "from_dict": lambda name, value: DynamicTinyBertConfig.from_dict({**saved, name: value}),
        "from_dict override": lambda name, value: DynamicTinyBertConfig.from_dict(saved, **{name: value}),
        "assignment": lambda name, value: setattr(config, name, value),
        "update": lambda name, value: config.update({name: value}),
        "config.from_pretrained": lambda name, value: DynamicTinyBertConfig.from_pretrained(folder, **{name: value}),
        "model.from_pretrained": lambda name, value: DynamicTinyBertModel.from_pretrained(folder, **{name: value}),
        "from_backbone": lambda name, value: DynamicTinyBertModel.from_backbone(bert, **{name: value}),
        "AutoConfig": lambda name, value: AutoConfig.for_model("dynamic_tinybert", **{**sizes, name: value}),
    }, config


def test_impossible_values_are_refused_on_every_path(bert, bert_folder, sizes):
    setters, config = paths(bert_folder, sizes, bert)
    before = config.to_dict()
    for name, value, message in impossible_values():
        for path, set_value in setters.items():
            with pytest.raises(ValueError, match=message):
                set_value(name, value)
                pytest.fail(f"{path} takes {name}={value!r}")
            assert config.to_dict() == before, (path, name, value)


@pytest.mark.parametrize("name", ["a b", "", "x" * 65, "<b>", "a/b"])
def test_names_of_budgets_are_checked_when_a_budget_is_added(bert, bert_folder, sizes, batch, tmp_path, name):
    setters, config = paths(bert_folder, sizes, bert)
    del setters["from_dict"]  # a file that version 0.1 saved
    for set_value in setters.values():
        with pytest.raises(ValueError, match="has the name"):
            set_value("budgets", {name: [0.5] * 4})
    model = DynamicTinyBertForQuestionAnswering(DynamicTinyBertConfig(**sizes, budgets={"half": [0.5] * 4}))
    model.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"half"', json.dumps(name)))
    again = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path)
    assert torch.equal(logits(again, batch, budget=name), logits(model.eval(), batch, budget="half"))
    again.config.budgets = again.config.budgets | {"quick": [0.4] * 4}
    again.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).budgets.keys() == {name, "quick"}
    with pytest.raises(ValueError, match="has the name 'c d'"):
        again.config.budgets = again.config.budgets | {"c d": [0.4] * 4}


def test_what_was_changed_in_place_is_refused_before_it_is_saved_or_built(sizes, tmp_path):
    config = DynamicTinyBertConfig(**sizes, budgets={"half": [0.5] * 4})
    config.budgets["half"][1] = 0.9
    with pytest.raises(ValueError, match=r'budgets\["half"\].*increases'):
        config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r'budgets\["half"\].*increases'):
        DynamicTinyBertModel(config)


def test_fields_that_fit_only_together_are_set_together(bert_folder, sizes):
    changes = {"budgets": {"half": [0.9, 0.5]}, "drop_layers": [1, 0], "num_hidden_layers": 2, "length_config": "half"}
    config = DynamicTinyBertConfig(**sizes, budgets={"other": [0.5] * 4})
    config.update(changes)
    loaded = DynamicTinyBertConfig.from_pretrained(bert_folder, **changes)
    for made in (config, loaded):
        assert made.resolve_budget() == made.resolve_budget("half") == SubNetwork([0.9, 0.5])


def test_a_persons_own_budget_keeps_its_name(sizes):
    measured = {"length_config": [0.5] * 4, "f1": 80.0, "macs": 1e6}
    budgets = {"front-desk": measured, "front-1": measured, "front-2": [0.4] * 4, "frontier": [0.3] * 4}
    config = DynamicTinyBertConfig(**sizes, budgets=budgets)
    assert named_budgets(config) == ["full", "front-desk", "front-2", "frontier"]
    assert config.resolve_budget("front-1") == SubNetwork([0.5] * 4)


@pytest.mark.parametrize("task", ["question-answering", "text-classification"])
def test_short_examples_keep_their_tokens(make_model, batch, task, tmp_path):
    """A rule of the example alone: neither padding nor batch mates change it, and files without the field do not have it."""
    model = make_model(task, importance="cls", min_tokens_to_drop=24)
    lengths = batch["attention_mask"].sum(dim=1)
    output = model(**batch, budget=[0.5] * 4)
    assert output.kept_tokens.sum(dim=1).tolist() == [12, 11, 20, 5] and lengths.tolist() == [24, 11, 40, 5]
    for index, length in enumerate(lengths.tolist()):
        alone = {name: tensor[index : index + 1, :length] for name, tensor in batch.items()}
        kept = model(**alone, budget=[0.5] * 4).kept_tokens
        assert (length if kept is None else int(kept.sum())) == int(output.kept_tokens[index].sum())
    for length in (11, 23, 24, 40):
        kept = length if length < 24 else length / 2
        assert count_macs(model.config, [0.5] * 4, length) < count_macs(model.config, None, length) or kept == length
    assert count_macs(model.config, [0.5] * 4, 23) == count_macs(model.config, None, 23)
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).config.min_tokens_to_drop == 24
    file = tmp_path / "config.json"
    values = json.loads(file.read_text())
    del values["min_tokens_to_drop"]
    file.write_text(json.dumps(values))
    assert type(model).from_pretrained(tmp_path).config.min_tokens_to_drop == 0
    assert AutoConfig.from_pretrained(tmp_path).min_tokens_to_drop == 0


def test_in_training_short_examples_lose_tokens_too(make_model, batch):
    """A search may lower `min_tokens_to_drop` after the training."""
    model = make_model("text-classification", importance="cls", min_tokens_to_drop=128, attention_probs_dropout_prob=0.0)
    assert model(**batch, budget=[0.5] * 4).kept_tokens is None
    assert model.train()(**batch, budget=[0.5] * 4).kept_tokens.sum(dim=1).tolist() == [12, 6, 20, 3]


def test_a_new_configuration_drops_in_long_inputs_only(bert, bert_folder, sizes):
    made = [
        DynamicTinyBertConfig(**sizes),
        DynamicTinyBertModel.from_pretrained(bert_folder).config,
        DynamicTinyBertModel.from_backbone(bert).config,
    ]
    assert {config.min_tokens_to_drop for config in made} == {128}
    with pytest.raises(ValueError, match="min_tokens_to_drop is None"):
        made[0].min_tokens_to_drop = None


def test_bad_calls_are_refused(make_model, batch):
    model = make_model(budgets={"fast": [0.5] * 4, "balanced": [0.8] * 4})
    with pytest.raises(ValueError, match="valid are full, fast, balanced. Did you mean 'fast'"):
        model(**batch, length_config="fats")
    with pytest.raises(ValueError, match="5 entries"):
        model(**batch, length_config=[0.5] * 5)
    with pytest.raises(ValueError, match="exactly one of"):
        model()
    four_d = batch["attention_mask"].bool()[:, None, None, :].expand(-1, 1, 40, 40)
    with pytest.raises(ValueError, match=r"shape \(batch, length\)"):
        model(**{**batch, "attention_mask": four_d}, length_config="fast")


def test_a_head_that_does_not_fit_is_refused(sizes):
    with pytest.raises(ValueError, match="num_labels=2"):
        DynamicTinyBertForQuestionAnswering(DynamicTinyBertConfig(**sizes, num_labels=3))
