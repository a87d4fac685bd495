"""A teacher's answers at the student's tokens: alignment, padding, the cache, and what the Trainer makes of them."""

import copy
import random
import types

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset, concatenate_datasets
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForQuestionAnswering, CanineTokenizer, PreTrainedTokenizerFast
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from hf_dynbert import DistillationArguments, DistillationTrainer, teacher_inputs, teacher_predictions, training_features
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.tasks.question_answering.features import encode_windows
from hf_dynbert.training.batches import TARGETS, DistillationCollator
from hf_dynbert.training.losses import target_divergence
from hf_dynbert.training.objective import sample_sandwich
from hf_dynbert.training.teachers import Tokens, move, readable_tokens


WINDOWS = {"max_length": 120, "stride": 8}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
AWKWARD = [
    ("who  wrote?", "  ada\twrote\r\nthe song   in 1907 , at night "),
    ("¿qué?", "Ben’s café — naïve “light” … 東京の tower 👩‍🚀🚀 ship"),
    ("who?", "e\u0301toile cafe\u0301 ada \u200b ben\u00a0dan. the " + "light-house " * 40),
    ("what is it?", "a"),
]


@pytest.fixture(scope="session")
def letters():
    """A tokenizer of another make: bytes, no token types, two separators, CLS called otherwise."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary |= {letter: index for index, letter in enumerate(alphabet, start=3)}
    merges = [("a", "d"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "g")]
    vocabulary |= {left + right: len(vocabulary) + index for index, (left, right) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True
    )  # by place: names differ by version
    names = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "model_max_length": 1500}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **names)


class Pointer(torch.nn.Module):
    """A teacher that is sure of one token, and counts its calls."""

    def __init__(self, config, token, dies_after=None):
        super().__init__()
        self.config, self.token, self.dies_after, self.calls = copy.deepcopy(config), token, dies_after, 0
        self.device = torch.device("cpu")

    def forward(self, input_ids, attention_mask, **kwargs):
        self.calls += 1
        if self.dies_after is not None and self.calls > self.dies_after:
            raise KeyboardInterrupt
        logits = torch.where(input_ids == self.token, 20.0, -20.0)
        return QuestionAnsweringModelOutput(start_logits=logits, end_logits=logits)


def rows(pairs):
    questions, contexts = zip(*pairs, strict=True)
    return Dataset.from_dict({"question": questions, "context": contexts})


def context_tokens(*offsets):
    """CLS and tokens with these characters of a context."""
    return Tokens({}, np.array([(0, 0), *offsets]), np.array([-1] + [1] * len(offsets)))


@pytest.mark.parametrize(
    ("teacher", "student", "firsts", "lasts"),
    [
        ([(0, 3), (3, 8), (9, 12)], [(0, 2), (2, 5), (5, 8), (10, 11)], [1, 2, 4], [2, 3, 4]),
        ([(4, 5), (8, 9)], [(0, 4), (6, 8), (9, 12)], [2, 3], [1, 2]),  # the student's left out an accent and a blank
        ([], [], [], []),
    ],
)
def test_probabilities_move_to_the_same_characters(teacher, student, firsts, lasts):
    """A start moves to the token with the first character of the teacher's token, an end to the token with its last."""
    for token, wanted in enumerate(zip(firsts, lasts, strict=True), start=1):
        certain = np.eye(len(teacher) + 1)[token]
        for last in (False, True):
            moved = move(certain, context_tokens(*teacher), context_tokens(*student), last)
            assert moved[wanted[last]] == moved.sum() == 1
    no_answer = np.eye(len(teacher) + 1)[0]
    assert move(no_answer, context_tokens(*teacher), context_tokens(*student), last=False)[0] == 1


@pytest.mark.parametrize("swapped", [False, True])
def test_both_read_the_same_characters(bert, tokenizer, letters, tmp_path, swapped):
    """Whatever the text and the tokenizers, each window gets distributions over its context and CLS."""
    student, teacher = (letters, tokenizer) if swapped else (tokenizer, letters)
    windows = {"max_length": 60, "stride": 8, "max_question_length": 16}
    data = rows(AWKWARD)
    pointer = Pointer(bert.config, 7)
    pointer.config.max_position_embeddings = 1500
    found = teacher_predictions(pointer, teacher, student, data, **windows, cache_dir=tmp_path)
    encoded = encode_windows(student, data["question"], data["context"], **windows)
    assert len(found) == len(encoded) > len(AWKWARD)  # some contexts need several
    for row, window in zip(found, encoded, strict=True):
        for name in TARGETS:
            probabilities = np.array(row[name])
            outside = ~window.in_context
            outside[0] = False
            assert len(probabilities) == len(window.offsets)
            assert probabilities.sum() == pytest.approx(1, abs=1e-5) and not probabilities[outside].any()


def test_the_same_tokenizer_gives_the_models_own_answers(make_model, tokenizer, questions, tmp_path):
    model = make_model()
    found = teacher_predictions(model, tokenizer, tokenizer, questions, **WINDOWS, batch_size=3, cache_dir=tmp_path)
    windows = encode_windows(tokenizer, questions["question"], questions["context"], 120, 8)
    assert len(found) == len(windows) == len(training_features(questions, tokenizer, **WINDOWS))
    for row, window in zip(found, windows, strict=True):
        with torch.no_grad():
            output = model(**{name: torch.tensor([ids]) for name, ids in window.inputs.items()}, length_config="full")
        allowed = torch.tensor(window.in_context)
        allowed[0] = True
        for name, logits in (("teacher_start", output.start_logits), ("teacher_end", output.end_logits)):
            wanted = logits[0].masked_fill(~allowed, -torch.inf).softmax(-1)
            # 1e-5: batches of other sizes sum in another order
            torch.testing.assert_close(torch.tensor(row[name]), wanted, atol=1e-5, rtol=1e-4)


def test_a_sure_teacher_points_at_the_same_word(bert, tokenizer, letters, tmp_path):
    data = rows([("who?", "ben lit the light. cleo Dan slept")])  # only "Dan" has a capital
    found = teacher_predictions(
        Pointer(bert.config, letters.convert_tokens_to_ids("D")), letters, tokenizer, data, **WINDOWS, cache_dir=tmp_path
    )
    [window] = encode_windows(tokenizer, data["question"], data["context"], 120, 8)
    best = int(np.argmax(found[0]["teacher_start"]))
    first, last = window.offsets[best]
    assert window.in_context[best] and first <= data["context"][0].index("D") < last
    assert found[0]["teacher_start"][best] == pytest.approx(1, abs=1e-6)


def test_a_pass_that_was_killed_goes_on(bert, tokenizer, tmp_path):
    """Answers are stored every 256 rows, and none of these is computed again with the same settings."""
    data = rows([("who?", f"ada wrote the light in {number}") for number in range(600)])
    options = {**WINDOWS, "batch_size": 128, "cache_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        teacher_predictions(Pointer(bert.config, 7, dies_after=2), tokenizer, tokenizer, data, **options)
    second, third = Pointer(bert.config, 7), Pointer(bert.config, 7)
    found = teacher_predictions(second, tokenizer, tokenizer, data, **options)
    assert second.calls == 3  # 2 of 5 batches are the first 256 rows
    again = teacher_predictions(third, tokenizer, tokenizer, data, **options)
    assert third.calls == 0 and again[:] == found[:]


def test_the_cache_depends_on_teacher_tokenizer_and_settings(bert, tokenizer, questions, tmp_path):
    def calls(teacher, tokenizer=tokenizer, **options):
        teacher_predictions(teacher, tokenizer, tokenizer, questions, **WINDOWS, cache_dir=tmp_path, **options)
        return teacher.calls

    assert calls(Pointer(bert.config, 7)) == 1
    renamed = Pointer(bert.config, 7)
    renamed.config.id2label, renamed.config.transformers_version = {0: "a", 1: "b"}, "9.9"
    assert calls(renamed) == 0  # names of labels and versions change no answer
    sided, other = copy.deepcopy(tokenizer), Pointer(bert.config, 7)
    sided.truncation_side = "left"
    other.bias = torch.nn.Parameter(torch.ones(1))
    assert calls(Pointer(bert.config, 7), sided) == calls(Pointer(bert.config, 7), temperature=2.0) == calls(other) == 1


def test_slow_tokenizers_are_refused(tokenizer, questions):
    for pair in ((CanineTokenizer(), tokenizer), (tokenizer, CanineTokenizer())):
        with pytest.raises(ValueError, match="slow"):
            teacher_inputs(*pair, questions, **WINDOWS)


def test_windows_that_a_teacher_cannot_read_are_refused(bert, tokenizer, letters, questions, tmp_path):
    short = copy.deepcopy(letters)
    short.model_max_length = 20
    with pytest.raises(ValueError, match="have more than 20 tokens of the teacher. Make max_length smaller"):
        teacher_predictions(Pointer(bert.config, 7), short, tokenizer, questions, **WINDOWS, cache_dir=tmp_path)


@pytest.mark.parametrize("make, positions", [("Bert", 40), ("Roberta", 38), ("MPNet", 38), ("DistilBert", 40)])
def test_a_teacher_reads_as_many_tokens_as_it_has_positions(sizes, make, positions):
    """Many tokenizers know no limit; RoBERTa and MPNet keep two of their positions for themselves."""
    shape = sizes | {"max_position_embeddings": 40, "pad_token_id": 1, "vocab_size": 60}
    model = getattr(transformers, f"{make}Model")(getattr(transformers, f"{make}Config")(**shape))
    limitless, short = (types.SimpleNamespace(model_max_length=length) for length in (10**30, 20))
    assert (readable_tokens(model, limitless), readable_tokens(model, short)) == (positions, 20)
    model(torch.full((1, positions), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, positions + 1), 5))


def test_a_few_windows_that_are_too_long_get_no_answers(bert, tokenizer, letters, tmp_path, caplog):
    short, data = copy.deepcopy(letters), rows([("who?", "ada wrote it")] * 20 + [("who?", "ada wrote it by night " * 4)])
    short.model_max_length = 60
    found = teacher_predictions(Pointer(bert.config, 7), short, tokenizer, data, 120, 8, cache_dir=tmp_path)
    sums = [sum(row["teacher_start"]) for row in found]
    assert sums[:20] == pytest.approx([1.0] * 20) and sums[20] == 0
    assert "1 of 21 texts have more than 60 tokens of the teacher" in caplog.text


@pytest.fixture
def taught(make_model, tokenizer, questions, tmp_path):
    """Features with the answers of a teacher."""
    teacher = make_model()
    features = training_features(questions, tokenizer, **WINDOWS)
    answers = teacher_predictions(teacher, tokenizer, tokenizer, questions, **WINDOWS, cache_dir=tmp_path / "teacher")
    return concatenate_datasets([features, answers], axis=1)


def trainer_for(model, features, tokenizer, folder, **options):
    args = DistillationArguments(
        str(folder), use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True, **options
    )
    return DistillationTrainer(
        model, args, train_dataset=features, data_collator=DistillationCollator(tokenizer), processing_class=tokenizer
    )


@pytest.mark.parametrize("length_drop", [False, True])
def test_the_objective_has_its_parts(make_model, taught, tokenizer, tmp_path, length_drop):
    options = {"length_drop": length_drop, "prediction_weight": 2.0, "hard_label_weight": 0.5, "max_steps": 2}
    trainer = trainer_for(make_model(**STILL), taught, tokenizer, tmp_path, **options)
    trainer.train()
    logged = [line for line in trainer.state.log_history if "loss" in line]
    parts = {name for name in logged[0] if name.startswith("loss_")}
    assert parts == {"loss_labels", "loss_prediction"} | ({"loss_in_place"} if length_drop else set())
    for line in logged:
        wanted = 0.5 * line["loss_labels"] + 2.0 * line["loss_prediction"]
        if length_drop:  # one of two passes each
            wanted = (wanted + line["loss_in_place"]) / 2
        assert line["loss"] == pytest.approx(wanted, rel=1e-4)
    batch = DistillationCollator(tokenizer)([taught[index] for index in range(3)])
    batch.pop("length")
    model = trainer.model.train()
    loss = trainer.compute_loss(model, batch)
    if not length_drop:
        targets = {name: batch.pop(name) for name in TARGETS}
        output, mask = model(**batch), batch["attention_mask"].bool()
        divergences = [
            target_divergence(logits, target, mask)
            for logits, target in zip((output.start_logits, output.end_logits), targets.values(), strict=True)
        ]
        labels = [
            sum(-logits[row, mask[row]].log_softmax(-1)[batch[name][row]] for row in range(3)) / 3
            for logits, name in ((output.start_logits, "start_positions"), (output.end_logits, "end_positions"))
        ]
        wanted = 0.5 * sum(labels) / 2 + sum(divergences)  # twice the mean of the two
        torch.testing.assert_close(loss, wanted)


def test_evaluation_leaves_the_teacher_out(make_model, taught, tokenizer, tmp_path):
    trainer = trainer_for(make_model(), taught, tokenizer, tmp_path, length_drop=False)
    with_teacher = trainer.evaluate(taught)["eval_loss"]
    without = trainer.evaluate(taught.remove_columns(list(TARGETS)))["eval_loss"]
    assert with_teacher == without


@pytest.mark.parametrize("side", ["left", "right"])
def test_collator_pads_on_the_tokenizers_side(tokenizer, side):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    rows = [{"input_ids": [2] * n, "attention_mask": [1] * n, "teacher_start": [0.1] * n} for n in (2, 4)]
    batch = DistillationCollator(tokenizer)(rows)
    assert torch.equal(batch["teacher_start"] > 0, batch["attention_mask"].bool())


def test_a_recipe_with_a_teacher(bert_folder, squad_file, tmp_path):
    options = {"num_sandwich": 1, "max_steps": 1, "use_cpu": True, "report_to": [], "logging_steps": 1}
    args = DistillationArguments(str(tmp_path / "out"), **options)
    data = DataArguments([str(squad_file)], max_length=120, stride=8, teacher_cache_dir=str(tmp_path / "cache"))
    model = ModelArguments(str(bert_folder), teacher_model_name_or_path=str(bert_folder), teacher_dtype="bfloat16")
    folder = run_recipe(model, data, args)
    assert AutoModelForQuestionAnswering.from_pretrained(folder).config.model_type == "dynamic_tinybert"
    assert list((tmp_path / "cache").rglob("*.arrow"))


def test_importance_learns_from_the_teachers_answers(make_model, taught, questions, tokenizer, tmp_path):
    """Both targets in closed form, from the model's own token scores of the full-length pass."""
    losses = {}
    for target in ("own", "teacher"):
        options = {"importance_target": target, "num_sandwich": 0, "always_smallest": True}
        trainer = trainer_for(make_model(**STILL, importance="learned"), taught, tokenizer, tmp_path, **options)
        batch = trainer.data_collator([taught[index] for index in (0, 3, 5)])
        batch.pop("length")
        certain = torch.zeros_like(batch["teacher_start"])
        certain[:, 6] = 1.0
        batch |= {"teacher_start": certain, "teacher_end": certain}
        _, logged = trainer.compute_loss(trainer.model.train(), dict(batch), return_outputs=True)
        losses[target] = logged["importance"].item()
    assert losses["own"] != losses["teacher"]
    model, args = trainer.model, trainer.args
    features = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    passes = sample_sandwich(random.Random(f"{args.seed}-0"), model.config, args)
    allowed = batch["attention_mask"].bool()
    allowed[:, 0] = False
    wanted = []
    for sub in passes:
        output = model(**features, budget=sub, output_token_scores=True)
        for rows in output.token_scores:
            chances = rows.float().masked_fill(~(allowed & rows.isfinite()), -torch.inf).log_softmax(-1)[:, 6]
            wanted.append(-chances[rows[:, 6].isfinite()].sum() / 3)  # a token that was dropped teaches nothing
    assert losses["teacher"] == pytest.approx((sum(wanted) / len(wanted)).item(), rel=1e-4)
    features = training_features(questions, tokenizer, **WINDOWS)
    with pytest.raises(ValueError, match="importance_target='teacher' needs a teacher's start and end distributions"):
        trainer_for(make_model(importance="learned"), features, tokenizer, tmp_path, importance_target="teacher").train()
