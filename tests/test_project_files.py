"""Project files agree with the code, the Makefile and docs/."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import yaml

import peclip

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAV_NANO = "models/nano.md"
"""The page that docs/hooks.py makes out of the model card in the package."""


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def recipe(target: str) -> list[str]:
    """Returns the commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None, f"the Makefile has no target {target}"
    return [line.strip() for line in found[1].splitlines()]


def pages(entry: Any) -> list[str]:
    """Returns the pages of a part of the navigation, which nests lists and titles."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages(part)]


# Packages

BROUGHT = {"timm": "open_clip_torch", "pydantic_core": "pydantic", "annotated_types": "pydantic"}
"""Modules that come with a package that requires them."""


def package_names(requirements: list[str]) -> set[str]:
    """Returns the normalised names in requirements such as `ray[data]>=2.60`."""
    names = [re.split(r"[^\w.-]", one)[0] for one in requirements]
    return {re.sub("[-_.]+", "-", name).lower() for name in names}


def imported_modules(path: Path) -> set[str]:
    """Returns the names of the top-level packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path} has a relative import"
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_every_package_that_is_imported_is_required() -> None:
    project = PROJECT["project"]
    extras = [one for names in project["optional-dependencies"].values() for one in names]
    required = package_names(project["dependencies"] + extras)
    used = set().union(*map(imported_modules, (ROOT / "src").rglob("*.py")))
    installed = packages_distributions()
    for module in used - {*sys.stdlib_module_names, "peclip"}:
        if module in BROUGHT:
            assert package_names([module]) <= package_names(requires(BROUGHT[module]) or [])
        else:  # an optional package that is not installed has the name of its module
            assert package_names(installed.get(module, [module])) & required, module


# Tools


def test_pre_commit_runs_what_make_lint_runs() -> None:
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == recipe("lint")
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False  # the whole tree, as `make lint` does


def test_the_source_distribution_has_the_files_of_the_project() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "mkdocs.yml"} <= {
        *included
    }
    for name in included:
        assert (ROOT / name).exists(), name


def test_contributing_names_existing_targets_and_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
    assert targets == ["setup", "test", "lint", "docs"]
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    (tests,) = set(re.findall(r"python -m pytest (tests/\S+)", text))
    assert (ROOT / tests).is_file()
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (ROOT / link).exists(), link


# Citation and changelog


def test_the_citation_covers_this_version_and_both_papers() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["title"].startswith(PROJECT["project"]["name"])
    assert citation["message"]
    assert citation["authors"] == [{"name": "The peclip developers"}]
    found = {}
    for paper in citation["references"]:
        assert paper["authors"]
        assert paper["title"]
        identifiers = [identifier["value"] for identifier in paper["identifiers"]]
        found[identifiers[0]] = (paper["type"], paper["year"], paper["authors"][0]["family-names"])
    assert found == {
        "arXiv:2503.16945": ("article", 2025, "Saadi"),
        "arXiv:2407.02157": ("conference-paper", 2024, "Chen"),
    }


def test_the_changelog_keeps_its_form() -> None:
    """Headings of Keep a Changelog, one line an entry; before a release there is only Added."""
    _, *lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    versions = [line for line in lines if line.startswith("## ")]
    kinds = [line.removeprefix("### ") for line in lines if line.startswith("### ")]
    assert versions[0] == "## [Unreleased]"
    for version in versions[1:]:
        assert re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version), version
    allowed = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    assert set(kinds) <= ({*allowed} if len(versions) > 1 else {"Added"})
    for line in lines[lines.index(f"### {kinds[0]}") :]:
        assert not line or line.startswith(("- ", "## ", "### ")), f"more than one line: {line}"
        assert len(line) <= 120, line


# Documentation


def test_the_navigation_and_the_index_list_every_page() -> None:
    docs = ROOT / "docs"
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} | {NAV_NANO}
    listed = pages(read_yaml("mkdocs.yml")["nav"])
    assert sorted(listed) == sorted(there)
    index = (docs / "index.md").read_text(encoding="utf-8")
    links = re.findall(
        r"\]\(([^)]+)\)", index.replace("../src/peclip/assets/nano/README.md", NAV_NANO)
    )
    assert links == [page for page in listed if page != "index.md"]


def test_the_navigation_has_the_sections_of_the_index() -> None:
    sections = [next(iter(section)) for section in read_yaml("mkdocs.yml")["nav"]]
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", index, re.MULTILINE) == sections


def test_the_reference_of_the_library_has_every_public_name_once() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: peclip\.(\w+)$", text, re.MULTILINE)) == sorted(peclip.__all__)
