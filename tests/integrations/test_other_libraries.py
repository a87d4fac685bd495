"""Libraries that load our rerankers without an argument for budgets: their scores are ours at full length."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


pytest.importorskip("rerankers", reason="make test-integrations installs it")

import hf_dynbert  # noqa: E402  (after the skip)
from hf_dynbert.commands.main import main  # noqa: E402


QUERY = "who lit the tower?"
DOCUMENTS = ["ada lit the tower by night.", "the ship", "ben wrote the song in 1907", "cleo keeps the light " * 5]
INT8 = 0.1  # of a probability: int8 of a random model, calibrated on few texts; some libraries compute the rest in bf16


@pytest.fixture(scope="module")
def folders(sizes, tokenizer, tmp_path_factory):
    """A tiny reranker in PyTorch, and in int8 by `hf-dynbert quantize`, with the tokenizer as a graph."""
    folder = tmp_path_factory.mktemp("rerankers")
    torch.manual_seed(0)
    config = hf_dynbert.DynamicTinyBertConfig(**sizes, num_labels=1, task="reranking", min_tokens_to_drop=0)
    hf_dynbert.DynamicTinyBertForSequenceClassification(config).save_pretrained(folder / "torch")
    tokenizer.save_pretrained(folder / "torch")
    rows = [f'{{"query": "{QUERY}", "passages": ["{text}", "the ship"], "scores": [1, 0]}}' for text in DOCUMENTS]
    (folder / "data.jsonl").write_text("\n".join(rows))
    argv = [
        "quantize",
        "--model",
        str(folder / "torch"),
        "--output_dir",
        str(folder / "openvino"),
        "--accuracy_samples",
        "0",
    ]
    assert main([*argv, "--train_file", str(folder / "data.jsonl"), "--validation_fraction", "0.3"]) == 0
    return folder


@pytest.fixture(scope="module")
def right(folders, tokenizer):
    """Logits at full length."""
    model, scores = hf_dynbert.load(folders / "torch", "reranking"), []
    for text in DOCUMENTS:
        with torch.no_grad():
            scores.append(model(**tokenizer(QUERY, text, return_tensors="pt"), budget="full").logits[0, 0].item())
    return torch.tensor(scores)


def test_rerankers(folders, right):
    from rerankers import Reranker

    ranker = Reranker(str(folders / "torch"), model_type="cross-encoder", device="cpu", dtype="float32", verbose=0)
    scores = {result.doc_id: result.score for result in ranker.rank(QUERY, DOCUMENTS).results}
    assert [scores[index] for index in range(4)] == pytest.approx(right.tolist(), abs=1e-5)  # sums in another order


def test_langchain(folders, right):
    from langchain_community.cross_encoders import HuggingFaceCrossEncoder
    from langchain_community.document_compressors import OpenVINOReranker
    from langchain_core.documents import Document

    encoder = HuggingFaceCrossEncoder(model_name=str(folders / "torch"), model_kwargs={"device": "cpu"})
    scores = encoder.score([(QUERY, text) for text in DOCUMENTS])
    assert scores.tolist() == pytest.approx(right.sigmoid().tolist(), abs=1e-5)  # sums in another order
    documents = [Document(page_content=text) for text in DOCUMENTS]
    found = OpenVINOReranker(model_name_or_path=str(folders / "openvino"), top_n=4).compress_documents(documents, QUERY)
    scores = {item.metadata["id"]: float(item.metadata["relevance_score"]) for item in found}
    assert [scores[index] for index in range(4)] == pytest.approx(right.sigmoid().tolist(), abs=INT8)


def test_haystack(folders, right):
    from haystack import Document
    from haystack.utils import ComponentDevice
    from haystack_integrations.components.rankers.sentence_transformers import SentenceTransformersSimilarityRanker

    cpu, documents = ComponentDevice.from_str("cpu"), [Document(content=text) for text in DOCUMENTS]
    for name, options, tolerance in (("torch", {}, 1e-5), ("openvino", {"backend": "openvino"}, INT8)):
        ranker = SentenceTransformersSimilarityRanker(model=str(folders / name), device=cpu, **options)
        ranker.warm_up()
        scores = {item.content: item.score for item in ranker.run(query=QUERY, documents=documents)["documents"]}
        assert [scores[text] for text in DOCUMENTS] == pytest.approx(right.sigmoid().tolist(), abs=tolerance)


def test_txtai(folders, right):
    from txtai.pipeline import CrossEncoder

    scores = dict(CrossEncoder(str(folders / "torch"), gpu=False)(QUERY, DOCUMENTS))
    assert [float(scores[index]) for index in range(4)] == pytest.approx(right.sigmoid().tolist(), abs=1e-5)  # float sums


def test_openvino_genai_needs_neither_torch_nor_transformers(folders, right):
    code = f"""
import json, sys
import openvino_genai
pipe = openvino_genai.TextRerankPipeline({str(folders / "openvino")!r}, "CPU", top_n=4, max_length=128)
print(json.dumps(pipe.rerank({QUERY!r}, {DOCUMENTS!r})))
assert not {{"torch", "transformers", "hf_dynbert"}} & set(sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    scores = dict(json.loads(found.stdout))
    assert [scores[index] for index in range(4)] == pytest.approx(right.sigmoid().tolist(), abs=INT8)


def test_optimum_cli_exports_without_an_import_of_ours(folders, right, tokenizer, tmp_path):
    command = [str(Path(sys.executable).with_name("optimum-cli")), "export", "openvino", "--task", "text-classification"]
    # An editable install adds nothing to Optimum's namespace, where a plain install puts the file that it imports
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([*command, "--model", str(folders / "torch"), str(tmp_path / "exported")], check=True, env=environment)
    exported, model = (hf_dynbert.load(folder, "reranking") for folder in (tmp_path / "exported", folders / "torch"))
    half = [0.8, 0.6, 0.5, 0.3]
    for index, text in enumerate(DOCUMENTS):
        inputs = tokenizer(QUERY, text, return_tensors="pt")
        with torch.no_grad():
            expected = model(**inputs, budget=half).logits[0, 0].item()
        assert exported(**inputs, budget="full").logits[0, 0].item() == pytest.approx(right[index].item(), abs=1e-4)
        assert exported(**inputs, budget=half).logits[0, 0].item() == pytest.approx(expected, abs=1e-4)  # float sums
