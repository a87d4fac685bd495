"""A folder knows which run made it: the same run resumes, another one is refused, damaged checkpoints are left out."""

import hashlib
import json
import shutil

import pytest
from transformers import AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

from hf_dynbert import DistillationArguments, DynamicTinyBertForQuestionAnswering
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.data import RecipeData
from hf_dynbert.recipes.run import load_model, run_recipe
from hf_dynbert.tasks import QUESTION_ANSWERING
from hf_dynbert.tasks.base import DataOptions, get_task


@pytest.fixture
def train(bert_folder, squad_file, tmp_path):
    """Runs one small recipe in a folder; options by name, wherever they belong."""

    def run(folder="run", **options):
        model = {"model_name_or_path": str(bert_folder), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        data = {"train_file": [str(squad_file)], "max_length": 128, "stride": 16}
        args = {"output_dir": str(tmp_path / folder), "use_cpu": True, "report_to": [], "max_steps": 3, "save_steps": 1}
        args |= {"per_device_train_batch_size": 4, "disable_tqdm": True, "length_drop": False, "learning_rate": 1e-3}
        parts = []
        for part, kind in ((model, ModelArguments), (data, DataArguments), (args, DistillationArguments)):
            names = kind.__dataclass_fields__
            parts.append(kind(**part | {name: value for name, value in options.items() if name in names}))
        return run_recipe(*parts)

    return run


def weights(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def other_data(articles_file, tmp_path):
    """Other questions in a file of their own."""
    content = json.loads(articles_file.read_text())
    content["data"] = content["data"][1:]
    (tmp_path / "other.json").write_text(json.dumps(content))
    return str(tmp_path / "other.json")


@pytest.fixture
def other_model(sizes, tokenizer, tmp_path):
    BertForQuestionAnswering(BertConfig(**sizes)).save_pretrained(tmp_path / "other-model")
    tokenizer.save_pretrained(tmp_path / "other-model")
    return str(tmp_path / "other-model")


def test_another_run_is_refused_and_the_same_one_says_that_it_is_done(train, other_data, other_model, caplog):
    folder = train()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for options, difference in (
        ({"learning_rate": 5e-3}, "learning_rate: 0.001 there, 0.005 now"),
        ({"seed": 1}, "seed: 42 there, 1 now"),
        ({"max_steps": 4}, "max_steps: 3 there, 4 now"),
        ({"train_file": [other_data]}, "train_file"),
        ({"model_name_or_path": other_model}, "model_name_or_path"),
        ({"teacher_model_name_or_path": other_model}, "teacher_model_name_or_path"),
        ({"importance": "learned", "length_drop": True}, "length_drop: False there, True now"),
        ({"max_train_samples": 8}, "max_train_samples"),
    ):
        with pytest.raises(ValueError, match="holds another run; it differs in .*" + difference) as refused:
            train(**options)
        assert "--overwrite_output_dir true" in str(refused.value)
    assert train(logging_steps=3, save_steps=2) == folder  # how progress is shown does not matter
    assert "holds the finished model of this run" in caplog.text
    assert all(path.read_bytes() == content for path, content in before.items())


def test_contents_count_and_not_names_alone(train, squad_file, other_data, other_model, tmp_path):
    shutil.copy(squad_file, tmp_path / "data.json")
    train(train_file=[str(tmp_path / "data.json")])
    shutil.copy(other_data, tmp_path / "data.json")
    with pytest.raises(ValueError, match="training rows: other contents"):
        train(train_file=[str(tmp_path / "data.json")])
    train("second", model_name_or_path=other_model)
    BertForQuestionAnswering.from_pretrained(other_model).apply(lambda module: module).save_pretrained(other_model)
    train("second", model_name_or_path=other_model)  # saved again: the same weights
    model = BertForQuestionAnswering.from_pretrained(other_model)
    model.qa_outputs.weight.data += 1
    model.save_pretrained(other_model)
    with pytest.raises(ValueError, match="starting weights and tokenizer: other contents"):
        train("second", model_name_or_path=other_model)


def test_overwriting_is_a_run_from_the_beginning(train):
    alone = weights(train("alone", learning_rate=5e-3))
    train()
    folder = train(learning_rate=5e-3, overwrite_output_dir=True)
    assert weights(folder) == alone
    assert json.loads((folder / "training.json").read_text())["hyperparameters"]["learning_rate"] == 5e-3


def test_a_run_that_made_nothing_binds_nobody(train, other_model):
    """A wrong option is mended in the same folder."""
    with pytest.raises(ValueError, match="class_names"):
        train(teacher_model_name_or_path=other_model, teacher_class_names=["a"])
    with pytest.raises(ValueError, match="they number them differently|positions|layers"):
        train(teacher_model_name_or_path=other_model, hidden_weight=1.0, layer_map=["1", "2"])
    train(learning_rate=5e-3)


def test_a_folder_without_a_record_is_refused(train, make_model, tmp_path):
    make_model().save_pretrained(tmp_path / "run")
    with pytest.raises(ValueError, match="holds model.safetensors, but no _run.json"):
        train()


@pytest.mark.parametrize("record", ["{", "[]", "3", '{"settings": 3}', '{"contents": [1]}'])
def test_a_damaged_record_is_refused(train, make_model, tmp_path, record):
    make_model().save_pretrained(tmp_path / "run")
    (tmp_path / "run" / "_run.json").write_text(record)
    with pytest.raises(ValueError, match="_run.json cannot be read. Give another"):
        train()


def interrupted(folder, steps):
    """The folder as a run leaves it that was killed after so many steps."""
    for path in folder.glob("checkpoint-*"):
        if int(path.name.rpartition("-")[2]) > steps:
            shutil.rmtree(path)
    (folder / "model.safetensors").unlink()
    record = json.loads((folder / "_run.json").read_text())
    (folder / "_run.json").write_text(json.dumps(record | {"finished": False}))


FILES = ("trainer_state.json", "optimizer.pt", "model.safetensors", "scheduler.pt", "rng_state.pth")


@pytest.mark.parametrize("torn", [None, *FILES])
def test_a_killed_run_resumes_from_the_last_whole_checkpoint(train, caplog, torn):
    folder = train()
    wanted = weights(folder)
    interrupted(folder, 2)
    if torn:
        path = folder / "checkpoint-2" / torn
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    train()
    assert f"Training resumes from {folder / ('checkpoint-1' if torn else 'checkpoint-2')}." in caplog.text
    if torn:
        assert f"{folder / 'checkpoint-2' / torn} is damaged or missing" in caplog.text
    assert weights(folder) == wanted


def test_a_checkpoint_that_cannot_be_resumed_is_refused(train):
    folder = train(save_only_model=True)
    interrupted(folder, 2)
    with pytest.raises(ValueError, match="checkpoint-2 holds the model alone"):
        train(save_only_model=True)
    for requested in ("nope", str(folder / "checkpoint-9")):
        with pytest.raises(ValueError, match=f"resume_from_checkpoint is {requested}, which is no folder"):
            train("new", resume_from_checkpoint=requested)
    (folder / "checkpoint-1" / "trainer_state.json").unlink()
    with pytest.raises(ValueError, match="trainer_state.json is damaged or missing: training cannot resume"):
        train(resume_from_checkpoint=str(folder / "checkpoint-1"))


# What a recipe leaves to the checkpoint, and what it measures


@pytest.mark.parametrize("importance", ["all", "learned"])
def test_a_recipe_changes_only_what_it_names(make_model, tokenizer, tmp_path, importance):
    fields = {"dropped_logits": "mask", "protect_first_segment": importance == "all", "importance": importance}
    make_model(**fields).save_pretrained(tmp_path / "checkpoint")
    args = DistillationArguments(str(tmp_path / "run"), use_cpu=True, report_to=[])
    model = load_model(ModelArguments(str(tmp_path / "checkpoint")), args, QUESTION_ANSWERING, {})
    assert {name: getattr(model.config, name) for name in fields} == fields
    asked = ModelArguments(str(tmp_path / "checkpoint"), dropped_logits="restore")
    assert load_model(asked, args, QUESTION_ANSWERING, {}).config.dropped_logits == "restore"


@pytest.mark.parametrize("given", ["eval_file", "validation_fraction"])
def test_a_recipe_measures_while_it_trains(train, articles_file, given):
    data = {"eval_file": [str(articles_file)]} if given == "eval_file" else {"validation_fraction": 0.3}
    budgets = {"budgets": json.dumps({"half": [0.8, 0.6, 0.5, 0.3]}), "eval_budgets": ["half"]}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "half_loss", "early_stopping_patience": 1}
    options = {"eval_strategy": "steps", "eval_steps": 1, "length_drop": True, "learning_rate": 0.0, "max_steps": 4}
    folder = train(train_file=[str(articles_file)], **data, **budgets, **best, **options)
    checkpoints = sorted(folder.glob("checkpoint-*"))
    history = json.loads((checkpoints[-1] / "trainer_state.json").read_text())["log_history"]
    assert len([line for line in history if "eval_half_loss" in line]) == 2  # then nothing improves
    assert isinstance(AutoModelForQuestionAnswering.from_pretrained(folder), DynamicTinyBertForQuestionAnswering)


@pytest.mark.parametrize("name", ["question-answering", "text-classification"])
def test_training_and_evaluation_split_alike(articles_file, tmp_path, name):
    """`evaluate --validation_fraction 0.3` measures on the rows that `train --validation_fraction 0.3` leaves out."""
    files = [str(articles_file)]
    if name == "text-classification":
        rows = [
            json.dumps({"sentence": f"text {number}", "sentiment": "good" if number % 2 else "bad"}) for number in range(20)
        ]
        (tmp_path / "texts.jsonl").write_text("\n".join(rows))
        files = [str(tmp_path / "texts.jsonl")]
    columns = {"text_columns": ["sentence"], "label_column": "sentiment"}
    data = DataArguments(files, name, validation_fraction=0.3, **columns)
    recipe = RecipeData(data, DistillationArguments(str(tmp_path / "run"), use_cpu=True, report_to=[]))
    options = DataOptions(text_columns=("sentence",), label_column="sentiment")
    rows = get_task(name).load(files, options)
    training, validation = get_task(name).split(rows, 0.3)
    column = "question" if name == "question-answering" else "sentence"
    assert recipe.validation[column][:] == validation[column][:]
    assert recipe.training[column][:] == training[column][:]
    assert len(validation) and not set(validation[column]) & set(training[column]) or name == "question-answering"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_strategy": "epoch"}, "give eval_file, or validation_fraction=0.1"),
        ({"eval_file": ["dev.json"]}, "give eval_strategy=epoch"),
        ({"eval_file": ["dev.json"], "validation_fraction": 0.1}, "give one of them"),
        ({"validation_fraction": 1.0}, "valid are numbers from 0 and below 1"),
        ({"early_stopping_patience": 1}, "early_stopping_patience"),
    ],
)
def test_evaluation_that_cannot_be_is_refused(train, options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)
