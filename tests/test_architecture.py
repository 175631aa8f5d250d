"""Code rules that a test can check, in addition to import-linter's (`make lint`)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "peclip"
FILES = sorted(SOURCE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in SOURCE.rglob("__init__.py"))
TABLE = re.compile(r"^\| `(\w+)/` \| ([^|]*) \| ([^|]*)\|$", re.M)
"""A row of docs/architecture.md: the package, what is in it, and the packages it may import."""
TESTS = Path(__file__).parent

ROOT_MODULES = {
    *("__init__", "__main__", "config", "errors", "files", "labels", "literals"),
    *("predict_options", "runtime", "settings", "types", "version"),
}
"""Values, configuration, device and precision; anything else belongs in a package."""


def imports(path: Path) -> set[str]:
    """Returns the modules a file imports, inside functions and under TYPE_CHECKING included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from peclip.cli import console` is an import of peclip.cli.console.
            found |= {module_of(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def module_of(source: str, name: str) -> str:
    inner = SOURCE.parent.joinpath(*source.split("."), name)
    is_module = inner.with_suffix(".py").is_file() or (inner / "__init__.py").is_file()
    return f"{source}.{name}" if is_module else source


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_the_root_holds_only_shared_modules() -> None:
    assert {path.stem for path in SOURCE.glob("*.py")} <= ROOT_MODULES
    assert len(ROOT_MODULES) <= 12


def test_imports_have_no_cycle() -> None:
    graph = {dotted(path): imports(path) for path in FILES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module in graph and module not in done:
            for other in sorted(graph[module]):
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_packages_import_what_the_document_lists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    allowed = {name: set(re.findall(r"\w+", others)) for name, _, others in TABLE.findall(text)}
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    assert allowed.keys() == packages
    used: dict[str, set[str]] = {name: set() for name in packages}
    for path in FILES:
        own = path.relative_to(SOURCE).parts[0]
        if own in packages:
            others = {module.split(".")[1] for module in imports(path) if "peclip." in module}
            used[own] |= others & packages - {own}
    assert used == allowed


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_documents_its_contents(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    assert docstring is not None
    assert package == SOURCE or (
        "\n\nBelongs here: " in docstring and "\nBelongs elsewhere: " in docstring
    )


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("open_clip", {"nn/published.py", "nn/hub_tokenizer.py"}),
        ("timm", {"nn/timm_towers.py"}),
        ("torchcodec", {"video/readers/torchcodec.py"}),
        (
            "av",
            {
                f"video/readers/{n}.py"
                for n in (
                    "live_connection",
                    "pyav",
                    "pyav_changes",
                    "pyav_decoding",
                    "pyav_index",
                    "pyav_picture",
                    "pyav_probe",
                    "pyav_sound",
                )
            }
            | {f"video/writers/{n}.py" for n in ("sound", "sound_file", "video_file")},
        ),
        (
            "requests",
            {
                f"{n}.py"
                for n in (
                    "downloads/direct",
                    "downloads/problems",
                    "downloads/time_limit",
                    "captions/endpoint",
                )
            },
        ),
        (
            "transformers",
            {"captions/transformers_model.py", "nn/audio_encoder.py", "nn/hub_tokenizer.py"},
        ),
        ("ray", {"engines/ray_data.py"}),
        ("onnxruntime", {"exported/onnx.py"}),
        ("sklearn", {"metrics/embedding.py"}),
    ],
)
def test_a_library_has_one_home(library: str, homes: set[str]) -> None:
    users = {
        path.relative_to(SOURCE).as_posix()
        for path in FILES
        if any(module.split(".")[0] == library for module in imports(path))
    }
    assert users == homes


def test_modules_know_neither_device_nor_config() -> None:
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
            # That file's unpickler knows only inert classes.
            if path.name != "jit_archive.py":
                assert not (isinstance(node, ast.Import) and node.names[0].name == "pickle"), path


def length(function: ast.FunctionDef | ast.AsyncFunctionDef, *, command: bool) -> int:
    """Returns the lines of a function; those of a command without its parameters, which are its options."""
    first = function.body[0] if command else function
    assert function.end_lineno is not None
    return function.end_lineno - first.lineno + 1


def test_files_and_functions_stay_short() -> None:
    long = []
    for path in FILES:
        name, text = path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > 300:
            long.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                command = path.parent.name == "cli" and bool(node.decorator_list)
                if (lines := length(node, command=command)) > 50:
                    long.append(f"{name}: {node.name} has {lines} lines")
    assert not long, "at most 300 lines per file and 50 per function:\n" + "\n".join(long)


def test_tests_of_external_data_are_skipped_without_it() -> None:
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
