"""Pipelines of all tasks: threads, padding, inputs, budgets, options, folders."""

import json
from concurrent.futures import ThreadPoolExecutor

import pandas
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, TextClassificationPipeline, pipeline
from transformers.pipelines.pt_utils import KeyDataset

import hf_dynbert
from hf_dynbert.subnetwork import SubNetwork


CONTEXT = "Ada lit the tower. Ben wrote the song in 1907."
QUESTIONS = [
    "who lit the tower?",
    "when was the song wrote by ben at the tower house?",
    "who?",
    "what keeps the light house?",
]
PAIRS = [{"question": question, "context": CONTEXT} for question in QUESTIONS]
TEXTS = ["ada lit the tower", "ben wrote the song in 1907 at the ship by the light house", "dan", "who keeps the tower?"]
BUDGETS = {"fast": [0.5, 0.3, 0.2, 0.1]}


def copy_of(tokenizer, **changes):
    """The tokenizer as its user may have set it up."""
    copied = type(tokenizer)(vocab=tokenizer.get_vocab(), model_max_length=tokenizer.model_max_length, **changes)
    copied("a", truncation=True, max_length=5, padding="max_length")  # leaves truncation and padding switched on
    return copied


@pytest.fixture
def make_pipeline(make_model, bert, classifier_folder, tokenizer):
    """A pipeline of each task, for a length-adaptive or for a plain model."""

    def make(task, plain=False, tokenizer=tokenizer, **options):
        if task == "extractive-qa":
            model = bert if plain else make_model(importance="learned", budgets=BUDGETS)
        else:
            model = AutoModelForSequenceClassification.from_pretrained(classifier_folder)
            model = model if plain else make_model("text-classification", importance="learned", budgets=BUDGETS)
        return pipeline(task, model=model, tokenizer=tokenizer, device="cpu", **options)

    return make


TASKS = {"extractive-qa": PAIRS, "text-classification": TEXTS}


def same(results, others):
    """Whether answers are alike; another padding sums in another order, so scores differ in the last digits."""
    for one, other in zip(results, others, strict=True):
        one, other = (row[0] if isinstance(row, list) else row for row in (one, other))
        assert one.pop("score") == pytest.approx(other.pop("score"), rel=1e-4)
        assert one == other
    return True


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("options", [{}, {"truncate": True}], ids=["one setting", "settings differ"])
def test_threads_get_the_answers_of_one(make_pipeline, tokenizer, task, options):
    """200 calls from 8 threads of two pipelines that were given one tokenizer."""
    shared = copy_of(tokenizer)
    pipes = [make_pipeline(task, tokenizer=shared), make_pipeline(task, tokenizer=shared)]

    def call(index):
        limit = 64 + index % 3 * 20
        cut = {"max_seq_len": limit} if task == "extractive-qa" else {"truncation": True, "max_length": limit % 7 + 3}
        return pipes[index % 2](TASKS[task][index % 4], **(cut if options else {}))

    alone = [call(index) for index in range(12)]  # then the settings and the inputs repeat
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(call, range(200)))
    assert together == [alone[index % 12] for index in range(200)]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("plain", [False, True], ids=["length-adaptive", "plain"])
@pytest.mark.parametrize("task", TASKS)
def test_batches_give_the_answers_of_single_calls(make_pipeline, tokenizer, task, plain, side):
    pipe = make_pipeline(task, plain, copy_of(tokenizer, padding_side=side))
    alone = [pipe(item) for item in TASKS[task]]
    assert same(pipe(TASKS[task], batch_size=4), alone)


class Row:
    """An object with attributes."""

    def __init__(self, question, context):
        self.question, self.context = question, context


FRAME = pandas.DataFrame(PAIRS)
MANY = {  # every way to give several questions
    "list of dicts": lambda: ((PAIRS,), {}),
    "tuple of dicts": lambda: ((tuple(PAIRS),), {}),
    "dicts": lambda: (tuple(PAIRS), {}),
    "tuples": lambda: (([(question, CONTEXT) for question in QUESTIONS],), {}),
    "generator": lambda: ((dict(pair) for pair in PAIRS), {}),
    "data set": lambda: ((Dataset.from_list(PAIRS),), {}),
    "data set with other columns": lambda: ((Dataset.from_list([pair | {"id": "1"} for pair in PAIRS]),), {}),
    "KeyDataset": lambda: ((KeyDataset(Dataset.from_list([{"pair": pair} for pair in PAIRS]), "pair"),), {}),
    "columns": lambda: ((), {name: Dataset.from_list(PAIRS)[name] for name in ("question", "context")}),
    "columns by position": lambda: (tuple(Dataset.from_list(PAIRS)[name] for name in ("question", "context")), {}),
    "KeyDatasets": lambda: ((), {"question": KeyDataset(Dataset.from_list(PAIRS), "question"), "context": CONTEXT}),
    "tuple by name": lambda: ((), {"question": tuple(QUESTIONS), "context": CONTEXT}),
    "generator by name": lambda: ((), {"question": iter(QUESTIONS), "context": CONTEXT}),
    "series": lambda: ((), {"question": FRAME["question"], "context": FRAME["context"]}),
    "data frame": lambda: ((FRAME,), {}),
    "rows": lambda: ((FRAME.iterrows(),), {}),
    "named tuples": lambda: ((FRAME.itertuples(),), {}),
    "objects": lambda: (([Row(question, CONTEXT) for question in QUESTIONS],), {}),
}
ONE = {  # every way to give one
    "dict": lambda: ((PAIRS[0],), {}),
    "names": lambda: ((), PAIRS[0]),
    "positions": lambda: ((QUESTIONS[0], CONTEXT), {}),
    "tuple": lambda: (((QUESTIONS[0], CONTEXT),), {}),
    "row": lambda: ((FRAME.iloc[0],), {}),
    "object": lambda: ((Row(QUESTIONS[0], CONTEXT),), {}),
}


@pytest.mark.parametrize("way", MANY)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_questions_come_in_many_ways(make_pipeline, way, batch_size):
    ask = make_pipeline("extractive-qa")
    args, named = MANY[way]()
    if way == "generator":
        args = (args,)
    results = list(ask(*args, **named, batch_size=batch_size))
    assert same(results, [ask(pair) for pair in PAIRS])


@pytest.mark.parametrize("way", ONE)
def test_a_question_comes_in_many_ways(make_pipeline, way):
    ask = make_pipeline("extractive-qa")
    args, named = ONE[way]()
    assert ask(*args, **named) == ask(question=QUESTIONS[0], context=CONTEXT)


@pytest.mark.parametrize(
    "inputs",
    [lambda: (text for text in TEXTS), lambda: tuple(TEXTS), lambda: Dataset.from_dict({"text": TEXTS})]
    + [lambda: KeyDataset(Dataset.from_dict({"text": TEXTS}), "text"), lambda: Dataset.from_dict({"text": TEXTS})["text"]]
    + [lambda: pandas.DataFrame({"text": TEXTS}), lambda: pandas.Series(TEXTS)],
    ids=["generator", "tuple", "data set", "KeyDataset", "column", "data frame", "series"],
)
def test_texts_come_in_many_ways(make_pipeline, inputs):
    classify = make_pipeline("text-classification")
    assert same(list(classify(inputs(), batch_size=2)), [classify(text) for text in TEXTS])


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        7,
        b"a",
        "\ud800",
        ["a", None],
        [("a", "b")],
        [["a"]],
        {},
        {"text": None},
        {"text": ["a", "b"]},
        {"text_pair": "a"},
    ],
    ids=repr,
)
def test_other_texts_are_refused(make_pipeline, inputs):
    """transformers took a list as one text, and returned one result for several texts."""
    with pytest.raises(ValueError, match="The text is .*; valid are a text and"):
        make_pipeline("text-classification")(inputs)


@pytest.mark.parametrize("task", TASKS)
def test_streams_are_read_while_results_are_used(make_pipeline, task):
    pipe, read = make_pipeline(task), []

    def items():
        for index in range(20_000):
            read.append(index)
            yield TASKS[task][index % 4]

    results = iter(pipe(items(), batch_size=2))
    for _ in range(10):
        next(results)
    assert len(read) < 40  # the data loader reads a few batches ahead
    assert pipe([]) == []


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        ((), {}, "The question is None"),
        ((), {"question": "who?"}, "The context is None"),
        (("who?",), {}, "The question is None .got 'who.'"),
        ((["who?"],), {}, "Item 0: The question is None .got 'who.'"),
        ((5,), {}, "The question is None .got 5"),
        (({"question": "who?"},), {}, "The context is None"),
        (({"question": ["who?"], "context": "x"},), {}, r"The question is \['who\?'\]"),
        (([{"question": "who?", "context": "x"}, {}],), {}, "Item 1: The question is None"),
        ((("who?", "x"),), {"context": "x"}, "both by position and by name"),
        (("who?", None), {}, "The context is None"),
        ((["a", "b"], ["c", "d", "e"]), {}, "2 questions do not fit 3 contexts"),
        (("\ud800", "x"), {}, "The question is"),
        ((), {"question": [None], "context": "x"}, "Item 0: The question is None"),
        ((), {"question": ["a", float("nan")], "context": "x"}, "Item 1: The question is nan"),
        ((({"question": q, "context": "x"} for q in ("a", "")),), {}, "Item 1: The question is ''"),
    ],
)  # fmt: skip
def test_other_questions_are_refused(make_pipeline, args, named, message):
    ask = make_pipeline("extractive-qa")
    with pytest.raises(ValueError, match=message):
        list(ask(*args, **named))


@pytest.mark.parametrize("task", TASKS)
def test_budgets_of_a_call_and_of_a_pipeline(make_pipeline, task):
    pipe, item = make_pipeline(task), TASKS[task][1]
    full, fast = pipe(item), pipe(item, budget="fast")
    assert full != fast == pipe(item, length_config="fast") == pipe(item, budget=BUDGETS["fast"])
    assert fast == pipe(item, budget=SubNetwork(BUDGETS["fast"])) == pipe(item, budget={"length_config": BUDGETS["fast"]})
    assert pipe(item) == full == pipe(item, budget="full")
    pipe = make_pipeline(task, budget="fast")
    assert pipe(item) == fast
    assert pipe(item, length_config="full") == full


def measured(folder, budgets):
    """Writes budgets as `hf-dynbert search` saves them."""
    config = json.loads((folder / "config.json").read_text())
    config["budgets"] = budgets
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("task", TASKS)
def test_limits_select_a_budget(make_pipeline, make_model, tokenizer, tmp_path, task):
    kind = {"extractive-qa": "question-answering"}.get(task, task)
    make_model(kind).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found = {"tokens": 20, "f1": 80.0, "macs": 2000, "latency_ms": 10.0}
    fast = found | {"length_config": BUDGETS["fast"], "f1": 79.0, "macs": 1000, "latency_ms": 5.0}
    measured(tmp_path, {"full": found | {"length_config": None}, "fast": fast})
    pipe, item = pipeline(task, model=str(tmp_path)), TASKS[task][1]
    assert pipe(item, max_macs=1000) == pipe(item, budget="fast") != pipe(item)
    assert pipe(item, max_macs=2000) == pipe(item)
    assert pipe(item, max_macs=10, nearest=True) == pipe(item, budget="fast")
    with pytest.raises(ValueError, match="No budget"):
        pipe(item, max_macs=10)
    with pytest.raises(ValueError, match="one of budget, length_config, or limits"):
        pipe(item, budget="fast", max_macs=1000)


HOSTILE = [0, -1, True, "3", 1.5, float("nan"), [1], {}, 10**9]
COUNTS = {"top_k": [0, -1, True, "3", 1.5, float("nan"), [1]], "max_answer_len": [0, -1, True, "3", 1.5, float("nan")]}
COUNTS |= {"max_seq_len": HOSTILE, "max_question_len": HOSTILE, "doc_stride": [-1, True, "3", 1.5, float("nan"), 10**9]}
COUNTS |= {"batch_size": [0, -1, True, "3", 1.5], "num_workers": [-1, True, "3", 1.5]}
NUMBERS = {
    name: [0, -1, True, "3", float("nan"), float("inf"), [1]]
    for name in ("max_latency_ms", "max_macs", "min_score", "max_loss")
}
NUMBERS |= {"tokens": [0, True, "3", 1.5], "nearest": ["yes", 1]}
BUDGET = {"budget": ["nope", [], [0.5], [2.0] * 4, 3, True, {"nope": 1}, [float("nan")] * 4, "", [0.5, 0.6, 0.7, 0.8]]}
BUDGET |= {"length_config": ["nope", [], [0.5], [2.0] * 4, 3, True, "", [0.5, 0.6, 0.7, 0.8]], "speedup": ["2", 0, True]}
FLAGS = {name: ["yes", 1, "", [True]] for name in ("handle_impossible_answer", "align_to_words")}
INVALID = {
    "extractive-qa": COUNTS | NUMBERS | BUDGET | FLAGS,
    "text-classification": NUMBERS
    | BUDGET
    | {"function_to_apply": ["nope"], "batch_size": COUNTS["batch_size"], "num_workers": COUNTS["num_workers"]}
    | {"top_k": [0, -1, True, "3", 1.5, float("nan"), [1]]},
}
CASES = [(task, name, value) for task, options in INVALID.items() for name, values in options.items() for value in values]


@pytest.fixture(scope="module")
def pipes(tmp_path_factory, bert, tokenizer, bert_folder, classifier_folder):
    """One length-adaptive pipeline of each task, for the many options."""
    classes = {"extractive-qa": (hf_dynbert.DynamicTinyBertForQuestionAnswering, bert_folder)}
    classes["text-classification"] = (hf_dynbert.DynamicTinyBertForSequenceClassification, classifier_folder)
    return {
        task: pipeline(task, model=model_class.from_pretrained(folder, budgets=BUDGETS), tokenizer=tokenizer)
        for task, (model_class, folder) in classes.items()
    }


@pytest.mark.parametrize(("task", "name", "value"), CASES, ids=[f"{task} {name} {value}" for task, name, value in CASES])
def test_values_that_are_not_valid_are_refused(pipes, task, name, value):
    with pytest.raises(ValueError) as error:
        pipes[task](TASKS[task][0], **{name: value})
    assert not isinstance(error.value, UnicodeError)
    assert str(error.value)
    if name not in ("budget", "length_config", "doc_stride", "max_question_len", "max_seq_len"):
        assert name in str(error.value)
        assert repr(value) in str(error.value)
        assert "valid are" in str(error.value)


@pytest.mark.parametrize("plain", [False, True], ids=["length-adaptive", "plain"])
@pytest.mark.parametrize("task", TASKS)
def test_unknown_options_are_refused(make_pipeline, task, plain):
    pipe = make_pipeline(task, plain)
    for name, nearest in {"lenght_config": "length_config", "budgets": "budget", "topk": "top_k"}.items():
        with pytest.raises(TypeError, match=f"Unknown option {name}; the nearest valid one is {nearest}"):
            pipe(TASKS[task][0], **{name: 1})
        with pytest.raises(TypeError, match=f"Unknown option {name}"):
            make_pipeline(task, plain, **{name: 1})


def test_a_misspelt_question_is_named(make_pipeline):
    with pytest.raises(TypeError, match="Unknown option questions; the nearest valid one is question"):
        make_pipeline("extractive-qa")(questions="who?", context="ada")


@pytest.mark.parametrize(
    "option", [{"budget": "fast"}, {"length_config": [0.5] * 4}, {"max_latency_ms": 5}, {"min_score": 50}]
)
@pytest.mark.parametrize("task", TASKS)
def test_plain_models_refuse_budgets(make_pipeline, task, option):
    with pytest.raises(ValueError, match="is not length-adaptive and has no budgets"):
        make_pipeline(task, plain=True)(TASKS[task][0], **option)
    with pytest.raises(ValueError, match="is not length-adaptive and has no budgets"):
        make_pipeline(task, plain=True, **option)


def test_plain_classifiers_answer_as_in_transformers(make_pipeline, classifier_folder, tokenizer):
    model = AutoModelForSequenceClassification.from_pretrained(classifier_folder)
    theirs = TextClassificationPipeline(model=model, tokenizer=tokenizer, device="cpu")
    ours = make_pipeline("text-classification", plain=True)
    assert isinstance(ours, TextClassificationPipeline)
    pairs = [{"text": text, "text_pair": "who?"} for text in TEXTS]
    for inputs in (TEXTS[0], TEXTS, pairs, pairs[0], [[["ada", "ben"]]]):
        for options in ({}, {"top_k": None}, {"top_k": 2}, {"function_to_apply": "none"}, {"truncation": True}):
            assert ours(inputs, **options) == theirs(inputs, **options)


@pytest.mark.parametrize("plain", [False, True], ids=["length-adaptive", "plain"])
@pytest.mark.parametrize("task", TASKS)
def test_saved_pipelines_load(make_pipeline, tmp_path, task, plain):
    pipe = make_pipeline(task, plain)
    before = pipe.model.config.to_dict()
    pipe.save_pretrained(tmp_path)
    assert "custom_pipelines" not in pipe.model.config.to_dict()
    saved = {"auto_map": None, "architectures": None}  # what `save_pretrained` of a model sets
    assert pipe.model.config.to_dict() | saved == before | saved
    again = pipeline(task, model=str(tmp_path))
    assert again(TASKS[task]) == pipe(TASKS[task])


@pytest.mark.parametrize("task", TASKS)
def test_folders_that_are_not_whole_are_refused(make_pipeline, tmp_path, task):
    pipe = make_pipeline(task)
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    for kept in ({}, dict(list(weights.items())[: len(weights) // 2])):
        path.unlink()  # models read from the file that was there
        save_file(kept, path, metadata={"format": "pt"})
        with pytest.raises(ValueError, match="are incomplete"):
            pipeline(task, model=str(tmp_path))
        with pytest.raises(ValueError, match="are incomplete"):
            hf_dynbert.load(tmp_path)
    path.unlink()
    path.write_bytes(b"")
    with pytest.raises((OSError, ValueError), match="damaged, incomplete"):
        pipeline(task, model=str(tmp_path))
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="has no tokenizer"):
        pipeline(task, model=str(tmp_path))


def test_heads_of_other_tasks_are_refused(make_model, tokenizer, bert_folder, classifier_folder):
    heads = {"extractive-qa": make_model("text-classification"), "text-classification": make_model()}
    for task, model in heads.items():
        with pytest.raises(ValueError, match="pipeline"):
            pipeline(task, model=model, tokenizer=tokenizer)
    with pytest.raises(ValueError, match="is a model for text-classification, not for question-answering"):
        hf_dynbert.load(classifier_folder, task="question-answering")
    with pytest.raises(ValueError, match="is a text classifier"):
        pipeline("extractive-qa", model=str(classifier_folder))
    with pytest.raises(ValueError, match="task is 'qa'; valid are"):
        hf_dynbert.load(classifier_folder, task="qa")
    assert type(hf_dynbert.load(bert_folder)).__name__ == "BertForQuestionAnswering"
    assert hf_dynbert.load(classifier_folder, dtype="bfloat16").dtype == torch.bfloat16


@pytest.mark.intel
@pytest.mark.parametrize("task", TASKS)
def test_openvino_folders_in_one_line(make_model, tokenizer, tmp_path, task):
    pytest.importorskip("optimum.intel")
    kind = {"extractive-qa": "question-answering"}.get(task, task)
    make_model(kind, importance="learned", budgets=BUDGETS).save_pretrained(tmp_path / "torch")
    tokenizer.save_pretrained(tmp_path / "torch")
    classes = {
        "extractive-qa": hf_dynbert.OVDynamicTinyBertForQuestionAnswering,
        "text-classification": hf_dynbert.OVDynamicTinyBertForSequenceClassification,
    }
    classes[task].from_pretrained(tmp_path / "torch", export=True).save_pretrained(tmp_path / "openvino")
    tokenizer.save_pretrained(tmp_path / "openvino")
    eager, exported = (pipeline(task, model=str(tmp_path / name)) for name in ("torch", "openvino"))
    assert isinstance(hf_dynbert.load(tmp_path / "openvino"), classes[task])
    assert classes[task].__name__ in dir(hf_dynbert)
    for options in ({}, {"budget": "fast"}, {"batch_size": 3}):
        for one, other in zip(exported(TASKS[task], **options), eager(TASKS[task], **options), strict=True):
            assert one.pop("score") == pytest.approx(other.pop("score"), rel=1e-3)  # kernels round differently
            assert one == other


@pytest.mark.intel
def test_fixed_shapes_answer_alike(make_model, tokenizer, tmp_path):
    pytest.importorskip("optimum.intel")
    make_model(importance="learned", budgets=BUDGETS).save_pretrained(tmp_path)
    model = hf_dynbert.OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path, export=True)
    free = pipeline("extractive-qa", model=model, tokenizer=tokenizer)(PAIRS, max_seq_len=64)
    for batch, batch_size in ((1, 1), (1, 3), (2, 3)):
        model.reshape(batch, 64)
        ask = pipeline("extractive-qa", model=model, tokenizer=tokenizer)
        for one, other in zip(ask(PAIRS, batch_size=batch_size), free, strict=True):
            assert (one["start"], one["end"]) == (other["start"], other["end"])
            assert one["score"] == pytest.approx(other["score"], rel=1e-3)  # kernels round differently
    with pytest.raises(ValueError, match="max_seq_len is 65; valid are whole numbers from 1 to 64"):
        ask(PAIRS, max_seq_len=65)
