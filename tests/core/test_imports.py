"""What importing the package loads: the rooms that can do without torch or Gradio come up without them."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import metaembed_demo

# torch takes seconds to load: `--help`, the page's HTML and the tests of these rooms need none of it.
WITHOUT_TORCH = (
    "metaembed_demo.app.views",
    "metaembed_demo.app.visitors",
    "metaembed_demo.cli",
    "metaembed_demo.collection",
    "metaembed_demo.core",
    "metaembed_demo.documents",
    "metaembed_demo.evaluation",
    "metaembed_demo.explain",
    "metaembed_demo.index",
)
ON_TORCH = ("metaembed_demo.index.gpu.index", "metaembed_demo.index.gpu.vectors")  # loaded with a GPU alone
WITH_GRADIO = ("metaembed_demo.app.ui", "metaembed_demo.app.server", "metaembed_demo.app.theme")

# Imports the modules given as JSON, one after another; prints the first that brought the library, or nothing.
PROGRAM = """
import importlib, json, sys
library, modules = sys.argv[1], json.loads(sys.argv[2])
for module in modules:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("metaembed_demo"):
            raise
        continue  # a package that only this module needs is not installed here
    if library in sys.modules:
        print(module)
        break
"""


def modules_of(package: str) -> list[str]:
    """Every module below `package`, and itself; `__main__` is a program and left out."""
    found = [module.name for module in pkgutil.walk_packages(metaembed_demo.__path__, "metaembed_demo.")]
    inside = [name for name in found if name == package or name.startswith(package + ".")]
    return [name for name in inside if not name.endswith(".__main__")]


def first_that_loads(library: str, modules: list[str]) -> str:
    """The first of `modules` after whose import `library` is loaded in a fresh process; "" for none."""
    command = [sys.executable, "-c", PROGRAM, library, json.dumps(modules)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_the_package_comes_up_without_torch(package: str) -> None:
    modules = [name for name in modules_of(package) if name not in ON_TORCH]
    assert modules
    assert first_that_loads("torch", modules) == ""


@pytest.mark.slow  # imports every module, those on torch too
def test_gradio_is_loaded_by_the_page_and_its_server_alone() -> None:
    others = [name for name in modules_of("metaembed_demo") if not name.startswith(WITH_GRADIO)]
    assert len(others) > 100
    assert first_that_loads("gradio", others) == ""
