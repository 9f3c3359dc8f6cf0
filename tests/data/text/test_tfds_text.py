"""Datasets built here and WikiANN, read without TensorFlow, and the ways that goes wrong."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from bigjax.data import prepared
from bigjax.data.text import tfds_text as reader
from bigjax.data.text.schemes import to_iob2
from bigjax.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets", reason="needs pip install 'bigjax[tfds]'")
pytest.importorskip("array_record", reason="needs pip install 'bigjax[tfds]'")

WIKIANN = ROOT.parent / "shared" / "data" / "tfds"
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def sentence(i: int) -> tuple[list[str], list[str]]:
    """Sentence i of every split; sentence 0 is empty."""
    words = [f"wörd {i}", "\u2028", "#"][: i % 4]
    return words, [NAMES[(i + j) % 5] for j in range(len(words))]


def sentences(start: int, end: int) -> tuple[list[list[str]], list[list[str]]]:
    """Words and tags of those from `start` on that are not empty."""
    pairs = [sentence(i) for i in range(start, end)]
    return [w for w, _ in pairs if w], [t for w, t in pairs if w]


class TinyNer(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        sequence, text = tfds.features.Sequence, tfds.features.Text()
        features = {
            "tokens": sequence(text),
            "tags": sequence(tfds.features.ClassLabel(names=NAMES)),
            "tags_as_text": sequence(text),
            "pairs": sequence(tfds.features.Tensor(shape=(2,), dtype=np.str_)),
            "parts": sequence({"text": np.str_}),
            "numbers": sequence(np.int64),
            "language": text,
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, _):
        sizes = {"train": 11, "validation": 5, "test": 3}
        return {name: self._generate_examples(size) for name, size in sizes.items()}

    def _generate_examples(self, size):
        for i in range(size):
            words, tags = sentence(i)
            yield i, self.example(words, tags=tags, tags_as_text=tags)

    def example(self, words, **tags):
        return {
            "tokens": words,
            "pairs": [[word, word] for word in words],
            "parts": [{"text": word} for word in words],
            "numbers": [len(word) for word in words],
            "language": "en",
            **tags,
        }


class TinyConfigs(TinyNer):
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="xx"), tfds.core.BuilderConfig(name="yy")]


class TinyBad(TinyNer):
    """A split for each way in which a record is wrong."""

    def _split_generators(self, _):
        records = {
            "unlabelled": {"words": ["a"], "tags": [-1], "tags_as_text": ["O"]},
            "longer": {"words": ["a"], "tags": ["O", "O"], "tags_as_text": ["O"]},
            "latin": {"words": [b"caf\xe9"], "tags": ["O"], "tags_as_text": ["O"]},
            "empty": {"words": [], "tags": [], "tags_as_text": []},
        }
        return {name: [(0, self.example(**record))] for name, record in records.items()}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("prepared")
    for builder in (TinyNer, TinyBad):
        builder(data_dir=root, file_format="array_record").download_and_prepare()
    TinyConfigs(config="yy", data_dir=root, file_format="array_record").download_and_prepare()
    return root


def read_error(name: str, **options) -> str:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        reader.read(name, **options)
    assert time.monotonic() - start < 1.0
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_and_tags_are_those_that_were_written_and_empty_records_are_left_out(data_dir):
    found = reader.read("tiny_ner", data_dir=data_dir)
    assert list(found) == ["train", "dev", "test"]
    assert found["train"][:3] == (*sentences(0, 11), "tiny_ner:train")
    assert found["dev"][:3] == (*sentences(0, 5), "tiny_ner:validation")
    assert found["test"][:3] == (*sentences(0, 3), "tiny_ner:test")


def test_splits_may_be_slices_and_sums_under_any_name(data_dir):
    splits = {"a": "train[2:7]", "b": "test+validation[:2]"}
    found = reader.read("tiny_ner", data_dir=data_dir, splits=splits)
    assert found["a"][:3] == (*sentences(2, 7), "tiny_ner:train[2:7]")
    parts = sentences(0, 3), sentences(0, 2)
    assert found["b"].words == [*parts[0][0], *parts[1][0]]
    assert found["b"].tags == [*parts[0][1], *parts[1][1]]


@pytest.mark.parametrize("at_once", [1, 4, 11])
def test_records_are_read_a_few_at_a_time_each_once(data_dir, monkeypatch, at_once):
    monkeypatch.setattr(reader, "AT_ONCE", at_once)
    asked = []

    def records(*args, **kwargs):
        found = prepared.records(*args, **kwargs)
        return found._replace(read=lambda numbers: asked.append(numbers) or found.read(numbers))

    monkeypatch.setattr(reader, "records", records)
    found = reader.read("tiny_ner", data_dir=data_dir, splits={"train": "train"})
    assert found["train"][:3] == (*sentences(0, 11), "tiny_ner:train")
    assert max(map(len, asked)) == at_once
    assert [number for numbers in asked for number in numbers] == list(range(11))


def test_tags_may_be_a_sequence_of_text(data_dir):
    as_text = reader.read("tiny_ner", data_dir=data_dir, tags="tags_as_text")
    assert as_text == reader.read("tiny_ner", data_dir=data_dir)


def test_a_config_is_found_by_name_and_the_folder_by_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert reader.read("tiny_configs/yy")["dev"].words == sentences(0, 5)[0]
    assert reader.read("tiny_configs/yy:1.0.0")["dev"].where == "tiny_configs/yy:1.0.0:validation"


def test_a_folder_whose_name_is_not_utf_8_is_an_error_of_one_line(data_dir, tmp_path):
    """The library that opens its files knows no other names."""
    link = tmp_path / os.fsdecode(b"donn\xe9es")
    link.symlink_to(data_dir)
    assert "its path is not UTF-8" in read_error("tiny_ner", data_dir=link)


def test_without_a_config_the_default_one_is_read(data_dir, tmp_path):
    TinyConfigs(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    assert reader.read("tiny_configs", data_dir=tmp_path)["dev"].words == sentences(0, 5)[0]
    message = read_error("tiny_configs", data_dir=data_dir)  # where only the other is prepared
    assert f"looked in {data_dir}/tiny_configs/xx, did you mean 'tiny_configs/yy'?" in message


def test_the_newest_version_is_read_and_another_format_is_an_error(data_dir, tmp_path):
    for version in ("1.0.0", "1.9.0", "1.10.0", "2.0.0.incomplete1"):
        shutil.copytree(data_dir / "tiny_ner" / "1.0.0", tmp_path / "tiny_ner" / version)
    info = tmp_path / "tiny_ner" / "1.10.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    message = read_error("tiny_ner", data_dir=tmp_path)
    assert message.startswith(f"{info.parent} holds tfrecord files, expected array_record; to prep")
    assert f"data_dir='{tmp_path}_array_record', file_format='array_record')" in message
    assert reader.read("tiny_ner:1.9.0", data_dir=tmp_path)["dev"].words == sentences(0, 5)[0]
    message = read_error("tiny_ner:1.8.0", data_dir=tmp_path)
    assert message.endswith("has no version 1.8.0; did you mean '1.9.0'?")


def test_the_command_in_the_error_prepares_what_was_missing(tmp_path):
    message = read_error("tiny_ner", data_dir=tmp_path)
    assert f"'tiny_ner' is not prepared: looked in {tmp_path}/tiny_ner, valid: none; " in message
    assert "pip install tensorflow tensorflow-datasets" in message
    program = re.search('python -c "(.*)"', message)[1]
    exec(compile(program, "command", "exec"), {})
    assert reader.read("tiny_ner", data_dir=tmp_path)["test"].words == sentences(0, 3)[0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tiny_nerr", {}, "looked in .*/tiny_nerr, did you mean 'tiny_ner'?"),
        ("tiny_configs/zz", {}, "did you mean 'tiny_configs/yy'?"),
        ("mnist", {}, "valid: tiny_bad, tiny_configs/yy, tiny_ner; to prepare it"),
        ("tiny ner", {}, "'tiny ner' cannot be the name of a dataset; expected 'dataset'"),
        ("tiny_ner", {"tokens": "token"}, "tiny_ner has no feature 'token'; did you mean 'tokens'"),
        ("tiny_ner", {"tags": "zzz"}, "tiny_ner has no feature 'zzz'; valid: language, numbers"),
        ("tiny_ner", {"tokens": "tags"}, "feature 'tags' is Sequence.*; expected Sequence of text"),
        ("tiny_ner", {"tags": "numbers"}, "'numbers' is .*; expected Sequence of class labels or"),
        ("tiny_ner", {"tags": "language"}, "'language' is Text.*; expected Sequence of class"),
        ("tiny_ner", {"tags": "pairs"}, "'pairs' is .*; expected Sequence of class labels or"),
        ("tiny_ner", {"tokens": "parts"}, "'parts' is Sequence.*; expected Sequence of text"),
        ("tiny_ner", {"splits": {"dev": "valid"}}, "valid: no split 'valid'; did you mean 'valida"),
        ("tiny_ner", {"splits": {"a": "train+tset"}}, "no split 'tset'; did you mean 'test'"),
        ("tiny_ner", {"splits": {"a": "train[:2x]"}}, "train.:2x. cannot be read .* 'train.:2x.'"),
        ("tiny_ner", {"splits": {"a": "train[99:]"}}, "cannot be read .*slice .99:11. incompat"),
        ("tiny_ner", {"splits": {"a": "train[:0]"}}, "tiny_ner:train.:0. has no sentence"),
        ("tiny_ner", {"splits": {"a": "train[5:2]"}}, "tiny_ner:train.5:2. has no sentence"),
        ("tiny_bad", {"splits": {"a": "dev"}}, "dev: no split 'dev'; valid: empty, latin, longer"),
        ("tiny_bad", {"splits": {"a": "empty"}}, "tiny_bad:empty has no sentence"),
        (
            "tiny_bad",
            {"splits": {"a": "unlabelled"}},
            "unlabelled: record 0 has class -1; expected",
        ),
        ("tiny_bad", {"splits": {"a": "longer"}}, "longer: record 0 has 1 tokens and 2 tags"),
        ("tiny_bad", {"splits": {"a": "latin"}}, "latin: record 0 is not UTF-8: .* 0xe9"),
    ],
)
def test_a_mistake_is_an_error_that_names_it_within_a_second(data_dir, name, options, message):
    assert re.search(message.replace("?", r"\?"), read_error(name, data_dir=data_dir, **options))


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_lost_or_damaged_file_is_an_error_that_names_the_folder(data_dir, tmp_path, spoil):
    shutil.copytree(data_dir / "tiny_ner", tmp_path / "tiny_ner")
    spoil(next(tmp_path.glob("*/*/*-test.array_record*")))
    message = read_error("tiny_ner", data_dir=tmp_path)
    assert message.startswith(f"tiny_ner:test cannot be read from {tmp_path}/tiny_ner/1.0.0: ")


@pytest.mark.parametrize("package", ["tensorflow_datasets", "array_record"])
def test_a_missing_package_is_an_error_that_says_how_to_install_it(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert read_error("tiny_ner").endswith(f"package '{package}': pip install 'bigjax[tfds]'")


def test_neither_importing_nor_reading_nor_failing_imports_tensorflow(data_dir, tmp_path):
    (tmp_path / "tensorflow.py").write_text("import os\nos._exit(42)\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from bigjax.data.text import tfds_text
assert "tensorflow_datasets" not in sys.modules
assert len(tfds_text.read("tiny_ner", data_dir={str(data_dir)!r})["train"].words) == 8
try:
    tfds_text.read("conll2003", data_dir={str(data_dir)!r})
except tfds_text.UserError as error:
    print(error)
assert "tensorflow" not in sys.modules
try:
    import tensorflow
finally:
    print("the trap was not there")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 42, done.stderr  # the last import, and none before it
    assert "the trap" not in done.stdout


@pytest.fixture(scope="module")
def wikiann():
    if not (WIKIANN / "wikiann" / "en").exists():
        pytest.skip("WikiANN is not prepared in ../shared/data/tfds")
    start = time.process_time()
    found = reader.read("wikiann/en", data_dir=WIKIANN)
    return found, time.process_time() - start


def test_wikiann_is_read_whole_and_its_tags_are_iob2(wikiann):
    found, _ = wikiann
    sizes = {split: len(found[split].words) for split in found}
    assert sizes == {"train": 20_000, "dev": 10_000, "test": 10_000}
    for split in found.values():
        assert all(map(len, split.words))
        found = to_iob2(split.tags, scheme="IOB2")
        assert not found.slips and found.tags == split.tags


def test_wikiann_equals_what_tfds_itself_decodes(wikiann):
    found, _ = wikiann
    source = tfds.data_source("wikiann/en", split="validation", data_dir=WIKIANN)
    names = source.dataset_info.features["tags"].feature.names
    for i in range(0, 10_000, 50):
        record = source[i]
        assert found["dev"].words[i] == [token.decode() for token in record["tokens"]]
        assert found["dev"].tags[i] == [names[tag] for tag in record["tags"]]


def test_forty_thousand_sentences_take_about_a_second(wikiann):
    _, seconds = wikiann
    assert seconds < 3.0  # 0.9 here; room for slow and busy machines


# --- texts with classes ---


class TinyTexts(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["neg", "pos"])
        features = {
            "review": tfds.features.Text(),
            "label": label,
            "topics": tfds.features.Sequence(label),
            "kind": tfds.features.Text(),
            "stars": np.int64,
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, _):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        texts = [("So  so,\nwörd", "pos", ["neg", "pos"], "a  b"), ("", -1, [], "b")]
        for i, (text, label, topics, kind) in enumerate(texts):
            yield i, {
                "review": text, "label": label, "topics": topics, "kind": kind, "stars": i,
            }  # fmt: skip


@pytest.fixture(scope="module")
def texts_dir(tmp_path_factory) -> Path:
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("texts")
    TinyTexts(data_dir=root, file_format="array_record").download_and_prepare()
    return root


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("label", [["pos"], []]),
        ("topics", [["neg", "pos"], []]),
        ("kind", [["a b"], ["b"]]),
    ],
)
def test_texts_have_a_class_several_or_one_that_is_text(texts_dir, label, expected):
    given = {"data_dir": texts_dir, "splits": {"dev": "train"}, "text": "review"}
    found = reader.read_classes("tiny_texts", label=label, **given)["dev"]
    assert list(found.words) == [["So", "so,", "wörd"], [""]]
    assert list(found.tags) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": "revue"}, "no feature 'revue'; did you mean 'review'"),
        ({"text": "label"}, "feature 'label' is no text"),
        ({"label": "stars"}, "feature 'stars' is .*; expected class labels or text"),
    ],
)
def test_features_that_are_no_text_or_class_are_errors(texts_dir, given, message):
    given = {"text": "review", "label": "label", "splits": {"train": "train"}} | given
    with pytest.raises(UserError, match=message):
        reader.read_classes("tiny_texts", data_dir=texts_dir, **given)
