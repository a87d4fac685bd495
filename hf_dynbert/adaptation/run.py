# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The stages of an adaptation: the model's own answers, training on them, int8, and the search for budgets."""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoConfig, set_seed

from ..backbones.convert import convert_config
from ..backbones.folder import convert
from ..budgets.budget import Budget
from ..budgets.latency import time_in_turns
from ..budgets.sampling import fit_length_config
from ..budgets.search.arguments import SearchArguments
from ..budgets.search.run import run_search
from ..hub.model_card import write_card
from ..hub.records import TRAINING, hub_id, read_record, remove_stale_records
from ..importance import IMPORTANCES
from ..loading import is_openvino, load, load_tokenizer
from ..quantization.arguments import QuantizeArguments
from ..quantization.quantize import quantize
from ..recipes.run_record import checkpoint_to_resume, run_contents
from ..subnetwork import FULL
from ..tasks import RERANKING, DataOptions, task_of
from ..tasks.base import check_head
from ..tasks.inference import OUTPUTS, check_lengths, check_max_length, max_tokens_of, pad_batch
from ..training.arguments import DistillationArguments
from ..training.terms import head_of
from ..training.trainer import DistillationTrainer
from ..utils.atomic_files import replace_files
from ..utils.errors import InputError, reading
from ..utils.model_folders import read_json
from ..utils.task_arguments import check_task_options
from .agreement import AGREEMENT, AgreementTask
from .arguments import AdaptArguments
from .plan import ACCURACY, BATCH, CALIBRATION, CONFIRM, LATENCY_SAMPLES, Plan, Speed, make_plan


RECORD = "_adapt.json"  # it has local paths; `push` uploads no file whose name begins with an underscore
# Folders of the results; those of `start` and `checkpoints` are removed at the end of the training
MODEL, INT8, SEARCH, ANSWERS, START, CHECKPOINTS = "model", "int8", "search", "answers", "start", "checkpoints"
LEAST_ROWS = 50  # fewer would leave under 5 to score a configuration
LEAST_CONTEXTS = 25  # a smallest context then has at most 4 % of the questions, less than what is held out
MOST_ROWS = 20_000  # more than a run of hours can use
SAMPLE = 500  # rows whose mean length and number of inputs stand for all
TIMED = 8  # inputs of the batch that measures the speed
SAVES = 10  # checkpoints of a training: a kill loses a tenth of it
BUDGETS = {"half": 0.5, "third": 1 / 3}  # of the operations; training and calibration practise these most
# Fields that help pairs of texts, from the recipes for questions: protect and match the first text in half of the layers
PAIRS = ("protect_first_segment_until", "importance_match_until")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """One part of an adaptation.

    Args:
        name (`str`): name of the stage, also in `Plan.minutes`.
        what (`str`): what it does, with its sizes.
        run (`Callable`): runs it, from where a killed run stopped.
    """

    name: str
    what: str
    run: Callable[[], None]


class Adaptation:
    """Makes a fine-tuned model length-adaptive with inputs that have no labels.

    The given model teaches: the full-length pass learns its answers, so that they stay the same, and smaller sub-networks
    and learned importance learn the full-length pass (in-place distillation, arXiv 2010.07003, section 3.2). Budgets are
    scored by their agreement with the given model.

    Args:
        args ([`AdaptArguments`]): model, inputs and options.

    Attributes:
        plan ([`Plan`]): sizes and estimated minutes.
        stages (`list[Stage]`): all stages in order.
        done (`list[str]`): names of the stages that have finished.

    Raises:
        ValueError: a model that cannot be adapted, inputs that do not fit its task, too few inputs, too little time, or a
            folder with another run; before any work.
    """

    def __init__(self, args: AdaptArguments):
        self.args, self.output = args, Path(args.output_dir)
        settings = {name: value for name, value in asdict(args).items() if name != "output_dir"}
        known = self._read_record(settings)
        hub = {"revision": args.revision} if args.revision else {}
        with reading(args.model):
            self.config = AutoConfig.from_pretrained(args.model, trust_remote_code=False, **hub)
        self.task = task_of(self.config, args.task, args.model)
        self._check_model()
        self.tokenizer = load_tokenizer(args.model, **hub)
        self.options = self._data_options()
        self.rows = self._load_rows()
        self.teacher = load(args.model, self.task.name, **hub)
        contents = run_contents(self.teacher, self.tokenizer, {"texts": self.rows})
        if known:
            self._check_same("contents", known["contents"], contents)
            self.plan, self.done = Plan(**known["plan"]), known["done"]
        else:
            self.plan, self.done = self._make_plan(), []
        self.record = {"settings": settings, "contents": contents, "plan": asdict(self.plan), "done": self.done}
        plan = self.plan
        self.rows = self.rows.select(range(plan.rows))
        searched = plan.search_samples * (1 + CONFIRM)
        self.stages = [
            Stage("answers", f"the model's own answers to {plan.rows} {self._unit}", self._answer),
            Stage("training", f"{plan.steps} steps of {BATCH} inputs, with the model as its own teacher", self._train),
            Stage("int8", f"calibrated on {CALIBRATION} inputs", self._quantize),
            Stage(
                "search",
                f"{args.num_evaluations} budgets on {searched} {self._unit} that training does not use",
                self._search,
            ),
        ]

    @property
    def title(self) -> str:
        """The line above the estimate."""
        left = [stage.name for stage in self.stages if stage.name not in self.done]
        if not left:
            return f"{self.output} holds the finished result of this run."
        minutes = sum(self.plan.minutes[name] for name in left)
        return f"About {minutes:.1f} of at most {self.args.max_minutes:g} minutes, on this machine as it is now"

    def estimate(self) -> list[list[str]]:
        """Rows of a table: what each stage does, and its minutes."""
        rows = []
        for stage in self.stages:
            minutes = "done" if stage.name in self.done else f"{self.plan.minutes[stage.name]:.1f} min"
            rows.append([f"{stage.name}: {stage.what}", minutes])
        return rows

    def run_stage(self, stage: Stage) -> None:
        """Runs a stage and records that it has finished."""
        self._write_record()
        set_seed(self.args.seed)
        stage.run()
        self.done.append(stage.name)
        self._write_record()

    def results(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows of the measured budgets, slowest first."""
        entries = read_json(self.output / SEARCH / "front.json")["budgets"]
        budgets = [Budget.read(name, entry) for name, entry in entries.items() if not entry.get("point")]
        full = next(budget for budget in budgets if budget.is_full)
        rows = []
        for budget in sorted(budgets, key=lambda budget: -budget.latency_ms):
            error = "" if budget.score_error is None else f" ± {budget.score_error:.1f}"
            macs, speedup = budget.macs / full.macs, full.latency_ms / budget.latency_ms
            latency = f"{budget.latency_ms:.1f}"
            rows.append([budget.name, f"{budget.score:.1f}{error}", f"{100 * macs:.0f} %", latency, f"{speedup:.2f}"])
        return ["budget", AGREEMENT, "MACs", f"ms at {full.tokens} tokens", "times as fast as full"], rows

    @property
    def _unit(self) -> str:
        return {"question-answering": "questions", RERANKING.name: "queries"}.get(self.task.name, "texts")

    @property
    def _answers_file(self) -> Path:
        return self.output / ANSWERS / "answers.jsonl"

    @property
    def _answers_options(self) -> DataOptions:
        """How to read the file of answers: rankings are JSON lines there, whatever they were."""
        return replace(self.options, text_columns=("text",)) if self.task is RERANKING else self.options

    @property
    def _validation_fraction(self) -> float:
        return self.plan.validation_rows / self.plan.rows

    def _check_model(self) -> None:
        """Refuses a model that cannot become length-adaptive or has no head."""
        model = self.args.model
        check_head(self.config, self.task, model)
        if is_openvino(model, self.config.to_dict()) or getattr(self.config, "quantization_config", None) is not None:
            raise InputError(f"{model} is exported or in int8; give the PyTorch model in floats that it was made of.")
        ours = convert_config(self.task.model_class.config_class, self.config)  # or an error
        layers = self.args.drop_layers
        if layers is not None and not set(layers) <= set(range(ours.num_hidden_layers)):
            raise InputError(f"drop_layers is {layers}; valid are some of 0 to {ours.num_hidden_layers - 1}.")
        if layers is not None and self._is_trained_to_drop(ours):
            raise InputError(f"{model} has its own drop_layers and scorers of tokens; leave --drop_layers out.")

    @staticmethod
    def _is_trained_to_drop(config) -> bool:
        return IMPORTANCES[config.importance].is_learned

    def _data_options(self) -> DataOptions:
        check_task_options(self.args, self.task, self.args.texts)
        max_length = self.args.max_length
        if max_length is not None:
            check_max_length(self.config, max_length)
        elif self.task.name == "text-classification":  # as its pipeline cuts texts
            max_length = min(max_tokens_of(self.config) or 512, 512)
        return DataOptions(
            text_columns=tuple(self.args.text_columns),
            max_length=max_length or min(self.task.max_length, max_tokens_of(self.config) or self.task.max_length),
            stride=self.args.stride,
        )

    def _load_rows(self) -> Dataset:
        """The inputs in random order, of which a plan uses the first ones."""
        source = ", ".join(self.args.texts)
        with reading(f"--texts {source}"):
            rows = self.task.load_unlabelled(self.args.texts, self.options, self.config)
        if len(rows) < LEAST_ROWS:
            raise InputError(
                f"--texts {source} has {len(rows)} {self._unit}; valid are {LEAST_ROWS} and more. A few thousand "
                "from real use are best; they need no labels."
            )
        contexts = len(set(rows["context"])) if self._unit == "questions" else len(rows)
        if contexts < LEAST_CONTEXTS:
            raise InputError(
                f"--texts {source} has questions on {contexts} contexts; valid are {LEAST_CONTEXTS} and more, since whole "
                "contexts are held out to score budgets."
            )
        rows = rows.shuffle(seed=self.args.seed)
        return rows.select(range(min(len(rows), MOST_ROWS)))

    def _make_plan(self) -> Plan:
        """Measures the speed of the model, and warns of inputs that are cut or too short to gain much."""
        sample = self.rows.select(range(min(SAMPLE, len(self.rows))))
        evaluator = self.task.evaluator(self.tokenizer, sample, self.config, self.options)  # refuses missing packages
        inputs, lengths = evaluator.inputs, np.array(evaluator.lengths)
        check_lengths(self.config, lengths.tolist())
        cut = np.mean(lengths == self.options.max_length)
        if cut > 0.01 and self._unit == "texts":
            logger.warning(f"{100 * cut:.0f} % of the texts are cut at {self.options.max_length} tokens (max_length).")
        if lengths.mean() < 64:  # at 64 tokens no budget of the released models is faster than full length
            logger.warning(
                f"The inputs have {lengths.mean():.0f} tokens in the mean. Dropping tokens saves time for inputs of about a "
                "hundred tokens and more; for these, int8 is most of the gain."
            )
        typical = sorted(inputs, key=lambda item: abs(len(item["input_ids"]) - lengths.mean()))[:TIMED]
        speed = measure_speed(self.teacher, pad_batch(self.tokenizer, typical))
        limits, kind = (self.args.max_minutes, self.args.num_evaluations), head_of(self.teacher)
        plan = make_plan(*limits, len(self.rows), len(inputs) / len(sample), speed, kind, self.task.call_size)
        self.task.inputs(self.tokenizer, self.rows.select(range(plan.rows)), self.options)  # refuses rows before any work
        return plan

    def _answer(self) -> None:
        """Writes the inputs with the model's answers in place of labels."""
        evaluator = self.task.evaluator(self.tokenizer, self.rows, self.config, self.options, progress=True)
        predictions = evaluator.evaluate(self.teacher, FULL if hasattr(self.config, "resolve_budget") else None).predictions
        lines = [json.dumps(row, ensure_ascii=False) for row in self.task.with_predictions(self.rows, predictions)]
        with replace_files(self._answers_file.parent) as folder:
            (folder / self._answers_file.name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _train(self) -> None:
        """Trains a length-adaptive copy with the model as its teacher, and saves it."""
        rows = self.task.load([str(self._answers_file)], self._answers_options)
        training, _ = self.task.split(rows, self._validation_fraction)
        inputs = self.task.inputs(self.tokenizer, training, self._answers_options)
        features = Dataset.from_list([item | {"length": len(item["input_ids"])} for item in inputs])
        student = self._make_student()
        args = self._training_arguments(student)
        trainer = DistillationTrainer(
            student, args, teacher=self.teacher, train_dataset=features, processing_class=self.tokenizer, about=self._about()
        )
        trainer.train(resume_from_checkpoint=checkpoint_to_resume(Path(args.output_dir)))
        folder = self.output / MODEL
        with replace_files(folder) as staging:
            trainer.save_model(str(staging), _internal_call=True)
            extra = self.task.write_extra_files(staging, student.config)
        remove_stale_records(folder, keep=[TRAINING, "model.safetensors", *extra])
        write_card(folder)
        for name in (START, CHECKPOINTS):
            shutil.rmtree(self.output / name)

    def _make_student(self):
        """A length-adaptive copy of the model. The trainer adds scorers of tokens, unless the model has some."""
        start = self.output / START
        config = convert_config(self.task.model_class.config_class, self.config)
        overrides = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # dropout makes the targets noisy
        overrides["min_tokens_to_drop"] = 0  # the search measures it, for all lengths
        if self._is_trained_to_drop(config):
            convert(self.args.model, start, self.task.name, revision=self.args.revision)
            return self.task.model_class.from_pretrained(start, dtype="float32", **overrides)
        depth = config.num_hidden_layers
        layers = self.args.drop_layers or sorted({0, depth // 2})
        budgets = {name: fit_length_config(config, part, layers) for name, part in BUDGETS.items()}
        convert(self.args.model, start, self.task.name, budgets, self.args.revision)
        overrides |= {"drop_layers": layers, "budgets": budgets}
        if len(self.options.text_columns) == 2 or self._unit != "texts":
            overrides |= {"protect_first_segment": True, **dict.fromkeys(PAIRS, max(1, depth // 2))}
            overrides["early_selection_until"] = 1  # words that both texts share are known before attention
        return self.task.model_class.from_pretrained(start, dtype="float32", **overrides)

    def _training_arguments(self, student) -> DistillationArguments:
        return DistillationArguments(
            str(self.output / CHECKPOINTS),
            max_steps=self.plan.steps,
            per_device_train_batch_size=BATCH,
            learning_rate=self.args.learning_rate,
            warmup_steps=0.1,
            weight_decay=0.01,
            train_sampling_strategy="group_by_length",
            hard_label_weight=0.0,
            importance=None if self._is_trained_to_drop(student.config) else "learned",
            budget_prob=0.5 if set(student.config.budgets or {}) - {FULL} else 0.0,
            save_steps=max(1, self.plan.steps // SAVES),
            save_total_limit=1,
            logging_steps=50,
            report_to="none",
            seed=self.args.seed,
            use_cpu=True,
        )

    def _about(self) -> dict:
        """For the model card: where the weights and the inputs come from, without local paths."""
        names = [Path(name).name if Path(name).exists() else name for name in self.args.texts]
        model = self.args.model
        teacher = hub_id(model) or Path(model).resolve().name
        data = f"{', '.join(names)} without labels; agreement is measured with the answers of {teacher}"
        about = {"teacher": teacher, "data": data, "validation_fraction": self._validation_fraction}
        options = {"max_length": self.options.max_length, "stride": self.options.stride}
        return read_record(self.output / START, TRAINING) | about | {"options": options}

    def _data_arguments(self) -> dict:
        """Options of the data for the verbs that follow."""
        return {
            "train_file": [str(self._answers_file)],
            "text_columns": list(self._answers_options.text_columns),
            "validation_fraction": self._validation_fraction,
            "max_length": self.options.max_length,
            "stride": self.options.stride,
            "seed": self.args.seed,
        }

    def _quantize(self) -> None:
        arguments = QuantizeArguments(
            model=str(self.output / MODEL),
            output_dir=str(self.output / INT8),
            dropped_logits="mask" if self._unit == "questions" else None,
            calibration_samples=CALIBRATION,
            accuracy_samples=ACCURACY,
            **self._data_arguments(),
        )
        quantize(arguments, AgreementTask(self.task))

    def _search(self) -> None:
        arguments = SearchArguments(
            model=str(self.output / INT8),
            output_dir=str(self.output / SEARCH),
            save_to=[str(self.output / INT8), str(self.output / MODEL)],
            search_samples=self.plan.search_samples,
            confirm_samples=CONFIRM * self.plan.search_samples,
            training_samples=self.plan.training_samples,
            num_evaluations=self.args.num_evaluations,
            latency_samples=LATENCY_SAMPLES,
            **self._data_arguments(),
        )
        run_search(arguments, AgreementTask(self.task))

    def _read_record(self, settings: dict) -> dict:
        """The record of the run in the folder; refuses the results of another run."""
        path = self.output / RECORD
        if not path.exists():
            found = [name for name in (ANSWERS, MODEL, INT8, SEARCH) if (self.output / name).exists()]
            if found:
                raise InputError(
                    f"{self.output} holds {', '.join(found)}, but no {RECORD}, the record of their run. Give another "
                    "--output_dir."
                )
            return {}
        known = read_json(path)
        if not isinstance(known, dict) or not known.keys() >= {"settings", "contents", "plan", "done"}:
            raise InputError(f"{path} is no record of a run. Give another --output_dir.")
        self._check_same("settings", known["settings"], settings)
        return known

    def _check_same(self, kind: str, known: dict, present: dict) -> None:
        names = sorted(known.keys() | present.keys())
        changed = [name for name in names if known.get(name) != present.get(name)]
        if not changed:
            return
        if kind == "settings":
            changed = [f"{name}: {known.get(name)!r} there, {present.get(name)!r} now" for name in changed]
        else:
            changed = [f"{name}: other contents" for name in changed]
        raise InputError(
            f"{self.output} holds another run; it differs in {'; '.join(changed)}. Give another --output_dir, or the same "
            "settings to resume it."
        )

    def _write_record(self) -> None:
        with replace_files(self.output) as folder:
            (folder / RECORD).write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")


def measure_speed(model, batch: dict) -> Speed:
    """Times a forward pass without gradients, and a forward and a backward pass."""
    examples = len(batch["input_ids"])

    def call(backward: bool) -> None:
        if not backward:
            with torch.inference_mode():
                model(**batch)
            return
        output = model(**batch)
        logits: Sequence = [output[name] for name in OUTPUTS if output.get(name) is not None]
        sum(values.float().square().mean() for values in logits).backward()
        model.zero_grad()

    forward, backward = time_in_turns(call, [False, True], turns=1, burst=3)
    return Speed(forward.median_ms / 1000 / examples, backward.median_ms / 1000 / examples)
