"""The command line: whatever is wrong with what the user gave is one line and exit code 2."""

import os
import subprocess
import sys
from unittest.mock import Mock

import pytest
from conftest import ROOT

from bigjax.errors import UserError

sys.path.insert(0, str(ROOT))  # main.py is a script beside the package
import main  # noqa: E402

CONFIG = str(ROOT / "configs" / "bert_ner.py")
SENTENCE = "John\tB-PER\nsaw\tO\nBerlin\tB-LOC\n\n"


@pytest.fixture
def fails(capsys):
    """Runs main with arguments that are wrong, and gives the one line that it prints."""

    def run(*arguments: str) -> str:
        try:
            code = main.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("error: ")
        return captured.err.removeprefix("error: ").rstrip("\n")

    return run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.optim.learnin_rate=1"], "--config.optim.learnin_rate: nothing reads it (the "
         "section is for adamw and Optimization); did you mean 'learning_rate'?"),
        (["--config.num_epochs=many"], "--config.num_epochs='many' is str; expected float or None"),
        (["--config.num_steps"], "--config.num_steps: a value is missing"),
        (["--wrokdir=x"], "unknown argument '--wrokdir=x'; settings are given as --config.KEY"),
        (["train"], "unknown argument 'train'"),
        (["--strict"], "--strict goes with --mode=check, not with --mode=train"),
        (["--mode=trian"], "argument --mode: invalid choice: 'trian' (choose from "),
        (["--mode"], "argument --mode: expected one argument; --help lists the flags"),
        (["--config.seed=-1"], "seed=-1: expected from 0"),
        (["--config.num_steps=5"], "num_steps=5 and num_epochs=2.0: give one of them"),
        (["--config.batch.rows=8"], " and batch.rows=8 and batch.tokens=None: give exactly one"),
        (["--config.mesh=data=3"], "mesh='data=3' asks for 3 devices, and there are 8"),
        (["--config.text.row_length=9"], "--config.text.row_length=9: expected 10 or more"),
        (["--config.text.row_length=41"], "text.row_length=41 is more than the 40 positions"),
        (["--config.data.num_train=0"], "a split of the data set is empty"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_flags_or_settings_is_one_line(
    fails, tmp_path, tiny_bert, arguments, expected
):
    small = ["--config.data.num_train=20", "--config.data.num_dev=5", "--config.data.num_test=5"]
    checkpoint = f"--config.init.checkpoint={tiny_bert}"
    given = [f"--config={CONFIG}", f"--workdir={tmp_path}/run", *small, checkpoint]
    assert expected in fails(*given, "--config.text.row_length=32", *arguments)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("configs/bert_nre.py", "no such file in {root}/configs; did you mean 'bert_ner.py'?"),
        ("config/bert_ner.py", "there is no folder {root}/config"),
        ("configs/bert_ner.py:wikian", "there is no variant 'wikian'; did you mean 'wikiann'?"),
    ],
)
def test_a_config_that_is_not_there_is_one_line_with_the_nearest(fails, tmp_path, config, expected):
    message = fails(f"--config={ROOT}/{config}", f"--workdir={tmp_path}/run")
    assert message.endswith(expected.format(root=ROOT))


def test_flags_that_are_missing_are_asked_for(fails, tmp_path):
    assert fails(f"--config={CONFIG}").startswith("--mode=train needs --workdir=DIR")
    assert fails("--mode=evaluate").startswith("--mode=evaluate needs --workdir=DIR")
    assert fails(f"--workdir={tmp_path}").startswith("--config=FILE[:VARIANT] is missing")
    message = fails("--mode=evaluate", f"--workdir={tmp_path}/none")
    assert message.startswith(f"{tmp_path}/none/config.json: no such file")


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_read(fails, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        message = fails(f"--config={CONFIG}:wikiann", f"--workdir={folder}")
        assert message.startswith(f"--workdir={folder}: cannot be written to (")
        assert message.endswith("; give a folder of yours")


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (SENTENCE + "saw\n", ":5: expected 2 columns as on line 1, found 1 in 'saw'"),
        (SENTENCE + "Ann\tX-PER\n", ":5: tag 'X-PER' is not in IOB2; expected O or B-TYPE or I-TY"),
        (SENTENCE + "ann\tI-PER\n", ":5: tag 'I-PER' cannot come after 'O' in IOB2"),
        ("\n\n", ": no sentence in its 3 lines; expected one word a line"),
        (None, ": No such file or directory; expected a file of annotated text"),
    ],
    ids=["a column is missing", "unknown tag", "bad tag", "empty", "no file"],
)
def test_a_broken_line_of_the_users_data_is_told_with_file_and_line(
    fails, tmp_path, train, expected
):
    paths = {"train": tmp_path / "train.conll", "dev": tmp_path / "dev.conll"}
    paths["dev"].write_text(SENTENCE)
    if train is not None:
        paths["train"].write_text(train)
    given = [f"--config.data.{split}={path}" for split, path in paths.items()]
    message = fails(f"--config={CONFIG}:files", f"--workdir={tmp_path}/run", *given)
    assert message.startswith(f"{paths['train']}{expected}")


def test_the_files_variant_without_files_asks_for_them(fails, tmp_path):
    message = fails(f"--config={CONFIG}:files", f"--workdir={tmp_path}/run")
    assert message == "data.train is empty: give a file with --config.data.train=PATH"


def test_tfds_data_that_is_not_there_is_one_line_that_says_how_to_prepare_it(fails, tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs pip install 'bigjax[tfds]'")
    pytest.importorskip("array_record", reason="needs pip install 'bigjax[tfds]'")
    given = f"--config.data.data_dir={tmp_path}/nothing"
    message = fails(f"--config={CONFIG}:wikiann", f"--workdir={tmp_path}/run", given)
    assert message.startswith("dataset 'wikiann/en' is not prepared: looked in ")
    assert "download_and_prepare()" in message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nowhere", None, "no such folder here, and the Hugging Face hub gave: "),
        ("./nowhere", None, "init.checkpoint='./nowhere': no such folder"),
        ("empty", {}, "config.json: expected the config.json of a Hugging Face model"),
        ("t5", {"config.json": '{"model_type": "t5"}'}, "config.json: model_type 't5' is not of"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_one_line(
    fails, tmp_path, monkeypatch, name, content, expected
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if content is not None:
        (tmp_path / name).mkdir()
        for file, text in content.items():
            (tmp_path / name / file).write_text(text)
        name = f"{tmp_path}/{name}"
    checkpoint = f"--config.init.checkpoint={name}"
    small = ["--config.data.num_train=20", "--config.data.num_dev=5", "--config.data.num_test=5"]
    message = fails(f"--config={CONFIG}", f"--workdir={tmp_path}/run", *small, checkpoint)
    assert expected in message


def test_traceback_shows_where_an_error_comes_from():
    with pytest.raises(UserError, match="needs --workdir"):
        main.main([f"--config={CONFIG}", "--traceback"])


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr("bigjax.modes.run.run", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        main.main([f"--config={CONFIG}", f"--workdir={tmp_path}"])


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("bigjax.modes.run.run", Mock(side_effect=KeyboardInterrupt))
    assert main.main([f"--config={CONFIG}", f"--workdir={tmp_path}"]) == 130
    assert "the same command resumes from the last checkpoint" in capsys.readouterr().err


def test_help_fits_on_one_screen_and_names_the_exit_codes(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main.main(["--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    for part in ("--config FILE[:VARIANT]", "--workdir DIR", "--mode", "--traceback", "exit codes"):
        assert part in "\n".join(lines)


def test_the_script_itself_ends_with_code_2_and_one_line():
    flags = ["--config=configs/bert_ner.py", "--workdir=x", "--config.sed=1"]
    finished = subprocess.run(
        [sys.executable, "main.py", *flags],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "XLA_FLAGS"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == (
        "error: --config.sed: nothing reads it (the section is for Run); did you mean 'seed'?\n"
    )
