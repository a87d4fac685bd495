"""What a student learns from a teacher's layers: seen right, on the same tokens, summed right, and resumed."""

import copy
import json

import pytest
import torch
from conftest import make_batch
from datasets import Dataset, concatenate_datasets
from tokenizers import processors
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    MPNetConfig,
    MPNetForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
    TrainerCallback,
)

from hf_dynbert import (
    DistillationArguments,
    DistillationCollator,
    DistillationTrainer,
    DynamicTinyBertForQuestionAnswering,
    teacher_inputs,
    training_features,
)
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.training.batches import PLACES
from hf_dynbert.training.layers import LayerOutputs, capture_attention, layer_map
from hf_dynbert.training.trainer import EXTRA_STATE


WINDOWS = {"max_length": 120, "stride": 8}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ALL = {"hidden_weight": 1.0, "embedding_weight": 0.5, "attention_weight": 2.0, "relation_weight": 3.0}
DISTIL = {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 140}


@pytest.fixture(scope="module")
def mpnet_tokenizer(tokenizer, tmp_path_factory):
    """The same words in another order, between other special tokens."""
    words = sorted(tokenizer.get_vocab(), reverse=True)
    names = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>"}
    vocabulary = tmp_path_factory.mktemp("mpnet") / "vocab.txt"
    vocabulary.write_text("\n".join(["<pad>", "<s>", "</s>", *(w for w in words if w not in names)]))
    special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "model_max_length": 128}
    other = BertTokenizerFast(vocab=str(vocabulary), **special)
    other.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    other.model_input_names = ["input_ids", "attention_mask"]
    return other


@pytest.fixture
def mpnet(sizes, mpnet_tokenizer):
    torch.manual_seed(1)
    wide = {"hidden_size": 48, "num_hidden_layers": 8, "vocab_size": len(mpnet_tokenizer), "max_position_embeddings": 140}
    return MPNetForQuestionAnswering(MPNetConfig(**sizes | wide, pad_token_id=0)).eval()


@pytest.fixture
def bert_teacher(sizes):
    torch.manual_seed(2)
    return BertForQuestionAnswering(BertConfig(**sizes)).eval()


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "mpnet", "dynamic"])
def test_scores_give_the_models_own_attention(kind, sizes, bert_folder):
    torch.manual_seed(0)
    options = {"attn_implementation": "eager"}
    roomy = {**sizes, "max_position_embeddings": 140}
    model = {
        "bert": lambda: BertForQuestionAnswering(BertConfig(**sizes, **options)),
        "roberta": lambda: RobertaForQuestionAnswering(RobertaConfig(**roomy, **options)),
        "distilbert": lambda: DistilBertForQuestionAnswering(
            DistilBertConfig(**DISTIL, vocab_size=sizes["vocab_size"], **options)
        ),
        "mpnet": lambda: MPNetForQuestionAnswering(MPNetConfig(**roomy, **options)),
        "dynamic": lambda: DynamicTinyBertForQuestionAnswering.from_pretrained(bert_folder, **options),
    }[kind]().eval()
    batch = make_batch((20, 9))
    batch["input_ids"] = batch["input_ids"].clamp(min=3)
    if kind in ("distilbert", "mpnet", "roberta"):
        del batch["token_type_ids"]
    with torch.no_grad(), capture_attention(model, [1, 3]) as attention:
        attentions = model(**batch, output_attentions=True).attentions
    outputs = LayerOutputs((), attention, heads=4)
    real = batch["attention_mask"].bool()
    for layer in (1, 3):
        found = outputs.scores(layer).masked_fill(~real[:, None, None], -torch.inf).softmax(-1)
        for row in range(2):  # queries of padding do not count
            # 1e-5: the same sums in another order
            torch.testing.assert_close(found[row, :, real[row]], attentions[layer - 1][row, :, real[row]], atol=1e-5, rtol=0)
    before = outputs.scores(1)
    with torch.no_grad():
        model(**make_batch((7,)) if "token_type_ids" in batch else {"input_ids": torch.ones(1, 7, dtype=torch.long)})
    assert torch.equal(outputs.scores(1), before)  # calls behind the block are not captured
    positions = torch.tensor([[2, 0, 1], [3, 1, 0]])
    taken, scores = LayerOutputs((), attention, 4, positions).scores(3), outputs.scores(3)
    wanted = torch.stack([scores[row][:, positions[row]][:, :, positions[row]] for row in range(2)])
    torch.testing.assert_close(taken, wanted)


def test_a_model_without_such_layers_is_refused():
    model = torch.nn.Linear(2, 2)
    model.config = BertConfig(num_hidden_layers=3)
    with pytest.raises(ValueError, match="has no list of 3 layers"), capture_attention(model, [1]):
        pass


@pytest.mark.parametrize(
    ("how", "student", "teacher", "wanted"),
    [
        (["uniform"], 6, 12, [2, 4, 6, 8, 10, 12]),
        (["uniform"], 2, 2, [1, 2]),
        (["last"], 3, 12, [10, 11, 12]),
        (["1", "1", "12"], 3, 12, [1, 1, 12]),
        (["uniform"], 5, 12, None),
        (["last"], 6, 3, None),
        (["first"], 3, 6, None),
        ([1, 2], 3, 6, None),
        ([0, 2, 4], 3, 6, None),
        ([2, 1, 4], 3, 6, None),
        ([2, 4, 7], 3, 6, None),
        (["uniform", "last"], 3, 6, None),
    ],
)
def test_layer_maps(how, student, teacher, wanted):
    if wanted:
        assert layer_map(how, student, teacher) == wanted
    else:
        with pytest.raises(ValueError, match=f"the student has {student} layers, the teacher {teacher}. Valid are uniform"):
            layer_map(how, student, teacher)


def test_the_same_words_in_another_tokenizer(tokenizer, mpnet_tokenizer):
    context = "Dan xyzzy wrote the light-house in 1907 … ☃ at night. " * 3
    questions = Dataset.from_dict(
        {"id": ["a", "b"], "question": ["who wrote the light?", "ada"], "context": [context, "ben"]}
        | {"answers": [{"text": ["Dan"], "answer_start": [0]}, {"text": ["ben"], "answer_start": [0]}]}
    )
    windows = {"max_length": 60, "stride": 8, "max_question_length": 16}
    student = training_features(questions, tokenizer, **windows)
    teacher = teacher_inputs(mpnet_tokenizer, tokenizer, questions, **windows)
    assert len(student) == len(teacher) > 2
    special = {"[CLS]": "<s>", "[SEP]": "</s>"}
    for ids, row in zip(student["input_ids"], teacher, strict=True):
        tokens = tokenizer.convert_ids_to_tokens(ids)
        teacher_tokens = mpnet_tokenizer.convert_ids_to_tokens(row["teacher_input_ids"])
        assert [teacher_tokens[place] for place in row["teacher_places"]] == [special.get(token, token) for token in tokens]
        assert row["teacher_places"] == sorted(set(row["teacher_places"]))


def trainer_for(model, features, tokenizer, folder, teacher=None, **options):
    quiet = {"use_cpu": True, "report_to": [], "logging_steps": 1, "disable_tqdm": True, "length_drop": False}
    args = DistillationArguments(str(folder), **quiet | {"save_strategy": "no"} | options)
    collator = DistillationCollator(tokenizer)
    return DistillationTrainer(
        model, args, teacher=teacher, train_dataset=features, data_collator=collator, processing_class=tokenizer
    )


def test_a_copy_has_nothing_to_learn(bert_teacher, questions, tokenizer, tmp_path):
    bert_teacher.save_pretrained(tmp_path / "teacher")
    student = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "teacher", **STILL)
    features = training_features(questions, tokenizer, **WINDOWS)
    trainer = trainer_for(student, features, tokenizer, tmp_path, bert_teacher, hard_label_weight=0.0, **ALL)
    batch = trainer.data_collator([features[index] for index in range(3)])
    batch.pop("length")
    assert trainer.compute_loss(student.train(), batch).item() == pytest.approx(0, abs=1e-6)  # 1e-6: fp32's rounding
    assert not trainer.objective.extra_state()  # one width: no projection


def by_hand(student, teacher, batch, places, projection):
    """TinyBERT's terms from the models' own outputs, example by example."""
    parts = dict.fromkeys(("embedding", "hidden"), 0.0)
    mine = student(**{k: v for k, v in batch.items() if not k.startswith("teacher_")}, output_hidden_states=True)
    theirs = teacher(batch["teacher_input_ids"], batch["teacher_attention_mask"], output_hidden_states=True)
    count = len(places)
    for row in range(count):
        there = places[row] >= 0
        at = places[row][there]
        errors = [
            ((projection(mine.hidden_states[m][row, there]) - theirs.hidden_states[t][row, at]) ** 2).mean()
            for m, t in enumerate((0, 2, 4, 6, 8))
        ]
        parts["embedding"] += errors[0] / count
        parts["hidden"] += sum(errors[1:]) / count
    return parts


@pytest.fixture
def taught(questions, tokenizer, mpnet_tokenizer):
    features = training_features(questions, tokenizer, **WINDOWS)
    return concatenate_datasets([features, teacher_inputs(mpnet_tokenizer, tokenizer, questions, **WINDOWS)], axis=1)


def test_the_terms_closed_form(make_model, taught, tokenizer, mpnet, tmp_path):
    student = make_model(**STILL)
    trainer = trainer_for(
        student, taught, tokenizer, tmp_path, mpnet, hidden_weight=1.5, embedding_weight=0.5, prediction_weight=0.0
    )
    batch = trainer.data_collator([taught[index] for index in (0, 5, 9)])
    batch.pop("length")
    places = batch[PLACES]
    loss = trainer.compute_loss(student.train(), dict(batch))
    wanted = by_hand(student, mpnet, batch, places, trainer.objective.projection)
    output = student(**{k: v for k, v in batch.items() if not k.startswith("teacher_")})
    real, rows = batch["attention_mask"].bool(), torch.arange(3)
    task = 0.0
    for logits, name in ((output.start_logits, "start_positions"), (output.end_logits, "end_positions")):
        chances = logits.masked_fill(~real, -torch.inf).softmax(-1)  # padding is no answer
        task -= chances[rows, batch[name]].log().mean() / 2
    torch.testing.assert_close(loss, task + 0.5 * wanted["embedding"] + 1.5 * wanted["hidden"])


def attention_and_values(model, inputs):
    """Each layer's attention probabilities `(B, A, L, L)`, and the last one's values cut into heads, `(B, A, L, H / A)`."""
    seen, last = [], model.base_model.encoder.layer[-1].attention.self
    hook = last.value.register_forward_hook(lambda module, given, values: seen.append(values))
    model.set_attn_implementation("eager")  # the only kernel that returns probabilities
    attentions = model(**inputs, output_attentions=True).attentions
    hook.remove()
    return attentions, seen[-1].unflatten(-1, (4, -1)).transpose(1, 2)


def kl(theirs, mine):
    return (theirs * (theirs / mine).log()).sum(dim=-1).mean()


def test_minilm_and_probabilities_closed_form(make_model, bert_teacher, questions, tokenizer, tmp_path):
    """MiniLM's first version (arXiv 2002.10957, equations 7 to 10), and Dynamic-TinyBERT's attention."""
    student, features = make_model(**STILL), training_features(questions, tokenizer, **WINDOWS)
    minilm = {
        "relation_weight": 2.0,
        "relations": ["attention", "value"],
        "hard_label_weight": 0.0,
        "prediction_weight": 0.0,
    }
    probabilities = {"attention_weight": 3.0, "attention_target": "probabilities"}
    trainer = trainer_for(student, features, tokenizer, tmp_path, bert_teacher, **minilm, **probabilities)
    batch = trainer.data_collator([features[index] for index in (0, 5, 9)])
    batch.pop("length")
    loss = trainer.compute_loss(student.train(), dict(batch))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    (mine, my_values), (theirs, their_values) = (attention_and_values(model, inputs) for model in (student, bert_teacher))
    wanted = 0.0
    for row in range(3):
        n = int(batch["attention_mask"][row].sum())
        real = (row, slice(None), slice(n), slice(n))
        wanted += sum(3.0 * (a[real] - b[real]).square().mean() for a, b in zip(mine, theirs, strict=True))
        relations = [
            (values[row, :, :n] @ values[row, :, :n].transpose(-1, -2) / values.shape[-1] ** 0.5).softmax(dim=-1)
            for values in (their_values, my_values)
        ]
        wanted += 2.0 * (kl(theirs[-1][real], mine[-1][real]) + kl(*relations))
    torch.testing.assert_close(loss, wanted / 3)


@pytest.mark.parametrize("options", [{}, {"length_drop": True, "num_sandwich": 1}], ids=["plain", "length drop"])
def test_padding_never_enters(make_model, taught, tokenizer, mpnet, tmp_path, options):
    student = make_model(**STILL)
    trainer = trainer_for(student, taught, tokenizer, tmp_path, mpnet, **options, **ALL)
    batch = trainer.data_collator([taught[index] for index in (0, 5)])
    batch.pop("length")
    wide = {
        name: torch.nn.functional.pad(rows, (0, 9), value={PLACES: -1}.get(name, 0)) if rows.dim() == 2 else rows
        for name, rows in batch.items()
    }
    losses = [trainer.compute_loss(student.train(), rows).item() for rows in (batch, wide)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)  # sums of other lengths


def test_all_terms_train_and_are_logged(make_model, taught, tokenizer, mpnet, tmp_path):
    trainer = trainer_for(make_model(), taught, tokenizer, tmp_path, mpnet, max_steps=12, learning_rate=3e-3, **ALL)
    before = copy.deepcopy(mpnet.state_dict())
    trainer.create_optimizer()
    projection = trainer.objective.projection.weight.detach().clone()
    trainer.train()
    assert (trainer.objective.projection.weight - projection).abs().max() > 1e-3  # a few steps of 3e-3: it learns too
    assert trainer.objective.projection.weight.grad is None  # and each step anew
    logged = [line for line in trainer.state.log_history if "loss" in line]
    names = {"loss_labels", "loss_hidden", "loss_embedding", "loss_attention", "loss_relation"}
    assert names <= set(logged[0])
    for name in names - {"loss_labels"}:
        assert logged[-1][name] < logged[0][name]
    assert all(torch.equal(value, before[name]) for name, value in mpnet.state_dict().items())
    trainer.save_model(str(tmp_path / "saved"))
    assert not (tmp_path / "saved" / EXTRA_STATE).exists()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not loaded[1]["unexpected_keys"] and not loaded[1]["missing_keys"]


def test_a_resumed_run_is_the_same_run(make_model, taught, tokenizer, mpnet, tmp_path):
    start, ends = make_model(**STILL), []
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "hidden_weight": 1.0}

    def run(folder, *callbacks, **kwargs):
        trainer = trainer_for(copy.deepcopy(start), taught, tokenizer, tmp_path / folder, mpnet, **options)
        for callback in callbacks:
            trainer.add_callback(callback)
        trainer.train(**kwargs)
        return list(trainer.objective.state_dict().values())

    ends.append(run("whole"))
    run("parts", StopAfterTwo())
    assert (tmp_path / "parts" / "checkpoint-2" / EXTRA_STATE).exists()
    ends.append(run("parts", resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-2")))
    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))


class StopAfterTwo(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= 2


def test_gradient_accumulation_changes_nothing(make_model, taught, tokenizer, mpnet, tmp_path):
    start, ends = make_model(**STILL), []
    for size, steps in ((8, 1), (2, 4)):
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 2, "optim": "sgd"}
        options |= {"learning_rate": 0.01, "max_grad_norm": 0}  # what hides a wrong scale is off
        trainer = trainer_for(copy.deepcopy(start), taught, tokenizer, tmp_path, mpnet, **options, **ALL)
        trainer.create_optimizer()
        before = [parameter.detach().clone() for parameter in trainer.objective.parameters()]
        trainer.train()
        after = list(trainer.objective.parameters())
        assert all((p - q).abs().max() > 0 for p, q in zip(before[-2:], after[-2:], strict=True))  # the projection's
        ends.append(torch.cat([p.flatten() for p in after]))
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-5)  # gradients summed in another order, two steps


def test_mixed_precision(make_model, taught, tokenizer, mpnet, tmp_path):
    """bf16 autocast: every part as in fp32 but for rounding, and what is compared is compared in fp32."""
    start, logged = make_model(**STILL), []
    for bf16 in (False, True):
        options = {"bf16": bf16, "max_steps": 1, "length_drop": True, **ALL}
        trainer = trainer_for(copy.deepcopy(start), taught, tokenizer, tmp_path, mpnet, **options)
        trainer.train()
        logged.append(trainer.state.log_history[0])
        assert {parameter.dtype for parameter in trainer.objective.parameters()} == {torch.float32}
        assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    assert logged[0]["loss"] != logged[1]["loss"]
    for name in (name for name in logged[0] if name.startswith("loss_")):
        # 0.1: bf16 has eight bits, and these models have weights of 0.2, ten times the usual
        assert logged[1][name] == pytest.approx(logged[0][name], rel=0.1, abs=0.05), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_weight": 1.0, "layer_map": ["1", "2"]}, "layer_map is 1 2; the student has 4 layers, the teacher 8"),
        ({"relation_weight": 1.0, "relation_heads": 5}, "relation_heads is 5; valid are divisors of both hidden sizes"),
        ({"relation_weight": 1.0, "relation_layer": 9}, "relation_layer is 9; the teacher's layers are 1 to 8"),
        ({"relation_weight": 1.0, "relations": ["keys"]}, "relations is 'keys'; valid are"),
        ({"relation_weight": 1.0, "relations": []}, "relations is None; valid are 'query'"),
        ({"attention_weight": -1.0}, "attention_weight is -1.0; valid are"),
        ({"attention_target": "logits", "attention_weight": 1.0}, "attention_target is 'logits'"),
        ({"hidden_weight": 1.0, "length_drop": True, "layer_dropout_prob": 0.2}, "layer_dropout_prob is 0.2: layers"),
        ({"layer_dropout_prob": 0.2}, "layer_dropout_prob is 0.2: layers are left out in LengthDrop's passes"),
        ({"prediction_weight": 0.0}, "A teacher is given, but nothing is learned from it"),
        ({"hidden_weight": 1.0, "label_smoothing_factor": 0.1}, "does not apply to this objective"),
    ],
)
def test_bad_objectives_are_refused(make_model, taught, tokenizer, mpnet, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        trainer_for(make_model(), taught, tokenizer, tmp_path, mpnet, **options)


def test_a_default_budget_drops_nothing_here(make_model, questions, tokenizer, tmp_path):
    """The default budget of student and teacher has no effect on the full-length pass."""
    features = training_features(questions, tokenizer, **WINDOWS)
    losses = []
    for default in (None, [0.6, 0.5, 0.4, 0.3]):
        student, teacher = (make_model(**STILL, length_config=default) for _ in range(2))
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter *= 1.1
        trainer = trainer_for(student, features, tokenizer, tmp_path, teacher, **ALL)
        batch = trainer.data_collator([features[index] for index in range(3)])
        batch.pop("length")
        losses.append(trainer.compute_loss(student.train(), batch).item())
    assert losses[0] == losses[1]


def test_other_heads_are_refused_for_attention_alone(make_model, taught, tokenizer, mpnet, tmp_path):
    mpnet.config.num_attention_heads = 8
    for options in ({"attention_weight": 1.0}, {"relation_weight": 1.0, "relations": ["attention", "value"]}):
        with pytest.raises(ValueError, match="The student has 4 attention heads, the teacher 8"):
            trainer_for(make_model(), taught, tokenizer, tmp_path, mpnet, **options)
    trainer_for(make_model(), taught, tokenizer, tmp_path, mpnet, relation_weight=1.0, relation_heads=8)


def test_a_teacher_that_is_missing_or_numbers_tokens_otherwise(
    make_model, questions, taught, tokenizer, mpnet, mpnet_tokenizer, tmp_path
):
    """All is refused before training: a teacher of the same vocabulary size may still number tokens differently."""
    features = training_features(questions, tokenizer, **WINDOWS)
    with pytest.raises(ValueError, match="give it: DistillationTrainer"):
        trainer_for(make_model(), features, tokenizer, tmp_path, hidden_weight=1.0)
    assert mpnet.config.vocab_size == make_model().config.vocab_size
    mpnet.save_pretrained(tmp_path / "mpnet")
    mpnet_tokenizer.save_pretrained(tmp_path / "mpnet")
    loaded = MPNetForQuestionAnswering.from_pretrained(tmp_path / "mpnet")
    for options in ({"hidden_weight": 1.0}, {}):
        with pytest.raises(ValueError, match="numbers tokens differently"):
            trainer_for(make_model(), features, tokenizer, tmp_path, loaded, **options)
        trainer_for(make_model(), taught, tokenizer, tmp_path, loaded, **options)  # reads teacher_input_ids
    mpnet.config.vocab_size += 1
    with pytest.raises(ValueError, match="numbers tokens differently"):
        trainer_for(make_model(), features, tokenizer, tmp_path, mpnet, hidden_weight=1.0)


def test_a_recipe_with_layers(bert_folder, mpnet, mpnet_tokenizer, squad_file, tmp_path):
    mpnet.save_pretrained(tmp_path / "teacher")
    mpnet_tokenizer.save_pretrained(tmp_path / "teacher")
    args = DistillationArguments(
        str(tmp_path / "out"), length_drop=False, max_steps=2, use_cpu=True, report_to=[], logging_steps=1, **ALL
    )
    data = DataArguments([str(squad_file)], max_length=120, stride=8, teacher_cache_dir=str(tmp_path / "cache"))
    run_recipe(ModelArguments(str(bert_folder), teacher_model_name_or_path=str(tmp_path / "teacher")), data, args)
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    assert {"loss_prediction", "loss_hidden", "loss_relation"} <= set(state["log_history"][0])
