"""The oldest Gradio that requirements.txt allows. The whole suite runs on the newest, in constraints.txt."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from metaembed_demo.app.server import gradio_compat
from metaembed_demo.core.config import ROOT
from tests.support.app_server import Tab, serve


def allowed() -> tuple[tuple[int, int], tuple[int, int]]:
    """Major and minor version of the oldest Gradio allowed, and of the newest that was tested."""
    oldest = re.search(r"^gradio>=(\d+)\.(\d+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    newest = re.search(r"^gradio==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert oldest
    assert newest
    return (int(oldest[1]), int(oldest[2])), (int(newest[1]), int(newest[2]))


def test_the_guard_names_the_versions_that_are_tested(caplog: pytest.LogCaptureFixture) -> None:
    assert allowed() == gradio_compat.TESTED
    assert gradio_compat.check_version()
    with caplog.at_level(logging.WARNING):
        assert not gradio_compat.check_version("7.0.1")
    assert "Gradio 7.0.1 was not tested (6.20 to 6.31 were)" in caplog.text


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the oldest Gradio and the client it asks for, to stand before the installed ones."""
    folder = tmp_path_factory.mktemp("gradio")
    install(folder, "gradio==" + ".".join(map(str, (*allowed()[0], 0))))
    (found,) = (each for each in distributions(path=[str(folder)]) if each.name == "gradio")
    (client,) = (need for need in found.requires or [] if need.startswith("gradio-client"))
    install(folder, client)
    return folder


def install(folder: Path, requirement: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), requirement]
    subprocess.run(pip, check=True)


@pytest.mark.slow
def test_the_app_runs_on_the_oldest_gradio(oldest: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "env", f"PYTHONPATH={oldest}:{ROOT}") as served:
        tab = Tab(served.address)
        assert tab.config["version"].startswith(".".join(map(str, allowed()[0])))
        assert "dog.pdf" in tab.send(None, "load")
        assert "energy.pdf" in tab.send("query", "submit", data=["energy use by quarter"])
        moved = tab.send("dial", "input", {"stop": 0})
        assert "process_completed" in moved
        assert 'data-stop=\\"0\\"' in moved
        assert "base64" not in moved.replace('"sim"', "")
        one, two = (Path(tab.upload("a.png", b"the same")) for _ in range(2))
        assert one.parents[1] != two.parents[1]  # a folder for each request
