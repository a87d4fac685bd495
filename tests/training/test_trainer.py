"""A Trainer that cannot be misused: what it changes, what it refuses, what it learns by default, what it measures."""

import copy
import math

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertModel,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
)

from hf_dynbert import (
    DistillationArguments,
    DistillationCollator,
    DistillationTrainer,
    DynamicTinyBertForQuestionAnswering,
    training_features,
)
from hf_dynbert.importance import IMPORTANCES, Importance, register_importance
from hf_dynbert.training.terms import PassOutputs, Term


STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BUDGETS = {"half": [0.8, 0.6, 0.5, 0.3]}


@pytest.fixture
def arguments(tmp_path):
    def make(**options):
        quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "logging_steps": 1, "save_strategy": "no"}
        return DistillationArguments(str(tmp_path / "run"), **quiet | {"max_steps": 2, "learning_rate": 1e-3} | options)

    return make


@pytest.fixture
def features(questions, tokenizer):
    return training_features(questions, tokenizer, max_length=128, stride=16)


@pytest.fixture
def labelled(tokenizer):
    def make(labels):
        texts = ["who lit the light", "ben wrote the song by night in the tower", "the ship"] * 4
        return Dataset.from_dict({**tokenizer(texts), "labels": labels * 4})

    return make


def logged(trainer, name):
    return [line[name] for line in trainer.state.log_history if name in line]


# What a Trainer does to a model


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float32", {"importance": "learned"}),
        ("float32", {}),
        ("float16", {"importance": "question"}),
        ("bfloat16", {"importance": "learned", "eval_budgets": ["half"]}),
    ],
)
def test_constructing_and_evaluating_change_nothing(make_model, arguments, features, tokenizer, dtype, options):
    model = make_model(budgets=BUDGETS).to(getattr(torch, dtype))
    before = copy.deepcopy(model)
    trainer = DistillationTrainer(model, arguments(**options), eval_dataset=features, processing_class=tokenizer)
    trainer.evaluate()
    assert model.config.importance == before.config.importance == "all"
    assert model.dtype == before.dtype
    assert model.state_dict().keys() == before.state_dict().keys()
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("importance", ["all", "cls", "learned"])
def test_importance_is_the_checkpoints_own(make_model, arguments, features, tokenizer, importance):
    trainer = DistillationTrainer(
        make_model(importance=importance), arguments(), train_dataset=features, processing_class=tokenizer
    )
    trainer.train()
    assert trainer.model.config.importance == importance
    assert bool(logged(trainer, "loss_importance")) == (importance == "learned")


@pytest.mark.parametrize("search", [False, True], ids=["model_init", "hyperparameter_search"])
def test_every_model_that_the_trainer_gets_is_prepared(make_model, arguments, features, tokenizer, search):
    args, models = arguments(importance="learned", eval_strategy="steps", eval_steps=2), []

    def model_init(trial=None):
        models.append(make_model())
        return models[-1]

    data = {"train_dataset": features, "eval_dataset": features, "processing_class": tokenizer}
    trainer = DistillationTrainer(args=args, model_init=model_init, **data)
    if search:
        trainer.hyperparameter_search(
            lambda trial: {"importance_weight": trial.suggest_float("importance_weight", 1.0, 2.0)},
            n_trials=2, backend="optuna", direction="minimize",
        )  # fmt: skip
    else:
        trainer.train()
    trained = [model for model in models if any("token_scorer" in name for name in model.state_dict())]
    assert len(trained) == (2 if search else 1)
    assert all(model.config.importance == "learned" for model in trained)
    assert logged(trainer, "loss_importance")


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_weights_of_16_bits_train_in_float32_by_default(make_model, arguments, features, tokenizer, dtype):
    for keep in (False, True):
        model, teacher = (make_model().to(getattr(torch, dtype)) for _ in range(2))
        args = arguments(float32_weights=not keep, bf16=False, max_steps=1)
        data = {"train_dataset": features, "processing_class": tokenizer}
        trainer = DistillationTrainer(model, args, teacher=teacher, **data)
        trainer.train()
        wanted = getattr(torch, dtype) if keep else torch.float32
        assert {parameter.dtype for parameter in model.parameters()} == {wanted}
        assert teacher.dtype == wanted


# What it refuses, before any work


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"model = DynamicTinyBertForQuestionAnswering.from_backbone\(model\)"),
        ({"length_drop": False, "eval_budgets": ["half"]}, "cannot drop tokens"),
    ],
)
def test_a_plain_model_is_refused_with_the_line_that_mends_it(bert_folder, arguments, options, message):
    model = AutoModelForQuestionAnswering.from_pretrained(bert_folder)
    with pytest.raises(ValueError, match=message):
        DistillationTrainer(model, arguments(**options))
    mended = DynamicTinyBertForQuestionAnswering.from_backbone(model, budgets=BUDGETS)
    DistillationTrainer(mended, arguments(**options))


def test_a_teacher_without_answers_is_refused(make_model, arguments, bert_folder):
    headless = BertModel.from_pretrained(bert_folder)
    with pytest.raises(ValueError, match="The teacher is a BertModel, which has no answers for this task"):
        DistillationTrainer(make_model(), arguments(), teacher=headless)
    DistillationTrainer(make_model(), arguments(prediction_weight=0.0, hidden_weight=1.0), teacher=headless)


def test_an_unknown_budget_is_refused(make_model, arguments):
    with pytest.raises(ValueError, match='no budget "haf"'):
        DistillationTrainer(make_model(budgets=BUDGETS), arguments(eval_budgets=["haf"]))


# What it learns by default


def test_the_order_of_arguments_is_the_parents_and_the_collator_fits(make_model, arguments, features, tokenizer):
    collator = DataCollatorWithPadding(tokenizer)
    trainer = DistillationTrainer(make_model(), arguments(), collator, features, features, tokenizer)
    assert trainer.data_collator is collator and trainer.teacher is None and trainer.eval_dataset is features
    trainer = DistillationTrainer(make_model(), arguments(), train_dataset=features, processing_class=tokenizer)
    assert isinstance(trainer.data_collator, DistillationCollator)


@pytest.mark.parametrize("length_drop", [False, True])
def test_a_teacher_alone_teaches_its_answers(make_model, arguments, features, tokenizer, bert, length_drop):
    """Knowledge distillation in closed form: KL from the teacher's softmax over real tokens."""
    student, teacher = make_model(**STILL), copy.deepcopy(bert)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter *= 1.1
    args = arguments(length_drop=length_drop, teacher_temperature=2.0, prediction_weight=0.5)
    trainer = DistillationTrainer(student, args, train_dataset=features, processing_class=tokenizer, teacher=teacher)
    batch = trainer.data_collator([features[index] for index in (0, 3, 5)])
    batch.pop("length")
    _, losses = trainer.compute_loss(student.train(), dict(batch), return_outputs=True)
    real = batch["attention_mask"].bool()
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        outputs = [model(**{name: batch[name] for name in names}) for model in (student, teacher)]
    wanted = 0.0
    for name in ("start_logits", "end_logits"):
        for row in range(3):
            q, p = ((output[name][row, real[row]] / 2).softmax(-1) for output in outputs)
            wanted += (p * (p / q).log()).sum() * 4 / 2 / 3
    assert losses["prediction"].item() == pytest.approx(wanted.item(), rel=1e-4)
    trainer.train()
    assert len(logged(trainer, "loss_prediction")) == 2
    assert not any("teacher" in name for name in trainer.objective.state_dict())
    assert len(list(trainer.objective.parameters())) == len(list(student.parameters()))


KINDS = {  # problem type, labels of three texts, number of labels
    "single_label_classification": ([0, 1, 2], 3),
    "multi_label_classification": ([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]], 3),
    "regression": ([0.5, 1.0, 2.0], 1),
    "regression of several": ([[0.5, 1.0], [1.0, 2.0], [0.0, 0.0]], 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_classifier_learns(make_model, arguments, labelled, tokenizer, classifier_folder, kind):
    labels, number = KINDS[kind]
    shape = {"num_labels": number, "problem_type": kind.split()[0], "ignore_mismatched_sizes": True}
    model = make_model("text-classification", importance="learned", min_tokens_to_drop=0, **STILL, **shape)
    teacher = AutoModelForSequenceClassification.from_pretrained(classifier_folder, **shape)
    data = {"train_dataset": labelled(labels), "processing_class": tokenizer}
    trainer = DistillationTrainer(model, arguments(max_steps=3), teacher=teacher, **data)
    trainer.train()
    for name in ("labels", "prediction", "in_place", "importance"):
        assert all(math.isfinite(value) for value in logged(trainer, f"loss_{name}"))


# An importance of one's own: what a person writes outside of the package


@pytest.fixture
def own_importance():
    @register_importance("linear")
    class LinearImportance(Importance):
        """A linear score of a token's state, trained with a squared error."""

        is_learned = True

        def make_scorer(self, config, layer_idx):
            return torch.nn.Linear(config.hidden_size, 1)

        def score(self, layer, states, tokens, attention):
            return layer.token_scorer(states).squeeze(-1)

        def loss(self, scores, target, mask):
            return ((scores - target)[mask] ** 2).mean()

    yield "linear"
    del IMPORTANCES["linear"]


def test_an_importance_of_ones_own_is_trained(own_importance, make_model, arguments, features, tokenizer):
    model = make_model(**STILL, importance=own_importance)
    before = {name: parameter.clone() for name, parameter in model.named_parameters() if "token_scorer" in name}
    args = arguments(learning_rate=1e-9, importance_learning_rate=0.01)  # the scorers have a rate of their own
    trainer = DistillationTrainer(model, args, train_dataset=features, processing_class=tokenizer)
    trainer.train()
    assert all(loss > 0 for loss in logged(trainer, "loss_importance")) and logged(trainer, "loss_importance")
    after = dict(trainer.model.named_parameters())
    assert len(before) == 8 and all((after[name] - start).abs().max() > 1e-3 for name, start in before.items())


# A term of one's own: what a person writes outside of the package


class Confidence(Term):
    """Penalises probability on the tokens of the question, by a learned factor and a weight of each example."""

    name = "confidence"
    columns = ("difficulty",)

    def __init__(self, weight: float):
        super().__init__(weight)
        self.factor = torch.nn.Parameter(torch.ones(()))

    def forward(self, outputs: PassOutputs, batch):
        question = (batch["token_type_ids"] == 0) & batch["attention_mask"].bool()
        chance = (outputs.full.start_logits.softmax(-1) * question).sum(-1)
        return (self.factor * chance * batch["difficulty"]).mean()


def test_a_term_of_ones_own(make_model, arguments, features, tokenizer, tmp_path):
    features = features.add_column("difficulty", [0.5, 2.0] * (len(features) // 2))
    args = arguments(max_steps=4, save_strategy="steps", save_steps=2)
    data = {"train_dataset": features, "eval_dataset": features, "processing_class": tokenizer}
    trainer = DistillationTrainer(make_model(**STILL), args, extra_terms=[Confidence(0.3)], **data)
    trainer.train()
    line = next(line for line in trainer.state.log_history if "loss" in line)
    wanted = (line["loss_labels"] + line["loss_in_place"]) / 2 + 0.3 * line["loss_confidence"]
    assert line["loss"] == pytest.approx(wanted, rel=1e-4)
    assert math.isfinite(trainer.evaluate()["eval_loss"])
    [ended] = (parameter for name, parameter in trainer.objective.named_parameters() if "factor" in name)
    assert ended.item() != 1.0
    resumed = DistillationTrainer(make_model(**STILL), args, extra_terms=[Confidence(0.3)], **data)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    [again] = (parameter for name, parameter in resumed.objective.named_parameters() if "factor" in name)
    assert torch.equal(again, ended)


# What it measures


def accuracy(prediction):
    return {"f1": float((prediction.predictions[0].argmax(-1) == prediction.label_ids[0]).mean())}


def test_evaluation_at_budgets_decides_when_to_stop(make_model, arguments, features, tokenizer):
    options = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 8, "save_strategy": "steps", "save_steps": 1}
    best = {"metric_for_best_model": "half_f1", "load_best_model_at_end": True, "learning_rate": 0.0}
    trainer = DistillationTrainer(
        make_model(budgets=BUDGETS), arguments(eval_budgets=["full", "half"], **options, **best),
        train_dataset=features, eval_dataset=features, processing_class=tokenizer, compute_metrics=accuracy,
        callbacks=[EarlyStoppingCallback(2)],
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 3  # nothing is learned at a learning rate of 0, so nothing improves
    metrics = trainer.evaluate()
    assert {"eval_loss", "eval_f1", "eval_full_loss", "eval_half_loss", "eval_half_f1"} <= set(metrics)
    assert metrics["eval_full_loss"] == metrics["eval_loss"] != metrics["eval_half_loss"]
    half = DistillationTrainer(
        make_model(budgets=BUDGETS, length_config=BUDGETS["half"]), arguments(), eval_dataset=features,
        processing_class=tokenizer,
    )  # fmt: skip
    assert half.evaluate()["eval_loss"] == pytest.approx(metrics["eval_half_loss"], rel=1e-5)


@pytest.mark.parametrize("task", ["question-answering", "text-classification"])
def test_the_loss_of_an_evaluation_does_not_depend_on_its_batches(
    make_model, arguments, features, labelled, tokenizer, task
):
    data = features.select(range(13)) if task == "question-answering" else labelled([0, 1, 2]).select(range(11))
    losses = []
    for size in (1, 4, 13):
        args = arguments(per_device_eval_batch_size=size)
        trainer = DistillationTrainer(make_model(task), args, eval_dataset=data, processing_class=tokenizer)
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)  # sums in another order


def test_an_estimate_of_the_duration_is_logged_once(make_model, arguments, features, tokenizer, caplog):
    trainer = DistillationTrainer(make_model(), arguments(max_steps=8), train_dataset=features, processing_class=tokenizer)
    trainer.train()
    assert sum("minutes for the next 4 steps" in record.message for record in caplog.records) == 1
