"""Settings as frozen dataclasses. The environment is read here, once, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Size of one stored vector component: the index keeps float16.
BYTES_PER_COMPONENT = 2


def _env(name: str, default: str) -> str:
    return os.environ.get(f"METAEMBED_{name}", default)


@dataclass(frozen=True)
class Limits:
    """What one upload may cost. Each has an override METAEMBED_<NAME IN CAPITALS>."""

    max_file_bytes: int = field(default_factory=lambda: int(_env("MAX_FILE_BYTES", str(100 << 20))))
    max_pages: int = field(default_factory=lambda: int(_env("MAX_PAGES", "500")))  # of one file
    max_pixels: int = field(
        default_factory=lambda: int(_env("MAX_PIXELS", "60000000"))
    )  # of one image or page
    max_archive_files: int = field(default_factory=lambda: int(_env("MAX_ARCHIVE_FILES", "1000")))
    max_archive_ratio: int = field(
        default_factory=lambda: int(_env("MAX_ARCHIVE_RATIO", "200"))
    )  # unpacked : packed
    max_archive_bytes: int = field(
        default_factory=lambda: int(_env("MAX_ARCHIVE_BYTES", str(500 << 20)))
    )  # unpacked
    max_session_pages: int = field(default_factory=lambda: int(_env("MAX_SESSION_PAGES", "2000")))
    session_ttl_s: int = field(default_factory=lambda: int(_env("SESSION_TTL_S", "3600")))
    # The server as a whole. Where it is full, a session unused for `yield_after_s` makes room.
    max_session_bytes: int = field(
        default_factory=lambda: int(_env("MAX_SESSION_BYTES", str(500 << 20)))
    )  # uploaded in one session, all files together
    max_upload_bytes: int = field(
        default_factory=lambda: int(_env("MAX_UPLOAD_BYTES", str(4 << 30)))
    )  # uploads on this disk, of all sessions together
    max_sessions: int = field(default_factory=lambda: int(_env("MAX_SESSIONS", "64")))
    yield_after_s: int = field(default_factory=lambda: int(_env("YIELD_AFTER_S", "600")))
    leave_after_s: int = field(
        default_factory=lambda: int(_env("LEAVE_AFTER_S", "900"))
    )  # after its tab was closed, a session ends
    max_queue: int = field(default_factory=lambda: int(_env("MAX_QUEUE", "100")))  # events that wait
    # Of one client address; see app/server/rate_limit.py. A drag of the dial sends up to 20 requests a
    # second.
    requests_per_minute: int = field(
        default_factory=lambda: int(_env("REQUESTS_PER_MINUTE", "1200"))
    )  # that cost something; 0: no bound
    max_guesses: int = field(
        default_factory=lambda: int(_env("MAX_GUESSES", "10"))
    )  # wrong passwords or tokens in a row, after which the next has to wait; 0: no bound
    seconds_per_job: float = field(
        default_factory=lambda: float(_env("SECONDS_PER_JOB", "1800"))
    )  # indexing one upload, opening one index file, one survey, one test
    max_query_characters: int = field(default_factory=lambda: int(_env("MAX_QUERY_CHARACTERS", "2000")))
    # What the process that reads files may take; see documents/sandbox/pool.py. Two cores read a scanned
    # page in 2 s.
    seconds_per_page: float = field(default_factory=lambda: float(_env("SECONDS_PER_PAGE", "60")))
    seconds_per_file: float = field(default_factory=lambda: float(_env("SECONDS_PER_FILE", "1800")))
    worker_megabytes: int = field(
        default_factory=lambda: int(_env("WORKER_MEGABYTES", "3000"))
    )  # of memory it allocates, 700 of them for its models; 0: no bound


@dataclass(frozen=True)
class Render:
    """How pages become pictures."""

    dpi: int = 120  # of a rendered PDF page; enough for OCR of 10 pt type
    max_side: int = 2000  # pixels; longer pages and pictures are scaled down to this
    view_side: int = 1200  # pixels of the picture kept for showing
    view_quality: int = 82  # JPEG


@dataclass(frozen=True)
class Paths:
    """Where things lie."""

    assets: Path = ROOT / "assets"
    mini_weights: Path = ROOT / "assets" / "mini.safetensors"
    sample_corpus: Path = ROOT / "sample_corpus"
    shipped_samples: Path = ROOT / "assets" / "samples.npz"
    cache: Path = field(default_factory=lambda: Path(_env("CACHE", str(ROOT / ".cache"))))


@dataclass(frozen=True)
class Server:
    """Where the app listens and which encoder it loads."""

    host: str = field(default_factory=lambda: _env("HOST", os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")))
    port: int = field(default_factory=lambda: int(_env("PORT", os.environ.get("GRADIO_SERVER_PORT", "7860"))))
    encoder: str = field(default_factory=lambda: _env("ENCODER", "mini"))
    password: str = field(default_factory=lambda: _env("PASSWORD", ""), repr=False)  # asked before the page
    token: str = field(default_factory=lambda: _env("TOKEN", ""), repr=False)  # asked of API and MCP clients
    worker: bool = field(default_factory=lambda: _env("WORKER", "1") != "0")  # 0: files are read in the app
    trusted_proxies: int = field(
        default_factory=lambda: int(_env("TRUSTED_PROXIES", "1" if os.environ.get("SPACE_ID") else "0"))
    )  # that stand before this server and add their client's address to X-Forwarded-For
    qdrant_key: str = field(default_factory=lambda: _env("QDRANT_KEY", ""), repr=False)  # of a Qdrant server
    # Further ones that a visitor may switch to, with commas between.
    encoders: tuple[str, ...] = field(
        default_factory=lambda: tuple(n for n in map(str.strip, _env("ENCODERS", "").split(",")) if n)
    )


@dataclass(frozen=True)
class Space:
    """Whether this is a Hugging Face Space, and one that lends GPUs (ZeroGPU)."""

    here: bool = field(default_factory=lambda: bool(os.environ.get("SPACE_ID")))
    zero_gpu: bool = field(default_factory=lambda: bool(os.environ.get("SPACES_ZERO_GPU")))


@dataclass(frozen=True)
class Vlm:
    """How an encoder on a vision-language model runs. Overrides: METAEMBED_VLM_<NAME IN CAPITALS>."""

    max_visual_tokens: int = field(
        default_factory=lambda: int(_env("VLM_MAX_VISUAL_TOKENS", "0"))
    )  # of one page or picture; 0 leaves it to the checkpoint
    max_text_tokens: int = field(default_factory=lambda: int(_env("VLM_MAX_TEXT_TOKENS", "1024")))
    batch: int = field(default_factory=lambda: int(_env("VLM_BATCH", "0")))  # 0: by free GPU memory
    quantization: str = field(default_factory=lambda: _env("VLM_QUANTIZATION", ""))  # "", "8bit", "4bit"
    device_map: str = field(default_factory=lambda: _env("VLM_DEVICE_MAP", ""))  # "": one device; "auto": all


@dataclass(frozen=True)
class Kernels:
    """How MaxSim is computed."""

    numba: bool = field(default_factory=lambda: _env("NUMBA", "1") != "0")  # METAEMBED_NUMBA=0: numpy only


LIMITS = Limits()
RENDER = Render()
PATHS = Paths()
SERVER = Server()
SPACE = Space()
VLM = Vlm()
KERNELS = Kernels()
