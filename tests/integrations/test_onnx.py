"""ONNX files in ONNX Runtime against the PyTorch models that they were exported from."""

import pytest
import torch


onnxruntime = pytest.importorskip("onnxruntime", reason="make test-integrations installs it")
pytest.importorskip("onnxscript", reason="make test-integrations installs it")

from conftest import make_batch  # noqa: E402  (after the skips)

from hf_dynbert.integrations.onnx import export_onnx  # noqa: E402


TOLERANCE = 2e-5  # of logits up to 10: float sums in another order
BATCHES = ((24, 11), (6,), (100, 99, 7, 60))  # real tokens of the texts of a batch
HALF, COUNTS = [0.8, 0.6, 0.5, 0.3], [30, 12, 12, 3]


def compare(model, path, budget):
    """ONNX Runtime gives the logits of the model for batches of several sizes and lengths."""
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    for lengths in BATCHES:
        inputs = make_batch(lengths)
        with torch.no_grad():
            right = model(**inputs, budget=budget)
        found = session.run(names, {item.name: inputs[item.name].numpy() for item in session.get_inputs()})
        real = inputs["attention_mask"].bool() if len(names) == 2 else slice(None)  # logits of padding have no meaning
        for name, values in zip(names, found, strict=True):
            torch.testing.assert_close(torch.from_numpy(values)[real], right[name][real], atol=TOLERANCE, rtol=0)
    return names, [item.name for item in session.get_inputs()]


@pytest.mark.parametrize("budget", ["full", HALF])
def test_question_answering(make_model, tmp_path, budget):
    model = make_model(importance="learned")
    names = compare(model, export_onnx(model, tmp_path / "new" / "qa.onnx", budget=budget), budget)
    assert names == (["start_logits", "end_logits"], ["input_ids", "attention_mask", "token_type_ids"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["qa.onnx"]


def test_classification_at_the_default_budget(make_model, tmp_path):
    """Received attention as importance, and short texts that keep all their tokens."""
    model = make_model("text-classification", importance="all", length_config=COUNTS, min_tokens_to_drop=20).train()
    export_onnx(model, tmp_path / "model.onnx")
    assert model.training
    names = compare(model.eval(), tmp_path / "model.onnx", None)
    assert names == (["logits"], ["input_ids", "attention_mask", "token_type_ids"])


def test_wrong_arguments_are_refused_before_any_file(make_model, tmp_path):
    model = make_model()
    for arguments, error, message in (
        ((model, tmp_path / "x" / "m.onnx", "quick"), ValueError, 'no budget "quick"'),
        ((model.bert, tmp_path / "x" / "m.onnx"), TypeError, "DynamicTinyBertForQuestionAnswering"),
        ((model, tmp_path), ValueError, "is a folder"),
    ):
        with pytest.raises(error, match=message):
            export_onnx(*arguments)
    assert not list(tmp_path.iterdir())
