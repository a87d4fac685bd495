# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert predict`: answers, classes or rankings of one input, or of a file of inputs."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from ..prediction.rows import PARQUET, Block, check_fields, find_blocks, input_files
from ..utils.atomic_files import check_writable, replace_files
from ..utils.errors import InputError, reading, refuse_without_effect
from .checks import check_model, need_packages, print_json, print_values


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
        data (`str`, *optional*): rows of inputs, JSON lines or Parquet, a file or a folder; a row may have a budget.
        output (`str`, *optional*): id and prediction of each row: a .jsonl file, or a folder, which a second run completes.
        budget (`str`, *optional*): name of a budget, or a list such as 0.9,0.6,0.5,0.4,0.3,0.3.
        max_latency_ms (`float`, *optional*): choose the best budget within so many milliseconds (rankings: deadline).
        speedup (`float`, *optional*): choose the best budget that is so many times as fast as full length.
        top_k (`int`, *optional*): number of answers, labels or passages; one answer, one label or all passages by default.
        max_answer_len (`int`, *optional*): question answering: largest number of tokens of an answer.
        max_length (`int`, *optional*): most tokens of an input; by default that of the task.
        batch_size (`int`): inputs of a call of the model.
        json (`bool`): print one JSON value.
        engine (`str`): local is this process, ray are workers on this machine, or on the cluster in RAY_ADDRESS.
        num_workers (`int`, *optional*): workers of Ray; one by default.
        threads (`int`, *optional*): CPU threads of the model, in each worker; by default the cores are shared equally.
        block_rows (`int`): rows that are sorted by length and written together, in a file of their own in a folder.
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
    engine: Literal["local", "ray"] = "local"
    num_workers: int | None = None
    threads: int | None = None
    block_rows: int = 1024

    def __post_init__(self):
        given = [name for name in (*INPUTS, "context_file") if getattr(self, name) is not None]
        if bool(given) == (self.data is not None) or (self.data is None) != (self.output is None):
            raise InputError(
                "predict needs one input, for example --text TEXT, or files: --data inputs.jsonl --output predictions.jsonl."
            )
        if self.data is not None:
            refuse_without_effect(self, ["json"], "on files, which are JSON lines")
        if self.context is not None and self.context_file is not None:
            raise InputError("predict takes --context TEXT or --context_file FILE, one of the two.")
        criteria = [f"--{name}" for name in self.criteria()]
        if self.budget is not None and criteria:
            raise InputError(f"--budget and {' and '.join(criteria)} all select a budget; give one of them.")
        if self.num_workers is not None and self.engine != "ray":
            raise InputError("--num_workers is for --engine ray; the local engine is one process, see --threads.")
        if self.engine == "ray" and self.data is None:
            raise InputError("--engine ray predicts files: --data inputs/ --output predictions/.")

    def criteria(self) -> dict[str, float]:
        """The criteria that are given."""
        return {name: getattr(self, name) for name in CRITERIA if getattr(self, name) is not None}

    @property
    def writes_folder(self) -> bool:
        """Whether the output is a folder: its name has no ending."""
        return self.output is not None and not Path(self.output).suffix


ARGUMENTS = (PredictArguments,)


def run(args: PredictArguments) -> None:
    """Prints the prediction, or writes the predictions of files."""
    single = None if args.data else _single_input(args)
    files = [] if args.data is None else _check_files(args)
    check_model(args.model, "--model")
    from transformers import AutoConfig  # takes seconds: what can be checked before is checked before

    from ..tasks import task_of

    with reading(args.model):
        config = AutoConfig.from_pretrained(args.model, trust_remote_code=False)
        task = task_of(config, args.task, args.model)
    blocks, budgets = [], {}
    if single is not None:
        check_fields(single, task.fields, f"The input of a {task.name} model")
    else:  # reads all rows: wrong ones are reported before any work
        blocks, budgets = find_blocks(files, task.fields, args.block_rows)
    if args.max_answer_len is not None and task.name != "question-answering":
        raise InputError(f"--max_answer_len is for question-answering; {args.model} is a model for {task.name}.")
    arguments = _predictor_arguments(args, task.name)
    predictor = _make_predictor(arguments, budgets)
    if single is None:
        if args.writes_folder:
            _write_folder(args, files, blocks, predictor, arguments)
        else:
            _write_file(Path(args.output), blocks, predictor)
        print(f"Written: {args.output}, {sum(block.rows for block in blocks)} predictions.")
        return
    prediction = predictor.predict([single])[0]
    if args.json:
        print_json(prediction)
        return
    for item in prediction if isinstance(prediction, list) else [prediction]:
        print_values(item)


def _check_files(args: PredictArguments) -> list[Path]:
    """The files of the inputs; refuses outputs of another kind, and an engine that is not installed."""
    output = Path(args.output)
    check_writable(output if args.writes_folder else output.parent)
    files = input_files(args.data)
    if not args.writes_folder and (args.engine == "ray" or files[0].suffix == PARQUET or files != [Path(args.data)]):
        raise InputError(
            f"--output {output} is a file; --engine ray, folders and Parquet need a folder, whose name has no ending: "
            f"--output {output.with_suffix('')}"
        )
    if args.engine == "ray":
        need_packages("--engine ray", ["ray"], "ray")
    return files


def _predictor_arguments(args: PredictArguments, task: str) -> dict:
    """Arguments of `BatchPredictor`, in each process."""
    from ..budgets.sampling import parse_length_config

    options = {"top_k": args.top_k, "max_answer_len": args.max_answer_len, "max_length": args.max_length}
    options |= args.criteria() | {"budget": None if args.budget is None else parse_length_config(args.budget)}
    given = {name: value for name, value in options.items() if value is not None}
    threads = args.threads
    if args.engine == "ray":
        threads = threads or max(1, (os.cpu_count() or 1) // (args.num_workers or 1))
    return {"model": args.model, "task": task, "batch_size": args.batch_size, "threads": threads, **given}


def _make_predictor(arguments: dict, budgets: dict[str, str]):
    """The predictor of this process, which has checked the options and the budgets that rows name."""
    from ..prediction.predictor import BatchPredictor

    predictor = BatchPredictor(**arguments)
    if budgets and not hasattr(predictor.model, "choose_budget"):
        place = next(iter(budgets.values()))
        raise InputError(f"{place} has a budget; {type(predictor.model).__name__} has none. Give a length-adaptive model.")
    for budget, place in budgets.items():
        try:
            predictor.model.config.resolve_budget(json.loads(budget))
        except (TypeError, ValueError) as error:
            raise InputError(f"{place}: {error}") from error
    return predictor


def _write_file(path: Path, blocks: Sequence[Block], predictor) -> None:
    """Writes a line for each row of all blocks."""
    from ..prediction.folder import predict_block, to_json

    with replace_files(path.parent) as folder, (folder / path.name).open("w", encoding="utf-8") as file:
        for block in _progress(((block.rows, block) for block in blocks), blocks):
            file.writelines(to_json(predict_block(block, predictor)))


def _write_folder(args: PredictArguments, files: list[Path], blocks: list[Block], predictor, arguments: dict) -> None:
    """Writes a file for each block that has none yet."""
    from ..prediction.folder import begin_folder, part_of, write_block
    from ..prediction.predictor import BatchPredictor

    folder = Path(args.output)
    names = ("task", "budget", *CRITERIA, "top_k", "max_answer_len", "max_length", "batch_size")
    settings = {name: arguments.get(name) for name in names} | {"block_rows": args.block_rows, "chosen_budget": None}
    # All workers, and a second run, use one choice. The deadline of a ranking is none: it holds for each query.
    if args.criteria() and not (predictor.task.name == "reranking" and args.max_latency_ms is not None):
        settings["chosen_budget"] = predictor.model.choose_budget(**args.criteria())
    commit = getattr(predictor.model.config, "_commit_hash", None)
    chosen = begin_folder(folder, settings, args.model, files, commit)["chosen_budget"]
    missing = [block for block in blocks if not part_of(folder, block).exists()]
    if len(missing) < len(blocks):
        print(f"{folder} has {len(blocks) - len(missing)} of {len(blocks)} files; {len(missing)} are to be written.")
    if chosen is not None:
        arguments = {name: value for name, value in arguments.items() if name not in CRITERIA} | {"budget": chosen}
        predictor = BatchPredictor(**arguments)
    if args.engine == "ray" and missing:
        from ..integrations.ray import predict_blocks

        done = predict_blocks(missing, folder, arguments, args.num_workers or 1, arguments["threads"])
        for _ in _progress(((found["rows"], found) for found in done), missing):
            pass
        return
    for block in _progress(((block.rows, block) for block in missing), missing):
        write_block(folder, block, predictor)


def _progress(items: Iterable[tuple[int, object]], blocks: Sequence[Block]) -> Iterator:
    """The items, with a progress bar of their rows."""
    with tqdm(total=sum(block.rows for block in blocks), desc="Predicting", unit="rows") as bar:
        for rows, item in items:
            yield item
            bar.update(rows)


def _single_input(args: PredictArguments) -> dict:
    """The input of the command line."""
    given = {name: getattr(args, name) for name in INPUTS if getattr(args, name) is not None}
    return given if args.context_file is None else given | {"context": _read_text(args.context_file)}


def _read_text(name: str) -> str:
    """The text as written: start and end of an answer count its characters, carriage returns too."""
    with reading("standard input" if name == "-" else f"--context_file {name}"):
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode("utf-8-sig")
