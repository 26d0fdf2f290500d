"""What a checkpoint says of itself: `metaembed.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from metaembed_demo.core.budgets import OURS, Budgets

from .backbone import R_C, R_Q
from .checkpoint_files import MANIFEST, read_json
from .prompts import Frames, Prompts, checked_frames


@dataclass(frozen=True)
class Manifest:
    """The contents of a checkpoint's `metaembed.json`.

    Raises:
        ValueError: when `budgets` are none, or the largest is not (r_q, r_c).
    """

    backbone: str  # a hub id or a folder
    revision: str | None = None
    r_q: int = R_Q
    r_c: int = R_C
    projection: int | None = None  # output dimensions; None: no projection
    bias: bool = False
    both: bool = False  # append query and page tokens to every input, as the published reference does
    prompts: Prompts = field(default_factory=Prompts)  # what frames are made of where there are none
    frames: Frames = field(default_factory=dict)  # the prompts verbatim, as `Reader.frames`
    budgets: Sequence[Sequence[int]] = ()  # (r_q, r_c) that it was trained at; empty: ours, clipped
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that wrote it; informative

    def __post_init__(self) -> None:
        if (self.nested.full.r_q, self.nested.full.r_c) != (self.r_q, self.r_c):
            raise ValueError(f"The largest budget is {self.nested.full}, not {self.r_q}x{self.r_c}.")

    @property
    def nested(self) -> Budgets:
        """The stops of the encoder."""
        return Budgets.of(self.budgets) if self.budgets else OURS.within(self.r_q, self.r_c)

    def of_vectors(self) -> dict[str, Any]:
        """The fields that vectors depend on, beside the prompts."""
        found = asdict(replace(self, versions={}, prompts=Prompts(), frames={}))
        del found["budgets"]
        return found


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint. Raises ValueError when it has unknown or invalid fields."""
    stored = read_json(folder / MANIFEST)
    if unknown := set(stored) - {f.name for f in fields(Manifest)}:
        raise ValueError(
            f"{folder / MANIFEST} has the unknown field {sorted(unknown)[0]!r}; it may need a newer version."
        )
    frames = stored.get("frames", {})
    if frames:
        checked_frames(frames, str(folder / MANIFEST))
    # Manifests without frames are of a time when every prompt ended with the generation prompt.
    prompts = {"generation": not frames, **stored.get("prompts", {})}
    try:
        return Manifest(**{**stored, "prompts": Prompts(**prompts), "frames": frames})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / MANIFEST} is not a manifest: {error}") from error
