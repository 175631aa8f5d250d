"""`peclip captions` as a person types it, in process, against a server that plays an endpoint."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_endpoint import Endpoint, Reply, completion

from peclip.captions.store import CaptionStore
from peclip.cli.app import run
from peclip.data.caption_file import read_captions

Output = pytest.CaptureFixture[str]
IDS = ["happy/one", "happy/two", "sad/one"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three videos of twelve frames in two folders of labels."""
    for name in IDS:
        folder = tmp_path / "videos" / name
        folder.mkdir(parents=True)
        for number in range(12):
            cv2.imwrite(str(folder / f"{number:02d}.png"), np.full((16, 16, 3), number, np.uint8))
    return tmp_path / "videos"


def command(root: Path, url: str, *more: str) -> list[str]:
    return [
        *("captions", "--dataset", "folder", "--data-root", str(root)),
        *("--endpoint", url, "--endpoint-model", "vlm-1"),
        *("-o", str(root.parent / "captions.jsonl"), *more),
    ]


def rows(root: Path) -> list[dict[str, Any]]:
    lines = (root.parent / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_video_is_captioned_once(root: Path, endpoint: Endpoint, capsys: Output) -> None:
    assert run(command(root, endpoint.url)) == 0
    assert capsys.readouterr().out == "3 ok\n"
    assert [row["id"] for row in rows(root)] == IDS
    assert rows(root)[0]["refined"] == "The lips part and the brows rise."
    assert rows(root)[0]["model"] == "vlm-1"
    pictures = endpoint.seen[0].json["messages"][0]["content"][1:]
    assert len(pictures) == 8
    assert run(command(root, endpoint.url)) == 0
    assert capsys.readouterr().out == "3 kept\n"
    assert len(endpoint.seen) == 3


def test_an_interrupted_run_is_resumed(root: Path, endpoint: Endpoint, capsys: Output) -> None:
    endpoint.script = [Reply(), Reply(b"<html>", 200)]
    assert run(command(root, endpoint.url)) == 4
    err = capsys.readouterr().err
    assert err.startswith("peclip: error: ")
    assert f"{endpoint.url}/chat/completions" in err
    assert "run the same command again" in err
    assert err.count("\n") == 1
    assert [row["id"] for row in rows(root)] == IDS[:1]
    assert run(command(root, endpoint.url, "--limit", "1")) == 0
    assert capsys.readouterr().out == "1 ok, 1 kept, 1 ahead\n"
    assert run(command(root, endpoint.url)) == 0
    assert list(read_captions(root.parent / "captions.jsonl")) == IDS


def test_one_video_without_a_caption_does_not_stop_the_others(
    root: Path, endpoint: Endpoint, capsys: Output
) -> None:
    endpoint.script = [Reply(completion("")), Reply(completion("He is sad."))]
    (root / "sad" / "one" / "05.png").write_bytes(b"no picture")
    assert run(command(root, endpoint.url, "--num-frames", "12")) == 6
    output = capsys.readouterr()
    assert output.out == "1 empty, 1 unanswered, 1 failed\n"
    errors = output.err.splitlines()
    assert "happy/one: the model 'vlm-1' at 127.0.0.1 returned an empty caption" in errors[0]
    assert "sad/one: " in errors[1]
    assert [(row["id"], row["caption"], row["refined"]) for row in rows(root)] == [
        ("happy/two", "He is sad.", "")
    ]


@pytest.mark.parametrize(
    "text", [None, "<html>502</html>", "I'm sorry, I can't help with identifying people."]
)
def test_a_model_that_never_returns_a_caption_ends_the_run(
    text: str | None, root: Path, endpoint: Endpoint, capsys: Output
) -> None:
    shutil.copytree(root / "sad" / "one", root / "sad" / "three")
    shutil.copytree(root / "sad" / "one", root / "sad" / "two")
    endpoint.script = [Reply(), *[Reply(completion(text))] * 4]
    (root / "happy" / "two" / "05.png").write_bytes(b"no picture")  # is not asked about
    assert run(command(root, endpoint.url, "--num-frames", "12")) == 4
    *told, last = capsys.readouterr().err.splitlines()
    assert [line.split(":")[2].strip() for line in told] == [
        *("happy/two", "sad/one", "sad/three", "sad/two")
    ]
    assert (
        "returned no caption for 3 consecutive videos; the last one was 'sad/two'. Check the model"
        in last
    )
    assert len(endpoint.seen) == 4
    assert [row["id"] for row in rows(root)] == ["happy/one"]


def test_a_caption_resets_the_failure_count(root: Path, endpoint: Endpoint, capsys: Output) -> None:
    for name in ("three", "two"):
        shutil.copytree(root / "sad" / "one", root / "sad" / name)
    nothing = Reply(completion("<html>502</html>"))
    endpoint.script = [nothing, nothing, Reply(), nothing, nothing]
    assert run(command(root, endpoint.url)) == 6
    output = capsys.readouterr()
    assert output.out == "1 ok, 4 unanswered\n"
    assert "does not describe a face: '<html>502</html>'; try another model." in output.err
    assert [row["id"] for row in rows(root)] == ["sad/one"]
    endpoint.script = [nothing] * 4  # stored captions lie between them as in the first run
    assert run(command(root, endpoint.url)) == 6
    assert capsys.readouterr().out == "4 unanswered, 1 kept\n"
    endpoint.script = [nothing] * 4
    assert run(command(root, endpoint.url, "--limit", "3")) == 6
    assert capsys.readouterr().out == "3 unanswered, 1 kept, 1 ahead\n"


def test_two_runs_cannot_write_the_same_file(
    root: Path, endpoint: Endpoint, capsys: Output
) -> None:
    path = root.parent / "captions.jsonl"
    with CaptionStore(path):
        assert run(command(root, endpoint.url)) == 2
    assert f"Another run is writing to {str(path)!r}. Wait" in capsys.readouterr().err
    assert not endpoint.seen
    assert run(command(root, endpoint.url)) == 0
    assert not list(root.parent.glob("*.lock"))


def test_one_split(root: Path, endpoint: Endpoint, capsys: Output) -> None:
    table = root / "labels.csv"
    table.write_text("path,label,split\nhappy/one,happy,train\nsad/one,sad,test\n")
    base = command(root, endpoint.url, "--annotations", str(table))
    base[base.index("folder")] = "table"
    assert run([*base, "--split", "test"]) == 0
    assert [row["id"] for row in rows(root)] == ["sad/one"]
    assert run([*base, "--split", "val"]) == 2
    assert "has no split 'val'; choose one of train, test." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("-m", "a/model"), "pass either --model NAME or --endpoint URL"),
        (("--endpoint-options", "[1]"), "--endpoint-options '[1]'"),
        (("--endpoint", "somewhere"), "'somewhere'"),
        (("-o", "captions.csv"), "use a .jsonl file in an existing folder"),
    ],
)
def test_wrong_usage(
    more: tuple[str, ...], words: str, root: Path, endpoint: Endpoint, capsys: Output
) -> None:
    assert run(command(root, endpoint.url, *more)) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not endpoint.seen


def test_another_model_is_refused_before_any_request(
    root: Path, endpoint: Endpoint, capsys: Output
) -> None:
    assert run(command(root, endpoint.url, "--limit", "1")) == 0
    assert run(command(root, endpoint.url, "--endpoint-model", "vlm-2")) == 2
    assert "with different settings (happy/one: model 'vlm-1'" in capsys.readouterr().err
    assert len(endpoint.seen) == 1


def test_a_warning_says_that_frames_leave_the_machine(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    for name in IDS:  # so that nothing is asked
        line = {"id": name, "caption": "", "model": "vlm-1", "prompt": "finecliper-1"}
        with (root.parent / "captions.jsonl").open("a") as file:
            file.write(json.dumps(line | {"num_frames": 8}) + "\n")
    assert run(command(root, "https://vlm.example.test/v1")) == 0
    assert "are sent to vlm.example.test." in capsys.readouterr().err


def test_without_transformers_the_error_gives_the_install_command(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "transformers":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    base = command(root, "")
    del base[base.index("--endpoint") : base.index("-o")]
    assert run([*base, "--model", "LanguageBind/Video-LLaVA-7B-hf"]) == 5
    assert 'pip install "transformers' in capsys.readouterr().err


def test_captions_shipped_with_a_data_set_are_refined_and_kept(
    tmp_path: Path, capsys: Output
) -> None:
    lists = tmp_path / "mafw" / "single" / "with_caption" / "set_1"
    plain = tmp_path / "mafw" / "single" / "no_caption" / "set_1"
    lists.mkdir(parents=True)
    plain.mkdir(parents=True)
    words = {"00001": ("anger", "The brows lower, indicating anger."), "00002": ("neutral", "")}
    for split, ids in (("train", ["00001"]), ("test", ["00002"])):
        (plain / f"{split}.txt").write_text("".join(f"{i}.mp4 {words[i][0]}\n" for i in ids))
        told = [f"{i}.mp4\t{words[i][0]}\t-\t{words[i][1]}\n" for i in ids if words[i][1]]
        (lists / f"{split}.txt").write_text("".join(told))
    for name in words:
        folder = tmp_path / "mafw" / "data" / "faces" / name
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "0.png"), np.zeros((16, 16, 3), np.uint8))
    out = tmp_path / "own.jsonl"
    asked = ["captions", "--dataset", "mafw", "--data-root", str(tmp_path / "mafw"), "--fold", "1"]
    asked += ["--own", "-o", str(out)]
    assert run(asked) == 0
    assert capsys.readouterr().out == "1 ok, 1 without\n"
    assert read_captions(out) == {"00001": "The brows lower."}
    assert run(asked) == 0
    assert capsys.readouterr().out == "1 kept, 1 without\n"
    assert run([*asked, "--model", "any"]) == 2
    assert run(["captions", "--dataset", "dfew", *asked[3:]]) == 2
    assert "captions (mafw); dfew does not. Use --model or --endpoint" in " ".join(
        capsys.readouterr().err.split()
    )
