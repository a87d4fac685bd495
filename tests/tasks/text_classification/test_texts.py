"""Texts and pairs of texts: read, numbered, cut, and learned from teachers with other tokens and other orders of labels."""

import json

import pytest
import torch
from conftest import SIZES
from datasets import ClassLabel, Dataset, IterableDataset
from tokenizers import Tokenizer, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
)

from hf_dynbert import (
    DistillationArguments,
    DistillationTrainer,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertModel,
)
from hf_dynbert.commands.main import main
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.data import RecipeData
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.tasks.text_classification.data import cut_texts, load_texts, text_features
from hf_dynbert.tasks.text_classification.labels import feature_names, number_labels
from hf_dynbert.training.batches import DistillationCollator
from hf_dynbert.training.losses import divergence
from hf_dynbert.training.teachers import label_order, teacher_logits, teacher_text_inputs


PAIR = ["question", "sentence"]
NAMES = ["entailment", "neutral", "contradiction"]


@pytest.fixture(scope="session")
def pairs():
    rows = [
        {"question": f"who {verb} the {thing}?", "sentence": f"ada {verb} a {thing} by night." * (1 + index), "label": index}
        for verb in ("wrote", "lit", "built")
        for index, thing in enumerate(("house", "ship", "song"))
    ]
    return Dataset.from_list(rows).cast_column("label", ClassLabel(names=NAMES))


@pytest.fixture(scope="session")
def pair_file(pairs, tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "train.jsonl"
    rows = [row | {"label": NAMES[row["label"]]} for row in pairs]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def make_classifier(sizes, names, seed=0):
    torch.manual_seed(seed)
    model = BertForSequenceClassification(BertConfig(**sizes, num_labels=len(names)))
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}
    return model.eval()


def quiet(folder, **options):
    return DistillationArguments(
        str(folder), use_cpu=True, report_to=[], logging_steps=1, disable_tqdm=True, **{"max_steps": 2} | options
    )


def test_files_of_every_kind(tmp_path, pair_file):
    rows = load_texts(str(pair_file), PAIR)
    assert rows.column_names == [*PAIR, "label"]
    csv, text = tmp_path / "a.csv", tmp_path / "a.txt"
    csv.write_text("question,other,label\nwho?,1,0\nwhat?,2,1\n")
    text.write_text("one line\nanother\n")
    assert load_texts([str(csv)], ["question"])[:] == {"question": ["who?", "what?"], "label": [0, 1]}
    assert load_texts(str(text), ["text"])["text"][:] == ["one line", "another"]
    assert isinstance(load_texts(str(text), ["text"], streaming=True), IterableDataset)
    with pytest.raises(ValueError, match="has no column answer; it has"):
        load_texts(str(csv), ["answer"])
    with pytest.raises(ValueError, match="files of one kind of .txt"):
        load_texts([str(csv), str(text)], ["text"])
    with pytest.raises(FileNotFoundError, match="none.json"):
        load_texts(str(tmp_path / "none.json"), ["text"])


def names_of(data):
    return feature_names(data.features["label"])


def test_labels_and_their_names(pairs, pair_file, tmp_path):
    assert names_of(number_labels(pairs)) == NAMES
    numbered = number_labels(load_texts(str(pair_file), PAIR))
    assert names_of(numbered) == sorted(NAMES)
    assert [names_of(numbered)[number] for number in numbered["label"]] == [NAMES[number] for number in pairs["label"]]
    bare = Dataset.from_dict({"text": ["a", "b"], "label": [0, 2]})
    assert names_of(number_labels(bare)) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert names_of(number_labels(bare, NAMES)) == NAMES
    assert names_of(number_labels(Dataset.from_dict({"text": ["a"], "label": [0.5]}))) is None
    stars = number_labels(bare, problem_type="regression")
    assert names_of(stars) is None and stars["label"][:] == [0.0, 2.0]
    truths = number_labels(Dataset.from_dict({"text": ["a", "b"], "label": [True, False]}))
    assert truths["label"][:] == [1, 0] and names_of(truths) == ["LABEL_0", "LABEL_1"]
    path = tmp_path / "named.csv"
    path.write_text("text,label\nhello,neutral\nthere,entailment\n")  # pandas' large strings
    named = number_labels(load_texts(str(path), ["text"]))
    assert named["label"][:] == [1, 0] and names_of(named) == ["entailment", "neutral"]
    unlabelled = pairs.map(lambda row: {"label": -1})
    with pytest.raises(ValueError, match="rows with the label -1"):
        number_labels(unlabelled)
    for data, given, message in (
        (bare, NAMES[:2], "Labels are 0 to 2; valid are 0 to 1"),
        (Dataset.from_dict({"text": ["a", "b"], "label": [1.0, None]}), None, "row 1 has no label"),
        (Dataset.from_dict({"text": ["a", "b"], "label": ["x", None]}), None, "row 1 has no label"),
        (pairs, NAMES[::-1], "the data names them entailment"),
        (Dataset.from_dict({"text": ["a"], "label": [-1]}), None, "Labels are -1 to -1"),
        (Dataset.from_dict({"text": ["a"]}), None, "no column label; it has text"),
    ):
        with pytest.raises(ValueError, match=message):
            number_labels(data, given)


def test_features_are_what_the_tokenizer_makes(pairs, tokenizer):
    features = text_features(pairs, tokenizer, PAIR, 16)
    for row, made in zip(pairs, features, strict=True):
        wanted = tokenizer(row["question"], row["sentence"], truncation=True, max_length=16)
        assert {name: made[name] for name in wanted} == dict(wanted)
        assert made["labels"] == row["label"] and made["length"] == len(wanted["input_ids"]) <= 16


@pytest.mark.parametrize("streamed", [False, True])
def test_running_text_is_cut_between_words(tokenizer, streamed):
    lines = ["the light-house  keeps", "", "ada\tby night. " * 9, "  ", "z" * 40, "ben wrote " * 5]
    data = Dataset.from_dict({"text": lines, "title": lines})
    pieces = list(cut_texts(data.to_iterable_dataset() if streamed else data, tokenizer, "text", 16))
    texts = [row["text"] for row in pieces]
    joined = " ".join(" ".join(line.split()) for line in lines if line.strip())
    assert "".join(texts).replace(" ", "") == joined.replace(" ", "")
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    assert max(lengths) <= 16 and sorted(lengths)[2] >= 8  # the last piece, and the one before the long word, may be short
    whole = tokenizer.tokenize(joined)
    short_words = [token for text in texts for token in tokenizer.tokenize(text) if "z" not in token]
    assert short_words == [token for token in whole if "z" not in token]


def test_infinite_labels_are_refused():
    data = Dataset.from_dict({"text": ["a", "b"], "label": [1.0, float("inf")]})
    with pytest.raises(ValueError, match="labels that are not finite numbers"):
        number_labels(data)


def test_label_order():
    mine = dict(enumerate(NAMES))
    assert label_order(mine, mine) == [0, 1, 2]
    assert label_order(mine, {0: "NEUTRAL", 1: "Contradiction", 2: "entailment"}) == [2, 0, 1]
    generic = {number: f"LABEL_{number}" for number in range(3)}
    assert label_order(generic, generic) == [0, 1, 2]
    assert label_order({0: "LABEL_0"}, {0: "score"}) == [0]  # a real number
    for other in (generic, {0: "entailment", 1: "neutral"}, {0: "yes", 1: "no", 2: "neutral"}):
        with pytest.raises(ValueError, match="they cannot be matched by name.*teacher_class_names"):
            label_order(mine, other)
        with pytest.raises(ValueError, match="cannot be matched by name"):
            label_order(other, mine)


def test_logits_come_in_the_students_order_and_are_kept(pairs, tokenizer, sizes, tmp_path):
    teacher = make_classifier(sizes, ["neutral", "entailment", "contradiction"])
    found = teacher_logits(
        teacher, tokenizer, tokenizer, pairs, PAIR, dict(enumerate(NAMES)), 32, batch_size=2, cache_dir=tmp_path
    )
    assert found.column_names == ["teacher_logits"]
    for row, kept in zip(pairs, found, strict=True):
        inputs = tokenizer(row["question"], row["sentence"], truncation=True, max_length=32, return_tensors="pt")
        with torch.no_grad():
            logits = teacher(**inputs).logits[0]
        # 1e-5: batches of other sizes sum in another order
        torch.testing.assert_close(torch.tensor(kept["teacher_logits"]), logits[[1, 0, 2]], atol=1e-5, rtol=1e-4)
    teacher.forward = None  # whoever asks it again fails
    again = teacher_logits(teacher, tokenizer, tokenizer, pairs, PAIR, dict(enumerate(NAMES)), 32, cache_dir=tmp_path)
    assert again[:] == found[:]


def test_the_objective_of_classes(make_model, pairs, tokenizer, sizes, tmp_path):
    model = make_model("text-classification", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    features = text_features(pairs, tokenizer, PAIR, 32)
    rows = [dict(row) | {"teacher_logits": [1.0 * index, 0.5, -1.0]} for index, row in enumerate(features)]
    options = {"length_drop": False, "prediction_weight": 2.0, "hard_label_weight": 0.5, "teacher_temperature": 3.0}
    data = Dataset.from_list(rows)
    collator = DistillationCollator(tokenizer)
    trainer = DistillationTrainer(model, quiet(tmp_path, **options), train_dataset=data, data_collator=collator)
    batch = collator([{name: value for name, value in row.items() if name != "length"} for row in rows[:4]])
    target = batch["teacher_logits"]
    loss = trainer.compute_loss(model.train(), dict(batch))
    output = model(**{name: value for name, value in batch.items() if name != "teacher_logits"})
    wanted = 0.5 * output.loss + 2.0 * divergence(output.logits, target, temperature=3.0)
    torch.testing.assert_close(loss, wanted)
    trainer.train()
    assert {"loss_labels", "loss_prediction"} <= trainer.state.log_history[0].keys()


def test_a_real_number_is_learned_by_its_squared_error(tokenizer, make_model, tmp_path):
    torch.manual_seed(0)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    number = {"num_labels": 1, "problem_type": "regression", "ignore_mismatched_sizes": True}
    model = make_model("text-classification", **number, **still)
    trainer = DistillationTrainer(model, quiet(tmp_path, length_drop=False, hard_label_weight=0.0))
    inputs = dict(tokenizer(["ada wrote", "a song"], return_tensors="pt", padding=True))
    target = torch.tensor([[1.0], [-1.0]])
    loss = trainer.compute_loss(model.train(), inputs | {"labels": torch.tensor([0.1, 0.2]), "teacher_logits": target})
    with torch.no_grad():
        wanted = ((model(**inputs).logits - target) ** 2).mean()
    torch.testing.assert_close(loss.detach(), wanted)


@pytest.fixture
def teacher_folder(sizes, tokenizer, tmp_path):
    folder = tmp_path / "teacher"
    make_classifier({**sizes, "num_hidden_layers": 8}, ["neutral", "entailment", "contradiction"]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_simplified_tinybert_of_pairs(teacher_folder, bert_folder, pair_file, tmp_path):
    """All terms in one stage, hard labels included; the labels' names end in the model."""
    weights = {"hidden_weight": 1.0, "embedding_weight": 1.0, "attention_weight": 1.0, "layer_map": ["uniform"]}
    args = quiet(tmp_path / "out", length_drop=False, save_steps=1, **weights)
    data = DataArguments(
        [str(pair_file)], "text-classification", text_columns=PAIR, max_length=32, teacher_cache_dir=str(tmp_path / "cache")
    )
    folder = run_recipe(ModelArguments(str(bert_folder), teacher_model_name_or_path=str(teacher_folder)), data, args)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.model_type == "dynamic_tinybert"
    assert model.config.id2label == dict(enumerate(sorted(NAMES)))
    [*_, state] = json.loads((folder / "checkpoint-2" / "trainer_state.json").read_text())["log_history"][:2]
    parts = {name for name in state if name.startswith("loss_")}
    assert parts == {"loss_labels", "loss_prediction", "loss_hidden", "loss_embedding", "loss_attention"}
    assert list((tmp_path / "cache").glob("*/*.arrow"))


def test_a_classifier_learns_to_drop_with_a_teacher(teacher_folder, bert_folder, pair_file, tmp_path):
    args = quiet(tmp_path / "out", importance="learned")
    data = DataArguments([str(pair_file)], "text-classification", text_columns=PAIR, teacher_cache_dir=str(tmp_path / "c"))
    folder = run_recipe(ModelArguments(str(bert_folder), teacher_model_name_or_path=str(teacher_folder)), data, args)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.importance == "learned"


def test_labels_nobody_can_match_are_refused(teacher_folder, bert_folder, pair_file, tmp_path):
    data = DataArguments([str(pair_file)], "text-classification", text_columns=PAIR, teacher_cache_dir=str(tmp_path / "c"))
    names = ["yes", "no", "perhaps"]
    model = ModelArguments(str(bert_folder), teacher_model_name_or_path=str(teacher_folder), teacher_class_names=names)
    with pytest.raises(ValueError, match="the teacher's yes, no, perhaps"):
        run_recipe(model, data, quiet(tmp_path / "out"))
    model.teacher_class_names = names[:2]
    with pytest.raises(ValueError, match="has 2 names; the teacher has 3 labels"):
        run_recipe(model, data, quiet(tmp_path / "out"))


@pytest.fixture
def mpnet_tokenizer(tokenizer, tmp_path):
    """The same words in another order, between other special tokens."""
    words = [word for word in sorted(tokenizer.get_vocab(), reverse=True) if word not in ("[CLS]", "[SEP]", "[PAD]")]
    (tmp_path / "vocab.txt").write_text("\n".join(["<pad>", "<s>", "</s>", *words]))
    special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "model_max_length": 128}
    other = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"), **special)
    other.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return other


@pytest.fixture
def mpnet_folder(mpnet_tokenizer, tmp_path):
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden_size": 48, "vocab_size": len(mpnet_tokenizer), "max_position_embeddings": 140}
    MPNetModel(MPNetConfig(**sizes, pad_token_id=0)).save_pretrained(tmp_path / "mpnet")
    mpnet_tokenizer.save_pretrained(tmp_path / "mpnet")
    return tmp_path / "mpnet"


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ada wrote the song by night.\nthe ship lit the tower at 9.\n\n" * 12)
    return path


SHAPE = '{"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 36}'


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        ({"layers": [1, 3]}, {"hidden_weight": 1.0, "embedding_weight": 1.0, "attention_weight": 1.0}),
        ({"config_overrides": SHAPE}, {"relation_weight": 1.0, "relation_heads": 6, "relation_layer": 3}),
    ],
)
def test_general_distillation(bert_folder, mpnet_folder, text_file, tmp_path, shape, weights, streaming):
    """TinyBERT's and MiniLMv2's first stage: plain text, students of any shape; the result takes any head."""
    data = DataArguments([str(text_file)], "plain-text", max_length=16, streaming=streaming)
    model = ModelArguments(str(bert_folder), teacher_model_name_or_path=str(mpnet_folder), **shape)
    args = quiet(tmp_path / "out", length_drop=False, importance="all", **weights)
    folder = run_recipe(model, data, args)
    student = DynamicTinyBertModel.from_pretrained(folder)
    assert student.config.num_hidden_layers == 2
    headed, found = DynamicTinyBertForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert set(found["missing_keys"]) == {"qa_outputs.weight", "qa_outputs.bias"}
    same = dict(headed.bert.named_parameters())
    assert all(torch.equal(same[name], value) for name, value in student.named_parameters() if name in same)


def test_an_odd_text_is_left_out_and_no_more(tokenizer, mpnet_tokenizer, caplog):
    """Somebody wrote what is a special token to one tokenizer alone: no layer is compared there."""
    data = Dataset.from_dict({"text": ["ada wrote", "the </s> song", *["ben lit the light"] * 20]})
    found = teacher_text_inputs(mpnet_tokenizer, tokenizer, data, ["text"], 16)
    assert [max(row["teacher_places"]) < 0 for row in found] == [False, True, *[False] * 20]
    assert "1 of 22 texts are split differently" in caplog.text
    with pytest.raises(ValueError, match="need tokenizers that split words alike"):
        teacher_text_inputs(mpnet_tokenizer, tokenizer, Dataset.from_dict({"text": ["a </s> b"] * 9}), ["text"], 16)


def test_a_teacher_of_classes_may_cut_words_otherwise(pairs, tokenizer, sizes, tmp_path):
    """It reads what the student reads of a long text, to the last character."""
    bytes_ = {"<pad>": 0, "<s>": 1, "</s>": 2} | {letter: 3 + i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    backend = Tokenizer(BPE(bytes_, []))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    letters = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", model_max_length=400)
    teacher = make_classifier({**sizes, "vocab_size": 300, "max_position_embeddings": 400}, NAMES)
    long = Dataset.from_dict({"question": ["who wrote it?"], "sentence": ["ada wrote the song. " * 20]})
    found = teacher_logits(teacher, letters, tokenizer, long, PAIR, dict(enumerate(NAMES)), 32, cache_dir=tmp_path)
    kept = tokenizer(*(long[column][0] for column in PAIR), truncation=True, max_length=32, return_offsets_mapping=True)
    [end] = [kept["offset_mapping"][-2][1]]
    with torch.no_grad():
        inputs = letters(long["question"][0], long["sentence"][0][:end], return_tensors="pt")
        logits = teacher(**inputs).logits[0]
    torch.testing.assert_close(torch.tensor(found["teacher_logits"][0]), logits, atol=1e-5, rtol=1e-4)  # as above
    letters.model_max_length = 30
    with pytest.raises(ValueError, match="which reads 30; make max_length smaller"):
        teacher_logits(teacher, letters, tokenizer, long, PAIR, dict(enumerate(NAMES)), 32, cache_dir=tmp_path / "new")


def test_texts_that_are_not_there_are_refused(tokenizer):
    data = Dataset.from_dict({"text": ["a", None]})
    with pytest.raises(ValueError, match="no text in column text"):
        text_features(data, tokenizer, ["text"])


def test_sub_models_of_a_real_number_learn(make_model, tokenizer, tmp_path):
    torch.manual_seed(0)
    model = make_model("text-classification", num_labels=1, problem_type="regression", ignore_mismatched_sizes=True)
    data = Dataset.from_dict({"text": ["ada wrote the song by night", "ben lit the tower"], "label": [0.5, -0.5]})
    features = text_features(data, tokenizer, ["text"])
    collator = DistillationCollator(tokenizer)
    trainer = DistillationTrainer(model, quiet(tmp_path, importance="all"), train_dataset=features, data_collator=collator)
    trainer.train()
    assert trainer.state.log_history[0]["loss_in_place"] > 0


SETS = [["wet", "cold"], [], ["cold"], ["dry"]]  # of the classes cold, dry and wet


@pytest.fixture
def several(tmp_path):
    """The same sets of classes as lists of names, and as lists of 0 and 1."""
    texts, names = ["rain and frost", "a light", "ice", "the sun"], ["cold", "dry", "wet"]
    ones = [[int(name in row) for name in names] for row in SETS]
    for kind, labels in (("names", SETS), ("ones", ones)):
        lines = [json.dumps({"text": text, "label": row}) for text, row in zip(texts, labels, strict=True)]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize("kind", ["names", "ones"])
def test_several_labels_of_each_text_are_numbered(several, tokenizer, kind):
    data = number_labels(load_texts(str(several / f"{kind}.jsonl"), ["text"]), ["cold", "dry", "wet"])
    assert [sorted(row) for row in data["label"]] == [[0, 2], [], [0], [1]]
    labels = text_features(data, tokenizer, ["text"])["labels"][:]
    assert labels == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert names_of(number_labels(data)) == ["cold", "dry", "wet"]
    wrong = {"lists of names": [[2], [0]], "equally long": [[0, 1], [1]], "the labels hot; valid are": [["wet"], ["hot"]]}
    for message, labels in wrong.items():
        with pytest.raises(ValueError, match=message):
            number_labels(Dataset.from_dict({"text": ["a", "b"], "label": labels}), ["cold", "dry", "wet"])


@pytest.mark.parametrize("kind", ["names", "ones"])
def test_several_labels_are_trained_taught_and_measured(several, bert_folder, tmp_path, capsys, kind):
    """The verbs, with evaluation during training; a trained model teaches another one, per label."""
    file, taught = str(several / f"{kind}.jsonl"), ["--class_names", "cold", "dry", "wet"]
    argv = [
        "train",
        "--model_name_or_path",
        str(bert_folder),
        "--task",
        "text-classification",
        "--train_file",
        file,
        "--use_cpu",
    ]
    argv += ["--max_steps", "2", "--eval_file", file, "--eval_strategy", "steps", "--eval_steps", "1", "--report_to", "none"]
    assert main([*argv, *taught, "--output_dir", str(tmp_path / "model")]) == 0
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert model.config.problem_type == "multi_label_classification" and list(model.config.label2id) == [
        "cold",
        "dry",
        "wet",
    ]
    teacher = ["--teacher_model_name_or_path", str(tmp_path / "model"), "--hard_label_weight", "0"]  # nothing else to learn
    assert main([*argv, *taught, *teacher, "--output_dir", str(tmp_path / "student")]) == 0
    capsys.readouterr()
    options = ["--latency_samples", "0", "--json"]
    assert main(["evaluate", "--model", str(tmp_path / "student"), "--data", file, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"accuracy", "f1_macro", "average_precision"} <= found.keys() and found["examples"] == 4


def test_whole_numbers_may_be_targets_of_a_regression(bert_folder, tmp_path):
    (tmp_path / "stars.csv").write_text("text,label\n" + "".join(f"text {stars},{stars}\n" for stars in (1, 5, 3)))
    argv = ["train", "--model_name_or_path", str(bert_folder), "--task", "text-classification", "--use_cpu"]
    argv += ["--train_file", str(tmp_path / "stars.csv"), "--max_steps", "1", "--output_dir", str(tmp_path / "out")]
    assert main([*argv, "--problem_type", "regression", "--report_to", "none"]) == 0
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config
    assert (config.num_labels, config.problem_type) == (1, "regression")


@pytest.mark.parametrize("order", [["neutral", "entailment", "contradiction"], ["NEUTRAL", "Entailment", "CONTRADICTION"]])
def test_a_head_keeps_the_meaning_of_its_rows(sizes, tokenizer, pair_file, tmp_path, order):
    """A checkpoint with the same classes in another order: the data is numbered as the head is."""
    source = make_classifier(sizes, order)
    source.save_pretrained(tmp_path / "stage1")
    tokenizer.save_pretrained(tmp_path / "stage1")
    args = quiet(tmp_path / "out", length_drop=False, max_steps=1, learning_rate=0.0)
    data = DataArguments([str(pair_file)], "text-classification", text_columns=PAIR)
    folder = run_recipe(ModelArguments(str(tmp_path / "stage1")), data, args)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert [model.config.id2label[number] for number in range(3)] == order
    assert torch.equal(model.classifier.weight, source.classifier.weight)
    recipe = RecipeData(data, args, model.config)
    rows = [json.loads(line) for line in pair_file.read_text().splitlines()]
    assert [order[number].lower() for number in recipe.training["label"]] == [row["label"].lower() for row in rows]


def test_a_teacher_without_a_head_is_refused(bert_folder, pair_file, tmp_path):
    data = DataArguments([str(pair_file)], "text-classification", text_columns=PAIR)
    model = ModelArguments(str(bert_folder), teacher_model_name_or_path=str(bert_folder))
    with pytest.raises(
        ValueError, match="was not fine-tuned for text-classification: .*classifier.weight.* would be random"
    ):
        run_recipe(model, data, quiet(tmp_path / "out"))


def test_what_a_student_of_plain_text_reads_the_teacher_reads(pairs, tokenizer):
    found = teacher_text_inputs(tokenizer, tokenizer, pairs, PAIR, 16)
    for row, features in zip(found, text_features(pairs, tokenizer, PAIR, 16), strict=True):
        assert row["teacher_input_ids"] == features["input_ids"]
        assert row["teacher_token_type_ids"] == features["token_type_ids"]
        assert row["teacher_places"] == list(range(len(features["input_ids"])))


@pytest.mark.parametrize(
    ("model", "data", "options", "message"),
    [
        (
            {"teacher_model_name_or_path": "t"},
            {"task": "plain-text"},
            {"hidden_weight": 1.0, "length_drop": False},
            "task plain-text needs texts: give train_file",
        ),
        ({}, {"task": "poetry"}, {}, "task is 'poetry'; valid are 'question-answering'"),
        ({}, {"task": "plain-text", "train_file": ["a.txt"]}, {}, "plain text has no labels and no answers"),
        ({}, {}, {"importance_target": "teacher"}, "importance_target='teacher' needs teacher_model_name_or_path"),
        ({"teacher_model_name_or_path": "t", "teacher_dtype": "bfloat16"}, {}, {"hidden_weight": 1.0}, "use bf16: true"),
        ({"layers": [0], "config_overrides": SHAPE}, {}, {}, "use it without config_overrides"),
        ({}, {}, {"hidden_weight": 1.0, "length_drop": False}, "give teacher_model_name_or_path"),
        ({}, {"task": "plain-text", "train_file": ["a.txt"], "validation_fraction": 0.1}, {}, "no labels to measure on"),
        (
            {},
            {"task": "text-classification", "train_file": ["a.csv"], "streaming": True},
            {},
            "no effect for task text",
        ),
        ({}, {"task": "plain-text", "train_file": ["a.txt"], "text_columns": PAIR}, {}, "text_columns is"),
    ],
)
def test_what_does_not_go_together_is_refused(bert_folder, tmp_path, model, data, options, message):
    with pytest.raises(ValueError, match=message):
        run_recipe(ModelArguments(str(bert_folder), **model), DataArguments(**data), quiet(tmp_path, **options))
