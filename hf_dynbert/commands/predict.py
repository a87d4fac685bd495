# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert predict`: answers, classes or rankings of one input, or of a file of inputs."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..utils.atomic_files import check_writable, replace_files
from ..utils.errors import InputError, one_line, reading
from .checks import check_model, print_json, print_values


DESCRIPTION = "Predict with a model of any task: one input of the command line, or a file of inputs."
EXAMPLE = 'hf-dynbert predict --model outputs/model --question "Who built it?" --context "Ada Marsh built the tower."'
INPUTS = ("question", "context", "text", "text_pair", "query", "passages")
CRITERIA = ("max_latency_ms", "speedup")  # by which the model chooses a budget


@dataclass
class PredictArguments:
    """Options of `predict`.

    Args:
        model (`str`): folder or Hub id of a model with a head for a task.
        task (`str`, *optional*): name of a task; by default the task of the checkpoint's head.
        question (`str`, *optional*): question answering: the question.
        context (`str`, *optional*): question answering: text to search for the answer.
        context_file (`str`, *optional*): file with the context in UTF-8, or - for standard input.
        text (`str`, *optional*): classification: the text.
        text_pair (`str`, *optional*): classification: the second text of a pair.
        query (`str`, *optional*): reranking: the query.
        passages (`list[str]`, *optional*): reranking: the passages to order.
        data (`str`, *optional*): JSON lines of inputs, with the fields question and context, text, or query and passages.
        output (`str`, *optional*): JSON lines to write, an input's id and prediction on each.
        budget (`str`, *optional*): name of a budget, or a list such as 0.9,0.6,0.5,0.4,0.3,0.3.
        max_latency_ms (`float`, *optional*): choose the best budget within so many milliseconds (rankings: deadline).
        speedup (`float`, *optional*): choose the best budget that is so many times as fast as full length.
        top_k (`int`, *optional*): number of answers, labels or passages; one answer, one label or all passages by default.
        max_answer_len (`int`, *optional*): question answering: largest number of tokens of an answer.
        max_length (`int`, *optional*): most tokens of an input; by default that of the task.
        batch_size (`int`): inputs of a call of the model.
        json (`bool`): print one JSON value.
    """

    model: str
    task: str | None = None
    question: str | None = None
    context: str | None = None
    context_file: str | None = None
    text: str | None = None
    text_pair: str | None = None
    query: str | None = None
    passages: list[str] | None = None
    data: str | None = None
    output: str | None = None
    budget: str | None = None
    max_latency_ms: float | None = None
    speedup: float | None = None
    top_k: int | None = None
    max_answer_len: int | None = None
    max_length: int | None = None
    batch_size: int = 16
    json: bool = False

    def __post_init__(self):
        given = [name for name in (*INPUTS, "context_file") if getattr(self, name) is not None]
        if bool(given) == (self.data is not None) or (self.data is None) != (self.output is None):
            raise InputError(
                "predict needs one input, for example --text TEXT, or files: --data inputs.jsonl --output predictions.jsonl."
            )
        if self.context is not None and self.context_file is not None:
            raise InputError("predict takes --context TEXT or --context_file FILE, one of the two.")
        criteria = [f"--{name}" for name in self.criteria()]
        if self.budget is not None and criteria:
            raise InputError(f"--budget and {' and '.join(criteria)} all select a budget; give one of them.")

    def criteria(self) -> dict[str, float]:
        """The criteria that are given."""
        return {name: getattr(self, name) for name in CRITERIA if getattr(self, name) is not None}


ARGUMENTS = (PredictArguments,)


def run(args: PredictArguments) -> None:
    """Prints the prediction, or writes the file of predictions."""
    single = None if args.data else _single_input(args)
    if args.output:
        check_writable(Path(args.output).parent)
        if not Path(args.data).is_file():
            raise InputError(f"No such file: --data {args.data}.")
    check_model(args.model, "--model")
    from transformers import AutoConfig, pipeline  # takes seconds: what can be checked before is checked before

    from ..budgets.sampling import parse_length_config
    from ..loading import load, load_tokenizer
    from ..tasks import task_of

    with reading(args.model):
        task = task_of(AutoConfig.from_pretrained(args.model, trust_remote_code=False), args.task, args.model)
    if single is not None:
        _check_fields(single, task.fields, f"The input of a {task.name} model")
    else:
        for _ in _inputs(args.data, task.fields):  # reads the whole file: wrong lines are reported before any work
            pass
    options = {"top_k": args.top_k, "max_answer_len": args.max_answer_len, **args.criteria()}
    if args.max_answer_len is not None and task.name != "question-answering":
        raise InputError(f"--max_answer_len is for question-answering; {args.model} is a model for {task.name}.")
    with reading(args.model):
        model, tokenizer = load(args.model, task.name), load_tokenizer(args.model)
    if args.criteria() and not hasattr(model, "choose_budget"):
        raise InputError(f"{type(model).__name__} has no budgets to choose from; give a length-adaptive model.")
    options["budget"] = None if args.budget is None else parse_length_config(args.budget)
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"batch_size": args.batch_size, **task.pipeline_options(args.max_length)}
    predict = pipeline(task.pipeline, model=model, tokenizer=tokenizer)
    if single is None:
        print(f"Written: {args.output}, {_predict_file(predict, task, args, options)} predictions.")
        return
    prediction = _unpacked(predict(single, **options), args.top_k)
    if args.json:
        print_json(prediction)
        return
    for item in prediction if isinstance(prediction, list) else [prediction]:
        print_values(item)


def _single_input(args: PredictArguments) -> dict:
    """The input of the command line."""
    given = {name: getattr(args, name) for name in INPUTS if getattr(args, name) is not None}
    return given if args.context_file is None else given | {"context": _read_text(args.context_file)}


def _check_fields(row: dict, fields: tuple[str, ...], place: str) -> None:
    """Refuses an input with other fields than those of the task, or without a text; `text_pair` may be missing."""
    for name in fields:
        value = row.get(name)
        texts = value if isinstance(value, list) and name == "passages" else [value]
        valid = texts and all(isinstance(text, str) and text.strip() for text in texts)
        if not valid and not (value is None and name == "text_pair"):
            kind = "a list of texts" if name == "passages" else "a text"
            raise InputError(f"{place} has {name} {value!r:.60}; it must be {kind}. Fields are {', '.join(fields)}.")
    if wrong := set(row) - set(fields):
        raise InputError(f"{place} has no {', '.join(sorted(wrong))}; its fields are {', '.join(fields)}.")


def _predict_file(predict, task, args: PredictArguments, options: dict) -> int:
    """Writes a prediction for each line of the file, and returns their number."""
    ids, number, path = [], 0, Path(args.output)

    def rows() -> Iterator[dict]:
        for name, inputs in _inputs(args.data, task.fields):
            ids.append(name)
            yield inputs

    with replace_files(path.parent) as folder, (folder / path.name).open("w", encoding="utf-8") as file:
        for number, prediction in enumerate(tqdm(predict(rows(), **options), desc="Predicting"), start=1):
            line = {"id": ids[number - 1], "prediction": _unpacked(prediction, args.top_k)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return number


def _inputs(file: str, fields: tuple[str, ...]) -> Iterator[tuple[object, dict]]:
    """Id and input of each line of a file; the id of a line without one is its number among the inputs, from 0."""
    for count, (line, row) in enumerate(_read_rows(Path(file))):
        inputs = {name: row[name] for name in fields if row.get(name) is not None}
        _check_fields(inputs, fields, f"{file}, line {line}")
        yield row.get("id", count), inputs


def _read_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Number and object of each line that is not empty."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is not JSON: {one_line(error)}") from error
            if not isinstance(row, dict):
                raise InputError(f'{path}, line {number} is {line.strip()!r:.60}; it must be an object: {{"text": "..."}}.')
            yield number, row


def _unpacked(prediction, top_k: int | None):
    """The prediction; transformers' classifiers return the most probable label in a list."""
    if top_k is None and isinstance(prediction, list) and list(prediction[0]) == ["label", "score"]:
        return prediction[0]
    return prediction


def _read_text(name: str) -> str:
    """The text as written: start and end of an answer count its characters, carriage returns too."""
    with reading("standard input" if name == "-" else f"--context_file {name}"):
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode("utf-8-sig")
