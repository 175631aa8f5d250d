"""The README tells the truth: its commands run and its Python runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

from peclip import PEClip
from peclip.cli.app import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# What is not here, and the code that the command must end with: data sets (the folder DIR is empty), and weights.
ABSENT = {"--data-root DIR": 3, "--data-root crops": 3, "-m clip:": 4}

COMMANDS = [
    line.split(" #")[0].strip()
    for block in blocks(README, "sh")
    for line in block.splitlines()
    if line.startswith("peclip ")
]


@pytest.fixture
def workplace(tmp_path: Path, astronaut: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README mentions."""
    for place in ("clip.mp4", "videos/a.mp4", "examples/astronaut.mp4"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(astronaut, tmp_path / place)
    (tmp_path / "predictions.csv").write_text("source,target,label\na,happy,joy\nb,sad,neutral\n")
    (tmp_path / "DIR").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_commands_run(command: str, workplace: Path, capsys) -> None:
    words = shlex.split(command)[1:]
    expected = next((code for what, code in ABSENT.items() if what in command), 0)
    assert run(words) == expected, capsys.readouterr().err
    if expected:
        return
    files = [workplace / name for name in ("rows.csv", "clip.srt") if name in command]
    assert all(file.exists() for file in files)
    assert capsys.readouterr().out.strip() or files


@pytest.mark.parametrize("text", [README, QUICKSTART], ids=["readme", "quickstart"])
def test_the_python_runs(text: str, workplace: Path) -> None:
    mpl.use("Agg")
    for block in blocks(text, "python"):
        exec(compile(block, "README.md", "exec"), {})


def test_the_steps_of_the_quickstart_give_what_predict_does(workplace: Path) -> None:
    printed: list[tuple[float, int, dict[str, float]]] = []
    steps = blocks(QUICKSTART, "python")[-1]
    exec(compile(steps, "quickstart.md", "exec"), {"print": lambda *words: printed.append(words)})
    rows = PEClip.from_pretrained().predict("clip.mp4").rows
    assert [words[:2] for words in printed] == [(row.start_s, row.track_id) for row in rows]
    for (*_, scores), row in zip(printed, rows, strict=True):
        assert scores == pytest.approx(row.scores, abs=1e-6)


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", "\n".join(blocks(README, "sh")), re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_resolve() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (path.parent / link).exists(), f"{path.name}: {link}"


@pytest.mark.parametrize(
    "path",
    [
        *("README.md", "docs/output.md", "docs/models/pe-clip.md", "docs/models/finecliper.md"),
        "src/peclip/assets/nano/README.md",
    ],
)
def test_the_limits_of_use_are_documented(path: str) -> None:
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    assert "Art. 5(1)(f)" in text
    assert "cannot know what" in text
