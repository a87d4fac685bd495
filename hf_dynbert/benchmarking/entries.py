# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The entries of `hf-dynbert benchmark`: our model in every form, and plain models of the usual shapes."""

import dataclasses
import functools
import json
import random
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, BertConfig, DistilBertConfig, DistilBertPreTrainedModel

from ..budgets.latency import machine_name
from ..budgets.model_budgets import count_macs, named_budgets
from ..openvino.modeling_openvino import PRECISION, model_class
from ..quantization.arguments import QuantizeArguments
from ..quantization.nncf_static import quantize_graph
from ..quantization.quantize import RECORD
from ..tasks import Task, task_of
from ..tasks.inference import check_max_length, pad_batch
from ..utils.folder_config import load_config
from ..utils.tables import markdown_table
from .arguments import BenchmarkArguments
from .benchmark import BURST, BenchmarkEntry, benchmark_rows, measure_entries, plot_benchmark, table_of


MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
CALIBRATION = 20  # inputs to calibrate plain models with: their weights are random, so accuracy does not matter
INPUTS = 200  # of a case at most
FORMS = {"openvino": "OpenVINO int8", "pytorch": "PyTorch int8", "neural-compressor": "Neural Compressor int8"}
BASE, PLAIN = "BERT-base PyTorch fp32", "MiniLM-L6 OpenVINO int8"


def benchmark(args: BenchmarkArguments) -> list[dict]:
    """Measures all entries, and writes `benchmark.json`, `benchmark.md` and `benchmark.png`.

    Args:
        args ([`BenchmarkArguments`]): the models, the data and the settings.

    Returns:
        `list[dict]`: see `benchmark_rows`.

    Raises:
        ValueError: bad data, another architecture, a head of another task, or an unknown budget; before any work.
    """
    import matplotlib  # noqa: F401 (a missing package is reported before any work)

    task = task_of(load_config(args.model), args.task, args.model)
    ours = task.model_class.from_pretrained(args.model).eval()
    names = [named_budgets(ours.config) if name == "named" else [name] for name in args.length_configs]
    args = dataclasses.replace(
        args, length_configs=list(dict.fromkeys(sum(names, []))), max_length=args.max_length or task.max_length
    )
    budgets = [ours.config.resolve_budget(budget) for budget in args.length_configs]
    forms = {}
    for folder in args.int8:
        if (form := form_of(Path(folder))) in forms:
            raise ValueError(f"int8: {forms[form]} and {folder} are both {form}; measure one of them at a time.")
        forms[form], config = folder, load_config(folder)
        task_of(config, task.name, folder)
        for budget in budgets:
            config.resolve_budget(budget).encode(ours.config)  # refuses what a graph cannot run
    check_max_length(ours.config, args.max_length, default=0)
    tokenizer = AutoTokenizer.from_pretrained(args.model, trust_remote_code=False)
    data = task.load(args.data, args.data_options(task, args.data, "validation"))
    cases = benchmark_cases(tokenizer, task, data.shuffle(seed=0).select(range(min(INPUTS, len(data)))), args)
    if args.threads:
        torch.set_num_threads(args.threads)
    threads, output = torch.get_num_threads(), Path(args.output_dir)
    makers = our_entries(ours, task, args, threads)
    if args.plain:
        makers = plain_entries(output / "models", task, threads, args.max_length) | makers
    names = chosen(list(makers), args.only)
    entries = [BenchmarkEntry(name, *makers[name]()) for name in names]
    references = [name for name in (BASE, PLAIN) if name in names] or names[:1]
    rows = benchmark_rows(entries, measure_entries(entries, cases, args.repeats), references)
    machine = f"{machine_name(threads)}, PyTorch {torch.__version__}, OpenVINO {version('openvino')}"
    columns, lines = table_of(rows)
    output.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, "arguments": dataclasses.asdict(args), "rows": rows}
    (output / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (output / "benchmark.md").write_text(f"{machine}\n\n{markdown_table(columns, lines)}\n", encoding="utf-8")
    plot_benchmark(rows, output / "benchmark.png", f"{machine}; {args.repeats} turns of {BURST - 1} timed calls")
    return rows


def chosen(names: list[str], only: list[str]) -> list[str]:
    """The names that contain one of the parts in `only`, or all names."""
    for part in only:
        if not any(part in name for name in names):
            raise ValueError(f"only has {part!r}, which is in no row's name. Rows are: {', '.join(map(repr, names))}.")
    return [name for name in names if not only or any(part in name for part in only)]


def benchmark_cases(tokenizer, task: Task, data, args: BenchmarkArguments) -> dict[str, list[dict]]:
    """Batches of real inputs, by case.

    The cases are: one input of `max_length` tokens, whose last text is repeated; one input padded to `max_length`; one input
    at its own length; eight inputs padded to their longest.
    """
    length, inputs = args.max_length, task.inputs(tokenizer, data, args.data_options(task, args.data, "validation"))
    inputs = random.Random(0).sample(inputs, min(INPUTS, len(inputs)))
    return {
        f"batch 1, {length} tokens": [pad_batch(tokenizer, [lengthened(item, length)]) for item in inputs],
        f"batch 1 padded to {length}": [pad_batch(tokenizer, [item], length) for item in inputs],
        "batch 1, real lengths": [pad_batch(tokenizer, [item]) for item in inputs],
        "batch 8, padded to longest": [
            pad_batch(tokenizer, inputs[first : first + 8]) for first in range(0, max(1, len(inputs) - 7), 8)
        ],
    }


def lengthened(item: dict[str, list[int]], length: int) -> dict[str, list[int]]:
    """An input whose last text is repeated, so that there are `length` tokens; CLS and the last separator stay."""
    tokens, types = len(item["input_ids"]), item.get("token_type_ids", [])
    start = types.index(1) if 1 in types else 1
    times = length // max(1, tokens - 1 - start) + 1
    return {
        name: values[:start] + (values[start:-1] * times)[: length - start - 1] + values[-1:]
        for name, values in item.items()
    }


def our_entries(model, task: Task, args: BenchmarkArguments, threads: int) -> dict[str, Callable[[], tuple]]:
    """Our model in each form at each budget: by name, functions that return the fields `call, size, macs` of an entry."""

    @functools.cache  # one file for all budgets
    def exported():
        folder = Path(args.output_dir) / "models" / "ours-fp32"
        model_class(task.head).from_pretrained(args.model, export=True, compile=False).save_pretrained(folder)
        return folder

    forms = {
        "PyTorch fp32": lambda: (model, _weights(model)),
        "OpenVINO fp32": lambda: load_form(exported(), task, threads),
    }
    forms |= {form_of(Path(place)): functools.partial(load_form, Path(place), task, threads) for place in args.int8}

    def make(form, budget):
        loaded, size = forms[form]()  # one for each budget: a compiled model is slower right after a change of the budget
        subnetwork = model.config.resolve_budget(budget)  # not the name, which may stand for another one in an int8 folder
        return _caller(loaded, budget=subnetwork), size, count_macs(model.config, subnetwork, args.max_length)

    pairs = [(form, budget) for form in forms for budget in args.length_configs]
    return {f"ours {form}, {budget}": functools.partial(make, form, budget) for form, budget in pairs}


def form_of(folder: Path) -> str:
    """The name of an int8 folder in the table, by the backend in its record."""
    record = folder / RECORD
    if not record.exists():
        raise ValueError(f"{folder} holds no {RECORD}; int8 takes folders that hf-dynbert quantize has made.")
    return FORMS[json.loads(record.read_text(encoding="utf-8"))["arguments"]["backend"]]


def load_form(folder: Path, task: Task, threads: int) -> tuple:
    """The model of a folder in OpenVINO or PyTorch, and the bytes of its weights."""
    if (folder / "openvino_model.xml").exists():
        return model_class(task.head).from_pretrained(folder, ov_config=_settings(threads)), _files(folder)
    model = task.model_class.from_pretrained(folder).eval()
    return model, _weights(model)


def plain_entries(folder: Path, task: Task, threads: int, length: int) -> dict[str, Callable[[], tuple]]:
    """Plain models with random weights, exported once into `folder`: functions as `our_entries` returns them."""
    from optimum import intel  # after `..openvino`, which switches off telemetry while it imports OpenVINO

    bert, openvino_class = BertConfig(), getattr(intel, f"OVModel{task.head}")
    shapes = {
        "BERT-base": ("Bert", bert, bert),
        "DistilBERT": ("DistilBert", DistilBertConfig(), BertConfig(num_hidden_layers=6)),
        "MiniLM-L6": ("Bert", BertConfig(**MINILM), BertConfig(**MINILM)),
    }

    def make(shape, form):
        kind, config, counted = shapes[shape]
        macs = count_macs(counted, None, length)

        def make_pytorch():
            return random_model(getattr(transformers, f"{kind}{task.head}"), config)

        if form == "PyTorch fp32":
            model = make_pytorch()
            return _caller(model), _weights(model), macs
        place = plain_forms(make_pytorch, openvino_class, folder / shape.lower(), length)[form]
        return _caller(openvino_class.from_pretrained(place, ov_config=_settings(threads))), _files(place), macs

    pairs = [("BERT-base", "PyTorch fp32")]
    pairs += [(shape, form) for shape in shapes for form in ("OpenVINO fp32", "OpenVINO int8")]
    return {f"{shape} {form}": functools.partial(make, shape, form) for shape, form in pairs}


def random_model(model_class, config):
    """A model with random weights, biases and norms: compilers remove additions of zero and multiplications by one."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def plain_forms(make, openvino_class, folder: Path, length: int) -> dict[str, Path]:
    """Exports a plain model to OpenVINO, fp32 and int8, unless the files exist."""
    fp32, int8 = folder / "fp32", folder / "int8"
    if not (int8 / "openvino_model.xml").exists():
        make().save_pretrained(folder / "pytorch")
        exported = openvino_class.from_pretrained(str(folder / "pytorch"), export=True, compile=False)
        exported.save_pretrained(fp32)
        rng, names = random.Random(0), {port.get_any_name() for port in exported.model.inputs}
        inputs = [_random_input(rng, names, length) for _ in range(CALIBRATION)]
        quantize_graph(exported, inputs, QuantizeArguments.smooth_quant_alpha)  # as `quantize` does
        exported.save_pretrained(int8)
    return {"OpenVINO fp32": fp32, "OpenVINO int8": int8}


def _random_input(rng: random.Random, names: set, length: int) -> dict[str, np.ndarray]:
    ids = np.array([[rng.randrange(1000, 30000) for _ in range(rng.randrange(20, length))]], dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: value for name, value in inputs.items() if name in names}


def _caller(model, **call):
    takes_types = not isinstance(model, DistilBertPreTrainedModel)

    def run(batch):
        if not takes_types:
            batch = {name: value for name, value in batch.items() if name != "token_type_ids"}
        with torch.inference_mode():
            return model(**batch, **call)

    return run


def _weights(model) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def _files(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("openvino_model.*"))


def _settings(threads: int) -> dict:
    """The settings of all OpenVINO models."""
    return {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **PRECISION}
