"""No verb runs the code of a model's repository, not even for a user who agrees to every question."""

import contextlib
import json

import pytest

from hf_dynbert.commands.main import main


KINDS = {
    # transformers has no such architecture
    "architecture": {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}},
    # transformers has the architecture, but no head of it for a task
    "head": {
        "model_type": "vit",
        "auto_map": dict.fromkeys(("AutoModelForQuestionAnswering", "AutoModelForSequenceClassification"), "evil.Evil")
        | {"AutoModel": "evil.Evil", "AutoModelForMaskedLM": "evil.Evil"},
    },
    # both have it
    "known": {"model_type": "bert", "auto_map": {"AutoModelForQuestionAnswering": "evil.Evil", "AutoConfig": "evil.Evil"}},
}


@pytest.fixture(params=KINDS)
def evil(request, tmp_path, bert_folder):
    """A folder whose code writes a marker when it is imported."""
    folder = tmp_path / "evil"
    folder.mkdir()
    for file in bert_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text()) | KINDS[request.param]
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'marker')!r}, 'w').write('ran')\nclass Evil: pass\nEvilConfig = Evil\n"
    )
    return folder


VERBS = {
    "train": ["--model_name_or_path", "EVIL", "--train_file", "DATA", "--output_dir", "OUT", "--max_steps", "1"],
    "train with a teacher": ["--model_name_or_path", "BERT", "--teacher_model_name_or_path", "EVIL"]
    + ["--train_file", "DATA", "--output_dir", "OUT", "--max_steps", "1"],
    "adapt": ["--model", "EVIL", "--texts", "DATA", "--output_dir", "OUT"],
    "search": ["--model", "EVIL", "--train_file", "DATA", "--output_dir", "OUT"],
    "quantize": ["--model", "EVIL", "--output_dir", "OUT", "--train_file", "DATA"],
    "quantize in PyTorch": ["--model", "EVIL", "--output_dir", "OUT", "--train_file", "DATA", "--backend", "pytorch"],
    "evaluate": ["--model", "EVIL", "--data", "DATA", "--latency_samples", "0", "--max_length", "120", "--stride", "8"],
    "benchmark": ["--model", "EVIL", "--data", "DATA", "--output_dir", "OUT"],
    "predict": ["--model", "EVIL", "--question", "who?", "--context", "ada lit the tower."],
    "convert": ["--model", "EVIL", "--output_dir", "OUT"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_runs_code_of_a_repository(verb, evil, bert_folder, squad_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    places = {"EVIL": evil, "BERT": bert_folder, "DATA": squad_file, "OUT": tmp_path / "out"}
    with contextlib.suppress(Exception, SystemExit):  # whatever else is wrong with such a folder
        main([verb.split()[0], *(str(places.get(word, word)) for word in VERBS[verb])])
    assert "unknown" not in capsys.readouterr().err  # the options are those of the verb
    assert not (tmp_path / "marker").exists()
