# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The command `hf-dynbert`: `run`, `train`, `search`, `quantize`, `evaluate`, `benchmark`, `ask`, `convert`, `push`."""

import datetime
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml
from huggingface_hub.errors import HTTPError, StrictDataclassError
from transformers import AutoTokenizer, pipeline

from ..backbones.folder import convert as convert_checkpoint
from ..benchmarking.benchmark import table_of
from ..budgets.search.arguments import SearchArguments
from ..budgets.search.run import run_search
from ..hub.model_card import is_ours, write_evaluation
from ..hub.push import push_folder
from ..loading import load_any
from ..quantization.arguments import BenchmarkArguments, QuantizeArguments
from ..quantization.quantize import quantize as make_int8
from ..recipes.arguments import DataArguments, ModelArguments
from ..recipes.run import check_together, run_recipe
from ..subnetwork import parse_length_config
from ..tasks.question_answering.evaluate import SquadSample
from ..tasks.question_answering.features import MAX_LENGTH, STRIDE, check_max_length
from ..tasks.question_answering.report import COLUMNS, curve_rows
from ..tasks.question_answering.squad import load_squad, split_by_article, spread_over
from ..training.arguments import DistillationArguments
from ..training.processes import end_together
from .chain import Chain, Stage, read_chain
from .parsing import known_options, parse_arguments, read_options, unknown


SAVED = (
    "f1",
    "exact_match",
    "macs_mean",
    "macs_ratio",
    "length_config",
)  # of an evaluation, in a folder; latencies are a machine's
BAD_INPUT = (
    ValueError,
    OSError,
    StrictDataclassError,
    HTTPError,
    yaml.YAMLError,
)  # of a person, a file or a network: one line, no trace
WRONG_INPUT = 2  # exit status
FILES = (".json", ".jsonl", ".csv", ".txt")
NEEDS = {  # packages of a verb and a backend, and the extra that brings them
    ("search", None): {"optuna": "search", "matplotlib": "search"},
    ("quantize", "openvino"): {"openvino": "intel", "nncf": "intel"},
    ("quantize", "neural-compressor"): {"neural_compressor": "neural-compressor"},
    ("benchmark", None): {"openvino": "intel", "nncf": "intel", "matplotlib": "intel"},
}
USAGE = """usage: hf-dynbert VERB [RECIPE.yaml] [--option value ...]

  run       FOLDER                        all stages of a folder of recipes; what is done and unchanged is not repeated
  train     RECIPE.yaml                   fine-tune a checkpoint so that it answers at any token budget
  search    RECIPE.yaml                   find the budgets worth keeping on this machine (needs the search extra)
  quantize  RECIPE.yaml                   make an int8 folder of it, for OpenVINO (needs the intel extra) or PyTorch
  evaluate  --model DIR --data FILE.json  exact match, F1, operations and latency at one length configuration
  benchmark --model DIR --data FILE.json  latency beside plain models, in PyTorch and OpenVINO, fp32 and int8
  ask       --model DIR --question Q --context-file F   answer one question
  convert   --model DIR --output_dir DIR2 make a BERT, RoBERTa or DistilBERT checkpoint length-adaptive, without training
  push      --model DIR --repo USER/NAME  publish the folder on the Hub, in one commit

A recipe is a YAML file of options; options on the command line win. hf-dynbert VERB --help lists the options."""


RUN_USAGE = """usage: hf-dynbert run FOLDER [--plan] [--adopt STAGE ...] [--redo STAGE ...] [--option value ...]

FOLDER holds chain.yaml, which lists the stages. Options go to every stage whose verb knows them (--train_file a.json),
--stage.option goes to one (--teacher.num_train_epochs 2); they win over the recipes'.

  --plan     show where each stage stands, and end
  --adopt    take the results of these stages as they lie there, made elsewhere
  --redo     begin these again, with other options, data or code; what they made before is set aside, not deleted.
             Leave it out to go on with what was killed
  --record   where what was done is kept; outputs/FOLDER.chain.json when not given"""


@dataclass
class EvaluateArguments:
    """Options of `evaluate`."""

    model: str = field(metadata={"help": "Folder or Hub id of any extractive question answering model."})
    data: list[str] = field(metadata={"help": "SQuAD files, or a data set on the Hub."})
    split: str = field(default="validation", metadata={"help": "Split of a data set on the Hub."})
    length_config: list[str] = field(
        default_factory=list,
        metadata={"help": "Budgets by name, full, lists such as 0.9,0.6,0.5,0.4,0.3,0.3; named: full and all with a name."},
    )
    limit: int | None = field(default=None, metadata={"help": "Use so many questions, spread over the data."})
    held_out: float = field(default=0.0, metadata={"help": "Use only the part that training with this value holds out."})
    batch_size: int = field(default=32, metadata={"help": "Windows of a batch, padded to the longest."})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of a window."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    latency_samples: int = field(default=50, metadata={"help": "Windows to time at batch 1."})
    dtype: Literal["float32", "bfloat16"] = field(default="float32", metadata={"help": "Of a PyTorch model's weights."})
    json: bool = field(default=False, metadata={"help": "Print one JSON object and nothing else."})
    predictions: str | None = field(default=None, metadata={"help": "Write the answers to this JSON file."})
    save: bool = field(default=False, metadata={"help": "Keep the result in the model's folder, for its card."})


@dataclass
class AskArguments:
    """Options of `ask`."""

    model: str = field(metadata={"help": "Folder or Hub id of any extractive question answering model."})
    question: str = field(metadata={"help": "The question."})
    context_file: str = field(metadata={"help": "Text file that holds the answer; - reads standard input."})
    length_config: str | None = field(
        default=None, metadata={"help": "A budget's name, full, or a list such as 0.9,0.6,0.5,0.4,0.3,0.3."}
    )
    max_latency_ms: float | None = field(default=None, metadata={"help": "Most milliseconds; needs searched budgets."})
    max_macs: float | None = field(default=None, metadata={"help": "Most multiply-accumulates, likewise."})
    min_f1: float | None = field(default=None, metadata={"help": "Least F1, percent, likewise."})
    speedup: float | None = field(default=None, metadata={"help": "So many times as fast as full length, likewise."})
    top_k: int = field(default=1, metadata={"help": "How many answers."})
    max_answer_len: int = field(default=15, metadata={"help": "Most tokens of an answer."})
    json: bool = field(default=False, metadata={"help": "Print one JSON object and nothing else."})


@dataclass
class ConvertArguments:
    """Options of `convert`."""

    model: str = field(metadata={"help": "Folder or Hub id of a BERT, RoBERTa or DistilBERT checkpoint."})
    output_dir: str = field(metadata={"help": "Folder to write."})
    task: Literal["question-answering", "text-classification"] | None = field(
        default=None, metadata={"help": "What its head is for; the checkpoint's own when not given."}
    )
    budgets: str | None = field(default=None, metadata={"help": "Named length configurations, JSON."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a Hub id."})


@dataclass
class PushArguments:
    """Options of `push`."""

    model: str = field(metadata={"help": "Folder with model and tokenizer."})
    repo: str = field(metadata={"help": "Repository on the Hub, user/name; made if it is not there."})
    private: bool = field(default=False, metadata={"help": "Make it private, if it is made."})
    revision: str | None = field(default=None, metadata={"help": "Branch; main when not given."})
    message: str = field(default="Upload model", metadata={"help": "What the commit says."})


def train(model_args: ModelArguments, data_args: DataArguments, args: DistillationArguments) -> None:
    """Runs a recipe."""
    print(f"Saved in {run_recipe(model_args, data_args, args)}")
    end_together()


def search(args: SearchArguments) -> None:
    """Searches for budgets, and prints what was found."""
    try:
        folder = run_search(args)
    except ImportError as error:
        raise ValueError(f'search needs the search extra ({error}): pip install "hf_dynbert[search]"') from error
    if folder is None:
        print(f"Others still work on {args.output_dir}; the last of them writes what was found.")
        return
    print((folder / "front.md").read_text(encoding="utf-8"))
    print(f"{folder}/front.json, .md and .png written; budgets saved in {', '.join(args.save_to or [args.model])}.")


def quantize(args: QuantizeArguments) -> None:
    """Makes an int8 folder."""
    try:
        print(f"Saved in {make_int8(args)}")
    except ImportError as error:
        raise ValueError(f'backend openvino needs the intel extra ({error}): pip install "hf_dynbert[intel]"') from error


def benchmark(args: BenchmarkArguments) -> None:
    """Measures, prints a table, and writes JSON and a picture."""
    try:
        from ..benchmarking.entries import (
            benchmark as run,  # imports OpenVINO and NNCF, seconds that other verbs need not wait
        )
    except ImportError as error:
        raise ValueError(f'benchmark needs the intel extra ({error}): pip install "hf_dynbert[intel]"') from error
    columns, lines = table_of(run(args))
    _table(columns, lines)
    print(f"{args.output_dir}/benchmark.json, .md and .png written.")


def evaluate(args: EvaluateArguments) -> None:
    """Prints what is measured: of one length configuration all of it, of several a table."""
    data = load_squad(args.data, split=args.split)
    if args.save and not is_ours(Path(args.model)):
        raise ValueError(f"--save keeps the result in a length-adaptive model's folder, and {args.model} is none.")
    if args.held_out:
        _, data = split_by_article(data, args.held_out)
    data = spread_over(data, args.limit)
    model = load_any(args.model, dtype=args.dtype)
    asked = _asked_names(model, args)
    check_max_length(model.config, args.max_length)
    sample = SquadSample(AutoTokenizer.from_pretrained(args.model), data, args.max_length, args.stride)
    options = {"batch_size": args.batch_size, "latency_samples": args.latency_samples, "progress": not args.json}
    results = {}
    for name in asked:
        result = results[name] = sample.evaluate(model, _length_config(name), **options)
        if args.save:
            found = {key: result.to_dict()[key] for key in SAVED}
            write_evaluation(args.model, _questions(args, len(data)), name or "default", found)
    if args.predictions:
        text = json.dumps(result.predictions, ensure_ascii=False)
        Path(args.predictions).write_text(text, encoding="utf-8")
    if len(results) == 1:
        _show(result.to_dict(), args.json)
    elif args.json:
        print(json.dumps({name: found.to_dict() for name, found in results.items()}))
    else:
        _table(list(COLUMNS), [list(row) for row in curve_rows(results)])


def _asked_names(model, args: EvaluateArguments) -> list[str | None]:
    """Budgets to evaluate, checked before any work."""
    names: list[str | None] = []
    for name in args.length_config or [None]:
        if name == "named" and hasattr(model.config, "length_configs"):
            names += model.config.named_budgets
        else:
            names.append(name)
    names = list(dict.fromkeys(names))
    if args.predictions and len(names) > 1:
        raise ValueError(f"--predictions keeps the answers of one length configuration; got {', '.join(map(str, names))}.")
    for name in names:
        if hasattr(model.config, "resolve_length_config"):
            model.config.resolve_length_config(_length_config(name))
    return names


def ask(args: AskArguments) -> None:
    """Prints an answer."""
    text = sys.stdin.read() if args.context_file == "-" else Path(args.context_file).read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = load_any(args.model)
    answer = pipeline("extractive-qa", model=model, tokenizer=tokenizer)(
        question=args.question,
        context=text,
        length_config=_asked(model, args),
        top_k=args.top_k,
        max_answer_len=args.max_answer_len,
    )
    for item in answer if isinstance(answer, list) else [answer]:
        _show(item, args.json)


def convert(args: ConvertArguments) -> None:
    """Makes a folder of a checkpoint that people already have."""
    try:
        budgets = json.loads(args.budgets) if args.budgets else None
    except ValueError as error:
        raise ValueError(f"--budgets is no JSON ({error}); write for example '{{\"half\": [0.8, 0.6, 0.4]}}'.") from error
    print(f"Saved in {convert_checkpoint(args.model, args.output_dir, args.task, budgets, args.revision)}")


def push(args: PushArguments) -> None:
    """Publishes a folder and prints where."""
    print(push_folder(args.model, args.repo, args.private or None, args.revision, args.message))


def run(argv: list[str]) -> None:
    """Runs a chain of verbs, each in a process of its own."""
    if argv[:1] == ["--help"] or "--help" in argv[1:]:
        print(RUN_USAGE)
        return
    if not argv or argv[0].startswith("-"):
        raise ValueError(f"run needs a folder first.\n\n{RUN_USAGE}")
    options = read_options(argv[1:])
    own = {name: options.pop(name, []) for name in ("plan", "adopt", "redo", "record")}
    more = [word for name, values in options.items() for word in (f"--{name}", *values)]
    known = {verb: known_options(classes) for verb, (_, classes) in VERBS.items()}
    stages = read_chain(argv[0], more, known)
    for stage in stages:  # before any work: what is wrong with the last one is said now
        _check_stage(stage)
    record = Path(own["record"][0]) if own["record"] else Path("outputs") / f"{Path(argv[0]).resolve().name}.chain.json"
    chain = Chain(stages, record)
    if own["plan"]:
        positions = chain.positions()
        _table(["stage", "state", "result"], [[s.name, positions[s.name].state, str(s.folder)] for s in stages])
        return
    chain.run(_in_own_process, own["adopt"], own["redo"])
    _table(["stage", "minutes", "result"], chain.bill())


def _check_stage(stage: Stage) -> None:
    """Its options, the files it names, and the packages it needs."""
    parsed = parse_arguments(list(stage.argv), VERBS[stage.verb][1], prog=f"hf-dynbert {stage.verb}")
    try:
        if stage.verb == "train":
            check_together(*parsed)
        for option in ("train_file", "eval_file", "data"):
            for name in stage.options.get(option, []):
                if Path(name).suffix and not Path(name).exists() and Path(name).suffix in FILES:
                    raise ValueError(f"{option}: there is no file {name}.")
        for package, extra in NEEDS.get((stage.verb, getattr(parsed[0], "backend", None)), {}).items():
            if importlib.util.find_spec(package) is None:
                raise ValueError(f'{package} is missing: pip install "hf_dynbert[{extra}]"')
    except ValueError as error:
        raise ValueError(f"{stage.name}: {error}") from error


def _in_own_process(stage: Stage, lock: int) -> None:
    """So that one stage's memory and threads are not the next one's."""
    command = [sys.executable, "-m", "hf_dynbert.commands.main", stage.verb, *stage.argv]
    inherited = {} if os.name == "nt" else {"pass_fds": (lock,)}  # Windows knows no such thing
    status = subprocess.run(command, **inherited).returncode
    if status:
        hint = "see above" if status == WRONG_INPUT else "the same command goes on from there"
        raise ValueError(f"{stage.name} ended with status {status}; {hint}.")


VERBS = {
    "train": (train, (ModelArguments, DataArguments, DistillationArguments)),
    "search": (search, (SearchArguments,)),
    "quantize": (quantize, (QuantizeArguments,)),
    "evaluate": (evaluate, (EvaluateArguments,)),
    "benchmark": (benchmark, (BenchmarkArguments,)),
    "ask": (ask, (AskArguments,)),
    "convert": (convert, (ConvertArguments,)),
    "push": (push, (PushArguments,)),
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command.

    Args:
        argv (`list[str]`, *optional*): arguments; those of the process when not given.

    Returns:
        `int`: exit status: 0, or 2 where the input was wrong.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    try:
        if argv[0] == "run":
            run(argv[1:])
            return 0
        verb, classes = _verb(argv[0])
        verb(*parse_arguments(argv[1:], classes, prog=f"hf-dynbert {argv[0]}"))
    except BAD_INPUT as error:
        print(f"hf-dynbert: {error}", file=sys.stderr)
        return WRONG_INPUT
    return 0


def _verb(name: str):
    if name not in VERBS:
        raise ValueError(unknown(f"verb {name!r}", name, ["run", *sorted(VERBS)]))
    return VERBS[name]


def _asked(model, args: AskArguments):
    """The length configuration that a person named, or described."""
    wishes = {name: getattr(args, name) for name in ("max_latency_ms", "max_macs", "min_f1", "speedup")}
    wishes = {name: wish for name, wish in wishes.items() if wish is not None}
    if wishes and args.length_config:
        raise ValueError(f"Give --length_config or {', '.join('--' + name for name in wishes)}, not both.")
    if wishes and not hasattr(model, "choose_budget"):
        raise ValueError(f"{type(model).__name__} has no budgets to choose from; load a DynamicTinyBert.")
    return model.choose_budget(**wishes) if wishes else _length_config(args.length_config)


def _questions(args: EvaluateArguments, examples: int) -> dict:
    """What was evaluated on, without where it lies."""
    names = [Path(name).name if Path(name).exists() else f"{name} {args.split}" for name in args.data]
    dataset = args.data[0] if len(args.data) == 1 and not Path(args.data[0]).exists() else None
    return {
        "data": ", ".join(names),
        "dataset": dataset,
        "split": args.split if dataset else None,
        "examples": examples,
        "settings": {name: getattr(args, name) for name in ("held_out", "max_length", "stride", "dtype")},
        "whole": not args.limit and not args.held_out,
        "date": datetime.date.today().isoformat(),
    }


def _length_config(text: str | None):
    return None if text is None else parse_length_config(text)


def _table(columns: list[str], lines: list[list[str]]) -> None:
    """Columns as wide as what is in them."""
    widths = [max(len(line[i]) for line in (columns, *lines)) for i in range(len(columns))]
    for line in (columns, *lines):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *others]))


def _show(values: dict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, ensure_ascii=False))
        return
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {value:.4g}" if isinstance(value, float) else f"{name:<{width}}  {value}")


if __name__ == "__main__":
    sys.exit(main())
