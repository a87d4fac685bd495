"""A graph for each budget: the answers of the budget, in a process without the package."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import make_batch


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

from hf_dynbert import OVDynamicTinyBertForSequenceClassification  # noqa: E402  (after the skip above)
from hf_dynbert.budgets.search.run import save_budgets  # noqa: E402
from hf_dynbert.openvino.budget_files import export_budgets  # noqa: E402


EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO's default is bf16 where the CPU has it
TOLERANCE = 1e-5  # two fp32 kernels on sums of at most 64 terms
BUDGETS = {"half": [0.8, 0.5, 0.5, 0.2], "few": [20, 9, 9, 3]}
BATCHES = [make_batch(), make_batch((7,)), make_batch((100, 50), width=110, seed=5)]


@pytest.fixture(scope="module")
def model(make_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    model = make_model("text-classification", importance="learned", budgets=BUDGETS)
    model.save_pretrained(folder / "torch")
    exported = OVDynamicTinyBertForSequenceClassification.from_pretrained(folder / "torch", export=True)
    exported.save_pretrained(folder / "openvino")
    return model, folder / "openvino"


def test_each_file_has_the_answers_of_its_budget(model, tmp_path):
    eager, folder = model
    files = export_budgets(folder)
    assert {file.name for file in files} == {f"openvino_model_{name}.xml" for name in ("full", *BUDGETS)}
    torch.save(BATCHES, tmp_path / "batches.pt")
    script = f"""
import sys, torch
from optimum.intel import OVModelForSequenceClassification
for name in {["full", *BUDGETS]}:
    file = f"openvino_model_{{name}}.xml"
    model = OVModelForSequenceClassification.from_pretrained({str(folder)!r}, file_name=file, ov_config={EXACT})
    torch.save([model(**batch).logits for batch in torch.load("batches.pt")], f"{{name}}.pt")
assert "hf_dynbert" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    for name in ("full", *BUDGETS):
        for logits, batch in zip(torch.load(tmp_path / f"{name}.pt"), BATCHES, strict=True):
            with torch.no_grad():
                torch.testing.assert_close(logits, eager(**batch, budget=name).logits, rtol=0, atol=TOLERANCE)


def test_a_search_removes_the_files(model):
    _, folder = model
    (half,) = export_budgets(folder, ["half"])
    assert half.is_file() and half.with_suffix(".bin").is_file()
    save_budgets(folder, {"full": {"length_config": None, "score": 1.0, "macs": 1.0}})
    assert not half.exists() and not half.with_suffix(".bin").exists()
    assert json.loads((folder / "config.json").read_text())["budgets"].keys() == {"full", *BUDGETS}


def test_what_has_no_file_is_refused(model, tmp_path):
    _, folder = model
    with pytest.raises(ValueError, match='has no budget "quarter"; valid are full, few, half'):
        export_budgets(folder, ["half", "quarter"])
    with pytest.raises(ValueError, match="has no openvino_model.xml"):
        export_budgets(tmp_path)
    assert not list(tmp_path.iterdir())
