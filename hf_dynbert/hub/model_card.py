# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A model card, written from what lies in a model's folder: what it is, how it was trained, rounded and evaluated."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..budgets.budget import Budget
from ..subnetwork import count_macs
from ..utils.atomic_files import replace_files


TRAINING, QUANTIZATION, EVALUATION = "training.json", "quantization.json", "evaluation.json"
OURS = "<!-- Written by hf_dynbert from the records beside it; without this line it is yours, and stays as you left it. -->"
GENERATED = "This model card has been automatically generated"  # what transformers writes where there is no card
PLACE = "USER/NAME"  # until the folder is pushed, and its name known
TASKS = {"QuestionAnswering": "question-answering", "SequenceClassification": "text-classification"}
TOKENS = 384  # for which operations are told where nothing was measured
BENCHMARK = ("rajpurkar/squad", "validation")  # what this package is measured on
# What is of one model alone, and of no other that is later put in its place
OPENVINO_FILES = ("openvino_model.xml", "openvino_model.bin", "openvino_config.json")
OF_A_MODEL = (TRAINING, QUANTIZATION, EVALUATION, "front.png", "model.safetensors", *OPENVINO_FILES)
PAPERS = {
    "length": ("Length-Adaptive Transformer", "Kim and Cho", 2021, "2010.07003"),
    "dynamic": ("Dynamic-TinyBERT", "Guskin et al.", 2021, "2111.09645"),
    "quala": ("QuaLA-MiniLM", "Guskin et al.", 2022, "2210.17114"),
    "tinybert": ("TinyBERT", "Jiao et al.", 2020, "1909.10351"),
    "minilm": ("MiniLM", "Wang et al.", 2020, "2002.10957"),
    "minilmv2": ("MiniLMv2", "Wang et al.", 2021, "2012.15828"),
    "importance": ("ColBERT, whose late interaction finds the tokens to keep", "Khattab and Zaharia", 2020, "2004.12832"),
    "distillation": ("Distilling the Knowledge in a Neural Network", "Hinton et al.", 2015, "1503.02531"),
}


def write_card(folder: str | Path, repo_id: str | None = None) -> Path | None:
    """Writes `README.md`, and `.eval_results/` where the model was evaluated on a benchmark of the Hub.

    A card that a person wrote or changed stays: it is theirs once the comment that marks ours is gone.

    Args:
        folder (`str` or `Path`): a model of ours; of others none is written.
        repo_id (`str`, *optional*): where it will stand; `push_folder` fills it in where it is not known yet.

    Returns:
        `Path` or `None`: the card, if it was written.
    """
    folder = Path(folder).resolve()
    path = folder / "README.md"
    if not is_ours(folder):
        return None
    _write_entries(folder)
    if path.exists() and not is_generated(path.read_text(encoding="utf-8")):
        return None
    text = str(make_card(folder))
    with replace_files(folder) as beside:
        (beside / path.name).write_text(for_repository(text, repo_id) if repo_id else text, encoding="utf-8")
    return path


def is_generated(card: str) -> bool:
    """Whether a card is what we, or transformers, wrote, and nobody's own words."""
    return OURS in card or GENERATED in card


def forget(folder: str | Path, keep: Iterable[str] = ()) -> None:
    """Removes what an earlier model left in a folder that gets another one: its records, its plot, its weights.

    Args:
        folder (`str` or `Path`): where the other one is, or will be. Of a folder without a model of ours nothing is removed.
        keep (`list[str]`): names that belong to the other one.
    """
    folder = Path(folder)
    if is_ours(folder):
        for name in set(OF_A_MODEL) - set(keep):
            (folder / name).unlink(missing_ok=True)


def hub_id(name: str | None) -> str | None:
    """The name, if it can be one of the Hub's `user/name`; a folder's is nobody's business."""
    if not name or "/" not in name or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name if name[0] not in "./~" else None


def origin(source: str | None) -> dict[str, str]:
    """Where a training's weights come from: `base_model` on the Hub, through folders that say theirs, and `started_from`."""
    if not source:
        return {}
    path = Path(source)
    if not path.exists():
        return {"base_model": source} if hub_id(source) else {}
    earlier = _record(path, TRAINING)
    base = {"base_model": earlier["base_model"]} if hub_id(earlier.get("base_model")) else {}
    return base | {"started_from": path.resolve().name}


def _write_entries(folder: Path) -> None:
    entries = benchmark_entries(folder)
    (folder / ".eval_results" / "squad.yaml").unlink(missing_ok=True)
    if entries:
        (folder / ".eval_results").mkdir(exist_ok=True)
        with replace_files(folder / ".eval_results") as beside:
            text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
            (beside / "squad.yaml").write_text(text, encoding="utf-8")


def is_ours(folder: Path) -> bool:
    """Whether a folder holds a length-adaptive model, in whatever runtime."""
    config = _record(folder, "config.json")
    return config.get("dynamic_model_type", config.get("model_type")) == "dynamic_tinybert"


def make_card(folder: Path) -> ModelCard:
    """The card of a folder.

    Args:
        folder (`Path`): a model of ours.

    Returns:
        [`~huggingface_hub.ModelCard`].
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    training, int8 = _record(folder, TRAINING), _record(folder, QUANTIZATION)
    evaluation = _evaluation(folder, config)
    task = _task(config)
    openvino = (folder / "openvino_model.xml").exists()
    tags = [
        "hf_dynbert",
        "length-adaptive",
        "drop-and-restore",
        *(["openvino"] if openvino else []),
        *(["int8"] if int8 else []),
    ]
    tags += _listed(training.get("tags"))
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        base_model=hub_id(training.get("base_model")),
        datasets=[name for name in _listed(training.get("dataset")) if hub_id(name)] or None,
        language=training.get("language"),
        license=training.get("license"),
        tags=tags,
        model_name=folder.name if evaluation else None,
        eval_results=_model_index(evaluation, task) or None,
    )
    parts = [
        f"# {folder.name}",
        OURS,
        _promise(config, training, openvino, bool(int8)),
        "## Ask it" if task == "question-answering" else "## Use it",
        _snippet(task, openvino, _first_budget(config)),
        "## Budgets",
        _budgets(config),
        *(f"![F1 against latency and operations]({path.name})" for path in sorted(folder.glob("front*.png"))),
        *_section("Evaluation", _evaluated(evaluation)),
        *_section("Training", _trained(training)),
        *_section("int8", _quantized(int8, config)),
        "## Limits",
        _limits(task),
        "## Papers",
        _papers(training, config),
    ]
    return ModelCard("---\n" + data.to_yaml() + "\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n")


def for_repository(card: str, repo_id: str) -> str:
    """A card's text once it is known where it will stand; a person's own card as it is."""
    return card.replace(PLACE, repo_id) if OURS in card else card


def write_evaluation(folder: str | Path, found: dict, name: str, result: dict) -> None:
    """Keeps what was measured at one budget in the folder, beside what was measured on the same questions before.

    Args:
        folder (`str` or `Path`): a model of ours.
        found (`dict`): `data` in a person's words, `dataset` and `split` where they are of the Hub, `examples`, `whole`
            (whether that is all there is), `date`.
        name (`str`): the budget.
        result (`dict`): `f1`, `exact_match`, `macs_ratio` and the `length_config` that was used.
    """
    folder = Path(folder)
    before = _record(folder, EVALUATION)
    same = all(before.get(key) == value for key, value in found.items() if key != "date")
    results = (before["results"] if same and before else {}) | {name: result}
    with replace_files(folder) as beside:
        (beside / EVALUATION).write_text(json.dumps(found | {"results": results}, indent=1) + "\n", encoding="utf-8")
    write_card(folder)


def benchmark_entries(folder: Path) -> list[EvalResultEntry]:
    """What of a folder's evaluation the Hub may show with its dataset: full length, of which there is one value each."""
    evaluation = _evaluation(folder, _record(folder, "config.json"))
    if (evaluation.get("dataset"), evaluation.get("split")) != BENCHMARK or not evaluation.get("whole"):
        return []
    return [
        EvalResultEntry(BENCHMARK[0], metric, round(result[metric], 2), date=evaluation.get("date"), notes=f"budget {name}")
        for name, result in evaluation["results"].items()
        if name == "full"
        for metric in ("f1", "exact_match")
    ]


def _record(folder: Path, name: str) -> dict:
    path = folder / name
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it, or make it again.") from error


def _evaluation(folder: Path, config: dict) -> dict:
    """What was measured of the budgets as they are now; a search may have given their names to others."""
    evaluation, meant = _record(folder, EVALUATION), _meant(config)
    now = {
        name: found
        for name, found in evaluation.get("results", {}).items()
        if (name == "default" or name[:1].isdigit()) or found["length_config"] == meant.get(name, ())
    }
    return evaluation | {"results": now} if now else {}


def _meant(config: dict) -> dict:
    """The length configuration of each name."""
    return {"full": None} | {
        name: entry["length_config"] if isinstance(entry, dict) else entry
        for name, entry in (config.get("budgets") or {}).items()
    }


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _task(config: dict) -> str:
    architecture = "".join(config.get("architectures") or [])
    return next((task for name, task in TASKS.items() if name in architecture), "feature-extraction")


def _first_budget(config: dict) -> str:
    return next((name for name in config.get("budgets") or {} if name != "full"), "full")


def _promise(config: dict, training: dict, openvino: bool, int8: bool) -> str:
    teacher = f", distilled from {training['teacher']}" if training.get("teacher") else ""
    kind = " in int8" if int8 else ""
    runtime = "OpenVINO" if openvino else "PyTorch"
    shape = f"{config['num_hidden_layers']} layers and hidden size {config['hidden_size']}"
    return (
        f"A BERT of {shape}{kind} for {runtime}{teacher}. It answers at any budget of time: each call says how many tokens "
        "leave each layer (drop-and-restore), and pays for no more."
    )


def _snippet(task: str, openvino: bool, budget: str) -> str:
    if task == "question-answering":
        load = {
            True: ["from hf_dynbert import OVDynamicTinyBertForQuestionAnswering as Model  # needs the intel extra"],
            False: ["from hf_dynbert import DynamicTinyBertForQuestionAnswering as Model"],
        }[openvino]
        use = [
            'ask = pipeline("extractive-qa", model=model, tokenizer=tokenizer)',
            'context = "The lamp of Skerrow Point was lit by Ada Marsh in 1907."',
            'print(ask(question="Who lit the lamp?", context=context))',
            f'print(ask(question="Who lit the lamp?", context=context, length_config="{budget}"))',
        ]
        imports = "from transformers import AutoTokenizer, pipeline"
    else:
        kind = "OVDynamicTinyBert" if openvino else "DynamicTinyBert"
        head = "ForSequenceClassification" if task == "text-classification" else "Model"
        load = [f"from hf_dynbert import {kind}{head} as Model"]
        use = [f'print(model(**tokenizer("A text.", return_tensors="pt"), length_config="{budget}"))']
        imports = "from transformers import AutoTokenizer"
    lines = [
        *load,
        imports,
        "",
        f'model, tokenizer = Model.from_pretrained("{PLACE}"), AutoTokenizer.from_pretrained("{PLACE}")',
        *use,
    ]
    text = "```python\n" + "\n".join(lines) + "\n```"
    if openvino:
        return text + "\n\nOptimum-Intel alone loads it too, and answers at the default budget."
    head = "".join(name for name, found in TASKS.items() if found == task)
    auto = f"AutoModelFor{head}" if head else "AutoModel"
    alone = f'`{auto}.from_pretrained("{PLACE}", trust_remote_code=True)`'
    return text + f"\n\nWithout hf_dynbert, with transformers 5.5 or newer: {alone}."


def _budgets(config: dict) -> str:
    """The dearest first; behind them those that were never measured."""
    entries = {"full": None, **(config.get("budgets") or {})}
    read = {name: Budget.read(name, entry) for name, entry in entries.items()}
    measured = sorted(filter(None, read.values()), key=lambda budget: -budget.macs)
    lines = ["| budget | leaves each layer | F1 | MACs | latency |", "|---|---|---|---|---|"]
    lines += [_measured_row(budget) for budget in measured]
    for name in [name for name, budget in read.items() if budget is None]:
        length_config = entries[name].get("length_config") if isinstance(entries[name], dict) else entries[name]
        macs = count_macs(SimpleNamespace(**config), length_config, TOKENS)
        row = f"| `{name}` | {_entries(length_config)} | | {macs / 1e9:.2f} G at {TOKENS} tokens | |"
        lines.insert(2, row) if length_config is None else lines.append(row)
    notes = ["Whole numbers are tokens, fractions shares of the example's own tokens; any other list works too."]
    if any(budget.f1_error is not None for budget in measured):
        notes.append("± is the standard error of what a budget loses of full length's F1.")
    return " ".join(notes) + "\n\n" + "\n\n".join(["\n".join(lines), *dict.fromkeys(filter(None, map(_place, measured)))])


def _measured_row(budget: Budget) -> str:
    error = "" if budget.f1_error is None else f" ± {budget.f1_error:.2f}"
    latency = "" if budget.latency_ms is None else f"{budget.latency_ms:.1f} ms"
    shown = _entries(budget.length_config)
    return f"| `{budget.name}` | {shown} | {budget.f1:.2f}{error} | {budget.macs / 1e9:.2f} G | {latency} |"


def _entries(length_config: list | None) -> str:
    return "all tokens" if length_config is None else ", ".join(f"{one:g}" for one in length_config)


def _place(budget: Budget) -> str:
    """What its F1 and latency were measured on."""
    where = f"F1 and MACs: mean over {budget.sample}." if budget.sample else ""
    if budget.latency_ms is not None:
        where += f" Latency: batch 1, {budget.tokens} tokens, {budget.machine}, {budget.runtime}."
    return where


def _model_index(evaluation: dict, task: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=task,
            dataset_type=evaluation.get("dataset") or "custom",
            dataset_name=evaluation.get("data") or "custom",
            dataset_split=evaluation.get("split"),
            metric_type=metric,
            metric_name=f"{metric} at budget {name}",
            metric_value=round(result[metric], 2),
        )
        for name, result in evaluation.get("results", {}).items()
        for metric in ("f1", "exact_match")
    ]


def _evaluated(evaluation: dict) -> str:
    if not evaluation:
        return ""
    lines = ["| budget | EM | F1 | MACs |", "|---|---|---|---|"]
    for name, result in evaluation["results"].items():
        macs = f"{100 * result['macs_ratio']:.0f} %"
        lines.append(f"| `{name}` | {result['exact_match']:.2f} | {result['f1']:.2f} | {macs} |")
    return f"{evaluation['data']}, {evaluation['examples']} questions.\n\n" + "\n".join(lines)


def _trained(training: dict) -> str:
    if not training:
        return ""
    about = {
        "started from": training.get("started_from") or training.get("base_model"),
        "teacher": training.get("teacher"),
        "data": training.get("data"),
        "examples": training.get("examples"),
        **training.get("hyperparameters", {}),
        "took": f"{training['minutes']:.0f} minutes on {training['machine']}" if "minutes" in training else None,
        "versions": ", ".join(f"{name} {number}" for name, number in training.get("versions", {}).items()),
    }
    return _rows(about)


def _quantized(int8: dict, config: dict) -> str:
    if not int8:
        return ""
    meant, then = _meant(config), int8.get("length_configs")  # a search may have given the names to others
    metric = int8.get("metric", "f1")
    int8 = int8 | {
        key: {name: score for name, score in int8.get(key, {}).items() if then is None or then[name] == meant.get(name, ())}
        for key in (f"{metric}_int8", f"{metric}_fp32")
    }
    arguments = {name: value for name, value in int8["arguments"].items() if value not in (None, [], "")}
    measured = ", ".join(f"{name} {value:.2f}" for name, value in int8[f"{metric}_int8"].items())
    exact = ", ".join(f"{name} {value:.2f}" for name, value in int8[f"{metric}_fp32"].items())
    examples = int8.get("examples", int8.get("f1_questions"))
    title = "F1" if metric == "f1" else metric
    about = {
        f"{title} of int8": measured and f"{measured} ({examples} examples; in floats {exact})",
        "kept in floats": ", ".join(int8.get("kept_in_fp32") or []),
        **arguments,
        "versions": ", ".join(f"{name} {number}" for name, number in int8.get("versions", {}).items()),
    }
    return _rows(about)


def _rows(about: dict) -> str:
    lines = [f"| {name} | {value} |" for name, value in about.items() if value not in (None, "", [])]
    return "\n".join(["| | |", "|---|---|", *lines])


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _limits(task: str) -> str:
    answers = (
        "It finds a span of the context; it does not write, and is not trained to say that there is no answer.\n"
        if task == "question-answering"
        else ""
    )
    return (
        f"{answers}It knows the language and the kind of text it was trained on. Dropping tokens pays for inputs of a "
        "hundred tokens and more, on CPUs; latencies are those of the machine named beside them."
    )


def _papers(training: dict, config: dict) -> str:
    settings = training.get("hyperparameters", {})
    used = ["length", "dynamic", "quala"]
    if config.get("importance") == "learned":
        used.append("importance")
    if training.get("teacher"):
        used.append("distillation")
    if any(settings.get(name) for name in ("hidden_weight", "attention_weight", "embedding_weight")):
        used.append("tinybert")
    if settings.get("relation_weight"):
        used += ["minilm", "minilmv2"]
    lines = (PAPERS[name] for name in used)
    return "\n".join(
        f"- {title} ({who}, {year}): [arXiv {number}](https://arxiv.org/abs/{number})" for title, who, year, number in lines
    )
