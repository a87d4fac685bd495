# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Push and pull with the unmodified client, over HTTP, against a Hub on loopback."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
import torch
from conftest import make_batch
from hub_server import TOKEN
from huggingface_hub import ModelCard
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, Trainer, TrainingArguments

from hf_dynbert import (
    DistillationArguments,
    DistillationCollator,
    DistillationTrainer,
    DynamicInt8Config,
    DynamicTinyBertForQuestionAnswering,
    training_features,
)
from hf_dynbert.commands.main import main
from hf_dynbert.hub.model_card import MARK, MARKS, write_evaluation
from hf_dynbert.hub.push import push_folder
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe


BUDGETS = {"half": [0.8, 0.6, 0.5, 0.3], "fast": {"length_config": [0.8, 0.4, 0.4, 0.2], "f1": 70.0, "macs": 1e6}}


@pytest.fixture
def folder(make_model, tokenizer, tmp_path):
    folder = tmp_path / "model"
    make_model(importance="learned", budgets=BUDGETS).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def pull(tmp_path):
    """Loads from the Hub into a cache of the test's own."""

    def pulled(repo_id, model_class=AutoModelForQuestionAnswering, **options):
        return model_class.from_pretrained(repo_id, **{"cache_dir": tmp_path / "cache"} | options)

    return pulled


def answers(model, length_config="half"):
    with torch.inference_mode():
        output = model(**make_batch(), length_config=length_config)
    return torch.stack([output.start_logits, output.end_logits])


def test_what_is_pushed_is_pulled(hub, folder, pull, tokenizer):
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "config.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    url = push_folder(folder, "ada/tiny")
    assert url.startswith(f"{hub.endpoint}/ada/tiny/commit/") and len(hub.repos["ada/tiny"].commits) == 2  # with the first
    assert not {"training_args.bin", "checkpoint-5/config.json"} & set(hub.files("ada/tiny"))
    model, mine = pull("ada/tiny"), AutoModelForQuestionAnswering.from_pretrained(folder)
    assert type(model) is DynamicTinyBertForQuestionAnswering and model.config.budgets == BUDGETS
    assert all(torch.equal(answers(model, name), answers(mine, name)) for name in ("full", "half", "fast"))
    pulled = pull("ada/tiny", AutoTokenizer)
    assert pulled("who lit the tower?").input_ids == tokenizer("who lit the tower?").input_ids


def test_the_card_knows_where_it_stands_and_survives(hub, folder, make_model):
    result = {"f1": 74.567, "exact_match": 63.2, "macs_mean": 1e9, "macs_ratio": 0.5, "length_config": BUDGETS["half"]}
    found = {"data": "SQuAD", "dataset": "rajpurkar/squad", "split": "validation", "examples": 10570, "whole": True}
    write_evaluation(folder, found, "full", result | {"length_config": None})
    push_folder(folder, "ada/tiny")
    card = hub.files("ada/tiny")["README.md"].decode()
    assert 'model="ada/tiny"' in card and "USER/NAME" not in card
    assert b"74.57" in hub.files("ada/tiny")[".eval_results/squad.yaml"]
    assert ModelCard.load("ada/tiny").data.eval_results[0].metric_value == 74.57
    make_model().push_to_hub("tiny")  # by transformers, without the folder's records
    assert 'model="ada/tiny"' in hub.files("ada/tiny")["README.md"].decode()


def test_a_persons_card_on_the_hub_stays(hub, folder, make_model, tokenizer, questions, tmp_path):
    push_folder(folder, "ada/tiny")
    own = hub.files("ada/tiny")["README.md"].replace(MARK.encode(), b"My own words.")
    hub.repos["ada/tiny"].commit("main", hub.files("ada/tiny") | {"README.md": own})
    push_folder(folder, "ada/tiny")
    assert hub.files("ada/tiny")["README.md"] == own
    make_model().push_to_hub("tiny")
    assert b"My own words." in hub.files("ada/tiny")["README.md"]


@pytest.mark.parametrize("clean", [False, True])
def test_what_is_in_the_repository_stays_unless_asked(hub, folder, clean):
    old = dict.fromkeys(("evaluation.json", "front.png", "openvino_model.xml", ".eval_results/squad.yaml"), b"old")
    hub.create("ada/tiny", **old, **{"notes.txt": b"old"})
    command = ["push", "--model", str(folder), "--repo", "ada/tiny", *(["--clean"] if clean else [])]
    assert main(command) == 0
    files = hub.files("ada/tiny")
    assert files["notes.txt"] == b"old" and "model.safetensors" in files
    assert {name for name in old if name in files} == (set() if clean else set(old))


SECRETS = (
    "notes-of-mine.txt",
    "token.json",
    "tokens_of_ada.json",
    "token",
    "LICENSE.key",
    "secret.png",
    "vocab.bak",
    ".env",
)


def test_only_files_of_a_model_are_uploaded(hub, folder):
    for name in SECRETS:
        (folder / name).write_text("nobody's business")
    (folder / "LICENSE").write_text("Apache-2.0")
    push_folder(folder, "ada/tiny")
    files = hub.files("ada/tiny")
    assert not set(SECRETS) & set(files) and files["LICENSE"] == b"Apache-2.0"
    assert not [name for name, content in files.items() if b"nobody's business" in content]


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "front.png", "vocab.txt", ".eval_results"])
def test_links_are_not_followed(hub, folder, tmp_path, name):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "squad.yaml").write_text("a private key")
    target = tmp_path / "private" / ("" if name == ".eval_results" else "squad.yaml")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    push_folder(folder, "ada/tiny")
    assert not [content for content in hub.files("ada/tiny").values() if b"a private key" in content]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_model_of_links_is_refused(hub, folder, tmp_path, name):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is a link"):
        push_folder(folder, "ada/tiny")
    assert not hub.log


@pytest.mark.parametrize("way", ["push_folder", "push_to_hub"])
def test_the_title_of_a_card_is_the_name_of_its_repository(hub, folder, make_model, way):
    if way == "push_folder":
        push_folder(folder, "ada/tiny")
    else:
        make_model(budgets=BUDGETS).push_to_hub("ada/tiny")
    assert "\n# tiny\n" in hub.files("ada/tiny")["README.md"].decode()


def test_what_is_public_is_not_taken_for_private(hub, folder):
    hub.create("ada/tiny")
    with pytest.raises(ValueError, match="ada/tiny is public"):
        push_folder(folder, "ada/tiny", private=True)
    assert set(hub.files("ada/tiny")) == {".gitattributes"}


def test_a_card_that_the_hub_refuses_publishes_nothing(hub, folder):
    hub.fail("POST", "validate-yaml", status=400, times=9)
    with pytest.raises((OSError, ValueError)):
        push_folder(folder, "ada/tiny")
    assert set(hub.files("ada/tiny")) == {".gitattributes"}


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_a_trainer_that_pushes(hub, make_model, tokenizer, questions, pull, tmp_path, strategy):
    args = DistillationArguments(
        str(tmp_path / "out"),
        max_steps=4,
        save_steps=2,
        use_cpu=True,
        report_to=[],
        push_to_hub=True,
        hub_model_id="tiny",
        hub_strategy=strategy,
        hub_token=TOKEN,
    )
    features = training_features(questions, tokenizer, max_length=120, stride=8)
    model = make_model(budgets=BUDGETS)
    collator = DistillationCollator(tokenizer)
    trainer = DistillationTrainer(model, args, train_dataset=features, data_collator=collator, processing_class=tokenizer)
    trainer.train()
    trainer.push_to_hub(dataset_tags="rajpurkar/squad", dataset="SQuAD 1.1")
    pulled = pull("ada/tiny")
    assert pulled.config.budgets == BUDGETS and torch.equal(answers(pulled), answers(model.eval()))
    card = ModelCard.load("ada/tiny")
    assert card.data.datasets == ["rajpurkar/squad"] and "| data | SQuAD 1.1 |" in card.content
    assert "| max_steps | 4 |" in card.content
    assert 'model="ada/tiny"' in card.content
    assert "modeling_dynamic_tinybert.py" in hub.files("ada/tiny")
    assert not [name for name, content in hub.files("ada/tiny").items() if TOKEN.encode() in content]
    assert ("last-checkpoint/trainer_state.json" in hub.files("ada/tiny")) == (strategy == "checkpoint")
    # Of two, the second is left out while the first is still on its way
    checkpoints = {"checkpoint-2/trainer_state.json", "checkpoint-4/trainer_state.json"} & set(hub.files("ada/tiny"))
    assert bool(checkpoints) == (strategy == "all_checkpoints")


def test_a_recipe_that_pushes(hub, bert_folder, squad_file, tmp_path):
    options = {"max_steps": 1, "use_cpu": True, "report_to": [], "num_sandwich": 1}
    args = DistillationArguments(str(tmp_path / "out"), push_to_hub=True, hub_model_id="tiny", **options)
    run_recipe(ModelArguments(str(bert_folder)), DataArguments([str(squad_file)], max_length=120, stride=8), args)
    files = hub.files("ada/tiny")
    assert {"config.json", "model.safetensors", "README.md", "tokenizer.json", "training.json"} <= set(files)
    assert not [name for name in files if name.startswith(".writing")]


def test_push_to_hub_of_transformers(hub, make_model, tokenizer, pull):
    model = make_model(importance="learned", budgets=BUDGETS)
    model.push_to_hub("tiny", private=True)
    tokenizer.push_to_hub("tiny")
    assert hub.repos["ada/tiny"].private
    card = hub.files("ada/tiny")["README.md"].decode()
    assert 'model="ada/tiny"' in card and "| `half` | 0.8, 0.6, 0.5, 0.3 |" in card and MARKS[-1] not in card
    assert torch.equal(answers(pull("ada/tiny")), answers(model))
    assert pull("ada/tiny", AutoTokenizer).get_vocab() == tokenizer.get_vocab()


def test_int8_in_pytorch(hub, folder, pull, tokenizer, tmp_path):
    quantized = AutoModelForQuestionAnswering.from_pretrained(folder, quantization_config=DynamicInt8Config())
    quantized.save_pretrained(tmp_path / "int8")
    tokenizer.save_pretrained(tmp_path / "int8")
    push_folder(tmp_path / "int8", "ada/int8")
    pulled = pull("ada/int8")
    assert pulled.config.budgets == BUDGETS and isinstance(pulled.qa_outputs.weight, torch.Tensor)
    assert torch.equal(answers(pulled), answers(quantized))
    assert pull("ada/int8", AutoTokenizer).get_vocab() == tokenizer.get_vocab()
    assert 'model="ada/int8"' in hub.files("ada/int8")["README.md"].decode()


def test_int8_in_openvino(hub, folder, pull, tokenizer, tmp_path):
    pytest.importorskip("optimum.intel", reason="needs the intel extra")
    from optimum.intel import OVModelForQuestionAnswering, OVWeightQuantizationConfig

    from hf_dynbert import OVDynamicTinyBertForQuestionAnswering

    int8 = OVWeightQuantizationConfig(bits=8)
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(folder, export=True, quantization_config=int8)
    saved = tmp_path / "openvino"
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    model.push_to_hub(saved, "ada/openvino", private=True)
    assert main(["push", "--model", str(saved), "--repo", "ada/same", "--private"]) == 0
    assert hub.files("ada/same").keys() == hub.files("ada/openvino").keys()
    assert len(hub.repos["ada/openvino"].commits) == 2 and not [
        name for name in hub.files("ada/openvino") if name.endswith(".py")
    ]
    assert 'model="ada/openvino"' in hub.files("ada/openvino")["README.md"].decode()
    pulled = pull("ada/openvino", OVDynamicTinyBertForQuestionAnswering)
    assert pulled.config.budgets == BUDGETS
    assert all(torch.equal(answers(pulled, name), answers(model, name)) for name in ("full", "half", "fast"))
    assert pull("ada/openvino", AutoTokenizer).get_vocab() == tokenizer.get_vocab()
    plain = pull("ada/openvino", OVModelForQuestionAnswering)(**make_batch())  # which knows nothing of us
    assert torch.isfinite(plain.start_logits).all()
    (tmp_path / "notes.txt").write_text("ada lit the tower by night.")
    ask = ["predict", "--question", "who lit the tower?", "--context-file", str(tmp_path / "notes.txt")]
    assert main([*ask, "--model", "ada/openvino", "--length-config", "half"]) == 0  # by its name, without saying its runtime
    hub.fail("GET", "/large/", after=100, times=99)
    with pytest.raises(OSError, match="was not fully downloaded"):
        pull("ada/openvino", OVDynamicTinyBertForQuestionAnswering, cache_dir=tmp_path / "empty")
    hub.faults.clear()
    again = pull("ada/openvino", OVDynamicTinyBertForQuestionAnswering, cache_dir=tmp_path / "empty")
    assert torch.equal(answers(again), answers(model))
    xml = (saved / "openvino_model.xml").read_text()
    (saved / "openvino_model.xml").write_text(xml[: len(xml) // 2])
    with pytest.raises(ValueError, match="openvino_model.xml is damaged or incomplete"):
        push_folder(saved, "ada/other")


def test_the_command(hub, folder, pull, capsys):
    assert main(["push", "--model", str(folder), "--repo", "ada/tiny", "--revision", "v2", "--message", "Second try"]) == 0
    assert capsys.readouterr().out.startswith(hub.endpoint)
    assert set(hub.files("ada/tiny")) == {".gitattributes"} and "model.safetensors" in hub.files("ada/tiny", "v2")
    assert pull("ada/tiny", revision="v2").config.budgets == BUDGETS
    assert main(["push", "--model", str(folder / "nowhere"), "--repo", "ada/tiny"]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_private_repositories(hub, folder, pull, monkeypatch, tmp_path):
    push_folder(folder, "ada/secret", private=True)
    assert pull("ada/secret").config.budgets == BUDGETS
    monkeypatch.setenv("HF_TOKEN", "hf_of_ben")
    with pytest.raises(OSError, match="ada/secret is not a local folder and is not a valid model identifier"):
        pull("ada/secret", cache_dir=tmp_path / "cold")
    with pytest.raises(OSError, match="log in with `hf auth login`"):
        push_folder(folder, "ada/secret")
    with pytest.raises(OSError, match="log in with `hf auth login`"):
        push_folder(folder, "ada/another")
    assert "ada/another" not in hub.repos
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with pytest.raises(OSError, match="ada/secret is not a local folder and is not a valid model identifier"):
        pull("ada/secret", cache_dir=tmp_path / "cold")
    with pytest.raises(OSError, match="(?i)log in|token"):
        push_folder(folder, "ada/secret")


def test_the_trainer_of_transformers_pushes_it_too(hub, make_model, tokenizer, questions, pull, tmp_path):
    args = TrainingArguments(
        str(tmp_path / "out"),
        max_steps=1,
        use_cpu=True,
        report_to=[],
        push_to_hub=True,
        hub_model_id="tiny",
        hub_token=TOKEN,
    )
    features = training_features(questions, tokenizer, max_length=120, stride=8)
    model = make_model(budgets=BUDGETS)
    trainer = Trainer(model, args, train_dataset=features, processing_class=tokenizer)
    trainer.train()
    trainer.push_to_hub()
    assert torch.equal(answers(pull("ada/tiny")), answers(model.eval()))
    assert "modeling_dynamic_tinybert.py" in hub.files("ada/tiny") and b"tiny" in hub.files("ada/tiny")["README.md"]
    with pytest.raises(TypeError, match="give DistillationArguments"):
        DistillationTrainer(model, args)


def test_unknown_revisions(hub, folder, pull):
    push_folder(folder, "ada/tiny")
    with pytest.raises(OSError, match="v7 is not a valid git identifier"):
        pull("ada/tiny", revision="v7")


@pytest.mark.parametrize("fault", [{"status": 500}, {"after": 1000}], ids=["500", "cut"])
def test_an_upload_that_breaks_off_publishes_nothing(hub, folder, pull, fault):
    hub.fail("PUT", "/large/", times=99, **fault)
    with pytest.raises(OSError, match="Nothing was published; the same call sends the rest"):
        push_folder(folder, "ada/tiny")
    assert set(hub.files("ada/tiny")) == {".gitattributes"}
    hub.faults.clear()
    push_folder(folder, "ada/tiny")
    assert pull("ada/tiny").config.budgets == BUDGETS


@pytest.mark.parametrize("status", [409, 412, 500])
def test_a_commit_that_is_refused_publishes_nothing(hub, folder, status):
    hub.fail("POST", "/commit/", status=status, times=99)
    with pytest.raises(OSError, match="The Hub refused ada/tiny"):
        push_folder(folder, "ada/tiny")
    assert set(hub.files("ada/tiny")) == {".gitattributes"}
    sent = sum(method == "PUT" for method, _, _ in hub.log)
    hub.faults.clear()
    push_folder(folder, "ada/tiny")
    assert sum(method == "PUT" for method, _, _ in hub.log) == sent, "what had arrived was sent again"


def test_a_download_that_is_cut_once_goes_on_where_it_was(hub, folder, pull, monkeypatch):
    push_folder(folder, "ada/tiny")
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 500)  # what is kept, in steps; else 10 MB
    hub.fail("GET", "/large/", after=1000)
    assert torch.equal(answers(pull("ada/tiny")), answers(AutoModelForQuestionAnswering.from_pretrained(folder)))
    assert ("GET", 206) in {(method, status) for method, path, status in hub.log if "/large/" in path}


def test_a_download_that_breaks_off_leaves_nothing_to_load(hub, folder, pull, tmp_path):
    push_folder(folder, "ada/tiny")
    hub.fail("GET", "/large/", after=1000, times=99)
    with pytest.raises(OSError, match="ada/tiny was not fully downloaded"):
        pull("ada/tiny", DynamicTinyBertForQuestionAnswering)
    assert not list((tmp_path / "cache").rglob("snapshots/*/model.safetensors"))
    hub.faults.clear()
    assert torch.equal(answers(pull("ada/tiny")), answers(AutoModelForQuestionAnswering.from_pretrained(folder)))


def test_a_server_that_fails_is_no_missing_model(hub, folder, pull):
    push_folder(folder, "ada/tiny")
    hub.fail("HEAD", "config.json", status=500, times=99)
    with pytest.raises(OSError, match="(?i)500|couldn't connect"):
        pull("ada/tiny")


def test_offline_with_a_warm_cache(hub, folder, pull, tokenizer, monkeypatch):
    push_folder(folder, "ada/tiny")
    warm = answers(pull("ada/tiny"))
    pull("ada/tiny", AutoTokenizer)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.log)
    assert torch.equal(answers(pull("ada/tiny")), warm)
    words = "who lit the tower?"
    assert pull("ada/tiny", AutoTokenizer)(words).input_ids == tokenizer(words).input_ids
    assert len(hub.log) == asked
    with pytest.raises(OSError, match="offline|cached"):
        pull("ada/other")


class Bomb:
    """A pickle that leaves a trace when it is loaded as pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text("{}"), "has no model_type"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "dynamic_tinybert", "dtype": "nope"}'),
            "config.json cannot be read",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "only pytorch_model.bin, a pickle",
        ),
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "damaged or incomplete"),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-2.safetensors"}}'
            ),
            "names model-2.safetensors, which is not there",
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer"),
        (lambda folder: (folder / "README.md").write_text("---\ntags: [a\n---\n"), "metadata .* is broken"),
        (lambda folder: (folder / "README.md").write_text("---\njust words\n---\n"), "metadata .* is broken"),
    ],
)
def test_folders_that_nobody_could_load_are_not_pushed(hub, folder, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        push_folder(folder, "ada/tiny")
    assert not hub.log


ALONE = """
import json, sys
sys.modules["hf_dynbert"] = None  # as if it were not installed
import torch
from transformers import AutoModelForQuestionAnswering

found = {}
batch = {name: torch.tensor(rows) for name, rows in json.loads(sys.argv[1]).items()}
for source in sys.argv[2:]:
    try:
        AutoModelForQuestionAnswering.from_pretrained(source)
    except ValueError as error:
        assert "trust_remote_code" in str(error) or "dynamic_tinybert" in str(error), error
    else:
        raise SystemExit("code was run that nobody trusted")
    model = AutoModelForQuestionAnswering.from_pretrained(source, trust_remote_code=True).eval()
    for name in ("full", *model.config.budgets):
        with torch.inference_mode():
            output = model(**batch, length_config=name)
        found[f"{source} {name}"] = [output.start_logits.tolist(), output.end_logits.tolist()]
assert not [name for name in sys.modules if name.startswith("hf_dynbert") and sys.modules[name]]
print(json.dumps(found))
"""


def test_without_our_package(hub, folder, tokenizer, tmp_path):
    int8 = tmp_path / "int8"
    AutoModelForQuestionAnswering.from_pretrained(folder, quantization_config=DynamicInt8Config()).save_pretrained(int8)
    tokenizer.save_pretrained(int8)
    push_folder(folder, "ada/tiny")
    batch = json.dumps({name: rows.tolist() for name, rows in make_batch().items()})
    sources = {str(folder): folder, "ada/tiny": folder, str(int8): int8}
    here = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    run = subprocess.run(
        [sys.executable, "-c", ALONE, batch, *sources], capture_output=True, text=True, env=os.environ | here, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout[run.stdout.index('{"') :])
    for source, place in sources.items():
        mine = AutoModelForQuestionAnswering.from_pretrained(place)
        for name in ("full", "half", "fast"):
            torch.testing.assert_close(torch.tensor(found[f"{source} {name}"]), answers(mine, name))


@pytest.mark.parametrize("trust", [None, True])
def test_with_our_package_no_code_of_a_repository_runs(folder, trust):
    for path in folder.glob("*.py"):
        path.write_text("raise SystemExit('this must not run')")
    model = AutoModelForQuestionAnswering.from_pretrained(folder, trust_remote_code=trust)
    assert type(model) is DynamicTinyBertForQuestionAnswering


def test_a_saved_folder_says_where_its_code_is(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "configuration_dynamic_tinybert.DynamicTinyBertConfig",
        "AutoModelForQuestionAnswering": "modeling_dynamic_tinybert.DynamicTinyBertForQuestionAnswering",
    }
    again = AutoModelForQuestionAnswering.from_pretrained(folder)
    again.save_pretrained(tmp_path / "again")
    for path in folder.iterdir():
        if path.name in os.listdir(tmp_path / "again"):
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_pickle_is_read_as_data_alone(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(OSError, match="a pickle that holds more than tensors"):
        AutoModelForQuestionAnswering.from_pretrained(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")  # a pickle where safetensors are expected
    with pytest.raises(OSError, match="are damaged, incomplete, or a pickle"):
        AutoModelForQuestionAnswering.from_pretrained(folder)
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        push_folder(folder, "ada/tiny")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgets": {"half": [0.8, 0.9, 0.5, 0.3]}}, 'budgets\\["half"\\]'),
        ({"budgets": {"half": [0.8, 0.6]}}, 'budgets\\["half"\\]'),
        ({"budgets": {"full": [0.8, 0.6, 0.5, 0.3]}}, "cannot be redefined"),
        ({"length_config": [2.0, 0.6, 0.5, 0.3]}, "length"),
        ({"importance": "luck"}, "importance is 'luck'"),
    ],
)
def test_impossible_configurations_are_refused(folder, change, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=message):
        AutoModelForQuestionAnswering.from_pretrained(folder)
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        push_folder(folder, "ada/tiny")


def test_foreign_models_and_other_shapes_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "foreign")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "foreign" / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="is a 'gpt2' checkpoint"):
        DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "foreign")
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(ValueError, match="have other shapes than those of its config.json"):
        AutoModelForQuestionAnswering.from_pretrained(folder)
