"""Column files in every scheme, separator and newline style, with comments, headers and the columns
of CoNLL-U, and the ways they go wrong."""

import random
import re
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bigjax.data.text import annotated, recognise
from bigjax.data.text.recognise import Reading
from bigjax.errors import UserError

WNUT17 = ROOT.parent / "shared" / "data" / "wnut17"

# The prefixes of the first, inner and last word of an entity, and of one of a single word.
PREFIXES = {"IOB2": "BIIB", "BIOES": "BIES", "BILOU": "BILU", "BMEWO": "BMEW", "BMES": "BMES"}
SCHEMES = ("IOB1", *PREFIXES)
TYPES = ("PER", "creative-work", "B-LOC", "_")


def encode(entities, *, num_words, scheme) -> list[str]:
    """The tags of `entities` [(start, end, type)], written down the slow way."""
    tags = ["O"] * num_words
    for start, end, kind in entities:
        for i in range(start, end):
            if scheme == "IOB1":
                beside = any((e, k) == (start, kind) for _, e, k in entities)
                prefix = "B" if i == start and beside else "I"
            else:
                first, inner, last, single = PREFIXES[scheme]
                prefix = inner
                if i == start:
                    prefix = first
                if i == end - 1 and i > start:
                    prefix = last
                if end - start == 1:
                    prefix = single
            tags[i] = f"{prefix}-{kind}" if kind else prefix
    return tags


@st.composite
def entities_of(draw, *, num_words, types=TYPES):
    cuts = sorted(draw(st.sets(st.integers(0, num_words))))
    kinds = st.sampled_from((None, *types))
    spans = [(start, end, draw(kinds)) for start, end in zip(cuts, cuts[1:])]
    return [span for span in spans if span[2] is not None]


# Characters at which `str.splitlines` and `str.split` would cut: not the end of a line here.
ODD = "\x0b\x0c\x1c\x85\xa0\u2028\u2029\u200b\u3000\ufeff#"
characters = st.one_of(
    st.sampled_from(ODD),
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t "),
)
one_word = st.text(characters, min_size=1, max_size=6)
spaced_words = st.lists(one_word, min_size=1, max_size=3).map(" ".join)


@st.composite
def files(draw):
    """A random file: its bytes, how to read it, the words, the IOB2 tags."""
    scheme = draw(st.sampled_from(SCHEMES))
    tabs = draw(st.booleans())
    separators = st.just("\t") if tabs else st.text(" ", min_size=1, max_size=3)
    extra_columns = draw(st.integers(0, 2))
    blanks = st.lists(st.sampled_from(["", " ", "\t", " \t \x0c"]), min_size=1, max_size=2)
    lines, words, tags = [], [], []
    for _ in range(draw(st.integers(1, 4))):
        sentence = draw(st.lists(spaced_words if tabs else one_word, min_size=1, max_size=6))
        entities = draw(entities_of(num_words=len(sentence)))
        written = encode(entities, num_words=len(sentence), scheme=scheme)
        for word, tag in zip(sentence, written):
            fields = [word, *["x-y"] * extra_columns, tag]
            lines.append(fields[0] + "".join(draw(separators) + field for field in fields[1:]))
        lines += draw(blanks)
        lines += draw(st.sampled_from([[], ["-DOCSTART-"], ["-DOCSTART- -X- O O", ""]]))
        words.append(sentence)
        tags.append(encode(entities, num_words=len(sentence), scheme="IOB2"))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]))
    text = newline.join(lines).rstrip(draw(st.sampled_from(["", "\r\n"])))
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    assume(not text.startswith("\ufeff"))  # it would be taken for the byte order mark
    named = draw(st.sampled_from([scheme, scheme.lower()]))
    options = draw(st.sampled_from([{}, {"scheme": named}, {"tag_column": extra_columns + 1}]))
    return data, options, words, tags


def read(data: bytes, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.conll"
        path.write_bytes(data)
        return recognise.read(path, Reading(**options))


def read_error(data: bytes | str, **options) -> str:
    """The message of the error, without the folder of the file."""
    with pytest.raises(UserError) as caught:
        read(data.encode() if isinstance(data, str) else data, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message[message.find("x.conll") :] if "x.conll" in message else message


@settings(deadline=None, max_examples=150)
@given(file=files())
def test_whatever_is_written_in_any_scheme_separator_and_newline_is_read_back(file):
    data, options, words, tags = file
    sentences = read(data, **options)
    assert sentences.words == words
    assert sentences.tags == tags


def column(*tags: str) -> bytes:
    return "".join(f"w {tag}\n" if tag else "\n" for tag in tags).encode()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["NN", "IN", "O"], ["NN", "IN", "O"]),
        (["S-PRO", "A", "S"], ["S-PRO", "A", "S"]),  # Russian parts of speech
        (["S", "O", "U", "E"], ["S", "O", "U", "E"]),
        (["O", "O"], ["O", "O"]),
        (["B", "I", "O", "B"], ["B", "I", "O", "B"]),
        (["I", "O", "I", "B"], ["B", "O", "B", "B"]),
        (["B", "M", "E", "S"], ["B", "I", "I", "B"]),
        (["S-A", "O"], ["B-A", "O"]),
    ],
)
def test_auto_tells_plain_tags_from_untyped_and_typed_schemes(tags, expected):
    assert read(column(*tags)).tags == [expected]


def test_scheme_none_leaves_tags_that_look_like_a_scheme():
    assert read(column("I-A", "S-A", "NN"), scheme="none").tags == [["I-A", "S-A", "NN"]]


def test_an_iob2_file_with_a_slip_is_an_error_and_iob1_repairs_it():
    data = column("B-A", "I-A", "", "O", "I-A", "", "B-B")
    message = read_error(data)
    assert message.startswith("x.conll:5: tag 'I-A' cannot come after 'O' in IOB2; correct")
    assert "--config.data.repair=conlleval" in message
    assert read_error(data, scheme="IOB2").startswith("x.conll:5: tag 'I-A' cannot")
    assert read(data, scheme="IOB1").tags == [["B-A", "I-A"], ["O", "B-A"], ["B-B"]]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["O", "B-A", "", "NN", "I-A"], "x.conll:4: tag 'NN' is not in IOB2; expected O or B-TYPE"),
        (["B-A", "E-A", "", "U-A"], "x.conll:4: tag 'U-A' is not in BIOES"),
        (["B-A", "0"], "x.conll:2: tag '0' is not in IOB2"),
        (["B-A", "I-A", "E-A", "", "O", "B-A", "", "O"], "x.conll:6: tag 'B-A' cannot end a sent"),
        (["S-A", "", "E-A"], "x.conll:3: tag 'E-A' cannot come after 'O' in BIOES"),
        (["B-A", "I"], "x.conll:2: tag 'I' cannot come after 'B-A' in IOB2"),
    ],
)
def test_tags_that_break_their_scheme_are_an_error_with_the_line_of_the_first(tags, message):
    assert read_error(column(*tags)).startswith(message)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a\tO\nb\n", {}, "x.conll:2: expected 2 columns as on line 1, found 1 in 'b'"),
        ("a\tO\nb c O\n", {}, "x.conll:2: expected 2 columns as on line 1, found 1 in 'b c O'"),
        ("a O\nNew York O\n", {}, "x.conll:2: expected 2 columns as on line 1, found 3"),
        ("\n\na\n", {}, "x.conll:3: expected 2 columns or more, found 1 in 'a'"),
        ("a O\n", {"tag_column": 2}, "x.conll:1: expected 3 columns or more, found 2"),
        ("a O\n", {"tag_column": -3}, "x.conll:1: expected 3 columns or more, found 2"),
        ("a x O\nb O\n", {"tag_column": 2}, "x.conll:2: expected 3 columns or more as on line 1"),
        (
            "a b O\n",
            {"token_column": 1, "tag_column": -2},
            "x.conll:1: expected token_column=1 and tag_column=-2 to be different columns, found 3",
        ),
        ("a\tO\n\tO\n", {}, "x.conll:2: the word is empty in '\\tO'"),
        ("a\tO\nb\t\n", {}, "x.conll:2: the tag is empty in 'b\\t'"),
        ("a\tO\r\n\r\nb\t \r\n", {}, "x.conll:3: the tag is empty"),
        ("a\tO\rb\t\r", {}, "x.conll:2: the tag is empty"),
        ("", {}, "x.conll: no sentence"),
        ("\n \n-DOCSTART- -X- O O\n\n", {}, "x.conll: no sentence in its 5 lines"),
        ("a O", {"scheme": "iobes"}, "no tagging scheme 'iobes'; did you mean 'bioes'"),
        ("a O", {"token_column": 0, "tag_column": 0}, "token_column and tag_column are both 0"),
        ("a O", {"tag_column": 0}, "x.conll:1: expected token_column=0 and tag_column=0 to be dif"),
        ("a O", {"tag_column": "ner"}, "x.conll:1: no column 'ner' for data.tag_column; no line n"),
        ("a O", {"encoding": "utf-88"}, "data.encoding='utf-88': Python has no such encoding"),
        ("a O", {"separator": ""}, "separator is ''"),
    ],
)
def test_a_malformed_file_is_an_error_with_its_line(text, options, message):
    assert read_error(text, **options).startswith(message)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_bytes_that_are_not_utf8_are_an_error_with_their_line(newline):
    data = "\ufeffa O|b O||caf\xe9 O".replace("|", newline).encode("utf-8")
    data = data.replace("\xe9".encode(), b"\xe9")
    message = "x.conll:4: expected UTF-8, found byte 0xe9; convert"
    assert read_error(data).startswith(message)


def test_a_missing_file_and_a_folder_are_errors_that_name_the_path(tmp_path):
    with pytest.raises(UserError, match=r"none\.conll: No such file"):
        recognise.read(tmp_path / "none.conll")
    with pytest.raises(UserError, match=f"{tmp_path.name}: Is a directory"):
        recognise.read(tmp_path)


def test_docstart_lines_part_sentences_whatever_columns_they_carry():
    text = "-DOCSTART-\na x O\n-DOCSTART- (2) EU\nb x O\n1 -DOCSTART- O O\nc-DOCSTART- x O\n"
    assert read(text.encode()).words == [["a"], ["b"], ["c-DOCSTART-"]]
    assert read(b"-DOCSTART- -X- O O\n\na b\tO\n").words == [["a b"]]
    assert read(text.encode()).origin.document.tolist() == [1, 2, 3]
    assert not read(b"a O\n\nb O\n").origin.document.any()
    marked = "a x O\n\n# newdoc id = 1\n# text = b\nb x O\n\nc x O\n\n#begin document (2);\nd x O\n"
    assert read(marked.encode()).origin.document.tolist() == [0, 1, 1, 2]


def test_columns_are_counted_from_either_end_and_the_separator_may_be_given():
    text = "1,EU corp,B-A,_\n2,#,O,_\n"
    sentences = read(text.encode(), token_column=1, tag_column=-2, separator=",")
    assert (sentences.words, sentences.tags) == ([["EU corp", "#"]], [["B-A", "O"]])
    ragged = "EU B-A\nUN B-B link more\n"
    assert read(ragged.encode(), tag_column=1).tags == [["B-A", "B-B"]]
    assert read(b"a\tb  O\n", separator=" ").words == [["a\tb"]]


@pytest.mark.parametrize(("split", "count"), [("train", 3394), ("dev", 1009), ("test", 1287)])
def test_wnut17_is_read_as_it_is(split, count):
    path = WNUT17 / f"{split}.conll"
    if not path.exists():
        pytest.skip("the WNUT-17 files are not in ../shared/data/wnut17")
    sentences = recognise.read(path)
    assert len(sentences.words) == count
    assert sentences.where == str(path)
    read_back = [
        f"{word}\t{tag}".encode()
        for words, tags in zip(sentences.words, sentences.tags, strict=True)
        for word, tag in zip(words, tags, strict=True)
    ]
    assert read_back == [line for line in path.read_bytes().split(b"\n") if line.strip()]


def test_two_hundred_thousand_words_take_about_half_a_second(tmp_path):
    rng = random.Random(5)
    tags = rng.choices(["O", "B-PER", "B-LOC"], [8, 1, 1], k=200_000)
    lines = (f"word{i % 3000}\tNN\tx\t{tag}\n" + "\n" * (i % 20 == 0) for i, tag in enumerate(tags))
    path = tmp_path / "big.conll"
    path.write_text("".join(lines))
    start = time.process_time()
    sentences = recognise.read(path)
    assert time.process_time() - start < 2.5  # 0.5 here; room for slow and busy machines
    assert [tag for sentence in sentences.tags for tag in sentence] == tags


# --- comments, headers, CoNLL-U ---


def notes(found) -> dict[str, int]:
    return {note.what: note.count for note in found.origin.notes}


@pytest.mark.parametrize(
    "line",
    [
        "# x",
        "#\tx\ty\tz",
        "#",
        "# file:\t\tx",
        "#sent_id = 3",
        "#id: 4",
        "#begin document (a); p 1",
    ],
)
def test_a_line_that_begins_with_a_hash_where_a_sentence_would_is_a_comment(line):
    data = f"{line}\na\tNN\tO\n\n{line}\nb\tNN\tO\n".encode()
    found = read(data)
    assert found.words == [["a"], ["b"]] and notes(found) == {"comment lines": 2}
    assert [found.origin.line[i] for i in range(2)] == [2, 5]


@pytest.mark.parametrize("line", ["#\tO", "# \tO", "#x\tO", "# y\tO", "#\tSYM", "#\tB-X"])
def test_a_hash_that_has_the_columns_of_a_word_is_one(line):
    found = read(f"a\tO\n\n{line}\nb\tO\n".encode(), scheme="none")
    word = line.split("\t")[0].strip()
    assert found.words == [["a"], [word, "b"]] and not notes(found)
    inside = read(f"a\tO\n{line}\n".encode(), scheme="none")
    assert inside.words == [["a", word]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\n# x\nb\tO\n", "x.conll:2: expected 2 columns as on line 1, found 1 in '# x'"),
        ("a\tO\n\n#lost\nb\tO\n", "x.conll:3: expected 2 columns as on line 1, found 1 in '#lost'"),
    ],
)
def test_a_hash_inside_a_sentence_or_before_a_word_without_columns_is_no_comment(text, message):
    assert read_error(text) == message


def test_columns_have_names_where_the_first_line_gives_them():
    text = "id\tToken\tPOS\tNER\n0\tAda\tNNP\tB-PER\n1\tsings\tVBZ\tO\n"
    found = read(text.encode())
    assert found.words == [["Ada", "sings"]] and found.tags == [["B-PER", "O"]]
    assert "words in 1 (token), tags in 3 (ner)" in found.origin.found[0]
    found = read(text.encode(), token_column="token", tag_column="pos")
    assert found.tags == [["NNP", "VBZ"]]
    assert read_error(text, tag_column="nre") == (
        "x.conll:1: no column 'nre' for data.tag_column; did you mean 'ner'?"
    )


def test_a_first_line_that_could_be_a_header_is_none_where_its_tag_is_a_tag():
    found = read(b"word pos\nx NN\ny pos\n")
    assert found.words == [["word", "x", "y"]] and not notes(found)


def test_a_column_that_only_counts_the_words_holds_none():
    found = read(b"1\tAda\tB-PER\n2\tsings\tO\n\n1\tRome\tB-LOC\n")
    assert found.words == [["Ada", "sings"], ["Rome"]]
    found = read(b"1\tAda\tB-PER\n2\tsings\tO\n\n1\tRome\tB-LOC\n", token_column=0)
    assert found.words == [["1", "2"], ["1"]]
    assert read(b"7\tx\tO\n8\ty\tO\n").words == [["7", "8"]]
    assert read(b"1\tB-PER\n2\tO\n").words == [["1", "2"]]


def conllu(*rows: str) -> str:
    """Rows of "ID FORM UPOS MISC", the other columns filled in."""
    lines = []
    for row in rows:
        if row:
            number, form, upos, misc = row.split(" ")
            row = "\t".join([number, form, "_", upos, "X", "Number=Sing", "0", "_", "_", misc])
        lines.append(row + "\n")
    return "".join(lines)


def test_conllu_leaves_out_ranges_and_empty_nodes_and_takes_any_column():
    text = "# a\n" + conllu("1-2 ab _ _", "1 a DET _", "2 b NOUN _", "2.1 c X _", "", "1 # SYM k=v")
    found = read(text.encode())
    assert (found.words, found.tags) == ([["a", "b"], ["#"]], [["DET", "NOUN"], ["SYM"]])
    assert found.origin.line.tolist() == [3, 7]
    for column, tags in (
        ("xpos", [["X", "X"], ["X"]]),
        ("FEATS", [["Number=Sing"] * 2, ["Number=Sing"]]),
        (3, [["DET", "NOUN"], ["SYM"]]),
        ("k", [["O", "O"], ["v"]]),
    ):
        assert read(text.encode(), tag_column=column, scheme="none").tags == tags
    assert read(text.encode(), token_column="lemma").words == [["_", "_"], ["_"]]
    assert read_error(text, tag_column="Entity") == (
        "x.conll: no column and no key of MISC is 'Entity' (data.tag_column); valid: feats, form, "
        "k, lemma, upos, xpos"
    )


def test_a_slip_in_conllu_has_its_own_line_behind_ranges_and_empty_nodes():
    rows = ["1-2 ab _ _", "1 a X E=B-A", "1.1 z X _", "2 b X E=I-A", "3-4 x _ _", "3 c X E=I-B"]
    message = read_error("# c\n" + conllu(*rows), tag_column="E")
    assert message.startswith("x.conll:7: tag 'I-B' cannot come after 'I-A'")


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["1 a X _", "3 c X _"], 2),
        (["1 a X _", "1 b X _"], 2),
        (["2 b X _"], 1),
        (["1 a X _", "x b X _"], 2),
    ],
)
def test_words_of_conllu_that_are_not_numbered_in_order_are_an_error(rows, line):
    message = read_error(conllu(*rows))
    assert re.match(rf"x\.conll:{line}: expected the word with ID \d, found '\w'", message)


def test_lines_of_conllu_have_ten_columns_and_those_of_its_extensions_more():
    text = conllu("1 a DET _", "2 b NOUN _")
    short = text.rsplit("\t", 1)[0] + "\n"
    assert read_error(short).startswith("x.conll:2: expected 10 columns as on line 1, found 9")
    wider = text.replace("\t_\n", "\t_\tx\ty\n", 1) + "\n" + text.replace("\n", "\tz\n")
    found = read(wider.replace("_\n", "_\tx\n").encode())
    assert found.tags == [["DET", "NOUN"]] * 2
    assert read_error(wider + "\n1\ta\n").startswith("x.conll:7: expected 10 columns or more")


def test_conllu_may_be_ruled_out_or_asked_for():
    text = conllu("1 a DET _", "2 b NOUN _")
    found = read(text.encode(), format="columns", scheme="none")
    assert (found.words, found.tags) == ([["a", "b"]], [["_", "_"]])
    message = "x.conll:1: expected the ten columns of CoNLL-U, found 2 in 'a O'"
    assert read_error("a O\n", format="conllu") == message


def test_conllu_plus_names_its_columns():
    text = "# global.columns = ID FORM PARSEME:MWE\n1\ta\tB\n2\tb\tI\n3\tc\tO\n"
    found = read(text.encode(), tag_column="parseme:mwe")
    assert (found.words, found.tags) == ([["a", "b", "c"]], [["B", "I", "O"]])


def test_what_was_recognised_is_said_in_one_line():
    found = read(b"\xef\xbb\xbf# c\n-DOCSTART-\na  b-x\nb  o\nc o\n")
    assert found.origin.found[0].endswith(
        "x.conll: format: columns; separator: blanks; columns: 2, words in 0, tags in -1; "
        "tags: IOB2 spelt b-type (x); sentences: 1; words: 3; comment lines: 1; -DOCSTART- lines: 1"
    )


# --- slips and encodings ---


def test_all_slips_are_counted_and_five_are_shown():
    data = column(*["O", "I-A", ""] * 7, "B-A")
    message = read_error(data)
    assert message.startswith("x.conll:2: tag 'I-A' cannot come after 'O' in IOB2 (the first of 7;")
    assert re.findall(r"x\.conll:(\d+)", message) == ["2", "5", "8", "11", "14"]
    assert "and 2 more)" in message
    found = read(data, repair="conlleval")
    assert found.tags == [["O", "B-A"]] * 7 + [["B-A"]]
    (note,) = found.origin.notes
    assert note.count == 7 and note.what == "tags that break the scheme, read as conlleval does"
    assert [place.rsplit(":", 1)[1] for place in note.places] == ["2", "5", "8", "11", "14"]


def test_numbers_are_named():
    data = b"a 1\nb 2\nc 0\n"
    found = read(data, tag_names=("O", "B-X", "I-X"))
    assert found.tags == [["B-X", "I-X", "O"]]
    message = read_error(data, tag_names=("O", "B-X"))
    assert message == "x.conll:2: tag 2 has no name among the 2 of data.tag_names; expected 0 to 1"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", "utf-8"])
def test_a_file_in_a_named_encoding_is_read(encoding):
    data = "caf\xe9 O\nZ\xfcrich B-LOC\n".encode(encoding)
    found = read(data, encoding=encoding)
    assert found.words == [["caf\xe9", "Z\xfcrich"]]


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"a O\n\xff O\n", "ascii", "x.conll:2: expected ASCII, found byte 0xff; convert"),
        (b"a O\n\x81 O\n", "cp1252", "x.conll:2: expected CP1252, found byte 0x81"),
        (b"a\x00 \x00O", "utf-16", "x.conll:1: expected UTF-16, found byte 0x4f"),
        (b"\\ud83d O\n", "unicode_escape", "x.conll:1: expected UNICODE_ESCAPE, found"),
        (b"a O\n", "base64", "data.encoding='base64': Python has no such encoding of text"),
    ],
)
def test_bytes_of_another_encoding_are_an_error_with_their_line(data, encoding, message):
    assert read_error(data, encoding=encoding).startswith(message)


@given(st.text("ab\n\r\u2028", max_size=30), st.integers(1, 6))
def test_lines_are_the_same_however_large_the_blocks_are_that_they_are_cut_from(text, size):
    with mock.patch.object(annotated, "_BLOCK", size):
        found = annotated.split_lines(text)
    assert found == re.split(r"\r*\n|\r", text)
