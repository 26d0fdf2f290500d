"""Uploads on the disk: room that is reserved before files arrive, and folders that stay private."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from metaembed_demo.app.server.access import UPLOAD, Guard
from metaembed_demo.app.server.rate_limit import Addresses
from metaembed_demo.app.visitors import uploads
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.uploads import UploadedFiles
from metaembed_demo.core import disk
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Upload
from tests.support.app_server import Served
from tests.support.coroutines import run
from tests.support.dummy_encoder import DummyEncoder
from tests.support.small_app import samples

MB = 1 << 20
HEAD = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


class Server:
    """A guard before an app that stores what it is sent, and answers when `go_on` is set."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.go_on, self.stored = asyncio.Event(), 0
        self.guard = Guard(self.app, limits, folder, {}, Addresses(1))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        folder = scope["metaembed.receiving"].folder
        folder.mkdir()
        part = folder / "part"
        with part.open("wb") as file:
            more = True
            while more:
                message = await receive()
                file.write(message.get("body", b""))
                more = message.get("more_body", False)
        self.stored += 1
        await self.go_on.wait()
        (folder / "digest").mkdir()
        part.rename(folder / "digest" / "a.png")
        (folder / "tmp-of-a-field").write_bytes(b"left")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def upload(
        self,
        size: int,
        client: str,
        announced: bool = True,
        body: Receive | None = None,
    ) -> int:
        """The status that an upload of `size` bytes is answered with."""
        found: list[int] = []
        chunks = [HEAD, *[bytes(MB)] * (size // MB), bytes(size % MB), b"\r\n--b--\r\n"]
        headers = [(b"content-type", b"multipart/form-data; boundary=b")]
        if announced:
            headers.append((b"content-length", str(sum(map(len, chunks))).encode()))

        async def receive() -> Message:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        scope = {"type": "http", "method": "POST", "path": UPLOAD, "query_string": b"", "client": ("::1", 1)}
        headers.append((b"x-forwarded-for", client.encode()))
        await self.guard({**scope, "headers": headers}, body or receive, send)
        return found[0]

    async def until(self, stored: int, refused: list[asyncio.Task[int]], count: int) -> None:
        """Until all of `count` requests are stored or refused."""
        while self.stored < stored or sum(each.done() for each in refused) < count - stored:
            await asyncio.sleep(0.01)


def limited(**more: int) -> Limits:
    return LIMITS.model_copy(update={"max_upload_bytes": 20 * MB, "max_session_bytes": 20 * MB, **more})


@pytest.mark.parametrize("announced", [True, False])
def test_twenty_uploads_at_once_do_not_pass_the_bound(tmp_path: Path, announced: bool) -> None:
    async def attack() -> list[int]:
        server = Server(tmp_path, limited(address_share=100))
        at_once = [server.upload(8 * MB, f"192.0.2.{number}", announced) for number in range(20)]
        running = [asyncio.create_task(each) for each in at_once]
        while sum(each.done() for each in running) + server.stored < 20:
            await asyncio.sleep(0.01)
        assert uploads.used(tmp_path) <= 20 * MB
        server.go_on.set()
        found = [await each for each in running]
        assert uploads.used(tmp_path) <= 20 * MB
        server.guard.room._counted = float("-inf")
        full = uploads.used(tmp_path) > 12 * MB  # what was reserved is in use now
        assert await server.upload(8 * MB, "192.0.2.99", announced) == (507 if full else 200)
        for path in tmp_path.iterdir():
            uploads.clear_parts(path, whole=True)
        server.guard.room._counted = float("-inf")
        assert await server.upload(8 * MB, "192.0.2.99", announced) == 200
        return found

    found = run(attack())
    assert set(found) <= {200, 507}
    assert found.count(200) == 2 if announced else found.count(200) <= 2


def test_an_address_has_its_share_of_the_room(tmp_path: Path) -> None:
    async def attack() -> list[int]:
        server = Server(tmp_path, limited(address_share=33, max_file_bytes=MB))
        server.go_on.set()
        found = [await server.upload(2 * MB, "192.0.2.1") for _ in range(4)]
        server.guard.room._counted = float("-inf")  # they are measured, and still that address's
        found.append(await server.upload(2 * MB, "192.0.2.1"))
        return [*found, await server.upload(2 * MB, "192.0.2.2")]

    assert run(attack()) == [200, 200, 200, 507, 507, 200]


def test_each_request_clears_its_own_parts(tmp_path: Path) -> None:
    async def attack() -> None:
        server = Server(tmp_path, limited(max_file_bytes=20 * MB))
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> Message:
            begun.set()
            await go_on.wait()
            return {"type": "http.disconnect"}

        other = asyncio.create_task(server.upload(MB, "192.0.2.1", body=slow))
        await begun.wait()
        (running,) = tmp_path.iterdir()
        # One is cut off by the bound on its size, one ends well: neither leaves a part, while the other runs.
        assert await server.upload(21 * MB + MB, "192.0.2.2", announced=False) in (413, 507)
        assert list(tmp_path.iterdir()) == [running]
        server.go_on.set()
        assert await server.upload(MB, "192.0.2.2") == 200
        (kept,) = set(tmp_path.iterdir()) - {running}
        assert [path.name for path in kept.rglob("*") if path.is_file()] == ["a.png"]
        assert uploads.sweep(tmp_path, -1) == 1  # nobody has taken it; what is arriving stays
        assert list(tmp_path.iterdir()) == [running]
        go_on.set()
        await other

    run(attack())


def test_the_private_folder_outlives_its_last_file(tmp_path: Path) -> None:
    folder = uploads.private_folder(tmp_path)
    held = UploadedFiles(folder)
    for place in (folder / "stray", folder / "request" / "digest" / "a.png"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"a")
        if place.name == "stray":
            uploads.sweep(folder, -1)
        else:
            held.release(held.take([Upload(place, place.name)]))
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()  # as a cleaner of temporary files may
    assert held.hand_out("index.zip").parent.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700


def test_files_that_nobody_takes_live_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    base = samples(DummyEncoder())
    visits = Visits(Tools(DummyEncoder()), base, tmp_path)
    sweep = uploads.sweep
    monkeypatch.setattr(uploads, "sweep", lambda folder, age_s: sweep(folder, age_s, lambda: clock))
    taken, forgotten = (tmp_path / name / "a.png" for name in ("taken", "forgotten"))
    for path in (taken, forgotten):
        path.parent.mkdir()
        path.write_bytes(b"a")
    visit = visits.open()
    visit.session.files.take([Upload(taken, "a.png")])
    visits.sweep()
    assert LIMITS.unclaimed_s <= 900
    clock += LIMITS.unclaimed_s + 1
    visits.sweep()
    assert (taken.exists(), forgotten.exists()) == (True, False)


def test_scratch_of_a_killed_run_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, tempfile\nfrom metaembed_demo.core.disk import scratch_prefix\n"
            "print(tempfile.mkdtemp(prefix=scratch_prefix()), flush=True)\nos.kill(os.getpid(), 9)",
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    left = Path(killed.stdout.strip())
    (left / "page.png").write_bytes(b"a")
    kept = [Path(tempfile.mkdtemp(prefix=disk.scratch_prefix()))]
    kept += [tmp_path / name for name in ("metaembed-999999999", "metaembed-x-y", "other-999999999-x")]
    for folder in kept[1:]:
        folder.mkdir()
    (tmp_path / "metaembed-999999999-link").symlink_to(kept[0])
    assert disk.clear_scratch() == 1
    assert not left.exists()
    assert all(folder.exists() for folder in kept)


def test_the_same_bytes_of_two_visitors_share_nothing(small: Served) -> None:
    def post(client: httpx.Client) -> Any:
        sent = client.post("/gradio_api/upload", files=[("files", ("diary.png", b"dear diary"))] * 2)
        return sent.raise_for_status().json()

    with httpx.Client(base_url=small.address) as mine, httpx.Client(base_url=small.address) as theirs:
        one, two = Path(post(mine)[0]), Path(post(theirs)[0])
    assert one != two
    assert one.name == two.name == "diary.png"
    assert one.stat().st_ino != two.stat().st_ino
    assert one.parents[1] != two.parents[1]
    assert one.parents[1].stat().st_mode & 0o777 == 0o700
    assert one.parents[2].stat().st_mode & 0o777 == 0o700
    uploads._remove(one, one.parents[2])
    assert two.read_bytes() == b"dear diary"
