"""The class of `hf_dynbert.integrations.ray` in `predict_batch_udf` of Spark."""

import shutil
import sys

import pytest
import torch
from transformers import pipeline


pytest.importorskip("pyspark", reason="make test-integrations installs it")

import hf_dynbert  # noqa: E402  (after the skip)


pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
QUESTIONS = [("who lit the tower?", "ada lit the tower by night."), ("who wrote the song?", "the song ben wrote in 1907")]


@pytest.fixture(scope="module")
def folder(sizes, tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("qa")
    config = hf_dynbert.DynamicTinyBertConfig(**sizes, budgets={"half": [0.8, 0.6, 0.5, 0.3]}, min_tokens_to_drop=0)
    hf_dynbert.DynamicTinyBertForQuestionAnswering(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.getOrCreate()
        yield session
        session.stop()


def test_predict_batch_udf_answers_questions_at_a_budget(folder, spark):
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import StructType

    def make_predict_fn():
        from hf_dynbert.integrations.ray import BatchPredictor

        predictor = BatchPredictor(folder, budget="half")

        def predict(question, context):
            return predictor({"question": question, "context": context})["prediction"]

        return predict

    answer = StructType.fromDDL("answer string, score double, start long, end long")
    udf = predict_batch_udf(make_predict_fn, return_type=answer, batch_size=256)
    rows = [(index, *QUESTIONS[index % 2]) for index in range(10)]
    table = spark.createDataFrame(rows, "id long, question string, context string").repartition(2)
    found = table.withColumn("prediction", udf("question", "context")).select("id", "prediction.*").collect()
    ask = pipeline("extractive-qa", model=folder)
    assert sorted(row["id"] for row in found) == list(range(10))
    for row in found:
        question, context = QUESTIONS[row["id"] % 2]
        right = ask(question=question, context=context, budget="half")
        assert (row["answer"], row["start"], row["end"]) == (right["answer"], right["start"], right["end"])
        assert row["score"] == pytest.approx(right["score"], rel=1e-4)  # the batch changes the order of float sums
