"""plotly.js by URL: packed, kept by browsers, and nothing else of the package."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from metaembed_demo.app.server import plotly_script


def test_plotly_js_is_packed_and_kept_and_nothing_else_is_served() -> None:
    client = TestClient(Starlette(routes=[plotly_script.route()]))
    url = plotly_script.META.split('content="')[1].split('"')[0]
    packed = client.get(f"/{url}")
    assert (packed.status_code, packed.headers["content-encoding"]) == (200, "gzip")
    assert "immutable" in packed.headers["cache-control"]
    assert packed.content.lstrip().startswith(b"/**")
    assert int(packed.headers["content-length"]) < len(packed.content) / 2
    plain = client.get(f"/{url}", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content
    for other in ("/static/plotly.min.js", "/static/", "/static/../package_data/plotly.min.js"):
        assert client.get(other).status_code == 404
    assert client.post(f"/{url}").status_code == 405


@pytest.fixture
def unpacked() -> Iterator[None]:
    plotly_script._packed.cache_clear()
    yield
    plotly_script._packed.cache_clear()


@pytest.mark.usefixtures("unpacked")
def test_two_first_requests_pack_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[int]()

    def plain() -> bytes:
        reads.append(1)
        time.sleep(0.2)  # long enough for the other one to come
        return b"script"

    monkeypatch.setattr(plotly_script, "plain", plain)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: plotly_script.packed(), range(2))
    assert first == second
    assert len(reads) == 1
