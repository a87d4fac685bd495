"""Wrong input ends with one line and status 2 before any work; a fault of the program keeps its traceback."""

import io
import os
import pickle
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from transformers import BertConfig, BertForSequenceClassification

from hf_dynbert.backbones.folder import convert
from hf_dynbert.commands.main import VERBS, main


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def files(tmp_path, bert_folder, articles_file):
    """Words that command lines below use, and what they stand for."""
    (tmp_path / "file").write_text("a file")
    (tmp_path / "context.txt").write_text("ada lit the tower by night.")
    return {
        "MODEL": str(bert_folder),
        "DATA": str(articles_file),
        "OUT": str(tmp_path / "out"),
        "FILE": str(tmp_path / "file"),
        "CONTEXT": str(tmp_path / "context.txt"),
        "TMP": str(tmp_path),
    }


# A command line of each verb that is right but for what a test adds to it
RIGHT = {
    "train": ["--model_name_or_path", "MODEL", "--train_file", "DATA", "--output_dir", "OUT", "--use_cpu"],
    "adapt": ["--model", "MODEL", "--texts", "DATA", "--output_dir", "OUT"],
    "search": ["--model", "MODEL", "--train_file", "DATA", "--output_dir", "OUT"],
    "quantize": ["--model", "MODEL", "--train_file", "DATA", "--output_dir", "OUT", "--backend", "pytorch"],
    "evaluate": ["--model", "MODEL", "--data", "DATA"],
    "benchmark": ["--model", "MODEL", "--data", "DATA", "--output_dir", "OUT"],
    "predict": ["--model", "MODEL", "--question", "who?", "--context", "ada lit the tower."],
    "convert": ["--model", "MODEL", "--output_dir", "OUT"],
    "push": ["--model", "MODEL", "--repo", "ada/tiny"],
}


def refused(argv, files, capsys, message=""):
    """The one line with which a command refuses its input."""
    argv = [files.get(word, word) for word in argv]
    assert main(argv) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("hf-dynbert: ")]
    assert len(lines) == 1 and "Traceback" not in captured.err, captured.err
    assert message.lower() in lines[0].lower(), lines[0]
    assert captured.out == "" and not os.path.exists(files["OUT"])  # before any work
    return lines[0]


def verbs_with(option):
    from test_help import fields

    return [verb for verb in VERBS if option in {field.name for field in fields(verb)}]


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_names_the_nearest_one(verb, files, capsys):
    option = RIGHT[verb][0]
    line = refused([verb, *RIGHT[verb], f"{option}x", "1"], files, capsys, f"option {option}x is unknown")
    assert line.endswith(f"the nearest valid one is {option[2:]}.")


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_option_is_named(verb, files, capsys):
    refused([verb, *RIGHT[verb][2:]], files, capsys, f"needs {RIGHT[verb][0]}")


WRITING = ("train", "adapt", "search", "quantize", "benchmark", "convert")  # into --output_dir
SIZES = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
COUNTS = ("stride", "batch_size", "threads", "limit", "max_length", "top_k", "max_answer_len")
COUNTS += ("latency_samples", "calibration_samples", "seed", "max_train_samples", "eval_samples", "speedup")


@pytest.mark.parametrize(
    ("verb", "option", "value"),
    [
        (verb, option, value)
        for option in COUNTS
        for verb in verbs_with(option)
        for value in (["-1", "0"] if option in ("batch_size", "threads", "limit", "max_length", "top_k") else ["-1"])
    ],
)
def test_numbers_out_of_range(verb, option, value, files, capsys):
    refused([verb, *RIGHT[verb], f"--{option}", value], files, capsys, f"--{option} is {value}")


def spoiled(folder, name, content):
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        (folder / name).write_text(content)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "push"])  # test_hub.py has those of push
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("config.json", DEEP),
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", b"\xff\xfe\x00"),
        ("tokenizer.json", DEEP),
        ("tokenizer.json", b"\xff"),
        ("tokenizer_config.json", "{"),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", None),
        ("model.safetensors", save({})),
        ("tokenizer.json", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_damaged_model_folders(verb, name, content, files, tmp_path, capsys):
    if verb in ("adapt", "benchmark"):
        pytest.importorskip("nncf", reason="needs the intel extra")
    folder = Path(shutil.copytree(files["MODEL"], tmp_path / "spoiled"))
    spoiled(folder, name, content)
    files["MODEL"] = str(folder)
    refused([verb, *RIGHT[verb]], files, capsys, name if content is not None else "spoiled holds no")
    assert not os.path.exists(files["OUT"])


@pytest.mark.parametrize(
    "argv",
    [
        ["train", *RIGHT["train"], "--teacher_model_name_or_path", "SPOILED"],
        ["benchmark", *RIGHT["benchmark"], "--int8", "SPOILED"],
    ],
    ids=lambda argv: argv[-2],
)
@pytest.mark.parametrize(("name", "content"), [("tokenizer.json", None), ("model.safetensors", save({}))])
def test_damaged_folders_of_other_options(argv, name, content, files, tmp_path, capsys):
    if argv[0] == "benchmark":
        pytest.importorskip("nncf", reason="needs the intel extra")
    folder = Path(shutil.copytree(files["MODEL"], tmp_path / "spoiled"))
    spoiled(folder, name, content)
    argv = [word.replace("SPOILED", str(folder)) for word in argv]
    refused(argv, files, capsys, name if content is not None else "spoiled holds no")
    assert not os.path.exists(files["OUT"])


def test_impossible_lengths_of_a_tokenizer(files, tmp_path, capsys):
    folder = Path(shutil.copytree(files["MODEL"], tmp_path / "spoiled"))
    files["MODEL"] = str(folder)
    for length in ('"x"', "-1", "0"):
        (folder / "tokenizer_config.json").write_text(
            f'{{"tokenizer_class": "BertTokenizer", "model_max_length": {length}}}'
        )
        for verb in ("predict", "evaluate"):
            refused([verb, *RIGHT[verb]], files, capsys, "model_max_length of the tokenizer")


@pytest.mark.parametrize("names", [["vocab.json"], ["merges.txt"], ["added_tokens.json", "special_tokens_map.json"]])
def test_a_part_of_a_tokenizer_is_none(names, files, tmp_path, capsys):
    folder = Path(shutil.copytree(files["MODEL"], tmp_path / "spoiled"))
    (folder / "tokenizer.json").unlink()
    for name in names:
        (folder / name).write_text("{}")
    files["MODEL"] = str(folder)
    refused(["predict", *RIGHT["predict"]], files, capsys, "holds no tokenizer")


class Explodes:
    """What a pickle can do."""

    def __reduce__(self):
        return (os.system, ("touch exploded",))


def test_a_pickle_runs_no_code(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(files["MODEL"], tmp_path / "spoiled"))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Explodes()))
    files["MODEL"] = str(folder)
    refused(["evaluate", *RIGHT["evaluate"]], files, capsys)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [DEEP, "{", "[]", b"\xff\xfe\x00", "{}", ""], ids=lambda value: repr(value)[:12])
def test_damaged_data_files_are_named(content, files, tmp_path, capsys):
    spoiled(tmp_path, "data.json", content)
    files["DATA"] = str(tmp_path / "data.json")
    refused(["evaluate", *RIGHT["evaluate"]], files, capsys, "data.json")


@pytest.mark.parametrize(
    "argv",
    [
        *([verb, *RIGHT[verb], "--output_dir", "FILE"] for verb in WRITING),
        *([verb, *RIGHT[verb], "--output_dir", "FILE/in"] for verb in WRITING),
        ["evaluate", *RIGHT["evaluate"], "--predictions", "FILE/in.json"],
        ["evaluate", *RIGHT["evaluate"], "--predictions", "OUT/in.json"],
        ["evaluate", *RIGHT["evaluate"], "--predictions", "TMP"],
    ],
    ids=lambda argv: " ".join(argv[:1] + argv[-2:]),
)
def test_outputs_are_tried_before_work(argv, files, capsys):
    argv = [word.replace("FILE/", files["FILE"] + "/").replace("OUT/", files["OUT"] + "/") for word in argv]
    refused(argv, files, capsys)
    assert Path(files["FILE"]).read_text() == "a file"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "nearest valid one is train"),
        (["train", "nowhere.yaml"], "nowhere.yaml"),
        (["evaluate", *RIGHT["evaluate"], "--length-config", "0.1,0.2,0.3,0.4"], "has no length configuration"),
        (["evaluate", *RIGHT["evaluate"], "--length-config", "fast"], "has no length configuration"),
        (["evaluate", "--model", "MODEL", "--data", "nowhere.json"], "nowhere.json"),
        (["evaluate", "--model", "MODEL", "--data", "DATA", "DATA", "--predictions", "new.json"], "2 examples have the id"),
        (["evaluate", "--model", "FILE", "--data", "DATA"], "is a file"),
        (["evaluate", "--model", "./nowhere", "--data", "DATA"], "there is no folder ./nowhere"),
        (["predict", *RIGHT["predict"], "--context_file", "CONTEXT"], "one of the two"),
        (["predict", *RIGHT["predict"][:4]], "has context None"),
        (["predict", *RIGHT["predict"][:4], "--context_file", "nowhere.txt"], "nowhere.txt"),
        (["predict", *RIGHT["predict"], "--length_config", "full", "--speedup", "2"], "all select a budget"),
        (["predict", *RIGHT["predict"], "--speedup", "2"], "has no budgets, so speedup=2.0 cannot be used"),
        *(
            (["train", *RIGHT["train"], *words], message)
            for words, message in (
                (["--budgets", "{"], "--budgets is not JSON"),
                (["--budgets", "[1]"], "no JSON object"),
                (["--config_overrides", "{"], "--config_overrides is not JSON"),
                (["--config_overrides", "null"], "no JSON object"),
                (["--config_overrides", '{"hidden_size": 33}'], "with num_attention_heads=4 valid are its multiples"),
                (["--config_overrides", '{"pad_token_id": 99999}'], "pad_token_id is 99999"),
                (["--config_overrides", '{"num_labels": "x"}'], "num_labels is 'x'"),
                (
                    ["--config_overrides", '{"hidden_size": 33}', "--no_length_adaptive", "--no_length_drop"],
                    "not a multiple",
                ),
                (["--attn_implementation", "nope"], "attn_implementation is 'nope'"),
                (["--attn_implementation", "flash_attention_2"], "attn_implementation is 'flash_attention_2'"),
                (["--bf16", "--fp16"], "fp16 and bf16"),
                (["--lr_scheduler_kwargs", "{"], "TrainingArguments cannot be read"),
                (["--lr_scheduler_kwargs", "x"], "lr_scheduler_kwargs cannot be read"),
                (["--lr_scheduler_kwargs", '{"x": 1}'], "lr_scheduler_kwargs cannot be read"),
                (["--lr_scheduler_type", "warmup_stable_decay"], "lr_scheduler_type or lr_scheduler_kwargs"),
                (["--lr_scheduler_type", "cosine_with_min_lr"], "lr_scheduler_kwargs"),
                (["--optim_args", "x"], "optim_args cannot be read"),
                (["--optim", "adamw_apex_fused"], "apex"),
                (["--optim", "galore_adamw", "--optim_target_modules", "x"], "galore"),
                (["--torch_compile_backend", "nope"], "torch_compile_backend is 'nope'; valid are"),
                (["--torch_compile_mode", "nope"], "torch_compile_mode cannot be read"),
                (["--gradient_checkpointing", "--gradient_checkpointing_kwargs", "x"], "valid is a JSON object"),
                (["--parallelism_config", '{"x": 1}'], "parallelism_config"),
                (["--remove_unused_columns", "false"], "remove_unused_columns"),
                (["--label_smoothing_factor", "0.1"], "does not apply to this objective"),
                (["--save_strategy", "best"], "needs metric_for_best_model"),
                (["--eval_on_start"], "eval_on_start=True needs data"),
                (["--use_liger_kernel", "--max_length", "120", "--stride", "8"], "liger"),
                (["--max_length", "64", "--stride", "8"], "no room for a question"),
                (["--report_to", "nope", "--max_length", "120", "--stride", "8"], "nope is not supported"),
                (["--eval_strategy", "epoch"], "eval_strategy=epoch needs data"),
                *(
                    ([f"--{name}", value], f"{name} is {value}")
                    for name in ("learning_rate", "weight_decay", "adam_beta2", "warmup_steps", "neftune_noise_alpha")
                    for value in ("-1.0", "nan", "inf")
                ),
                *(([f"--{name}", "0"], f"{name} is 0") for name in SIZES),
            )
        ),
        *(
            (["quantize", *RIGHT["quantize"], "--tolerable_loss", value], "tolerable_loss is")
            for value in ("-1", "nan", "1e9")
        ),
        (["convert", *RIGHT["convert"], "--budgets", "{"], "--budgets is not JSON"),
        (["convert", *RIGHT["convert"], "--budgets", DEEP], "--budgets is not JSON"),
    ],
)
def test_other_wrong_input(argv, message, files, capsys):
    refused(argv, files, capsys, message)


# Options that some task, verb, backend or kind of data does not use: what is typed, and the reason of the refusal
TEXTS = ["--task", "text-classification", "--model", "CLASSIFIER", "--data", "TEXTS"]
RANKINGS = ["--task", "reranking", "--model", "RANKER", "--data", "RANKINGS"]
TRAIN_TEXTS = ["--task", "text-classification", "--train_file", "TEXTS"]
TRAIN_RANKINGS = ["--task", "reranking", "--train_file", "RANKINGS"]
ON_FILES = "on files: it selects a part of a data set on the Hub"
WITHOUT_EFFECT = [
    *(
        (["evaluate", *words, *option], f"for task {words[1]}")
        for words in (TEXTS, RANKINGS)
        for option in (["--stride", "8"], ["--handle_impossible_answer"])
    ),
    *(
        (["evaluate", *RIGHT["evaluate"], *words], "for task question-answering")
        for words in (["--text_columns", "a", "b"], ["--label_column", "grade"])
    ),
    *(
        (["evaluate", *words, *option], ON_FILES)
        for words in (RIGHT["evaluate"], TEXTS, RANKINGS)
        for option in (["--split", "test"], ["--dataset_config_name", "en"])
    ),
    (["train", *RIGHT["train"], "--dataset_config_name", "en"], ON_FILES),
    (["train", *RIGHT["train"], "--dataset_name", "rajpurkar/squad"], "next to train_file"),
    (["train", *RIGHT["train"], "--class_names", "a", "b"], "for task question-answering"),
    (["train", *RIGHT["train"], "--problem_type", "regression"], "for task question-answering"),
    (["train", *RIGHT["train"], "--streaming"], "for task question-answering"),
    (["train", *RIGHT["train"], *TRAIN_RANKINGS, "--class_names", "a", "b"], "for task reranking"),
    (["train", *RIGHT["train"], *TRAIN_RANKINGS, "--problem_type", "regression"], "for task reranking"),
    (["train", *RIGHT["train"], *TRAIN_RANKINGS, "--dropped_logits", "mask"], "for task reranking"),
    (["train", *RIGHT["train"], *TRAIN_RANKINGS, "--group_size", "4"], "without ranking_loss"),
    (["train", *RIGHT["train"], *TRAIN_TEXTS, "--stride", "8"], "for task text-classification"),
    *(
        (["train", *RIGHT["train"], *words], "without teacher_model_name_or_path")
        for words in (
            ["--teacher_dtype", "bfloat16"],
            ["--teacher_class_names", "a"],
            ["--teacher_cache_dir", "TMP"],
            ["--teacher_temperature", "2"],
        )
    ),
    *(
        (["train", *RIGHT["train"], "--no_length_drop", *words], "with length_drop=False")
        for words in (
            ["--num_sandwich", "2"],
            ["--budget_prob", "0.5"],
            ["--importance_weight", "1"],
            ["--temperature", "2"],
        )
    ),
    *(
        (["train", *RIGHT["train"], "--no_length_drop", "--no_length_adaptive", *words], "with length_adaptive=False")
        for words in (["--budgets", '{"half": [0.8, 0.6, 0.5, 0.3]}'], ["--importance", "cls"], ["--drop_layers", "1"])
    ),
    (["train", *RIGHT["train"], "--attention_target", "probabilities"], "without attention_weight"),
    (["train", *RIGHT["train"], "--layer_map", "last"], "without hidden_weight or attention_weight"),
    (["train", *RIGHT["train"], "--relation_heads", "2"], "without relation_weight"),
    (["train", *RIGHT["train"], "--eval_budgets", "full"], "without eval_strategy"),
    (["search", *RIGHT["search"], "--dataset_name", "rajpurkar/squad"], "next to train_file"),
    (["search", *RIGHT["search"], "--eval_samples", "3"], "without eval_file"),
    (["quantize", *RIGHT["quantize"], "--dataset_name", "rajpurkar/squad"], "next to train_file"),
    (["quantize", *RIGHT["quantize"], "--tolerable_loss", "0.5"], "on backend pytorch"),
    (["quantize", *RIGHT["quantize"], "--smooth_quant_alpha", "0.5"], "on backend pytorch"),
    (["benchmark", *RIGHT["benchmark"], "--handle_impossible_answer"], "on latencies"),
    (["convert", *RIGHT["convert"], "--revision", "v1"], "on a folder"),
    (["predict", "--model", "MODEL", "--data", "DATA", "--output", "OUT", "--json"], "on files"),
]


@pytest.mark.parametrize(("argv", "reason"), WITHOUT_EFFECT, ids=lambda value: value if isinstance(value, str) else value[0])
def test_options_without_effect_are_refused(argv, reason, files, classifier_folder, tmp_path, sizes, capsys):
    (tmp_path / "texts.csv").write_text("text,label\nada wrote it,0\nben lit it,1\n")
    (tmp_path / "rankings.jsonl").write_text('{"query": "who?", "positives": ["ada"], "negatives": ["ben"]}\n')
    if "RANKER" in argv:
        BertForSequenceClassification(BertConfig(**sizes, num_labels=1)).save_pretrained(tmp_path / "ranker")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(classifier_folder / name, tmp_path / "ranker")
    files |= {"CLASSIFIER": str(classifier_folder), "RANKER": str(tmp_path / "ranker")}
    files |= {"TEXTS": str(tmp_path / "texts.csv"), "RANKINGS": str(tmp_path / "rankings.jsonl")}
    refused(argv, files, capsys, f"has no effect {reason}")


@pytest.mark.parametrize("verb", ["evaluate", "search", "quantize", "benchmark", "convert", "predict"])
def test_a_classifier_of_three_classes_is_no_reranker(verb, files, classifier_folder, tmp_path, capsys):
    if verb == "benchmark":
        pytest.importorskip("nncf", reason="needs the intel extra")
    if verb == "search":
        pytest.importorskip("optuna", reason="needs the search extra")
    files["MODEL"] = convert(str(classifier_folder), tmp_path / "model", budgets={"half": [0.8, 0.6, 0.5, 0.3]})
    files = {name: str(value) for name, value in files.items()}
    words = RIGHT[verb] if verb != "predict" else ["--model", "MODEL", "--query", "who?", "--passages", "ada", "ben"]
    refused([verb, *words, "--task", "reranking"], files, capsys, "has 3 labels; a reranker has one")


def test_files_of_the_command_line_replace_the_data_set_of_a_recipe(files, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("dataset_name: ada/songs\ndataset_config_name: en\nuse_cpu: true\nbudget_prob: 2\n")
    refused(["train", str(recipe), *RIGHT["train"]], files, capsys, "budget_prob is 2")
    recipe.write_text("train_file: [a.json]\ndataset_config_name: en\n")
    refused(["train", str(recipe), *RIGHT["train"][:2], *RIGHT["train"][4:]], files, capsys, "a.json")


def test_a_fault_of_the_program_keeps_its_traceback(files, monkeypatch):
    def fault(*args, **kwargs):
        return list(zip([1], [1, 2], strict=True))

    monkeypatch.setattr(torch.nn.Linear, "forward", fault)
    with pytest.raises(ValueError, match="longer"):
        main(["evaluate", "--model", files["MODEL"], "--data", files["DATA"]])


def test_debug_shows_the_traceback_of_wrong_input(files, capsys):
    assert main(["evaluate", "--model", files["MODEL"], "--data", "nowhere.json", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


class Interrupted(io.BytesIO):
    """Standard input of a person who presses Ctrl-C."""

    def read(self, *_):
        signal.raise_signal(signal.SIGINT)


class InterruptedInOtherCode(io.BytesIO):
    """The same while C++ code runs that turns the interrupt into an error of its own."""

    def read(self, *_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("tracing failed") from error


@pytest.mark.parametrize("interrupted", [Interrupted, InterruptedInOtherCode])
def test_ctrl_c_is_one_line_and_status_130(interrupted, files, monkeypatch, capsys, request):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist ignore the signal
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(interrupted()))
    assert main(["predict", "--model", files["MODEL"], "--question", "who?", "--context_file", "-", "--debug"]) == 130
    assert capsys.readouterr().err.strip() == "hf-dynbert: stopped."
