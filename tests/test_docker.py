"""The Dockerfile installs the package as pyproject.toml defines it, for a user without rights."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from peclip.settings import PREFIX

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def argument(name: str) -> str:
    found = re.search(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_extras_exist() -> None:
    assert set(argument("EXTRAS").split(",")) <= PROJECT["optional-dependencies"].keys()


def test_the_python_is_supported() -> None:
    least = re.search(r">=\s*3\.(\d+)", PROJECT["requires-python"])
    assert least is not None
    assert int(argument("PYTHON").split(".")[1]) >= int(least[1])


def test_copied_files_exist_and_are_sent_to_the_build() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert names
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in sent


def test_what_the_build_of_the_package_reads_is_copied() -> None:
    assert f"COPY pyproject.toml {PROJECT['readme']} LICENSE ./" in DOCKERFILE
    for name in PROJECT["license-files"]:
        assert name == "LICENSE" or name.startswith("src/")


def test_weights_are_in_a_volume_that_any_user_can_write() -> None:
    assert f"{PREFIX}CACHE_DIR=/weights" in DOCKERFILE
    lines = DOCKERFILE.splitlines()
    made = next(n for n, line in enumerate(lines) if "--mode=1777 /weights" in line)
    assert made < lines.index("VOLUME /weights"), "later changes of a volume are lost"
    assert lines.index("USER peclip") > made
    assert lines[-2:] == ['ENTRYPOINT ["peclip"]', 'CMD ["--help"]']
