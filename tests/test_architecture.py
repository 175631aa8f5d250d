"""The rules of the code that a test can hold, beside import-linter's (`make lint`)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "peclip"
FILES = sorted(SOURCE.rglob("*.py"))
TESTS = Path(__file__).parent

# From the top to the bottom: a file imports only from layers below its own, or beside it in its package.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"experiment", "evaluation", "engines"},
    {"recognizers"},
    {"recognizer"},
    {"captions", "session", "conversion", "diagnosis", "training", "preparation"},
    {"weights"},
    {"models", "data"},
    {"nn", "video", "cards"},
    {"download", "hub", "devices", "writers", "plots", "scoring"},
    {"types", "prediction", "metrics", "answers", "journal", "crops"},
    {"config", "descriptions", "confusion", "refinement", "shards", "pipeline"},
    {"labels", "settings"},
    {"errors", "files", "choices"},
]
LAZY = {
    ("prediction", "writers"),
    ("prediction", "plots"),
}  # inside methods, for the user's comfort


def layer(name: str) -> int:
    return next(level for level, names in enumerate(LAYERS) if name in names)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_layers_import_downwards() -> None:
    for path in FILES:
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for module in imports(path):
            parts = module.split(".")
            if parts[0] != "peclip" or len(parts) == 1 or parts[1] == own:
                continue
            assert layer(own) < layer(parts[1]) or (own, parts[1]) in LAZY, (
                f"{path.name} imports {module}, which does not lie below it"
            )


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("open_clip", {"nn/clip.py"}),
        ("torchcodec", {"video/torchcodec_reader.py"}),
        ("av", {"video/pyav_probe.py", "video/pyav_reader.py", "video/pyav_picture.py"}),
        ("requests", {"download.py", "captions/endpoint.py"}),
        ("transformers", {"captions/transformers_model.py"}),
        ("ray", {"engines/ray_data.py"}),
    ],
)
def test_a_library_has_one_home(library: str, homes: set[str]) -> None:
    users = {
        path.relative_to(SOURCE).as_posix()
        for path in FILES
        if any(module.split(".")[0] == library for module in imports(path))
    }
    assert users == homes


def test_modules_see_no_device_and_no_config() -> None:
    for path in (SOURCE / "nn").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ".cuda(" not in text
        assert ".half(" not in text
        assert "peclip.config" not in text


def test_no_tensor_is_unpickled_without_restriction() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True", path
            assert not (isinstance(node, ast.Import) and node.names[0].name == "pickle"), path


def test_files_and_functions_stay_short() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 350, f"{path.name} is too long to be one noun"
        for node in ast.walk(ast.parse(text)):
            # The parameters of these two are the options of a command.
            if isinstance(node, ast.FunctionDef) and node.name not in ("predict", "train"):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 70, f"{path.name}: {node.name} is too long"


def test_no_test_needs_data_beside_the_project_without_being_skipped() -> None:
    """Only conftest.py knows where they are; its fixture `shared_data` skips, and sets the marker."""
    for path in sorted(TESTS.rglob("*.py")):
        if path in (TESTS / "conftest.py", Path(__file__)):
            continue
        text = path.read_text(encoding="utf-8")
        for forbidden in ("../shared", "shared/data", '/ "shared', "mark.shared", "mark.extra"):
            assert forbidden not in text, f"{path} has {forbidden!r}; use the fixture `shared_data`"
        above = len(path.relative_to(TESTS.parent).parts)  # parents[above] holds the project
        for climbed in re.findall(r"Path\(__file__\)[\w.()]*?\.parents\[(\d+)\]", text):
            assert int(climbed) < above, f"{path} leaves the project; use the fixture `shared_data`"
