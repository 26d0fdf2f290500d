"""What pyproject.toml says agrees with what stands beside it, and what it promises to install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import metaembed_demo
from metaembed_demo.__main__ import main
from metaembed_demo.core.config import ROOT

tomllib = pytest.importorskip("tomllib") if sys.version_info < (3, 11) else __import__("tomllib")
DECLARED: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = DECLARED["project"]


def named(lines: list[str]) -> list[str]:
    """Requirements in a form of their own, sorted, comments left out."""
    bare = (line.partition("#")[0].strip() for line in lines)
    return sorted(str(Requirement(line)) for line in bare if line)


def test_a_space_installs_what_the_project_needs() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert named(lines) == named(PROJECT["dependencies"])


def test_there_is_one_version() -> None:
    assert "version" in PROJECT["dynamic"]
    version = DECLARED["tool"]["setuptools"]["dynamic"]["version"]
    assert version == {"attr": "metaembed_demo.__version__"}
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[([\d.]+)\]", changes, flags=re.MULTILINE)[1] == metaembed_demo.__version__  # type: ignore[index]


def test_an_extra_that_is_named_anywhere_exists() -> None:
    files = [*(ROOT / "metaembed_demo").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    texts = [file.read_text(encoding="utf-8") for file in [*files, ROOT / "CONTRIBUTING.md"]]
    asked = {
        extra
        for text in texts
        for names in re.findall(r"-e \"?\.\[([\w,]+)\]|install\(['\"](\w+)['\"]\)", text)
        for extra in ",".join(filter(None, names)).split(",")
    }
    assert {"vlm", "train", "qdrant", "media", "dev"} <= asked
    assert asked <= set(PROJECT["optional-dependencies"])


def test_what_is_pinned_is_asked_for() -> None:
    """constraints.txt names nothing that no extra asks for."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    names = {Requirement(line).name for lines in lists for line in lines}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(pinned) <= names


def test_the_console_script_is_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert PROJECT["scripts"] == {"metaembed-demo": "metaembed_demo.__main__:main"}
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "search" in capsys.readouterr().out


def configured(**variables: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from metaembed_demo.core.config import LIMITS, SERVER\nprint(LIMITS.max_pages, SERVER.port, SERVER)"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("METAEMBED_", "GRADIO_", "SPACE"))}
    run = [sys.executable, "-c", code]
    return subprocess.run(run, env={**kept, **variables}, cwd=ROOT, capture_output=True, text=True)


def test_variables_set_what_they_name() -> None:
    ours = {"METAEMBED_MAX_PAGES": "7", "METAEMBED_HOST": "a", "METAEMBED_PASSWORD": "hush"}
    said = configured(**ours, GRADIO_SERVER_NAME="b", GRADIO_SERVER_PORT="99", METAEMBED_ENCODERS="x, y,,")
    assert said.stdout.startswith("7 99 ")
    assert "host='a'" in said.stdout
    assert "encoders=('x', 'y')" in said.stdout
    assert "hush" not in said.stdout
    assert configured(METAEMBED_MAX_PAGES="").stdout.startswith("500 7860 ")


def test_a_value_that_cannot_be_is_named_with_its_variable() -> None:
    said = configured(METAEMBED_MAX_PAGES="many", METAEMBED_MAX_QUEUE="-1")
    assert said.returncode == 1
    assert "METAEMBED_MAX_PAGES: Input should be a valid integer" in said.stderr
    assert "not 'many'" in said.stderr
    assert "METAEMBED_MAX_QUEUE: Input should be greater than or equal to 0" in said.stderr
    assert "Traceback" not in said.stderr
    assert "METAEMBED_PORT or GRADIO_SERVER_PORT: " in configured(GRADIO_SERVER_PORT="http").stderr


def test_what_is_given_stands_above_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from metaembed_demo.core.config import LIMITS, Limits, Paths, Server, Space

    monkeypatch.setenv("METAEMBED_MAX_PAGES", "7")
    monkeypatch.setenv("METAEMBED_HOST", "a")
    monkeypatch.setenv("SPACE_ID", "owner/name")
    monkeypatch.setenv("METAEMBED_CACHE", str(tmp_path))
    assert Limits().max_pages == 7
    assert Limits(max_pages=3).max_pages == 3
    assert Limits(**LIMITS.model_dump()) == LIMITS
    assert (Server().host, Server(host="b").host, Server().trusted_proxies) == ("a", "b", 1)
    assert (Space().here, Space(here=False).here) == (True, False)
    assert Paths().cache == tmp_path
    with pytest.raises(ValueError, match="frozen"):
        LIMITS.max_pages = 3
