"""What the MCP tools take: arguments with their descriptions, and files inside a call."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path, PurePath
from typing import Annotated

from pydantic import BaseModel, Field

from metaembed_demo.collection.filter_parts import LONGEST
from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.types import Upload
from metaembed_demo.documents.file_types import SUFFIXES, sniff

from .mcp_messages import MOST_NAME

BUDGET = str(OURS.full)
Session = Annotated[
    str,
    Field(
        description="The token of a session, as new_session or index gave it. Empty: the sample corpus.",
        max_length=MOST_NAME,
    ),
]
OwnSession = Annotated[
    str,
    Field(description="The token of the session, as new_session or index gave it.", max_length=MOST_NAME),
]
Words = Annotated[
    str,
    Field(
        description="What to look for: a question or a few words, by default at most 2,000 characters. "
        "May be empty where there is a picture."
    ),
]
STOPS = "1x1, 2x4, 4x8, 8x16 or 16x64 with the encoder Mini"
BudgetText = Annotated[
    str,
    Field(
        description=f'How many vectors to use, query x page: {STOPS}; or "full", the largest. Larger is more '
        "exact and slower. Give the one of the search."
    ),
]
SearchBudget = Annotated[
    str,
    Field(
        description=f'How many vectors to use, query x page: {STOPS}; "full", the largest; or "auto": what '
        "the query needs. Larger is more exact and slower."
    ),
]
Picture = Annotated[
    str, Field(description="A picture to ask with: the file's bytes as base64. Addresses are not fetched.")
]
Pages = Annotated[
    str,
    Field(
        description='Pages to search, as: type:pdf lang:de document:"Annual*" pages:3-10 added:2026-11-01.. '
        "Parts of one kind are alternatives, kinds are combined. Empty: all pages.",
        max_length=LONGEST,
    ),
]


class InlineFile(BaseModel):
    """A file inside a call."""

    name: str = Field(description='Its name with its ending, for example "report.pdf".', max_length=MOST_NAME)
    content_base64: str = Field(description="Its bytes as base64. Addresses and paths are not read.")


def pictures(content: str) -> list[InlineFile]:
    """The query picture of a call as its files, none without one."""
    return [InlineFile(name="picture", content_base64=content)] if content else []


def written(file: InlineFile, folder: Path) -> Upload:
    """Write a file of a call to disk under a generated name. Raises ValueError when it is not base64."""
    name = PurePath(file.name.replace("\\", "/")).name or "file"
    content = file.content_base64
    if content.startswith("data:"):
        content = content.partition(",")[2]
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"{name} is not base64. Send the file's bytes; paths and addresses are not read."
        ) from error
    folder.mkdir()
    target = folder / "file"
    target.write_bytes(data)
    if name == "picture":  # a query picture has no name, so its type is detected from the content
        kind = sniff(target)
        name += next((suffix for suffix, known in SUFFIXES.items() if known == kind), ".png")
    return Upload(target, name)
