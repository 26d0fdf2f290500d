"""The real encoder, the app as a user starts it, and a real browser, for all tests that need them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from metaembed_demo.core.config import ROOT
from metaembed_demo.encoders.mini.encoder import Mini
from tests.support.app_server import Served, free_port, serve
from tests.support.browsing import ANSWER_MS, FLAGS, START_S, Opener, still
from tests.support.cli_faults import index, pdfs  # noqa: F401

SERVED = {
    "address",
    "small",
    "locked",
    "strict",
    "browser",
    "visit",
}  # fixtures that serve an app or start Chromium


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the quick loop leaves out by the fixtures it asks for; modules mark what else is slow.

    Files with the most such tests come first, so that no process is left with one of them at the end.
    """
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if asked & SERVED or "browser" in item.path.parent.name:
            item.add_marker(pytest.mark.browser)
        if "mini" in asked:  # the real encoder
            item.add_marker(pytest.mark.slow)
    waits = Counter(item.path for item in items if any(map(item.get_closest_marker, ("slow", "browser"))))
    items.sort(key=lambda item: -waits[item.path])


@pytest.fixture(scope="session")
def mini() -> Mini:
    return Mini.load()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, started as a user starts it, on a free port."""
    port = free_port()
    temporary = tmp_path_factory.mktemp("gradio")
    surroundings = {
        **os.environ,
        "METAEMBED_HOST": "127.0.0.1",
        "METAEMBED_PORT": str(port),
        "GRADIO_TEMP_DIR": str(temporary),
    }
    app = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=surroundings,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        told = _until_ready(app)
        assert re.search(rf"Address\s+http://127\.0\.0\.1:{port}", told), told
        assert re.search(r"Encoder\s+\S+ on \S+", told), told
        assert re.search(r"Corpus\s+\d+ pages of \d+ documents", told), told
        yield f"http://127.0.0.1:{port}"
    finally:
        app.terminate()
        app.wait(30)


def _until_ready(app: subprocess.Popen[str]) -> str:
    """What the app prints until it is ready; it goes on being read so that the pipe never fills."""
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert app.stdout is not None
        for line in app.stdout:
            lines.append(line)
            if line.startswith("Ready in"):
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    assert ready.wait(START_S), "The app did not start in time:\n" + "".join(lines)
    assert app.poll() is None, "The app ended:\n" + "".join(lines)
    return "".join(lines)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An app with a dummy encoder and four pages, which takes little in a session."""
    limits = {"MAX_FILE_BYTES": 200_000, "MAX_SESSION_BYTES": 300_000, "MAX_SESSIONS": 180}  # 60 an address
    with serve(tmp_path_factory.mktemp("small"), **limits) as served:
        yield served


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same behind a password and a token, with short-lived sessions."""
    limits = {"PASSWORD": "open sesame", "TOKEN": "a-token", "SESSION_TTL_S": 8, "LEAVE_AFTER_S": 1}
    with serve(tmp_path_factory.mktemp("locked"), MAX_QUEUE=1, **limits) as served:
        yield served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=ANSWER_MS)  # a busy machine takes longer than the five seconds of old
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)  # None: playwright's own
        yield opened
        opened.close()


@pytest.fixture
def visit(address: str, browser: Browser) -> Iterator[Opener]:
    """Opens the page as a new visitor. In the end nothing may have gone wrong or asked elsewhere."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def opener(
        width: int = 1280, height: int = 900, scheme: str = "light", path: str = "", lands: bool = False
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(ANSWER_MS)
        page.on("console", lambda said: said.type == "error" and faults.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}") or dialog.dismiss())
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "data:", "blob:"))
                or faults.append(f"asked elsewhere: {request.url}")
            ),
        )
        page.goto(address + path if lands else still(address + path))
        page.wait_for_selector("#dial [role=slider]", state="attached")
        return page

    yield opener
    for context in contexts:
        context.close()
    assert not faults
