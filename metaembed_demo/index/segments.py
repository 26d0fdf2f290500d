"""Index files. Each block is written once, to a folder named after its content hash, and never changed.

    DIR/segments/<digest>/ids.json, full.npy, codes.0.npy, prefix.0.npy ...   one block
    DIR/codec-<digest>.safetensors       codebooks, if any
    DIR/index.json                       the head: lists all files, replaced last

Saving writes only new blocks; removed pages are bits in the head until their block is rewritten. A crash
before the head is replaced leaves the previous state; stray files are removed at the next save.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from metaembed_demo.core import disk
from metaembed_demo.core.budgets import Budgets

from . import row_reader
from .block import Block
from .quantization import KINDS, Codec, codec

FORMAT = 2
HEAD = "index.json"
PIECE = 1 << 26  # bytes written at a time
WRONG = "its checksum is not the recorded one"
AT_ONCE = 256 << 20  # bytes; larger indexes are verified in the background after opening
Head = dict[str, Any]


def write_index(path: Path, blocks: Sequence[Block], coding: Codec, budgets: Budgets | None = None) -> None:
    """Write missing files to the folder `path`, then the head, then remove files that it does not list."""
    path.mkdir(parents=True, exist_ok=True)
    head = write(path, blocks, coding, budgets)
    disk.write_json(path / HEAD, head)
    clear_away(path, head)


def read_index(path: Path, whole: bool = True) -> tuple[Codec, list[Block], Check, Budgets | None]:
    """Open an index from `write_index`, with memory-mapped arrays. Raises as `read` does."""
    return read(path, disk.read_json(path / HEAD), whole)


def write(path: Path, blocks: Sequence[Block], coding: Codec, budgets: Budgets | None = None) -> Head:
    """Write missing files to the folder `path`; returns the head, which the caller must write last.

    budgets: noted in the head unless None, the usual ones.
    """
    (path / "segments").mkdir(exist_ok=True)
    _clear_unfinished(path)
    named = [_segment(path / "segments", block) for block in blocks]
    disk.sync_folder(path / "segments")
    head = {"format": FORMAT, "r_c": coding.r_c, "dim": coding.dim, "storage": coding.kind, "segments": named}
    if budgets:
        head["budgets"] = str(budgets)
    state = coding.state()
    if state:
        data = save({name: np.ascontiguousarray(array) for name, array in state.items()})
        digest = disk.sha256(data)
        name = f"codec-{digest[:16]}.safetensors"
        disk.write(path / name, data)
        head["codec"] = {"file": name, "sha256": digest}
    return head


class Check:
    """Checksum verification of an index's files, synchronous up to AT_ONCE, else in the background."""

    def __init__(self, files: Sequence[tuple[Path, str, int]], whole: bool = True) -> None:
        """`files`: path, digest and size of each. Raises as `read` does; for large indexes, on sizes only.

        whole: False compares only sizes, which suffices for files written by this process.
        """
        for file, _, size in files:
            if file.stat().st_size != size:
                raise disk.Damaged(file, f"it has {file.stat().st_size:,} bytes, not {size:,}")
        self._files = files
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="metaembed-check", daemon=True)
        if not whole:
            return
        if sum(size for _, _, size in files) > AT_ONCE:
            self._thread.start()
        else:
            self._run()
            self.sound()

    def sound(self) -> None:
        """Raises ValueError or OSError once a file is known to be damaged."""
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Wait for the verification to finish, then call `sound`."""
        if self._thread.ident is not None:
            self._thread.join()
        self.sound()

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(_verify, *zip(*self._files, strict=True)))
        except (OSError, ValueError) as error:
            self._failure = error


def read(path: Path, head: Head, whole: bool = True) -> tuple[Codec, list[Block], Check, Budgets | None]:
    """The codec and blocks listed by `head` in the folder `path`, the check of their files, the budgets.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when the format differs, or a file is damaged.
    """
    check(path, head)
    folders = [path / "segments" / Path(segment["name"]).name for segment in head["segments"]]
    files = [
        (folder / Path(name).name, about["sha256"], about["bytes"])
        for folder, segment in zip(folders, head["segments"], strict=True)
        for name, about in segment["files"].items()
    ]
    checked = Check(files, whole)
    coding = codec(head["storage"], head["r_c"], head["dim"], state=_codec_state(path, head))
    blocks = [_block(folder, segment) for folder, segment in zip(folders, head["segments"], strict=True)]
    for block, folder in zip(blocks, folders, strict=True):
        _check_shapes(folder, block, coding)
    return coding, blocks, checked, Budgets.parse(head["budgets"]) if "budgets" in head else None


def check(path: Path, head: Head) -> None:
    """Raises ValueError when the format of `head` is unsupported, or it is damaged."""
    if head.get("format") != FORMAT:
        raise ValueError(
            f"{path} was written as format {head.get('format')}; this program reads {FORMAT}. "
            "Index the files again into a new folder."
        )
    try:
        sizes = [head["r_c"], head["dim"], *(segment["pages"] for segment in head["segments"])]
        [(s["name"], s["dead"], list(f)) for s in head["segments"] for f in s["files"].values()]
        fits = head["storage"] in KINDS and all(isinstance(n, int) and n > 0 for n in sizes)
    except (KeyError, TypeError, AttributeError) as error:
        raise disk.Damaged(path, f"its head lacks {error}") from error
    try:
        fits = fits and ("budgets" not in head or Budgets.parse(head["budgets"]).full.r_c == head["r_c"])
    except (AttributeError, ValueError):
        fits = False
    if not fits:
        raise disk.Damaged(path, "its head holds values that no index has")


def clear_away(path: Path, head: Head) -> None:
    """Remove segments and codebooks that `head` does not list."""
    named = {segment["name"] for segment in head["segments"]}
    for folder in (path / "segments").glob("*"):
        if folder.name not in named:
            shutil.rmtree(folder, ignore_errors=True)
    for file in path.glob("codec-*.safetensors"):
        if file.name != head.get("codec", {}).get("file"):
            file.unlink(missing_ok=True)


def _clear_unfinished(path: Path) -> None:
    for folder in (path / "segments").glob(".new-*"):
        shutil.rmtree(folder, ignore_errors=True)


# Blocks


def _segment(folder: Path, block: Block) -> dict[str, Any]:
    """The head entry of a block; writes missing files.

    Raises:
        ValueError: when the block was read from damaged files, which must not get a new checksum.
    """
    if block.files is None or not _holds(folder / block.digest, block.files):
        known = block.files or {}
        written = _write_block(folder, block)
        damaged = [name for name in known if name in written and written[name] != known[name]]
        if damaged:
            raise disk.Damaged(f"{damaged[0]} of the index", WRONG)
        block.files = written
    dead = b"" if not block.dead else np.packbits(~block.live).tobytes()
    return {
        "name": block.digest,
        "pages": len(block),
        "files": block.files,
        "dead": base64.b64encode(dead).decode("ascii"),
    }


def _holds(folder: Path, files: dict[str, Any]) -> bool:
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == about["bytes"]
        for name, about in files.items()
    )


def _write_block(folder: Path, block: Block) -> dict[str, Any]:
    new = folder / f".new-{secrets.token_hex(6)}"
    new.mkdir()
    files = {}
    try:
        ids = json.dumps(block.ids).encode("ascii")
        files["ids.json"] = _hashed(new / "ids.json", lambda out: out.write(ids))
        for name in block.names:
            part = block.part(name)
            files[f"{name}.npy"] = _hashed(new / f"{name}.npy", partial(_save, array=part))
        disk.sync_folder(new)
        block.digest = disk.sha256(json.dumps(files, sort_keys=True).encode("ascii"))[:20]
        target = folder / block.digest
        if _holds(target, files):
            shutil.rmtree(new)
        else:
            shutil.rmtree(target, ignore_errors=True)
            os.replace(new, target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return files


def _save(out: IO[bytes], *, array: NDArray[Any]) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, *array.shape[1:]), array.dtype))
    np.lib.format.write_array_header_1_0(out, {**header, "shape": array.shape})
    step = max(1, PIECE // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        out.write(np.ascontiguousarray(array[start : start + step]).data)


def _hashed(path: Path, write: Callable[[IO[bytes]], object]) -> dict[str, Any]:
    with path.open("wb") as file:
        out = _Hashing(file)
        write(out)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
        return {"sha256": out.digest.hexdigest(), "bytes": file.tell()}


class _Hashing:
    """A writable file that hashes its contents."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        return self.file.write(data)


def _block(folder: Path, segment: dict[str, Any]) -> Block:
    ids = json.loads((folder / "ids.json").read_bytes())
    if len(ids) != segment["pages"]:  # before as many flags are made
        raise disk.Damaged(folder, f"it lists {len(ids):,} pages, not {segment['pages']:,}")
    parts = {}
    for name in segment["files"]:
        if name.endswith(".npy"):
            file = folder / Path(name).name
            parts[name.removesuffix(".npy")] = np.load(file, mmap_mode="r", allow_pickle=False)
    live = np.ones(segment["pages"], bool)
    if segment["dead"]:
        bits = np.frombuffer(base64.b64decode(segment["dead"]), np.uint8)
        live = ~np.unpackbits(bits, count=segment["pages"]).astype(bool)
    block = Block(ids, parts, live)
    block.digest, block.files = segment["name"], segment["files"]
    for name, part in parts.items():
        with Path(folder, f"{name}.npy").open("rb") as opened:
            block.readers[name] = row_reader.Reader.of(
                opened.fileno(), part.offset, part.dtype, part.shape[1:]
            )
    return block


def _check_shapes(folder: Path, block: Block, coding: Codec) -> None:
    """Raises ValueError when intact files do not belong together."""
    full = (coding.r_c, coding.dim)
    fits = len(block.ids) == len(block.live) and all(
        len(block.part(name)) == len(block) and (name != "full" or block.part(name).shape[1:] == full)
        for name in block.names
    )
    if coding.kind != "float16":
        codes = block.codes("codes")
        wanted = [(shape, np.dtype(kind)) for shape, kind in coding.layout]
        fits = fits and [(part.shape[1:], part.dtype) for part in codes] == wanted
    else:
        fits = fits and "full" in block.names
    if not fits:
        raise disk.Damaged(folder, "its arrays do not fit the index")


def _verify(file: Path, digest: str, _size: int) -> None:
    if disk.sha256_of(file) != digest:
        raise disk.Damaged(file, WRONG)


def _codec_state(path: Path, head: Head) -> dict[str, NDArray[Any]]:
    if "codec" not in head:
        return {}
    file = path / Path(head["codec"]["file"]).name
    data = file.read_bytes()
    if disk.sha256(data) != head["codec"]["sha256"]:
        raise disk.Damaged(file, WRONG)
    return load(data)
