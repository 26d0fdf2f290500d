"""The Documents tab as HTML: progress, problems, the list, statistics. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.config import Limits
from metaembed_demo.core.moments import spot
from metaembed_demo.core.text import bytes_text, plural
from metaembed_demo.documents.file_types import reads_media

from .html import safe
from .index_size_chart import storage

MOST_NAMED = 5  # files that wait


class ShownProblem(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def message(self) -> str: ...


class ShownDocument(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def pages(self) -> int: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Outcome:
    """The result of an upload.

    added: number of pages indexed; duplicates: one line for each page that was already indexed.
    notices: what was left out or is in doubt, a line for all pages of a file with the same one.
    blank: number of pages left out because nothing is on them.
    """

    added: int
    duplicates: tuple[str, ...]
    problems: tuple[ShownProblem, ...]
    seconds: float
    notices: tuple[ShownProblem, ...] = ()
    blank: int = 0
    cancelled: bool = False
    error: str = ""  # the error that stopped the upload, if any


def waiting(files: int, then: Sequence[str] = ()) -> str:
    """Placeholder for the progress bar until indexing begins. then: names of the files that wait."""
    return (
        '<section class="progress" aria-label="Indexing"><p><b>Opening '
        f"{plural(files, 'file')}</b><span>pages are being counted</span></p>"
        '<div role="progressbar" aria-label="Pages indexed" class="unknown"><i></i></div>'
        f"{_then(then)}</section>"
    )


def _then(names: Sequence[str]) -> str:
    """The files that wait, in their order."""
    if not names:
        return ""
    told = ", ".join(map(safe, names[:MOST_NAMED]))
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f'<p class="then"><span>Then {told}{more}</span></p>'


def time_left(seconds: float) -> str:
    """
    >>> [time_left(seconds) for seconds in (0.4, 12, 58, 200)]
    ['a moment left', 'about 10 s left', 'about 1 min left', 'about 3 min left']
    """
    if seconds < 2.5:
        return "a moment left"
    told = 5 * max(round(seconds / 5), 1)
    return f"about {told} s left" if told < 60 else f"about {max(round(seconds / 60), 1)} min left"


def progress(
    done: int, total: int, source: str, number: int, left_s: float | None = None, then: Sequence[str] = ()
) -> str:
    """The progress bar of indexing.

    Args:
        done, total: pages; source, number: the last page read; number 0 stands for the whole file.
        left_s: seconds left at the pace so far, None before it is known; then: names of the files that wait.
    """
    share = 100 * done / max(total, 1)
    left = f", {time_left(left_s)}" if left_s is not None else ""
    where = safe(source) + (f", {spot(source, number, 'page ')}" if number else "")
    return (
        '<section class="progress" aria-label="Indexing">'
        f'<p><b class="num">{done:,} of {plural(total, "page")}{left}</b>'
        f'<span class="file">{where}</span></p>'
        f'<div role="progressbar" aria-label="Pages indexed" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}"><i style="width:{share:.1f}%"></i></div>{_then(then)}</section>'
    )


def encoders(names: Sequence[str], now: str, busy: bool = False) -> str:
    """Buttons to choose an encoder; empty if there is only one."""
    if len(names) < 2:
        return ""
    shut = " disabled" if busy else ""
    buttons = "".join(
        f'<button type="button" data-action="encoder" data-value="{safe(name)}" data-tokens="0"{shut} '
        f'aria-pressed="{"true" if name == now else "false"}">{safe(PurePosixPath(name).name)}</button>'
        for name in names
    )
    both = {"mini", "mini-multilingual"} <= set(names)
    reads = "mini reads English, mini-multilingual about ninety languages. " if both else ""
    return (
        '<section class="encoders"><h2>Encoder</h2>'
        f'<div class="control"><span class="stops">{buttons}</span></div><p class="hint">{reads}Another '
        "encoder reads every page again; until it is done, nothing changes.</p></section>"
    )


def resolutions(name: str, limits: Sequence[int], now: int, busy: bool = False) -> str:
    """Buttons to choose the visual tokens per page; empty if the encoder `name` has no options.

    Args:
        limits: the encoder's default, whose value is 0, then the other options.
        now: the current value.
    """
    if not limits:
        return ""
    own, shut = limits[0], " disabled" if busy else ""
    choices = [*((tokens, f"{tokens:,}") for tokens in limits[1:]), (0, "Own")]
    buttons = "".join(
        f'<button type="button" class="num" data-action="encoder" data-value="{safe(name)}" '
        f'data-tokens="{tokens}"{shut} aria-pressed="{"true" if tokens == now else "false"}">{said}</button>'
        for tokens, said in choices
    )
    return (
        '<section class="encoders"><h2>Visual tokens a page</h2>'
        '<div class="control"><span class="stops" role="group" aria-label="Visual tokens a page, at most">'
        f'{buttons}</span></div><p class="hint">An upper limit; the default is {own:,}. Fewer are faster, '
        "small print needs more. A change encodes every page again.</p></section>"
    )


def loading(name: str) -> str:
    """Placeholder for the progress bar until an encoder is loaded."""
    return (
        f'<section class="progress" aria-label="Loading"><p><b>Loading {safe(PurePosixPath(name).name)}</b>'
        "<span>large models take minutes</span></p>"
        '<div role="progressbar" aria-label="Encoder loaded" class="unknown"><i></i></div></section>'
    )


def refused(name: str, message: str) -> str:
    """A failed switch to an encoder, with the reason."""
    return (
        f'<section class="outcome warn" role="alert"><h2>{safe(PurePosixPath(name).name)} was not taken</h2>'
        f"<p>{safe(message)}</p></section>"
    )


def switched(name: str, device: str, pages: int, tokens: int = 0) -> str:
    """A finished switch to another encoder or resolution (visual tokens per page)."""
    limit = f", with at most {tokens:,} visual tokens a page" if tokens else ""
    return (
        f'<section class="outcome good"><h2>{plural(pages, "page")} encoded again</h2>'
        f"<p>Searches now use {safe(name)} on {safe(device)}{limit}.</p></section>"
    )


def index_file_buttons(busy: bool = False) -> str:
    """The two buttons for index files, see web/index_file.js."""
    shut = " disabled" if busy else ""
    return (
        '<section class="index-file"><h2>Index file</h2><div class="ways">'
        f'<button type="button" class="quiet" data-action="download"{shut}>Download the index</button>'
        f'<label class="quiet"><input type="file" accept=".zip" class="hidden"{shut}>'
        '<span class="index-file-words">Open an index</span></label></div>'
        '<p class="hint">A .zip with the vectors, words and pictures of all pages. Opening one adds its '
        "pages without reading them again; it must come from the same encoder.</p></section>"
    )


def packing(pages: int) -> str:
    return _waits("Packing", f"Packing {plural(pages, 'page')}", "the download begins when it is done")


def opening(names: Sequence[str]) -> str:
    return _waits("Opening", f"Opening {plural(len(names), 'index file')}", ", ".join(names))


def _waits(label: str, what: str, more: str) -> str:
    return (
        f'<section class="progress" aria-label="{label}"><p><b>{safe(what)}</b><span>{safe(more)}</span></p>'
        f'<div role="progressbar" aria-label="{label}" class="unknown"><i></i></div></section>'
    )


def packed(name: str, pages: int, size: int) -> str:
    """The index file is packed and the download has started."""
    return (
        f'<section class="outcome good" role="status"><h2>{plural(pages, "page")} packed</h2>'
        f"<p>{safe(name)}, {bytes_text(size)}, is being downloaded.</p></section>"
    )


def not_packed(message: str) -> str:
    return (
        f'<section class="outcome warn" role="alert"><h2>The index was not packed</h2>'
        f"<p>{safe(message)}</p></section>"
    )


def opened(name: str, added: int, held: int, left_out: str = "") -> str:
    """Pages of an index file were added. `held`: number of pages in the file, including duplicates.

    left_out: why not all of its pages were taken.
    """
    if left_out:
        return (
            f'<section class="outcome warn" role="alert"><h2>{plural(added, "page")} added</h2>'
            f"<p>{safe(left_out)}</p></section>"
        )
    here = f"; {plural(held - added, 'page')} of it were here already" if held > added else ""
    here = here.replace("1 page of it were", "1 page of it was")
    title = f"{plural(added, 'page')} added" if added else "Nothing new"
    return (
        f'<section class="outcome good" role="status"><h2>{title}</h2>'
        f"<p>From {safe(name)}{here}.</p></section>"
    )


def not_opened(name: str, message: str) -> str:
    """A refused index file, with the reason."""
    return (
        f'<section class="outcome warn" role="alert"><h2>{safe(name)} was not opened</h2>'
        f"<p>{safe(message)}</p></section>"
    )


def outcome(ended: Outcome) -> str:
    """The result of an upload: pages added, duplicates, and each problem with its message."""
    problems, twice = list(ended.problems), list(ended.duplicates)
    kind = "warn" if problems or ended.error or ended.cancelled else "good"
    parts = [f"<h2>{_headline(ended)}</h2>"]
    if ended.error:
        parts.append(f'<p class="stopped">Indexing stopped early: {safe(ended.error)}</p>')
    if problems:
        items = "".join(f"<li>{_problem(problem)}</li>" for problem in problems)
        parts.append(f"<h3>{plural(len(problems), 'problem')}</h3><ul class='problems'>{items}</ul>")
    if notices := ended.notices:
        items = "".join(f"<li>{_notice(notice)}</li>" for notice in notices)
        parts.append(
            f"<details{' open' if len(notices) <= 3 else ''}><summary>{plural(len(notices), 'notice')} on "
            f"what was left out or is in doubt</summary><ul class='notices'>{items}</ul></details>"
        )
    if twice:
        items = "".join(f"<li><span>{safe(line)}</span></li>" for line in twice)
        parts.append(
            f"<details{' open' if len(twice) <= 3 else ''}><summary>{plural(len(twice), 'page')} already "
            f"in the index</summary><ul>{items}</ul></details>"
        )
    return f'<section class="outcome {kind}" role="status">{"".join(parts)}</section>'


def _headline(ended: Outcome) -> str:
    added = plural(ended.added, "page")
    blank = f", {plural(ended.blank, 'blank page')} left out" if ended.blank else ""
    if ended.cancelled:
        return f"Cancelled. {added} added so far and searchable{blank}"
    if ended.added or blank:
        return (
            f"{added} added in {ended.seconds:.1f} s{blank}" if ended.added else f"No page was added{blank}"
        )
    return "Nothing new" if ended.duplicates and not ended.problems else "No page was added"


def _problem(problem: ShownProblem) -> str:
    """The message with the file's name emphasised, or prefixed if the message lacks it."""
    name, message = problem.source, problem.message
    if message.startswith(name):
        return f"<b>{safe(name)}</b>{safe(message[len(name) :])}"
    return f"<b>{safe(name)}</b>: {safe(message)}"


def _notice(notice: ShownProblem) -> str:
    """The message with the file's name emphasised."""
    before, name, after = notice.message.partition(notice.source)
    return f"{safe(before)}<b>{safe(name)}</b>{safe(after)}"


def removed(what: str, pages: int) -> str:
    """Documents were removed, which can be undone."""
    return (
        f'<section class="outcome good" role="status"><h3>{safe(what)} removed</h3>'
        f"<p>{plural(pages, 'page')}. "
        '<button type="button" class="quiet" data-action="undo">Undo</button></p></section>'
    )


def put_back(pages: int) -> str:
    """The removal was undone, or it was too late."""
    title = f"{plural(pages, 'page')} put back" if pages else "It is too late to undo that"
    return f'<section class="outcome good" role="status"><h3>{title}</h3></section>'


def failed(message: str) -> str:
    """An upload that could not start."""
    return outcome(Outcome(0, (), (), 0.0, error=message))


def statistics(
    pages: int,
    bytes_per_page: Sequence[int],
    dim: int,
    kind: str = "float16",
    full: int = 0,
    budgets: Budgets = OURS,
) -> str:
    """Statistics of the index, and its size at each stop.

    Args:
        pages: their number; bytes_per_page: one per stop; dim: components of a vector.
        kind: the storage kind; full: bytes of the full vectors stored besides codes, or 0.
        budgets: the encoder's.
    """
    if not pages:
        return ""
    size = bytes_per_page[-1] * pages
    facts = (
        ("Pages", f"{pages:,}"),
        ("Vectors", f"{pages * budgets.full.r_c:,}"),
        ("Size", bytes_text(size)),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd class='num'>{value}</dd></div>" for name, value in facts)
    return (
        f'<section class="statistics" aria-label="Index"><dl>{cells}</dl>'
        f"{storage(bytes_per_page, pages, budgets)}"
        f'<p class="hint">One index holds {_kept(dim, kind)}, {budgets.full.r_c} a page; each stop reads a '
        "prefix of them."
        f"{f' The full vectors, {bytes_text(full)}, lie in a file.' if full else ''}</p></section>"
    )


def _kept(dim: int, kind: str) -> str:
    if kind == "float16":
        return f"{dim}-component float16 vectors"
    return f"{'PQ' if kind == 'pq' else kind} codes of {dim}-component vectors"


def limits(allowed: Limits) -> str:
    """The upload limits."""
    media = "MP4, MKV, WebM, MOV, MP3, M4A, WAV, OGG, FLAC and their subtitles, " if reads_media() else ""
    return (
        f'<p class="hint limits">PDF, PNG, JPEG, WebP, TIFF, BMP, GIF, {media}or a zip of them. '
        f"Up to {bytes_text(allowed.max_file_bytes)} a file, {allowed.max_pages:,} pages a file and "
        f"{allowed.max_session_pages:,} pages in all; {allowed.max_pixels // 1_000_000} megapixels a "
        f"picture. Files stay on this server for this session only and are dropped after "
        f"{_minutes(allowed.session_ttl_s)} without use.</p>"
        f'<details class="hint limits"><summary>All limits</summary><dl>{_all(allowed)}</dl></details>'
    )


def _all(allowed: Limits) -> str:
    requests = f"{allowed.requests_per_minute:,}" if allowed.requests_per_minute else "no bound"
    rows = (
        ("Uploads of a session", bytes_text(allowed.max_session_bytes)),
        ("Uploads of all sessions, at a time", bytes_text(allowed.max_upload_bytes)),
        (
            "A zip, unpacked",
            f"{bytes_text(allowed.max_archive_bytes)}, {allowed.max_archive_files:,} files, "
            f"{allowed.max_archive_ratio} times its packed size",
        ),
        ("Zips within a zip", "not opened"),
        ("Sessions at a time", f"{allowed.max_sessions:,}"),
        ("Requests that wait", f"{allowed.max_queue:,}"),
        ("Requests of one address in a minute", requests),
        ("Reading a page", f"{allowed.seconds_per_page:,g} s"),
        ("Reading a file", f"{allowed.seconds_per_file:,g} s"),
        ("One job", f"{allowed.seconds_per_job:,g} s"),
        ("Characters of a query", f"{allowed.max_query_characters:,}"),
        ("A session after its tab is closed", _minutes(allowed.leave_after_s)),
    )
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)


def _minutes(seconds: int) -> str:
    return plural(round(seconds / 60), "minute") if seconds < 7200 else plural(round(seconds / 3600), "hour")
