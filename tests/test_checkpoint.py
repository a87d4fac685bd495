"""The starter checkpoint, which a person pulls first: small, whole, and worth its budgets."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard


ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "recipes" / "quala-minilm-squad" / "checkpoint"
HELD_OUT = ROOT / "recipes" / "data" / "held-out.json"
needs_intel = pytest.mark.skipif(not importlib.util.find_spec("nncf"), reason="needs the intel extra")
BUDGETS = ("full", "balanced", "fast")
LEAST = 75  # F1 on 96 easy questions written for this project; 83.0 to 84.4 measured, a standard error is about 4
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # what ours asks for; OpenVINO's default is bf16 where the CPU has it


@pytest.fixture(scope="module")
def model():
    from hf_dynbert import OVDynamicTinyBertForQuestionAnswering

    return OVDynamicTinyBertForQuestionAnswering.from_pretrained(CHECKPOINT)


def test_it_is_small_and_says_what_it_is():
    files = [path for path in CHECKPOINT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25e6  # everybody who clones the repository gets it
    assert not [path for path in files if path.suffix in (".pt", ".pkl", ".pth", ".safetensors")]
    card = ModelCard.load(CHECKPOINT / "README.md")
    assert card.data.license == "apache-2.0" and "rajpurkar/squad" in (card.data.datasets or [])
    assert "CC BY-SA 4.0" in card.text and "VNNI" in card.text


def test_pytorch_classes_name_the_way_to_load_it():
    from hf_dynbert import DynamicTinyBertForQuestionAnswering

    with pytest.raises(OSError, match=r"checkpoint is an OpenVINO model. Load it with hf_dynbert.load\("):
        DynamicTinyBertForQuestionAnswering.from_pretrained(CHECKPOINT)


@needs_intel
def test_less_work_at_each_budget_and_answers_at_all(model):
    from transformers import AutoTokenizer

    from hf_dynbert import evaluate_squad, load_squad

    tokenizer, data = AutoTokenizer.from_pretrained(CHECKPOINT), load_squad(str(HELD_OUT))
    full, balanced, fast = (
        evaluate_squad(model, tokenizer, data, length_config=budget, latency_samples=0) for budget in BUDGETS
    )
    assert full.macs_mean > balanced.macs_mean >= fast.macs_mean
    assert min(full.f1, balanced.f1, fast.f1) > LEAST


@needs_intel
def test_its_budgets_are_measured(model):
    from hf_dynbert.budgets.model_budgets import named_budgets

    assert set(BUDGETS) <= set(named_budgets(model.config))
    for name in BUDGETS:
        entry = model.config.budgets[name]
        assert entry["f1"] and entry["macs"] and entry["latency_ms"] and entry["machine"]
    assert model.choose_budget(max_macs=model.config.budgets["fast"]["macs"]) != "full"


@needs_intel
def test_it_loads_without_this_package(model, tmp_path):
    from transformers import AutoTokenizer

    script = f"""
import sys, torch
from optimum.intel import OVModelForQuestionAnswering
from transformers import AutoTokenizer
model = OVModelForQuestionAnswering.from_pretrained({str(CHECKPOINT)!r}, ov_config={EXACT})
inputs = AutoTokenizer.from_pretrained({str(CHECKPOINT)!r})("Who lit it?", "The lamp was lit by Ada.", return_tensors="pt")
assert "hf_dynbert" not in sys.modules
torch.save(model(**inputs).start_logits, {str(tmp_path / "logits.pt")!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    inputs = AutoTokenizer.from_pretrained(CHECKPOINT)("Who lit it?", "The lamp was lit by Ada.", return_tensors="pt")
    theirs = torch.load(tmp_path / "logits.pt", weights_only=True)
    # ours pads to 16 tokens: other kernels, and a rounding of 8 bits that falls the other way now and then
    torch.testing.assert_close(theirs, model(**inputs).start_logits, rtol=0, atol=0.1)


@needs_intel
def test_the_demo_runs(tmp_path):
    demo = [sys.executable, str(ROOT / "recipes" / "demo" / "demo.py")]
    done = subprocess.run(demo, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert (tmp_path / "outputs" / "demo" / "curve.png").exists()
    assert all(done.stdout.count(name) >= 5 for name in BUDGETS)  # a row of the table, and an answer to each question
