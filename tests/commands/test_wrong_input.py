"""Wrong input ends with one line and status 2 before any work; a fault of the program keeps its traceback."""

import io
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

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
    assert captured.out == ""
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
                (["--report_to", "nope", "--max_length", "120", "--stride", "8"], "nope is not supported"),
                (["--eval_strategy", "epoch"], "eval_strategy=epoch needs data"),
                *(
                    ([f"--{name}", value], f"{name} is {value}")
                    for name in ("learning_rate", "weight_decay", "adam_beta2", "warmup_steps", "num_train_epochs")
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
        raise KeyboardInterrupt


def test_ctrl_c_is_one_line_and_status_130(files, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    assert main(["predict", "--model", files["MODEL"], "--question", "who?", "--context_file", "-", "--debug"]) == 130
    assert capsys.readouterr().err.strip() == "hf-dynbert: stopped."
