"""Frozen settings. This is the only module that reads the environment; it does so once, on import."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent.parent

# Size of one stored vector component: the index stores float16.
BYTES_PER_COMPONENT = 2


class Settings(BaseSettings):
    """Each field is read from METAEMBED_<FIELD>, unless it has an alias. An empty variable counts as unset.

    A copy with other values: `LIMITS.model_copy(update={"max_pages": 3})`.
    """

    model_config = SettingsConfigDict(
        env_prefix="METAEMBED_", env_ignore_empty=True, frozen=True, populate_by_name=True
    )


def _names(text: Any) -> Any:
    """Split a comma-separated list."""
    return tuple(n for n in map(str.strip, text.split(",")) if n) if isinstance(text, str) else text


def _networks(text: Any) -> Any:
    """Addresses and networks of a comma-separated list."""
    return tuple(map(ip_network, _names(text)))


IsSet = Annotated[bool, BeforeValidator(bool)]  # True for any value of the variable


class Limits(Settings):
    """Limits on uploads, sessions, requests and the file worker."""

    max_file_bytes: NonNegativeInt = 100_000_000
    max_pages: NonNegativeInt = 500  # of one file
    max_pixels: PositiveInt = 60_000_000  # of one image or page
    max_archive_files: NonNegativeInt = 1000
    max_archive_ratio: NonNegativeInt = 200  # unpacked : packed
    max_archive_bytes: NonNegativeInt = 500_000_000  # unpacked
    max_session_pages: NonNegativeInt = 2000
    # Estimated bytes of pages in memory: pictures, words and vectors; see collection/memory.py.
    max_session_memory: NonNegativeInt = 1_000_000_000  # of one session
    max_memory: NonNegativeInt = 4_000_000_000  # of all sessions and the sample corpus together
    session_ttl_s: NonNegativeInt = 3600
    # When `max_sessions` is reached, a session unused for `yield_after_s` is ended to make room.
    max_session_bytes: NonNegativeInt = 500_000_000  # uploaded in one session, all files together
    max_upload_bytes: NonNegativeInt = 4_000_000_000  # uploads on this disk, of all sessions together
    max_sessions: NonNegativeInt = 64
    yield_after_s: NonNegativeInt = 600
    leave_after_s: NonNegativeInt = 900  # a session ends this long after its last tab was closed
    max_queue: NonNegativeInt = 100  # waiting events
    # Of what visitors compete for: sessions, waiting and running work, room for uploads. 100: no shares.
    address_share: int = Field(default=33, ge=1, le=100)  # percent that one client address may take
    unclaimed_s: NonNegativeInt = 600  # an uploaded file that no session has taken
    # Per client address; see app/server/rate_limit.py. Dragging the dial sends up to 20 requests a second.
    requests_per_minute: NonNegativeInt = 1200  # of those that compute something; 0: no limit
    reads_per_minute: NonNegativeInt = 12_000  # of the others; a page takes a hundred. 0: no limit
    max_connections: NonNegativeInt = 200  # open at once; 0: no limit
    max_guesses: NonNegativeInt = 10  # wrong passwords or tokens in a row before a delay; 0: no limit
    max_body_bytes: NonNegativeInt = 128_000_000  # of requests other than uploads, all in memory together
    seconds_per_job: NonNegativeFloat = 1800  # indexing an upload, opening an index file, a survey, a test
    max_query_characters: NonNegativeInt = 2000
    seconds_per_picture: NonNegativeFloat = 5  # reading a query's picture
    # Limits of the process that reads files; see documents/sandbox/pool.py. Two cores read a scanned page in
    # 2 s.
    seconds_per_page: NonNegativeFloat = 60
    seconds_per_file: NonNegativeFloat = 1800
    worker_megabytes: NonNegativeInt = 3000  # allocated memory, 700 of it for its models; 0: no limit

    def share(self, whole: int, least: int = 1) -> int:
        """What one client address may take of `whole`: `address_share`, rounded up, and at least `least`.

        >>> limits = Limits(address_share=33)
        >>> [limits.share(whole) for whole in (1, 2, 4, 100)], limits.share(9, 8)
        ([1, 1, 2, 33], 8)
        """
        return min(whole, max(least, -(-whole * self.address_share // 100)))


@dataclass(frozen=True)
class Render:
    """How pages are rendered. Not configurable, because indexes would depend on it."""

    dpi: int = 120  # of a rendered PDF page; enough for OCR of 10 pt type
    max_side: int = 2000  # pixels; longer pages and pictures are scaled down to this
    view_side: int = 1200  # pixels of the stored picture
    view_quality: int = 82  # JPEG


class Paths(Settings):
    """Asset and cache folders."""

    assets: ClassVar[Path] = ROOT / "assets"
    mini_weights: ClassVar[Path] = ROOT / "assets" / "mini.safetensors"
    multilingual_weights: ClassVar[Path] = ROOT / "assets" / "mini-multilingual.safetensors"
    shipped_samples: ClassVar[Path] = ROOT / "assets" / "samples.npz"
    shipped_vectors: ClassVar[Path] = ROOT / "assets" / "samples-multilingual.npz"
    share_card: ClassVar[Path] = ROOT / "assets" / "share-card.jpg"
    shipped_statistics: ClassVar[Path] = ROOT / "assets" / "token_statistics.npz"
    shipped_fit: ClassVar[Path] = ROOT / "assets" / "fit.json"
    foreign_questions: ClassVar[Path] = ROOT / "assets" / "foreign_questions.txt"
    sample_corpus: ClassVar[Path] = ROOT / "sample_corpus"
    cache: Path = ROOT / ".cache"
    speech: str = ""  # folder of a transformers model that recognises speech; "": none


class Space(Settings):
    """Whether the app runs on a Hugging Face Space, and whether that Space uses ZeroGPU."""

    here: IsSet = Field(default=False, validation_alias="SPACE_ID")
    name: str = Field(default="", validation_alias="SPACE_ID")  # owner/name
    zero_gpu: IsSet = Field(default=False, validation_alias="SPACES_ZERO_GPU")

    @property
    def code(self) -> str:
        """The address of the code that runs here; empty where it is not a Space."""
        return f"https://huggingface.co/spaces/{self.name}/tree/main" if self.name.count("/") == 1 else ""


class Server(Settings):
    """Where the app listens and which encoder it loads."""

    host: str = Field(
        default="127.0.0.1", validation_alias=AliasChoices("METAEMBED_HOST", "GRADIO_SERVER_NAME")
    )
    port: int = Field(
        default=7860, ge=0, le=65535, validation_alias=AliasChoices("METAEMBED_PORT", "GRADIO_SERVER_PORT")
    )
    encoder: str = "mini"
    password: str = Field(default="", repr=False)  # for the page
    token: str = Field(default="", repr=False)  # for API and MCP clients
    worker: bool = True  # False: files are read in the app's process
    # Number of proxies in front of this server that append their client's address to X-Forwarded-For.
    trusted_proxies: NonNegativeInt = Field(default_factory=lambda: int(Space().here))
    # Networks of proxies whose X-Forwarded-For is believed, whatever their number; comma-separated.
    proxy_addresses: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)
    ] = ()
    qdrant_key: str = Field(default="", repr=False)  # API key of a Qdrant server
    # Further encoders that a visitor may switch to, comma-separated.
    encoders: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = ()


class Vlm(Settings):
    """Runtime options of an encoder based on a vision-language model."""

    model_config = SettingsConfigDict(env_prefix="METAEMBED_VLM_")

    max_visual_tokens: NonNegativeInt = 0  # per page or picture; 0: the checkpoint's default
    max_text_tokens: NonNegativeInt = 1024
    batch: NonNegativeInt = 0  # 0: by free GPU memory
    dtype: str = ""  # "": by device; "bfloat16", "float16", "float32"
    quantization: str = ""  # "", "8bit", "4bit"
    device_map: str = ""  # "": one device; "auto": all


class Kernels(Settings):
    """MaxSim implementation."""

    numba: bool = True  # METAEMBED_NUMBA=0: numpy only


def variables(kind: type[Settings]) -> dict[str, list[str]]:
    """Field -> the environment variables that set it, in order of precedence.

    >>> variables(Space)["here"], variables(Vlm)["batch"]
    (['SPACE_ID'], ['METAEMBED_VLM_BATCH'])
    """
    prefix, found = str(kind.model_config.get("env_prefix")), {}
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        named = alias.choices if isinstance(alias, AliasChoices) else [alias or (prefix + name).upper()]
        found[name] = [str(one) for one in named]
    return found


Kind = TypeVar("Kind", bound=Settings)


def read(kind: type[Kind]) -> Kind:
    """Read settings from the environment. Exits with a message that names the variable if one is invalid."""
    try:
        return kind()
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            place = str(fault["loc"][0])  # the field's name or its first alias
            known = variables(kind)
            names = known.get(place) or next(names for names in known.values() if place in names)
            lines.append(f"{' or '.join(names)}: {fault['msg']}, not {fault['input']!r}.")
        raise SystemExit("\n".join([*lines, "docs/hosting.md lists the settings."])) from None


LIMITS = read(Limits)
RENDER = Render()
PATHS = read(Paths)
SPACE = read(Space)
SERVER = read(Server)
VLM = read(Vlm)
KERNELS = read(Kernels)
