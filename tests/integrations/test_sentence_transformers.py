"""CrossEncoder, plain and with budgets, against the model itself."""

import json

import pytest
import torch


sentence_transformers = pytest.importorskip("sentence_transformers", reason="make test-integrations installs it")

from sentence_transformers import CrossEncoder  # noqa: E402  (after the skip)
from transformers import BertConfig, BertForSequenceClassification  # noqa: E402

import hf_dynbert  # noqa: E402
from hf_dynbert.budgets.budget import Budget  # noqa: E402
from hf_dynbert.budgets.choosing import runtime_name  # noqa: E402
from hf_dynbert.budgets.latency import machine_name  # noqa: E402
from hf_dynbert.integrations.sentence_transformers import DynamicCrossEncoder  # noqa: E402


QUERY = "who lit the tower?"
DOCUMENTS = ["ada lit the tower by night.", "the ship", "ben wrote the song in 1907", "cleo keeps the light " * 5]
PAIRS = [(QUERY, text) for text in DOCUMENTS]
TOLERANCE = 1e-5  # batches of other sizes: float sums in another order


@pytest.fixture(scope="module")
def folders(sizes, tokenizer, tmp_path_factory):
    """A tiny reranker in PyTorch and in OpenVINO, with measured budgets."""
    folder = tmp_path_factory.mktemp("rerankers")
    torch.manual_seed(0)
    config = hf_dynbert.DynamicTinyBertConfig(**sizes, num_labels=1, task="reranking", min_tokens_to_drop=0)
    model = hf_dynbert.DynamicTinyBertForSequenceClassification(config)
    place = {"machine": machine_name(torch.get_num_threads()), "runtime": runtime_name(model)}
    shares = {"full": None, "half": [0.8, 0.6, 0.5, 0.3]}
    model.config.budgets = {
        name: Budget(name, entry, 50.0, 1e6 * (2 - index), 5.0, 16, sample="none", **place).entry()
        for index, (name, entry) in enumerate(shares.items())
    }
    model.save_pretrained(folder / "torch")
    exported = hf_dynbert.OVDynamicTinyBertForSequenceClassification.from_pretrained(folder / "torch", export=True)
    exported.save_pretrained(folder / "openvino")
    for name in ("torch", "openvino"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(params=["torch", "openvino"])
def backend(request):
    return request.param


def logits(folder, tokenizer, budget=None):
    model, scores = hf_dynbert.load(folder, "reranking"), []
    for pair in PAIRS:
        with torch.no_grad():
            scores.append(float(model(**tokenizer(*pair, return_tensors="pt"), budget=budget).logits[0, 0]))
    return scores


@pytest.mark.parametrize("budget", [None, "full", "half", [0.5, 0.5, 0.2, 0.1]])
def test_scores_are_the_models(folders, backend, tokenizer, budget):
    ranker = DynamicCrossEncoder(str(folders / backend), backend=backend)
    right = torch.tensor(logits(folders / backend, tokenizer, budget))
    scores = ranker.predict(PAIRS, budget=budget, convert_to_tensor=True)
    torch.testing.assert_close(scores, right.sigmoid(), atol=TOLERANCE, rtol=0)
    raw = ranker.predict(PAIRS, budget=budget, activation_fn=torch.nn.Identity(), convert_to_tensor=True)
    torch.testing.assert_close(raw, right, atol=TOLERANCE, rtol=0)
    ranking = ranker.rank(QUERY, DOCUMENTS, budget=budget, return_documents=True)
    assert [item["corpus_id"] for item in ranking] == right.argsort(descending=True).tolist()
    assert all(item["text"] == DOCUMENTS[item["corpus_id"]] for item in ranking)
    assert ranker.rank(QUERY, DOCUMENTS, 2, budget=budget) == [
        {name: item[name] for name in ("corpus_id", "score")} for item in ranking[:2]
    ]


def test_a_plain_cross_encoder_gives_the_same_scores(folders, backend):
    ours = DynamicCrossEncoder(str(folders / backend), backend=backend)
    exact = {"model_kwargs": {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}} if backend == "openvino" else {}
    plain = CrossEncoder(str(folders / backend), backend=backend, **exact)  # OpenVINO computes in bf16 on some CPUs
    torch.testing.assert_close(
        torch.tensor(plain.predict(PAIRS)), torch.tensor(ours.predict(PAIRS, budget="full")), atol=TOLERANCE, rtol=0
    )


def test_a_saved_folder_takes_budgets_in_a_plain_cross_encoder(folders, tmp_path):
    ranker = DynamicCrossEncoder(str(folders / "torch"))
    ranker.save_pretrained(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "modules.json").read_text())[0]["kwargs"] == ["budget", "length_config"]
    plain = CrossEncoder(str(tmp_path / "saved"))
    assert plain.predict(PAIRS, budget="half").tolist() == ranker.predict(PAIRS, budget="half").tolist()
    with pytest.raises(ValueError, match="quarter"):
        plain.predict(PAIRS, budget="quarter")


def test_converted_rerankers_take_budgets_in_a_plain_cross_encoder(sizes, tokenizer, tmp_path):
    torch.manual_seed(0)
    bert = BertForSequenceClassification(BertConfig(**sizes, num_labels=1))
    bert.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}
    bert.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    shares = {"half": [0.8, 0.6, 0.5, 0.3]}
    folder = hf_dynbert.convert(str(tmp_path / "bert"), tmp_path / "converted", budgets=shares)
    plain, theirs = CrossEncoder(str(folder)), CrossEncoder(str(tmp_path / "bert"))
    assert plain.model.config.task == "reranking"
    torch.testing.assert_close(torch.tensor(plain.predict(PAIRS)), torch.tensor(theirs.predict(PAIRS)))
    ranker = DynamicCrossEncoder(str(folder))
    ranker.model.config.min_tokens_to_drop = plain.model.config.min_tokens_to_drop = 0
    assert plain.predict(PAIRS, budget="half").tolist() == ranker.predict(PAIRS, budget="half").tolist()
    assert plain.predict(PAIRS, budget="half").tolist() != plain.predict(PAIRS).tolist()


def test_a_deadline_is_kept(folders, backend, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    ranker = DynamicCrossEncoder(str(folders / backend), backend=backend)
    ranker.rank(QUERY, DOCUMENTS, max_latency_ms=5000)  # measures the budgets of this machine
    ranking, report = ranker.rank(QUERY, DOCUMENTS, max_latency_ms=5000, return_report=True)
    assert report["milliseconds"] <= 5000 and report["stages"][0]["budget"] == "full"  # tiny: seconds are enough for all
    full = ranker.rank(QUERY, DOCUMENTS, budget="full")
    assert [item["corpus_id"] for item in ranking] == [item["corpus_id"] for item in full]
    for item, right in zip(ranking, full, strict=True):
        assert item["score"] == pytest.approx(right["score"], abs=TOLERANCE) and item["budget"] == "full"


def test_nothing_is_ignored(folders, backend):
    ranker = DynamicCrossEncoder(str(folders / backend), backend=backend)
    with pytest.raises(ValueError, match="quarter"):
        ranker.predict(PAIRS, budget="quarter")
    with pytest.raises(ValueError, match="quarter"):
        ranker.rank(QUERY, DOCUMENTS, budget="quarter")
    for method, inputs in ((ranker.predict, (PAIRS,)), (ranker.rank, (QUERY, DOCUMENTS))):
        with pytest.raises(TypeError, match="Unknown argument budgets"):
            method(*inputs, budgets="half")
    with pytest.raises(ValueError, match="leave budget out"):
        ranker.rank(QUERY, DOCUMENTS, budget="half", max_latency_ms=80)
    with pytest.raises(ValueError, match="give max_latency_ms too"):
        ranker.rank(QUERY, DOCUMENTS, return_report=True)


def test_a_plain_model_is_refused(bert_folder, sizes, tokenizer, tmp_path):
    BertForSequenceClassification(BertConfig(**sizes, num_labels=1)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is not length-adaptive.*hf-dynbert convert"):
        DynamicCrossEncoder(str(tmp_path))


def test_a_file_has_the_scores_of_its_budget(folders, tokenizer):
    """The way of a plain `CrossEncoder`, whose class in OpenVINO has no argument for a budget."""
    from hf_dynbert.openvino.budget_files import export_budgets

    (file,) = export_budgets(folders / "openvino", ["half"])
    exact = {"file_name": file.name, "ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    encoder = CrossEncoder(
        str(folders / "openvino"), backend="openvino", model_kwargs=exact, activation_fn=torch.nn.Identity()
    )
    expected = logits(folders / "torch", tokenizer, "half")
    assert encoder.predict(PAIRS).tolist() == pytest.approx(expected, abs=TOLERANCE)
    assert expected != pytest.approx(logits(folders / "torch", tokenizer), abs=TOLERANCE)
    with pytest.raises(OSError):  # of Optimum, which looks for a model to export
        CrossEncoder(str(folders / "openvino"), backend="openvino", model_kwargs={"file_name": "openvino_model_quarter.xml"})
