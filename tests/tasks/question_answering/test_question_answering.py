"""Metrics, data, features, decoding, evaluation and the pipeline."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForQuestionAnswering, pipeline
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from hf_dynbert import count_macs, evaluate_squad, load_squad, squad_metrics, training_features
from hf_dynbert.tasks.question_answering import Window, decode_answers, encode_windows, split_by_article


SQUAD = {
    "data": [
        {
            "title": "Ada",
            "paragraphs": [
                {
                    "context": "Ada lit the tower.",
                    "qas": [
                        {"id": "1", "question": "Who lit it?", "answers": [{"text": "Ada", "answer_start": 0}]},
                        {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ]
}


def test_metrics_follow_the_official_script():
    answers = {"1": ["The cat!", "a dog"], "2": ["in 1907"], "3": ["blue"], "4": [], "5": []}
    predictions = {"1": "cat", "2": "1907 in spring", "4": "", "5": "red", "6": "ignored"}
    scores = squad_metrics(predictions, answers)
    assert scores["exact_match"] == pytest.approx(100 * (1 + 0 + 0 + 1 + 0) / 5)
    assert scores["f1"] == pytest.approx(100 * (1 + 2 * 2 / 5 + 0 + 1 + 0) / 5)
    with pytest.raises(ValueError, match="no questions"):
        squad_metrics({}, {})


def test_files_are_read(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD))
    data = load_squad(str(path))
    assert data[0] == {
        "id": "1",
        "title": "Ada",
        "context": "Ada lit the tower.",
        "question": "Who lit it?",
        "answers": {"text": ["Ada"], "answer_start": [0]},
    }
    assert data[1]["answers"]["text"] == []
    assert len(load_squad([str(path), str(path)])) == 4
    assert len(load_squad(str(path), limit=1)) == 1


def broken(change):
    content = json.loads(json.dumps(SQUAD))
    paragraph = content["data"][0]["paragraphs"][0]
    change(content, paragraph, paragraph["qas"][0])
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(lambda c, p, q: c.pop("data")), 'has no "data"'),
        (broken(lambda c, p, q: p.pop("context")), r'data\[0\].paragraphs\[0\] has no "context"'),
        (broken(lambda c, p, q: q.pop("id")), r'qas\[0\] has no "id"'),
        (broken(lambda c, p, q: q.pop("question")), 'question 1 .* has no "question"'),
        (broken(lambda c, p, q: q.pop("answers")), 'question 1 .* has no "answers"'),
        (broken(lambda c, p, q: q["answers"][0].pop("answer_start")), 'question 1 .* has no "answer_start"'),
        (broken(lambda c, p, q: q["answers"][0].update(answer_start=4)), "Question 1: the answer 'Ada' is not at"),
        (broken(lambda c, p, q: q["answers"][0].update(answer_start=-18)), "Question 1"),
        (broken(lambda c, p, q: c.update(data=[])), "no question"),
        ([], "no question"),
        ("text", 'has no "data"'),
    ],
)
def test_broken_files_are_refused(tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_squad(str(path))


def test_files_that_are_no_json_or_not_there(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_squad(str(tmp_path / "x.json"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_squad(str(tmp_path / "y.json"))


def test_split_holds_out_whole_articles(questions):
    train, held = split_by_article(questions, 0.3)
    assert (len(train), len(held)) == (12, 4)
    assert not set(train["title"]) & set(held["title"])
    assert split_by_article(questions, 0.3)[1]["id"] == held["id"]
    with pytest.raises(ValueError, match="No article fits"):
        split_by_article(questions, 0.1)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        split_by_article(questions, 1.0)


def test_training_features_point_at_the_answer(questions, tokenizer):
    features = training_features(questions, tokenizer, max_length=128, stride=16)
    for row, feature in zip(questions, features, strict=True):
        tokens = feature["input_ids"][feature["start_positions"] : feature["end_positions"] + 1]
        assert tokenizer.decode(tokens) == row["answers"]["text"][0]
        assert feature["length"] == len(feature["input_ids"])


def test_windows_without_the_answer_point_at_cls(tokenizer):
    context = "the ship " * 30 + "ada " + "the ship " * 30
    answer = {"text": ["ada"], "answer_start": [context.index("ada")]}
    data = Dataset.from_list([{"id": "1", "title": "", "context": context, "question": "who?", "answers": answer}])
    features = training_features(data, tokenizer, max_length=40, stride=10, max_question_length=8)
    with_answer = [feature for feature in features if feature["start_positions"] > 0]
    assert len(features) > len(with_answer) >= 1
    for feature in with_answer:
        assert tokenizer.decode(feature["input_ids"][feature["start_positions"]]) == "ada"
    assert all(f["end_positions"] == 0 for f in features if f["start_positions"] == 0)


def test_features_refuse_bad_data(tokenizer, questions):
    with pytest.raises(ValueError, match="empty"):
        training_features(questions.select([]), tokenizer)
    with pytest.raises(ValueError, match="no column answers"):
        training_features(questions.remove_columns("answers"), tokenizer)
    with pytest.raises(ValueError, match="no room for a question"):
        training_features(questions, tokenizer, max_length=100, stride=50)


@pytest.mark.parametrize("context", ["Ada \U0001f6a2 lit the tower.", "עדה הדליקה את המגדל", "x" * 300, "née Ada\u0301"])
def test_offsets_stay_within_the_context(tokenizer, context):
    for window in encode_windows(tokenizer, ["who?"], [context], max_length=64, stride=8, max_question_length=8):
        inside = window.offsets[window.in_context]
        assert (inside[:, 0] < inside[:, 1]).all()
        assert inside[:, 1].max(initial=0) <= len(context)


def test_long_questions_lose_their_end(tokenizer):
    window = encode_windows(tokenizer, ["who " * 500], ["ada"], max_length=64, stride=8, max_question_length=8)[0]
    assert len(window.inputs["input_ids"]) == 8 + 3 + 1


def window_of(context):
    """One token a character behind CLS."""
    offsets = np.array([[0, 0], *[[i, i + 1] for i in range(len(context))]])
    return Window({}, offsets, offsets[:, 1] > 0, 0)


def test_decoding_equals_brute_force():
    rng = np.random.default_rng(0)
    context = "abcdefghij"
    windows = [window_of(context), window_of(context[:6])]
    starts, ends = ([rng.normal(size=len(w.offsets)) * 3 for w in windows] for _ in range(2))
    answers = decode_answers(context, windows, starts, ends, top_k=7, max_answer_length=3)
    start_total, end_total = (sum(np.exp(row[1:]).sum() for row in rows) for rows in (starts, ends))
    scores = {}
    for window, start, end in zip(windows, starts, ends, strict=True):
        for i in range(1, len(window.offsets)):
            for j in range(i, min(i + 3, len(window.offsets))):
                score = np.exp(start[i]) * np.exp(end[j]) / start_total / end_total
                scores[i - 1, j] = max(scores.get((i - 1, j), 0), score)
    best = sorted(scores.items(), key=lambda item: -item[1])[:7]
    assert [(a.start, a.end) for a in answers] == [place for place, _ in best]
    assert [a.score for a in answers] == pytest.approx([score for _, score in best])
    assert all(a.answer == context[a.start : a.end] for a in answers)


def test_decoding_no_answer():
    window, low = window_of("abc"), np.full(4, -5.0)
    sure = np.array([5.0, -5.0, -5.0, -5.0])
    answers = decode_answers("abc", [window], [sure], [sure], handle_impossible_answer=True)
    assert (answers[0].answer, answers[0].start, answers[0].end) == ("", 0, 0)
    assert answers[0].score > 0.99
    assert decode_answers("abc", [window], [sure], [sure])[0].answer != ""
    nothing = np.full(4, np.finfo(np.float32).min)
    nothing[1] = 0
    assert decode_answers("abc", [window], [nothing], [nothing])[0].answer == "a"
    empty = Window({}, np.zeros((2, 2), dtype=int), np.zeros(2, dtype=bool), 0)
    assert decode_answers("", [empty], [low[:2]], [low[:2]])[0].score == 0


class Oracle:
    """Answers with the first word after "the", to test everything around a model."""

    def __init__(self, model, tokenizer):
        self.config, self.word = model.config, tokenizer.convert_tokens_to_ids("light")

    def eval(self):
        return self

    def __call__(self, input_ids, length_config=None, **_):
        hit = (input_ids == self.word).float() * 10
        return QuestionAnsweringModelOutput(start_logits=hit, end_logits=hit)


def test_evaluation(questions, tokenizer, make_model):
    model = make_model()
    data = questions.map(
        lambda row: {"answers": {"text": ["light"], "answer_start": [max(0, row["context"].find("light"))]}}
    )
    result = evaluate_squad(
        Oracle(model, tokenizer), tokenizer, data, batch_size=3, length_config=[0.5] * 4, progress=False,
        max_length=128, stride=16, latency_samples=3,
    )  # fmt: skip
    assert result.exact_match == 25  # one thing in four is the light
    assert result.examples == 16
    lengths = [len(ids) for ids in tokenizer(list(data["question"]), list(data["context"]))["input_ids"]]
    assert result.macs_mean == pytest.approx(np.mean([count_macs(model.config, [0.5] * 4, n) for n in lengths]))
    assert result.macs_ratio == pytest.approx(
        result.macs_mean / np.mean([count_macs(model.config, None, n) for n in lengths])
    )
    assert 0 < result.latency_ms_p50 <= result.latency_ms_p90


@pytest.mark.parametrize("length_config", [None, [0.8, 0.6, 0.5, 0.3]])
def test_batching_does_not_change_predictions(questions, tokenizer, make_model, length_config):
    model = make_model(importance="learned")
    one, two = (
        evaluate_squad(
            model, tokenizer, questions, length_config=length_config, batch_size=size, max_length=128, stride=16,
            latency_samples=0, progress=False,
        ).predictions
        for size in (1, 7)
    )  # fmt: skip
    assert one == two


def test_evaluation_refuses(questions, tokenizer, bert, make_model):
    with pytest.raises(ValueError, match="empty"):
        evaluate_squad(make_model(), tokenizer, questions.select([]))
    with pytest.raises(ValueError, match="has no length configuration"):
        evaluate_squad(bert, tokenizer, questions, length_config=[0.5] * 4)
    with pytest.raises(ValueError, match='no budget "fast"'):
        evaluate_squad(make_model(), tokenizer, questions, length_config="fast")


@pytest.fixture
def ask(make_model, tokenizer):
    return pipeline("extractive-qa", model=make_model(importance="learned"), tokenizer=tokenizer)


CONTEXT = "Ada lit the tower. Ben wrote the song in 1907."


def test_pipeline_shapes(ask):
    one = ask(question="who lit the tower?", context=CONTEXT)
    assert set(one) == {"score", "start", "end", "answer"}
    assert one["answer"] == CONTEXT[one["start"] : one["end"]] != ""
    assert ask({"question": "who lit the tower?", "context": CONTEXT}) == one
    assert ask([{"question": "who lit the tower?", "context": CONTEXT}]) == [one]
    two = ask(question=["who lit the tower?", "who wrote it?"], context=CONTEXT)
    assert two[0] == one
    assert len(two) == 2
    top = ask(question="who lit the tower?", context=CONTEXT, top_k=3)
    assert top[0] == one
    assert [answer["score"] for answer in top] == sorted((answer["score"] for answer in top), reverse=True)
    many = ask(question=["who lit the tower?"] * 2, context=[CONTEXT, CONTEXT], top_k=2)
    assert [len(answers) for answers in many] == [2, 2]


def test_pipeline_takes_a_length_config_per_call(ask):
    full = ask(question="who lit the tower?", context=CONTEXT)
    short = ask(question="who lit the tower?", context=CONTEXT, length_config=[0.5, 0.3, 0.2, 0.1])
    assert full["score"] != short["score"]
    assert ask(question="who lit the tower?", context=CONTEXT) == full
    with pytest.raises(ValueError, match='no budget "fast"'):
        ask(question="who?", context=CONTEXT, length_config="fast")


def test_pipeline_works_with_any_model_and_batches(bert, tokenizer):
    ask = pipeline("extractive-qa", model=bert, tokenizer=tokenizer)
    questions = ["who lit the tower?", "who wrote the song?", "when?"]
    alone = [ask(question=question, context=CONTEXT) for question in questions]
    for one, other in zip(ask(question=questions, context=CONTEXT, batch_size=3), alone, strict=True):
        assert one["answer"] == other["answer"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)  # another padding, another order of sums


@pytest.mark.parametrize(
    "context",
    [
        "the ship lit the tower by night. " * 620,
        "Ada \U0001f6a2\U0001f469\u200d\U0001f4bb lit the \U0001f5fc tower",
        "עדה הדליקה את המגדל בלילה",
        "x" * 400,
        "?",
    ],
    ids=["20,000 characters", "emoji", "right to left", "one long word", "punctuation"],
)
@pytest.mark.parametrize("length_config", [None, [0.8, 0.5, 0.3, 0.2]])
def test_pipeline_answers_are_spans_of_awkward_texts(ask, context, length_config):
    answer = ask(
        question="who lit the \U0001f5fc tower?" * 40, context=context, length_config=length_config, max_seq_len=128
    )
    assert answer["answer"] == context[answer["start"] : answer["end"]] != ""


def test_pipeline_no_answer(ask):
    answers = ask(question="who?", context=CONTEXT, handle_impossible_answer=True, top_k=500)
    assert [answer for answer in answers if answer["answer"] == ""]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"question": "", "context": "x"}, "The question is ''"),
        ({"question": "x", "context": "  "}, "The context is '  '"),
        ({"question": "x"}, "The context is None"),
        ({"question": ["a", "b"], "context": ["c", "d", "e"]}, "2 questions do not fit 3 contexts"),
        ({"question": "a", "context": "b", "top_k": 0}, "top_k is 0"),
        ({"question": "a", "context": "b", "max_answer_len": 0}, "max_answer_len is 0"),
        ({"question": "a", "context": "b", "max_seq_len": 20, "doc_stride": 18}, "no room"),
    ],
)
def test_pipeline_refuses(ask, kwargs, message):
    with pytest.raises(ValueError, match=message):
        ask(**kwargs)


def test_pipeline_from_a_folder(make_model, tokenizer, tmp_path):
    make_model(budgets={"fast": [0.5] * 4}).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ask = pipeline("extractive-qa", model=str(tmp_path))
    assert ask(question="who?", context=CONTEXT, length_config="fast")["answer"] in CONTEXT
    torch.testing.assert_close(
        AutoModelForQuestionAnswering.from_pretrained(tmp_path).qa_outputs.weight, ask.model.qa_outputs.weight
    )


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("née Zoe\u0308 lit", "Zoe\u0308"),  # the tokenizer strips accents: its token ends before the combining mark
        ("Zoe\u0308", "Zoe\u0308"),
        ("ada\r\nlit\r\nZo\u00eb", "Zo\u00eb"),
    ],
)
def test_answers_end_behind_combining_marks(tokenizer, context, answer):
    [window] = encode_windows(tokenizer, ["who?"], [context], max_length=60, stride=8, max_question_length=8)
    low, high = np.full(len(window.offsets), -9.0), context.index("Z")
    first = np.flatnonzero(window.in_context & (window.offsets[:, 0] == high))[0]
    last = np.flatnonzero(window.in_context & (window.offsets[:, 0] < high + 3))[-1]
    starts, ends = low.copy(), low.copy()
    starts[first] = ends[last] = 9
    [found] = decode_answers(context, [window], [starts], [ends])
    assert (found.answer, context[found.start : found.end]) == (answer, answer)


def test_blanks_are_no_part_of_an_answer():
    """Offsets of Metaspace and byte-level tokenizers begin with the blank before a word."""
    context = " ada lit it "
    offsets = np.array([[0, 0], [0, 4], [4, 8], [8, 11], [11, 12]])
    window = Window({}, offsets, offsets[:, 1] > 0, 0)
    answers = decode_answers(context, [window], [np.zeros(5)], [np.zeros(5)], top_k=20)
    assert {answer.answer for answer in answers} == {"ada", "lit", "it", "ada lit", "lit it", "ada lit it"}
    assert all(context[answer.start : answer.end] == answer.answer for answer in answers)


@pytest.mark.parametrize(
    "context",
    ["エイダは灯台をともしたベンは歌を書いたダンは家を建てた" * 3, "อาดาจุดไฟที่หอคอยเบนเขียนเพลง" * 3, "abcdefghij" * 6],
    ids=["kana", "Thai", "one long word"],
)
def test_whole_words_are_no_longer_than_answers_may_be(context):
    """A tokenizer's word may be the whole text."""
    offsets = np.array([[0, 0], *[[i, i + 1] for i in range(len(context))]])
    words = np.array([[0, 0], *[[1, len(context)]] * len(context)])
    window = Window({}, offsets, offsets[:, 1] > 0, 0, words)
    scores = np.random.default_rng(0).normal(size=len(offsets))
    answers = decode_answers(context, [window], [scores], [scores], top_k=5, max_answer_length=15)
    assert len({(answer.start, answer.end) for answer in answers}) == 5
    assert all(0 < len(answer.answer.strip()) <= 15 + 2 for answer in answers)  # two combining marks at most


@pytest.mark.parametrize("top_k", [1, 3, 10, 50])
def test_as_many_answers_as_there_are(ask, tokenizer, top_k):
    """Token spans of the same words are merged before the best are taken."""
    context = "unbelievably adaben lit the lighthousetower and keepsakes 1907."
    answers = ask(question="who?", context=context, top_k=top_k)
    answers = [answers] if top_k == 1 else answers
    assert len({(answer["start"], answer["end"]) for answer in answers}) == len(answers) == min(top_k, 10**9)


def test_windows_are_those_of_the_tokenizer(tokenizer):
    """The tokenizer's own truncation gives the same windows; its settings are not touched."""
    questions, contexts = ["who lit it?", "why?", "who?"], ["ada lit the tower. " * 40, "ben", "\u3042 ! x " * 33]
    for length, stride in ((128, 32), (64, 0), (40, 16), (64, 40)):
        theirs = tokenizer(
            questions, contexts, truncation="only_second", max_length=length, stride=stride,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        before = tokenizer.backend_tokenizer.truncation
        windows = encode_windows(tokenizer, questions, contexts, length, stride, max_question_length=16)
        assert tokenizer.backend_tokenizer.truncation == before
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert [window.inputs[name] for window in windows] == theirs[name]
        assert [window.offsets.tolist() for window in windows] == [list(map(list, row)) for row in theirs["offset_mapping"]]
        assert [window.example for window in windows] == theirs["overflow_to_sample_mapping"]
