"""The command line as a whole: help, exit codes, one-line errors, `models` and `doctor`."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peclip import PEClip, errors
from peclip.cli.app import opencv_threads, run

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Leaves the log as it was: every command configures it."""
    log = logging.getLogger("peclip")
    before = list(log.handlers), log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["PECLIP_CACHE_DIR"])


def plain(text: str) -> str:
    """Text without colours, boxes and line breaks."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def failing(error: BaseException) -> Any:
    def diagnose() -> None:
        raise error

    return diagnose


def the_error(capsys: Output) -> str:
    """The text after `peclip: error:` on the one line of standard error."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    (line,) = captured.err.splitlines()
    assert line.startswith("peclip: error: ")
    return line.removeprefix("peclip: error: ")


# Help and usage


def test_help_lists_every_command_and_exit_code(capsys: Output) -> None:
    assert run(["--help"]) == 0
    text = plain(capsys.readouterr().out)
    for command in ("predict", "train", "convert", "doctor", "models"):
        assert command in text
    listed = text.partition("Exit codes: ")[2].rstrip(". ").split("; ")
    assert listed == [f"{code} {meaning}" for code, meaning in errors.EXIT_CODES.items()]


def test_every_error_has_a_listed_exit_code() -> None:
    used = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PEClipError)
    }
    by_signal = {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert used | by_signal | {0} == errors.EXIT_CODES.keys()


def test_the_exit_code_table_matches_the_code() -> None:
    table = (Path(__file__).parents[2] / "docs" / "exit_codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", table, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == errors.EXIT_CODES


@pytest.mark.parametrize(
    "command",
    [
        "predict",
        "train",
        "convert",
        "doctor",
        "models",
        "models list",
        "models info",
        "models download",
    ],
)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: str, option: str, capsys: Output) -> None:
    assert run([*command.split(), option]) == 0
    captured = capsys.readouterr()
    usage = plain(captured.out).partition("Usage: ")[2]
    assert re.match(rf"[\w. -]+ {command} (\[OPTIONS\]|COMMAND)", usage)
    assert captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["doctor", "--nonsense"], "No such option"),
        (["doctor", "-f", "xml"], "'xml' is not one of"),
        (["doctor", "extra"], "unexpected extra argument"),
        (["models", "nonsense"], "No such command 'nonsense'"),
        (["models", "info"], "Missing argument"),
        (["predict"], "Missing argument"),
    ],
)
def test_a_usage_error_is_2(arguments: list[str], problem: str, capsys: Output) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert problem in plain(captured.err)


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_without_a_command_help_is_shown(arguments: list[str], capsys: Output) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage:" in plain(captured.out + captured.err)


def test_version(capsys: Output) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"peclip {importlib.metadata.version('peclip')}\n"


def test_opencv_gets_a_quarter_of_the_cores_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(12), raising=False)
    assert opencv_threads() == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(2))
    assert opencv_threads() == 1
    monkeypatch.delattr("os.sched_getaffinity")
    assert opencv_threads() == 16


def test_how_torch_waits_and_allocates_is_set_unless_the_user_has_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "")  # restored after the test
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    assert run(["--version"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


@pytest.mark.parametrize(
    "code",
    [
        "import sys; from peclip.cli.app import run; run(['--help']); "
        "[run([name, '--help']) for name in ('predict', 'train', 'evaluate', 'score', 'captions')]; "
        "assert 'torch' not in sys.modules",
        "import sys; import peclip; assert peclip.__version__; dir(peclip); "
        "assert 'torch' not in sys.modules",
    ],
)
def test_help_does_not_import_torch(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UserError("so it is"), 2),
        (errors.ConfigError("so it is"), 2),
        (errors.VideoError("so it is"), 3),
        (errors.WeightsError("so it is"), 4),
        (errors.CheckpointError("so it is"), 4),
        (errors.DeviceError("so it is"), 5),
        (errors.MissingExtraError("so it is", "data"), 5),
    ],
)
def test_a_user_error_is_one_line_with_its_exit_code(
    error: errors.UserError, code: int, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(error))
    assert run(["doctor"]) == code
    assert the_error(capsys).startswith("so it is")


@pytest.mark.parametrize(
    "message",
    [
        "a [bold]b[/] [/] [red",
        "C:\\videos\\",
        "clip:car:1.mp4 and :warning:",
        "x" * 300,
        "50% of {all} $HOME",
    ],
)
def test_a_message_is_printed_as_it_is(
    message: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(errors.ConfigError(message)))
    assert run(["doctor"]) == 2
    assert the_error(capsys) == message


def test_a_message_of_several_lines_becomes_one(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = errors.WeightsError("first\n  second\r\nthird")
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(error))
    assert run(["doctor"]) == 4
    assert the_error(capsys) == "first second third"


def test_verbose_shows_the_traceback_and_the_line(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(errors.DeviceError("so it is")))
    assert run(["-v", "doctor"]) == 5
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert "in diagnose" in err
    assert err.splitlines()[-1] == "peclip: error: so it is"
    assert run(["doctor"]) == 5  # the next command is quiet again
    assert the_error(capsys) == "so it is"


def test_quiet_does_not_silence_errors(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(errors.DeviceError("so it is")))
    assert run(["-q", "doctor"]) == 5
    assert the_error(capsys) == "so it is"


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        run(["doctor"])


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(KeyboardInterrupt()))
    assert run(["doctor"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_not_reported_as_a_bug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`peclip … | head`: 1 would say that it is one."""
    gone = BrokenPipeError(32, "Broken pipe")
    monkeypatch.setattr("peclip.cli.diagnosis.diagnose", failing(gone))
    streams = sys.stdout, sys.stderr
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w+") as err:
        sys.stdout, sys.stderr = out, err
        try:
            code = run(["doctor"])
        finally:
            sys.stdout, sys.stderr = streams
        err.seek(0)
        assert err.read() == ""
    assert code == 0


@pytest.mark.parametrize(
    ("variable", "value"), [("PECLIP_OFFLINE", "maybe"), ("PECLIP_HTTP_TIMEOUT", "soon")]
)
@pytest.mark.parametrize("command", ["doctor", "models info debug"])
def test_an_invalid_setting_is_2(
    command: str, variable: str, value: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert run(command.split()) == 2
    assert the_error(capsys).startswith(f"{variable} is '{value}'")


def test_logging_options_after_a_command_override_those_before_it(capsys: Output) -> None:
    for arguments, level in (
        ("models path debug", logging.WARNING),
        ("models path debug -v", logging.DEBUG),
        ("models path -q debug", logging.ERROR),
        ("-q models path debug --verbose", logging.DEBUG),
        ("-v models path debug", logging.DEBUG),
        ("data list --quiet", logging.ERROR),
    ):
        assert run(arguments.split()) == 0
        assert logging.getLogger("peclip").level == level
    capsys.readouterr()


def test_the_log_goes_to_standard_error(capsys: Output) -> None:
    log = logging.getLogger("peclip.somewhere")
    for option, expected in (
        ("-q", []),
        ("", ["peclip: warning: [b]careful[/b] now"]),
        ("-v", ["peclip: debug: looking", "peclip: warning: [b]careful[/b] now"]),
    ):
        run([*option.split(), "models", "path", "debug"])
        capsys.readouterr()
        log.debug("looking")
        log.warning("[b]careful[/b]\n%s", "now")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.splitlines() == expected


# models


def test_models_list(capsys: Output) -> None:
    assert run(["models", "list", "-f", "json"]) == 0
    captured = capsys.readouterr()
    models = {model["name"]: model["description"] for model in json.loads(captured.out)}
    assert {"nano", "debug", "ViT-B-16-quickgelu/openai"} <= models.keys()
    assert captured.err == ""
    assert run(["models", "list"]) == 0
    captured = capsys.readouterr()
    lines = [line.split(maxsplit=1) for line in captured.out.splitlines()]
    assert lines[0] == ["name", "description"]
    assert dict(lines[1:]) == models
    assert "hub repository" in captured.err
    assert run(["-q", "models", "list"]) == 0
    assert capsys.readouterr().err == ""


def test_models_info_counts_the_parameters_of_the_paper(capsys: Output, cache: Path) -> None:
    assert run(["models", "info", "ViT-B-16-quickgelu/openai", "-f", "json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    about = json.loads(captured.out)
    assert about["trainable"] == 9_399_564
    assert about["total"] > 159_000_000
    for kind in ("total", "trainable"):
        assert sum(part[kind] for part in about["parts"].values()) == about[kind]
    assert about["parts"]["backbone"]["trainable"] == 0
    assert about["backbone"] == "ViT-B-16-quickgelu"
    assert about["pretrained"] == "openai"
    assert about["labels"]["happiness"] == "Cheek Raiser, Lip Corner Puller."
    assert about["config"]["num_frames"] == 16
    assert not list(cache.iterdir())


def test_models_info_as_a_table(capsys: Output) -> None:
    assert run(["models", "info", "debug"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["name", "debug"] in lines
    assert ["architecture", "pe-clip"] in lines
    assert ["pretrained", "-"] in lines
    assert ["frames", "4", "of", "32", "pixels"] in lines
    assert ["part", "parameters", "trainable"] in lines
    parts = {line[0]: [int(n.replace(",", "")) for n in line[1:]] for line in lines[-6:]}
    assert list(parts) == ["backbone", "ShA", "TDA", "TA", "prompts", "all"]
    everything = parts.pop("all")
    assert [sum(column) for column in zip(*parts.values(), strict=True)] == everything
    run(["models", "info", "debug", "-f", "json"])
    about = json.loads(capsys.readouterr().out)
    assert [about["total"], about["trainable"]] == everything


def test_models_of_a_directory(capsys: Output, tmp_path: Path) -> None:
    folder = tmp_path / "my [model]"
    debug = PEClip.from_pretrained("debug", device="cpu")
    debug.with_labels(["awake", "asleep"]).save_pretrained(folder)
    assert run(["models", "path", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert run(["models", "info", str(folder), "-f", "json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["labels"]) == ["awake", "asleep"]
    assert run(["models", "info", str(folder)]) == 0
    assert re.search(rf"name +{re.escape(str(folder))}\n", capsys.readouterr().out)
    assert run(["models", "download", str(folder)]) == 0
    assert capsys.readouterr().err == f"{folder} is downloaded.\n"
    (folder / "config.json").write_text("{}")
    assert run(["models", "download", str(folder)]) == 4
    (folder / "config.json").write_text("[]")
    capsys.readouterr()
    assert run(["models", "info", str(folder)]) == 4
    assert f"{folder / 'config.json'}" in the_error(capsys)


def test_models_path_of_a_backbone_is_the_cache(capsys: Output, cache: Path) -> None:
    assert run(["models", "path", "ViT-B-16-quickgelu/openai"]) == 0
    assert capsys.readouterr().out == f"{cache / 'hub'}\n"


def test_models_download(capsys: Output, cache: Path) -> None:
    assert run(["models", "download", "debug"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "debug is downloaded.\n")
    assert run(["-q", "models", "download", "debug"]) == 0
    assert capsys.readouterr().err == ""
    files = {
        "yunet": "face_detection_yunet_2023mar.onnx",
        "landmarker": "face_landmarker_float16_1.task",
    }
    for name, file in files.items():
        assert run(["models", "path", name]) == 0
        assert capsys.readouterr().out == f"{cache / file}\n"
        (cache / file).touch()
        assert run(["models", "download", name]) == 0
        assert capsys.readouterr().out == f"{cache / file}\n"


@pytest.mark.parametrize("command", ["info", "path", "download"])
@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("nanno", 2, "'nanno'"),
        ("a/b/c", 2, "'a/b/c'"),
        ("org/no:car:repo", 2, "'org/no:car:repo' is not a valid repository ID"),
        ("org/repo", 4, "'org/repo' is not in the cache"),
    ],
)
def test_a_missing_model_is_an_error(
    command: str, name: str, code: int, problem: str, capsys: Output
) -> None:
    assert run(["models", command, name]) == code
    assert problem in the_error(capsys)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("yunet", "face_detection_yunet_2023mar.onnx is not cached"),
        ("landmarker", "face_landmarker_float16_1.task is not cached"),
        ("ViT-B-32-quickgelu/openai", "offline mode, and the weights ViT-B-32"),
    ],
)
def test_a_download_offline_is_4(name: str, problem: str, capsys: Output) -> None:
    assert run(["models", "download", name]) == 4
    assert problem in the_error(capsys)


def test_unknown_weights_of_a_known_backbone_are_2(capsys: Output) -> None:
    assert run(["models", "download", "ViT-B-32-quickgelu/nonsense"]) == 2
    assert "choose one of openai" in the_error(capsys)


# doctor


def test_doctor_as_json(capsys: Output) -> None:
    assert run(["doctor", "-f", "json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    findings = json.loads(captured.out)
    assert all(finding.keys() == {"name", "value", "state", "advice"} for finding in findings)
    by_name = {finding["name"]: finding for finding in findings}
    assert by_name["peclip"]["value"] == importlib.metadata.version("peclip")
    assert by_name["network"]["value"] == "offline (set in the environment)"


def test_doctor_as_a_table(capsys: Output, cache: Path) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"ok  cache          {cache} (0 MB)" in lines
    assert "--  yunet          not cached" in lines
    advice = lines[lines.index("--  yunet          not cached") + 1]
    assert advice.strip().startswith("The face detector is downloaded")
    assert not any(line.startswith("!!") for line in lines)


@pytest.mark.parametrize("form", ["table", "json"])
def test_doctor_with_a_blocked_cache_is_5(
    form: str, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "file" / "[cache]"))
    assert run(["doctor", "-f", form]) == 5
    captured = capsys.readouterr()
    if form == "table":
        assert f"!!  cache          {tmp_path}/file/[cache] (0 MB)" in captured.out.splitlines()
        assert f"{tmp_path}/file is not writable. Set PECLIP_CACHE_DIR" in captured.out
    else:
        states = {finding["name"]: finding["state"] for finding in json.loads(captured.out)}
        assert states["cache"] == "missing"
    assert captured.err == ""


def test_a_cache_that_is_blocked_stops_a_download_with_4(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    monkeypatch.setattr("requests.get", lambda *_, **__: pytest.fail("network"))
    assert run(["models", "download", "yunet"]) == 4
    assert "PECLIP_CACHE_DIR" in the_error(capsys)
