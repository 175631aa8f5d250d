"""Every example runs as it is printed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
ORDER_OF_TIME, GESTURES = FOLDER / "05_order_of_time.py", FOLDER / "07_gestures.py"
EXAMPLES = sorted(set(FOLDER.glob("[0-9]*.py")) - {ORDER_OF_TIME, GESTURES})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_the_demo_video_is_made_by_its_script(
    tmp_path: Path, astronaut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.video.reader import open_video

    script = astronaut.with_name("make_demo_video.py")
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "again.mp4")])
    runpy.run_path(str(script), run_name="__main__")
    with open_video(astronaut) as shipped, open_video(tmp_path / "again.mp4") as made:
        a, b = shipped.read([40]).data.astype(float), made.read([40]).data
        assert len(shipped) == len(made)
    assert abs(a - b).mean() < 3, "encoders differ a little from version to version"


@pytest.mark.slow
def test_only_temporal_parts_tell_the_order_of_frames(tmp_path: Path) -> None:
    """On a third of the example's schedule and half of its variants."""
    example = runpy.run_path(str(ORDER_OF_TIME))
    results = example["main"](tmp_path, ["mean", "LoRA", "TDA"], epochs=8)
    scores = {name: found.accuracy for name, found in results.items()}
    assert scores.pop("TDA") >= 95
    assert scores == {"mean": pytest.approx(50, abs=2), "LoRA": pytest.approx(50, abs=2)}
    table = example["table"](results).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| mean", "| LoRA", "| TDA"]
    bars = example["draw"](results).axes[0].patches
    assert [round(bar.get_height(), 1) for bar in bars] == [r.accuracy for r in results.values()]


@pytest.mark.slow
def test_gestures_are_recognised_by_their_motion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Backwards, every swipe is the other one; a single frame tells at most what a guess would."""
    monkeypatch.setattr(sys, "argv", [str(GESTURES), str(tmp_path)])
    results = runpy.run_path(str(GESTURES), run_name="__main__")["results"]
    assert results["as-recorded"] >= 85
    assert results["reversed"] <= 60
    assert results["repeat-peak"] <= 60
    assert "swipe left: predicted as swipe left" in capsys.readouterr().out
