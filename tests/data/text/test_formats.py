"""One small file for each format, with its words, tags and offsets written by hand; and what
becomes of each when bytes and lines are cut, flipped, doubled and reordered."""

import json
import random
import re

import pytest
from conftest import ROOT

from bigjax.data.text import recognise, writing
from bigjax.data.text.cutting import RULE, cut
from bigjax.data.text.recognise import Reading
from bigjax.data.text.sentences import PRE_SPLIT, Sentences
from bigjax.data.text.tags import has_spans, spans
from bigjax.errors import UserError

SHARED = ROOT.parent / "shared" / "data"

# --- by hand ---

COLUMNS = """\
-DOCSTART- -X- O O

# id: 7
EU NNP B-ORG
rejects VBZ O
German JJ B-MISC
# NN O

# a line of talk
New NNP B-LOC
York NNP I-LOC
"""
CONLLU = """\
# newdoc
# text = Can't go.
1-2\tCan't\t_\t_\t_\t_\t_\t_\t_\t_
1\tCa\tcan\tAUX\tMD\tMood=Ind\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\tNER=O
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

1\t#\t#\tSYM\t#\t_\t0\troot\t_\tNER=B-LOC
"""
HEADER = "word\tpos\tner\nAda\tNNP\tB-PER\nsings\tVBZ\tO\n\nRome\tNNP\tB-LOC\n"
IO = "Ada\tPERSON\nKing\tPERSON\nmet\tO\nhim\tO\nin\tO\n\nOld\tPLACE\nTown\tPLACE\n.\tO\n"
CSV = """\
Sentence #,Word,POS,Tag
Sentence: 1,Ada,NNP,B-PER
,"Town, Old",NNP,B-LOC
,"""
CSV += '''"""",'',O
Sentence: 2,sings,VBZ,O
'''
TOKENS = """\
{"id": 1, "tokens": ["Ada", "King", "sings"], "ner_tags": [1, 2, 0]}

{"tokens": ["In", "Rome"], "tags": ["O", "B-PER"]}
{"tokens": ["Not", "done"]}
"""
SPANS = """\
{"text": "Zoë isn't in 東京 😀 now", "spans": [ZOE, {"start": 13, "end": 15, "label": "LOC"}]}
{"text": "Zoë again", "spans": [{"start": 0, "end": 4, "label": "PER"}], "answer": "accept"}
{"text": "No one.", "spans": []}
{"text": "Wrong.", "spans": [], "answer": "reject"}
{"text": "Later."}
""".replace("ZOE", '{"start": 0, "end": 3, "label": "PER"}')
LABEL_STUDIO = json.dumps(
    [
        {
            "id": 5,
            "data": {"text": "😀 Ada sings"},
            "annotations": [
                {"was_cancelled": True, "result": []},
                {
                    "was_cancelled": False,
                    "result": [
                        {"type": "choices", "value": {"choices": ["glad"]}},
                        {
                            "type": "labels",
                            "value": {"start": 3, "end": 6, "text": "Ada", "labels": ["PER"]},
                        },
                    ],
                },
            ],
        },
        {"id": 6, "data": {"text": "Nobody"}, "annotations": [{"result": []}]},
        {"id": 7, "data": {"text": "Skipped"}, "annotations": [{"was_cancelled": True}]},
        {"id": 8, "data": {"text": "Waiting"}, "annotations": []},
    ],
    indent=1,
    ensure_ascii=False,
)

# text, how to read it, words, tags (each sentence a text parted by blanks), notes, rule.
FILES = {
    "columns": (
        COLUMNS, {},
        ["EU rejects German #", "New York"], ["B-ORG O B-MISC O", "B-LOC I-LOC"],
        {"comment lines": 2, "-DOCSTART- lines": 1}, PRE_SPLIT,
    ),
    "conllu": (
        CONLLU, {},
        ["Ca n't go .", "#"], ["AUX PART VERB PUNCT", "SYM"],
        {"comment lines": 2, "multi-word ranges left out": 1, "empty nodes left out": 1}, PRE_SPLIT,
    ),
    "a key of MISC": (
        CONLLU, {"tag_column": "NER"},
        ["Ca n't go .", "#"], ["O O O O", "B-LOC"],
        {"comment lines": 2, "multi-word ranges left out": 1, "empty nodes left out": 1}, PRE_SPLIT,
    ),
    "header": (
        HEADER, {},
        ["Ada sings", "Rome"], ["B-PER O", "B-LOC"], {"header line": 1}, PRE_SPLIT,
    ),
    "io": (
        IO, {},
        ["Ada King met him in", "Old Town ."], ["B-PERSON I-PERSON O O O", "B-PLACE I-PLACE O"],
        {}, PRE_SPLIT,
    ),
    "csv": (
        CSV, {},
        [["Ada", "Town, Old", '"'], ["sings"]], ["B-PER B-LOC O", "O"], {}, PRE_SPLIT,
    ),
    "tokens": (
        TOKENS, {"tag_names": ("O", "B-PER", "I-PER")},
        ["Ada King sings", "In Rome"], ["B-PER I-PER O", "O B-PER"],
        {"unlabelled records left out": 1}, PRE_SPLIT,
    ),
    "spans": (
        SPANS, {"misaligned": "drop"},
        ["Zoë isn ' t in 東 京 😀 now", "Zoë again", "No one ."],
        ["B-PER O O O O B-LOC I-LOC O O", "B-PER O", "O O O"],
        {
            "records with the answer 'reject' left out": 1,
            "unlabelled records left out": 1,
            "spans with blank edges, trimmed": 1,
        },
        RULE,
    ),
    "label_studio": (
        LABEL_STUDIO, {"misaligned": "expand"},
        ["😀 Ada sings", "Nobody"], ["O B-PER O", "O"],
        {
            "cancelled annotations of other tasks": 1,
            "results that are no spans (choices, relations, ...)": 1,
            "spans counted in UTF-16, read as characters": 1,
            "tasks whose annotations are all cancelled left out": 1,
            "unlabelled records left out": 1,
        },
        RULE,
    ),
}  # fmt: skip


def parted(lines):
    return [line.split(" ") if isinstance(line, str) else line for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_each_format_is_read_as_a_person_reads_it(tmp_path, name):
    text, options, words, tags, notes, rule = FILES[name]
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    found = recognise.read(path, Reading(**options))
    assert found.words == parted(words)
    assert found.tags == parted(tags)
    assert {note.what: note.count for note in found.origin.notes} == notes
    assert found.origin.rule == rule
    lines = text.split("\n")
    for i, sentence in enumerate(found.words):
        file, line = found.origin.place(i).rsplit(":", 1)
        assert file == str(path)
        if name not in ("label_studio",):
            assert sentence[0].strip('"') in lines[int(line) - 1]


def test_label_studios_tasks_have_the_lines_on_which_they_begin(tmp_path):
    path = tmp_path / "file"
    path.write_text(LABEL_STUDIO)
    lines = [0] * 2
    found = recognise.read(path, Reading(misaligned="expand"))
    lines = LABEL_STUDIO.split("\n")
    for i, first in enumerate(('  "id": 5,', '  "id": 6,')):
        assert lines[found.origin.line[i]] == first


# --- the files of ../shared/data/formats, with the values of their README ---

ADA = "Dr. Ada Example-Smith moved from São Paulo to 北京 😀 in May."
ADA_SPANS = [(4, 21, "PER"), (33, 42, "LOC"), (46, 48, "LOC")]
NOTHING = "Nothing here."


def shared(name: str, **options) -> Sentences:
    path = SHARED / "formats" / name
    if not path.exists():
        pytest.skip("the samples are not in ../shared/data/formats")
    return recognise.read(path, Reading(**options))


def entities(found: Sentences) -> list[tuple[str, str]]:
    return [
        (kind, " ".join(words[start:end]))
        for words, tags in zip(found.words, found.tags)
        for start, end, kind in spans(tags)
    ]


@pytest.mark.parametrize(
    ("name", "options", "sizes", "expected"),
    [
        ("comments_ud.conllu", {"tag_column": "Entity"}, [6, 3], [("LOC", "Oslo")]),
        ("comments_tabs.tsv", {"tag_column": 2}, [5, 4], [("ORG", "Borussia Neustadt")]),
        ("comments_tabs.tsv", {}, [5, 4], [("LOC", "Neustadt")]),
        ("comments_spaces.bio", {}, [7], [("PER", "Anton Beispiel"), ("LOC", "Musterdorf")]),
        (
            "io.tsv",
            {},
            [11, 3],
            [
                ("PESSOA", "Maria Exemplo"),
                ("LOCAL", "Porto Alegre"),
                ("TEMPO", "2010"),
                ("LOCAL", "Lisboa"),
                ("LOCAL", "Braga"),
            ],
        ),
        ("lower_case.txt", {}, [6], [("np", "she"), ("vp", "saw"), ("np", "the red boat")]),
        ("suffix.tsv", {}, [4], [("LOC", "東京 都"), ("PER", "佐藤")]),
        ("underscore.tsv", {}, [4], [("LOC", "Paris"), ("PER", "Ada Example")]),
        (
            "slips.conll",
            {"repair": "conlleval"},
            [7, 3, 2],
            [
                ("LOC", "North Town"),
                ("PER", "Bo"),
                ("ORG", "Ex"),
                ("PER", "Ada Ex"),
                ("ORG", "Club"),
            ],
        ),
        ("header.tsv", {}, [2], [("LOC", "Rome")]),
        ("label_studio_min.conll", {}, [3], [("PER", "Ada Example")]),
        (
            "kaggle.csv",
            {"encoding": "latin-1"},
            [4, 3],
            [("geo", "Town, Old"), ("geo", "Zürich")],
        ),
        (
            "tokens.jsonl",
            {"tag_names": ("O", "B-PER")},
            [4, 2],
            [("PER", "Ada Example"), ("LOC", "Rome"), ("PER", "Ada")],
        ),
    ],
)  # fmt: skip
def test_the_shared_samples_are_read_as_their_readme_says(name, options, sizes, expected):
    found = shared(name, **options)
    assert [len(words) for words in found.words] == sizes
    assert entities(found) == expected


def test_the_shared_conllu_file_has_its_words_and_both_kinds_of_parts_of_speech():
    found = shared("comments_ud.conllu")
    assert found.words == [["We", "do", "n't", "visit", "Oslo", "."], ["#", "1", "hit"]]
    assert found.tags == [["PRON", "AUX", "PART", "VERB", "PROPN", "PUNCT"], ["SYM", "NUM", "NOUN"]]
    found = shared("comments_ud.conllu", tag_column="xpos")
    assert found.tags == [["PRP", "VBP", "RB", "VB", "NNP", "."], ["NFP", "CD", "NN"]]


@pytest.mark.parametrize(
    ("name", "texts", "left_out"),
    [
        ("prodigy.jsonl", [ADA, NOTHING], {"records with the answer 'reject' left out": 1}),
        ("doccano.jsonl", [ADA, NOTHING], {}),
        ("spacy.jsonl", [ADA], {}),
        (
            "label_studio.json",
            [ADA],
            {"cancelled annotations of other tasks": 1, "unlabelled records left out": 1},
        ),
    ],
)
def test_the_shared_samples_with_offsets_are_read_as_their_readme_says(name, texts, left_out):
    found = shared(name)
    cuts = [[text[start:end] for start, end in cut(text)] for text in texts]
    assert found.words == cuts
    offsets = cut(ADA)
    assert [
        (offsets[start][0], offsets[end - 1][1], kind) for start, end, kind in spans(found.tags[0])
    ] == ADA_SPANS
    assert all(set(tags) == {"O"} for tags in found.tags[1:])
    assert {note.what: note.count for note in found.origin.notes} == left_out


def test_the_shared_slips_and_misaligned_spans_are_counted_in_one_line():
    with pytest.raises(UserError) as caught:
        shared("slips.conll")
    for part in ("slips.conll:2: tag 'I-LOC'", "first of 3", "slips.conll:6:", "slips.conll:14:"):
        assert part in str(caught.value)
    with pytest.raises(UserError) as caught:
        shared("misaligned.jsonl")
    for part in (":1: LOC 'New' (6, 9) starts or ends inside", "'Old Town' (0, 8) and ORG 'Town H"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="'Old Town' .* overlap"):
        shared("misaligned.jsonl", misaligned="expand")


@pytest.mark.parametrize(
    ("name", "num_sentences", "num_words"), [("dev", 2001, 25_147), ("test", 2077, 25_094)]
)
def test_ud_ewt_is_read_whole(name, num_sentences, num_words):
    path = SHARED / "ud_ewt" / f"{name}.conllu"
    if not path.exists():
        pytest.skip("UD EWT is not in ../shared/data/ud_ewt")
    found = recognise.read(path)
    assert len(found.words) == num_sentences
    assert sum(map(len, found.words)) == num_words
    numbered = [line for line in path.read_text().split("\n") if re.match(r"[0-9]+\t", line)]
    assert [word for words in found.words for word in words] == [x.split("\t")[1] for x in numbered]
    assert [tag for tags in found.tags for tag in tags] == [x.split("\t")[3] for x in numbered]


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("wnut17/dev.conll", "auto"), ("bio/bc5cdr.devel.tsv", "auto"), ("ud_ewt/dev.conllu", "none")],
)
def test_real_data_written_as_columns_and_as_json_lines_is_read_back_equal(tmp_path, name, scheme):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data")
    found = recognise.read(path)
    for write in (writing.conll_lines, writing.jsonl_lines):
        (tmp_path / "again").write_text("".join(write(found)), encoding="utf-8", newline="")
        again = recognise.read(tmp_path / "again", Reading(scheme=scheme))
        assert again.fingerprint() == found.fingerprint()


# --- mutations ---


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to three accidents of bytes or lines."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        lines = data.split(b"\n")
        line, other = (rng.randrange(len(lines)) for _ in range(2))
        kind = rng.randrange(9)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + data[end:]
        elif kind == 2:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 3:
            data = data[:at] + bytes([rng.choice(b'\t\n\r ,"{}[]:#\\-\x00')]) + data[at:]
        elif kind == 4:
            data = data[:end] + data[at:]
        elif kind == 5:
            lines[line], lines[other] = lines[other], lines[line]
        elif kind == 6:
            lines.insert(line, lines[other])
        elif kind == 7:
            del lines[line]
        else:
            data = data[:at] + data[at : at + 1].swapcase() + data[at + 1 :]
        if kind in (5, 6, 7):
            data = b"\n".join(lines)
        data = data or b"\n"
    return data


def left_out(found: Sentences, *names: str) -> int:
    return sum(note.count for note in found.origin.notes if note.what in names)


def check_columns(text: str, found: Sentences) -> None:
    lines = [line for line in re.split(r"\r*\n|\r", text) if line.strip()]
    names = ("comment lines", "-DOCSTART- lines", "header line", "empty rows")
    names += ("multi-word ranges left out", "empty nodes left out")
    is_csv = found.origin.found[0].split("format: ")[1].startswith("CSV")
    assert len(lines) == sum(map(len, found.words)) + left_out(found, *names) + is_csv
    fields = "\x00".join(re.sub(r"[\x00\s]+", "\x00", line) for line in lines)
    for words in found.words:
        for word in words:
            written = (word, word.replace('"', '""')) if is_csv else (word,)
            assert any(re.sub(r"[\x00\s]+", "\x00", one) in fields for one in written)


def check_records(text: str, found: Sentences) -> None:
    """Every record is read or counted, every word and span too."""
    if re.match(r"\s*\[", text):
        records = json.loads(text)
    else:
        lines = (line for line in re.split(r"\r*\n|\r", text) if line.strip())
        records = [json.loads(line) for line in lines]
    reasons = [note.what for note in found.origin.notes if note.what.endswith("left out")]
    words_out = left_out(found, "blank words left out")
    left = left_out(found, *reasons) - words_out
    assert len(records) == len(found.words) + left, found.origin.notes
    flat = json.dumps(records, ensure_ascii=False)
    for words in found.words:
        for word in words:
            assert json.dumps(word, ensure_ascii=False)[1:-1] in flat
    if found.origin.rule != RULE or left:
        return
    texts = [record.get("text") or record.get("data") for record in records]
    for text, words in zip(texts, found.words, strict=True):
        assert "".join(words) == "".join(text[start:end] for start, end in cut(text))
    given = sum(len(record.get("spans") or record.get("label") or []) for record in records)
    counted = left_out(
        found,
        "spans that are there twice, taken once",
        "spans that start or end inside a word, dropped",
    )
    assert given == counted + sum(len(spans(tags)) for tags in found.tags)


def check(data: bytes, found: Sentences) -> None:
    assert len(found.words) == len(found.tags) == len(found.origin.line)
    for words, tags in zip(found.words, found.tags, strict=True):
        assert words and len(words) == len(tags)
        assert all(words) and all(tags)
    kinds = {tag for tags in found.tags for tag in tags}
    if has_spans(kinds):
        for tags in found.tags:
            assert all(a == "O" or b[:1] != "I" or a[1:] == b[1:] for a, b in zip(tags, tags[1:]))
    found.fingerprint()
    text = data.decode().removeprefix("\ufeff")
    format = found.origin.found[0].split("format: ")[1].split(";")[0]
    (check_columns if format in ("columns", "CoNLL-U", "CSV") else check_records)(text, found)


def survive(path, *, name: str, seeds: range) -> tuple[int, int]:
    """How many mutations were read and refused."""
    text, options, *_ = FILES[name]
    numbers = [0, 0]
    for seed in seeds:
        data = mutate(text.encode(), random.Random(seed))
        path.write_bytes(data)
        try:
            found = recognise.read(path, Reading(**options))
        except UserError as error:
            message = str(error)
            assert message.isprintable() and message.startswith(str(path)), (seed, message)
            assert len(message) < 1500
            numbers[1] += 1
        else:
            check(data, found)
            numbers[0] += 1
    return tuple(numbers)


@pytest.mark.parametrize("name", FILES)
def test_whatever_happens_to_a_file_it_is_read_whole_or_refused_in_one_line(tmp_path, name):
    read, refused = survive(tmp_path / "file", name=name, seeds=range(150))
    assert read > 5 and refused > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_two_thousand_mutations_of_each_format_are_read_whole_or_refused(tmp_path, name):
    read, refused = survive(tmp_path / "file", name=name, seeds=range(1000, 3000))
    assert read > 100 and refused > 100
