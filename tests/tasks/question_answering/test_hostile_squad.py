"""Files of questions: everything that is no question with its answers in the context is refused, with file and reason."""

import json

import pytest

from hf_dynbert import load_squad


CONTEXT = "Ada wrote the song."
WRONG = [None, True, 0.0, -1, 10**30, float("nan"), float("inf"), "", "nowhere", [], {}, [1], [None], {"a": 1}, "\ud800"]


def squad() -> dict:
    """One question in SQuAD's format."""
    question = {"id": "q1", "question": "Who wrote?", "answers": [{"text": "Ada", "answer_start": 0}]}
    return {"data": [{"title": "song", "paragraphs": [{"context": CONTEXT, "qas": [question]}]}]}


def flat() -> dict:
    """The same question as one row."""
    return {"id": "q1", "context": CONTEXT, "question": "Who wrote?", "answers": {"text": ["Ada"], "answer_start": [0]}}


def put(content, path, value):
    """The content with a value in one place."""
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = (*PARAGRAPH, "qas", 0)
# Path to a place, and the values of WRONG that are valid in it
NESTED = [
    (("data",), ()),
    (("data", 0), ()),
    (("data", 0, "title"), (None, "", "nowhere")),
    (("data", 0, "paragraphs"), ()),
    (PARAGRAPH, ()),
    ((*PARAGRAPH, "context"), ()),
    ((*PARAGRAPH, "qas"), ()),
    (QUESTION, ()),
    ((*QUESTION, "id"), (-1, 10**30, "", "nowhere")),
    ((*QUESTION, "question"), ("nowhere",)),
    ((*QUESTION, "is_impossible"), (True,)),
    ((*QUESTION, "answers"), ([],)),
    ((*QUESTION, "answers", 0), ()),
    ((*QUESTION, "answers", 0, "text"), ()),
    ((*QUESTION, "answers", 0, "answer_start"), ()),
]
ROWS = [
    (("id",), (-1, 10**30, "", "nowhere")),
    (("title",), (None, "", "nowhere")),
    (("context",), ()),
    (("question",), ("nowhere",)),
    (("answers",), ()),
    (("answers", "text"), ()),
    (("answers", "answer_start"), ()),
    (("answers", "text", 0), ()),
    (("answers", "answer_start", 0), ()),
]


def cases():
    """Name of the file, its text, and the value and place of the fault."""
    for make, name, places in ((squad, "nested.json", NESTED), (flat, "rows.jsonl", ROWS)):
        for path, valid in places:
            for value in WRONG:
                if not any(type(value) is type(item) and value == item for item in valid):
                    text = json.dumps(put(make(), path, value))
                    yield pytest.param(name, text, id=f"{name}-{path[-1]}-{value!r:.20}")
    whole = json.dumps(squad())
    for label, text in {
        "truncated": whole[:60],
        "empty": "",
        "null": "null",
        "number": "3",
        "deep": "[" * 100_000,
        "text": '"data"',
        "no data": "{}",
        "no question": '{"data": []}',
    }.items():
        yield pytest.param("whole.json", text, id=label)
    yield pytest.param("whole.json", whole.encode("utf-16"), id="utf-16")
    yield pytest.param("rows.jsonl", json.dumps(flat()) + "\nnot json\n", id="second line")


@pytest.mark.parametrize(("name", "text"), cases())
def test_hostile_files_are_refused(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        load_squad(str(path))
    assert type(caught.value) is ValueError  # not an error of Arrow or of a codec, which are kinds of ValueError
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bom.json", "\ufeff" + json.dumps(squad())),
        ("crlf.json", json.dumps(squad(), indent=1).replace("\n", "\r\n")),
        ("flat.json", json.dumps({"data": [flat()]})),
        ("list.json", json.dumps([flat()])),
        ("crlf.jsonl", json.dumps(flat()) + "\r\n\r\n"),
        ("separator.jsonl", json.dumps(flat() | {"title": "a\u2028b"}, ensure_ascii=False)),
    ],
)
def test_other_forms_are_read(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    (row,) = load_squad(str(tmp_path / name))
    assert (row["id"], row["context"], row["answers"]) == ("q1", CONTEXT, {"text": ["Ada"], "answer_start": [0]})


def test_lines_inside_a_context_keep_their_characters(tmp_path):
    context = "A line.\r\nAda wrote the song."
    content = put(squad(), (*PARAGRAPH, "context"), context)
    put(content, (*QUESTION, "answers", 0, "answer_start"), context.index("Ada"))
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert load_squad(str(tmp_path / "x.json"))[0]["context"] == context


@pytest.mark.parametrize("name", ["texts.csv", "texts.tsv", "texts.parquet", "texts.txt"])
def test_files_of_texts_name_the_task_that_reads_them(tmp_path, name):
    (tmp_path / name).write_text("text,label\nhi,1\n")
    with pytest.raises(ValueError, match="text-classification"):
        load_squad(str(tmp_path / name))
