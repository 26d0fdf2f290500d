"""Video and sound as pages: key frames with times, words from subtitles or a model, and bad files."""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.core.config import LIMITS, Limits, Paths
from metaembed_demo.core.moments import moment_of
from metaembed_demo.core.types import Notice, Page, Problem, Skipped, Upload
from metaembed_demo.documents import media, subtitles, transcript
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import count_pages, read_files
from metaembed_demo.documents.sandbox import client
from tests.support.sample_files import make_pdf, only_problem, split
from tests.support.sample_media import film, slide, song, subtitle_file

pytest.importorskip("av")
RED, GREEN, BLUE = (Image.new("RGB", (640, 360), name) for name in ("red", "green", "blue"))


def told(pages: list[Page]) -> list[tuple[int, str, str]]:
    """Second, modality and words of each page, before any picture is read."""
    found = [(moment_of(page.source, page.number), page) for page in pages]
    return [(moment.seconds, moment.modality, page.text) for moment, page in found if moment]


def read_one(path: Path, limits: Limits = LIMITS) -> tuple[list[tuple[int, str, str]], list[str]]:
    pages, problems = split(uploads([path]), limits)
    return told(pages), [problem.message for problem in problems]


# Pictures and words


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_frames_and_subtitles_become_pages_in_order_of_time(tmp_path: Path, suffix: str) -> None:
    said = (
        []
        if suffix == ".webm"
        else [(1, "red it is"), (12, "still red"), (33, "now <i>green</i>\\Nas grass")]
    )
    path = film(tmp_path / f"talk{suffix}", [(30, RED), (15, GREEN)], said)
    spoken = [(0, "speech", "red it is still red"), (30, "speech", "now green as grass")] if said else []
    assert read_one(path) == (sorted([(0, "picture", ""), (30, "picture", ""), *spoken]), [])
    assert count_pages(uploads([path])) == 1


def test_a_frame_that_stays_is_one_page(tmp_path: Path) -> None:
    """And there is none more often than every ten seconds, whatever changes."""
    still, _ = read_one(film(tmp_path / "still.mp4", [(120, slide("The same for two minutes"))]))
    assert still == [(0, "picture", "")]
    restless = [(4, colour) for colour in (RED, GREEN, BLUE) * 4]
    seconds = [at for at, _, _ in read_one(film(tmp_path / "restless.mp4", restless, gop=1))[0]]
    assert np.diff(seconds).min() >= media.EVERY
    assert len(seconds) >= 3


def test_a_line_more_on_a_slide_is_another_page(tmp_path: Path) -> None:
    shown = [(20, slide("Three rules\n\n1. Breathe")), (20, slide("Three rules\n\n1. Breathe\n2. Wait"))]
    assert [at for at, _, _ in read_one(film(tmp_path / "slides.mp4", shown))[0]] == [0, 20]


def test_words_that_go_on_below_one_frame_are_told_by_the_minute(tmp_path: Path) -> None:
    said = [(5, "begin"), (64, "second minute"), (170, "late"), (185, "last")]
    found, problems = read_one(film(tmp_path / "long.mkv", [(200, RED)], said))
    assert found == [
        (0, "picture", ""),
        (0, "speech", "begin"),
        (64, "speech", "second minute"),
        (170, "speech", "late last"),
    ]
    assert not problems


def test_a_picture_is_read_as_any_picture_and_speech_as_it_is(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mp4", [(10, slide("Hydraulic press"))], [(1, "mind your fingers")])
    picture, speech = (read(page) for page in split(uploads([path]))[0])
    assert "Hydraulic press" in picture.text
    assert [word.text for word in speech.words] == ["mind", "your", "fingers"]
    assert speech.reading == ("Its words: subtitles in the file.",)
    assert speech.views == ()
    assert speech.language == "en"


def test_a_film_is_upright_with_square_pixels(tmp_path: Path) -> None:
    path = film(tmp_path / "tall.mp4", [(5, RED)], turned=90)
    [page], _ = split(uploads([path]))
    assert page.image is not None
    assert page.image.size == (360, 640)


def test_a_moment_is_said_once(tmp_path: Path) -> None:
    """Words of the second in which a frame comes, but before it, are with the frame."""
    beside = subtitle_file(tmp_path / "talk.srt", [(1, "one"), (65, "after")])
    beside.write_text(beside.read_text() + "\n00:01:04,900 --> 00:01:06,000\nbefore\n")
    words = media._Words(subtitles.read_file(beside), "")
    spans = media._spans([(0.0, RED), (64.95, GREEN)], words)
    assert [(span.start, words.until(span.stop)) for span in spans] == [(0, "one"), (64.95, "before after")]


def test_what_lies_between_far_key_frames_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "screen.mkv", [(30, slide("one")), (45, slide("two"))], gop=1000)
    found, [message] = read_one(path)
    assert found == [(0, "picture", "")]
    assert message.startswith("screen.mkv has no key frame from 0:00 to 1:14: a picture shown only meanwhile")


def test_a_file_of_subtitles_alone_is_read(tmp_path: Path) -> None:
    assert read_one(film(tmp_path / "words.mkv", [], [(3, "alone")])) == ([(3, "speech", "alone")], [])


def test_damaged_subtitles_leave_the_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mkv", [(12, RED)], [(at, f"word {at}") for at in range(1, 10)])
    real = subtitles._lines

    def damaged(packet: object) -> list[str]:
        import av

        if "5" in (said := "".join(real(packet))):  # as demuxing raises it
            raise av.error.InvalidDataError(1, "damaged")
        return [said]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subtitles, "_lines", damaged)
        assert read_one(path)[0] == [(0, "picture", ""), (0, "speech", "word 1 word 2 word 3 word 4")]


# Subtitles beside the file


@pytest.mark.parametrize("name", ["talk.srt", "talk.vtt", "talk.en.srt", "talk.EN.SRT"])
def test_subtitles_of_the_same_name(tmp_path: Path, name: str) -> None:
    path = song(tmp_path / "talk.mp3", 80)
    beside = subtitle_file(tmp_path / name, [(2, "good morning"), (70, "goodbye")])
    files = [Upload(beside, name), Upload(path, "talk.mp3")]
    spoken = [(2, "speech", "good morning"), (70, "speech", "goodbye")]
    pages, problems = split(files)
    assert (told(pages), problems) == (spoken, [])
    in_worker = [item.page for item in client.read_files(files) if isinstance(item, client.Rendered)]
    assert told(in_worker) == spoken
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.write(path, "in/talk.mp3")
        archive.write(beside, f"in/{name}")
    pages, problems = split(uploads([tmp_path / "box.zip"]))
    assert (told(pages), problems) == (spoken, [])
    assert pages[0].source == "box.zip/in/talk.mp3"


def test_subtitles_without_their_film_are_skipped(tmp_path: Path) -> None:
    subtitle_file(tmp_path / "other.srt", [(2, "good morning")])
    song(tmp_path / "talk.mp3", 3)
    _, problems = split(uploads([tmp_path]))
    [skipped] = [problem for problem in problems if isinstance(problem, Skipped)]
    assert skipped.source == "other.srt"
    assert "subtitles are read with a video or sound of the same name in the same upload" in skipped.message


def test_a_rolling_caption_says_each_line_once(tmp_path: Path) -> None:
    path = song(tmp_path / "talk.wav", 5)
    subtitle_file(
        tmp_path / "talk.vtt", [(0, "one &amp; two"), (1, "one &amp; two\n<c>three</c>"), (2, "three")]
    )
    assert [text for _, _, text in read_one_of_folder(tmp_path)] == ["one & two three"]
    assert path.exists()


def test_how_a_word_is_read_is_not_said(tmp_path: Path) -> None:
    song(tmp_path / "talk.wav", 5)
    subtitle_file(tmp_path / "talk.vtt", [(0, "<ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby>")])
    assert [text for _, _, text in read_one_of_folder(tmp_path)] == ["漢字"]


def test_large_subtitles_are_read_in_no_time_up_to_the_limit(tmp_path: Path) -> None:
    film(tmp_path / "talk.mp4", [(5, RED)])
    cues = [(at % 90_000, f"word{at}") for at in range(90_000)]
    beside = subtitle_file(tmp_path / "talk.srt", cues)
    started = monotonic()
    assert len(subtitles.read_file(beside)) == len(cues)
    assert monotonic() - started < 20
    beside.write_bytes(beside.read_bytes() * 2)
    with zipfile.ZipFile(tmp_path / "box.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "talk.mp4", "talk.mp4")
        archive.write(beside, "talk.srt")
    for name in ("talk.mp4", "box.zip/talk.mp4"):
        pages, problems = split(uploads([tmp_path]))
        assert [place(page) for page in pages if page.source == name] == [(name, 1)]
        [message] = [problem.message for problem in problems if problem.source == name]
        assert message.startswith(f"The subtitles beside {name} are ")
        assert "over the limit of 5 MB" in message


def place(page: Page) -> tuple[str, int]:
    return page.source, page.number


def test_damaged_subtitles_in_an_archive_are_told(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mp4", [(5, RED)])
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.write(path, "talk.mp4")
        archive.writestr("talk.srt", "1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    data = (tmp_path / "box.zip").read_bytes()
    (tmp_path / "box.zip").write_bytes(data.replace(b"hello", b"hallo"))
    pages, [notice] = split(uploads([tmp_path / "box.zip"]))
    assert told(pages) == [(0, "picture", "")]
    assert notice.message.startswith("The subtitles beside box.zip/talk.mp4 hold none that can be read. Save")


def read_one_of_folder(folder: Path) -> list[tuple[int, str, str]]:
    return told(split(uploads([folder]))[0])


def test_the_words_of_a_transcript_lie_on_its_page() -> None:
    text = "word " * 300 + "W" * 300 + " " + "今日は良い天気です" * 40
    lie_on_the_page(text, RED)
    lie_on_the_page("W" * transcript.MOST_LETTERS, Image.new("RGB", (900, 900)))


def lie_on_the_page(text: str, frame: Image.Image) -> None:
    image, words = transcript.drawn(text, frame)
    assert "".join(word.text for word in words) == text.replace(" ", "")
    assert max(image.size) <= 2000
    boxes = np.array([word.box for word in words])
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()
    assert (np.diff(boxes[:, 1]) >= 0).all()
    assert boxes[:, 1].min() * image.height > 500  # below the frame


# Sound


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".wav", ".ogg", ".flac"])
def test_sound_without_words_is_refused_with_the_fix(tmp_path: Path, suffix: str) -> None:
    message = only_problem(song(tmp_path / f"tune{suffix}", 2))
    assert "a file of the same name (.srt or .vtt) in the same upload, or set METAEMBED_SPEECH" in message


def test_a_film_whose_speech_is_not_read_says_so(tmp_path: Path) -> None:
    found, [message] = read_one(film(tmp_path / "talk.mp4", [(12, RED)], tone=12))
    assert found == [(0, "picture", "")]
    assert message.startswith("What is said in talk.mp4 was not read: there are no subtitles in it; add its")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights, which says the same of everything."""
    return tiny_whisper(tmp_path_factory.mktemp("whisper"))


def tiny_whisper(folder: Path) -> Path:
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizerFast,
    )

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|translate|>"]
    marks += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    made.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    made.add_tokens([AddedToken(f"<|{at / 50:.2f}|>", normalized=False) for at in range(1501)])
    tokenizer = WhisperTokenizerFast(tokenizer_object=made, bos_token=marks[0], eos_token=marks[0])
    at = {mark: made.token_to_id(mark) for mark in marks}
    config = WhisperConfig(
        vocab_size=made.get_vocab_size(),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        pad_token_id=at["<|endoftext|>"],
        bos_token_id=at["<|endoftext|>"],
        eos_token_id=at["<|endoftext|>"],
        decoder_start_token_id=at["<|startoftranscript|>"],
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    told = model.generation_config
    told._from_model_config = False  # or it is made again when the model is loaded
    told.no_timestamps_token_id, told.lang_to_id = at["<|notimestamps|>"], {"<|en|>": at["<|en|>"]}
    told.task_to_id = {"transcribe": at["<|transcribe|>"], "translate": at["<|translate|>"]}
    told.is_multilingual, told.max_initial_timestamp_index, told.max_new_tokens = True, 50, 12
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_speech_is_recognised_by_a_local_model(
    tmp_path: Path, whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "PATHS", Paths(speech=str(whisper)))
    pages, problems = split(uploads([song(tmp_path / "talk.mp3", 100)]))
    assert not problems
    assert [page.reading for page in pages] == [(f"Its words: recognised by {whisper.name}.",)] * len(pages)
    seconds = [at for at, _, _ in told(pages)]
    assert all(page.text for page in pages)
    assert seconds[0] < 30
    assert np.diff(seconds).min() >= media.LONGEST
    assert seconds[-1] >= 60


def test_a_model_that_cannot_be_loaded_leaves_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "PATHS", Paths(speech=str(tmp_path / "gone")))
    found, [message] = read_one(film(tmp_path / "talk.mp4", [(12, RED)], tone=12))
    assert found == [(0, "picture", "")]
    assert "gone (METAEMBED_SPEECH) cannot be loaded (OSError: there is no such folder)" in message


# Without the extra


def test_without_the_extra_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "talk.mp4", [(3, RED)])
    monkeypatch.setitem(sys.modules, "av", None)
    pages, [problem] = split(uploads([path, make_pdf(tmp_path / "report.pdf", 1)]))
    assert [page.source for page in pages] == ["report.pdf"]
    assert problem.message.startswith("talk.mp4 was skipped: it is a video or sound, which is read with the")
    assert 'pip install -c constraints.txt -e ".[media]"' in problem.message


# Bad files


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("void.mp4", b"", "is empty (0 bytes)"),
        ("notes.mp4", b"Minutes of the meeting", "not a video or sound, as its name says, but text (.mp4)"),
        ("head.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0isom", "is cut off or damaged"),
        ("noise.mkv", b"\x1aE\xdf\xa3" + bytes(range(256)) * 40, "is cut off or damaged"),
        ("noise.mp3", b"ID3\x03" + bytes(range(256)) * 40, ""),
        ("song.bin", b"fLaC" + bytes(99), "is a video or sound, but not named as one. Rename it to end in"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", "not a video or sound, as its name says"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in only_problem(tmp_path / name)


def test_a_picture_named_as_a_film(tmp_path: Path) -> None:
    RED.save(tmp_path / "red.mp4", "PNG")
    assert "is not a video or sound, as its name says" in only_problem(tmp_path / "red.mp4")


def test_a_film_that_is_cut_off(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", [(30, RED), (60, slide("x"))]).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    assert "is cut off or damaged, and cannot be opened" in only_problem(tmp_path / "cut.mp4")
    quick = film(tmp_path / "quick.mp4", [(30, RED), (60, slide("x"))], movflags="faststart").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(quick[: len(quick) // 2])
    found, [message] = read_one(tmp_path / "cut.mp4")
    assert found[0] == (0, "picture", "")
    assert message.startswith("cut.mp4 says that it is 1:30 long, but what can be read of it ends at ")


@pytest.mark.parametrize("first", [b"wide", b"mdat"])
def test_an_old_quicktime_film_names_no_type(tmp_path: Path, first: bytes) -> None:
    path = film(tmp_path / "old.mov", [(12, RED)])
    data = path.read_bytes()
    size, at = int.from_bytes(data[:4], "big"), data.index(b"mdat") - 4
    assert data[4:8] == b"ftyp"
    if first == b"wide":
        begin = struct.pack(">I4sI4s", 8, b"wide", size - 8, b"free")
    else:  # that box holds all up to the end of the one that has the frames
        begin = struct.pack(">I4s", at + int.from_bytes(data[at : at + 4], "big"), b"mdat")
    path.write_bytes(begin + data[len(begin) :])
    assert read_one(path) == ([(0, "picture", "")], [])


def test_a_film_that_says_it_is_ten_hours_long(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mkv", [(12, RED)])
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # the element Duration: milliseconds
    data[place : place + 8] = struct.pack(">d", 36_000_000)
    path.write_bytes(data)
    assert count_pages(uploads([path])) <= LIMITS.max_pages
    found, [message] = read_one(path)
    assert found == [(0, "picture", "")]
    assert "says that it is 10:00:00 long, but what can be read of it ends at 0:" in message


def test_a_film_of_no_length(tmp_path: Path) -> None:
    path = film(tmp_path / "none.mp4", [(1, RED)])
    data = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data.replace(b"stsz", b"free").replace(b"stco", b"free"))
    assert only_problem(tmp_path / "cut.mp4")


def test_limits_of_a_film_are_told(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mp4", [(20, RED), (20, GREEN), (20, BLUE)], [(1, "one"), (21, "two")])
    found, [message] = read_one(path, LIMITS.model_copy(update={"max_pages": 3}))
    assert [(at, kind) for at, kind, _ in found] == [(0, "picture"), (0, "speech"), (20, "picture")]
    assert "has more than 3 pages, the limit. It was read up to 0:20; split the file" in message
    found, [message] = read_one(path, LIMITS.model_copy(update={"max_pixels": 10_000}))
    assert not found
    assert "has frames of 640 x 360 pixels, over the limit of 10,000 in all" in message


def test_the_reading_process_reads_a_film_and_outlives_a_bad_one(tmp_path: Path) -> None:
    film(tmp_path / "b.mp4", [(12, RED)], [(1, "hello")])
    (tmp_path / "a.mp4").write_bytes((tmp_path / "b.mp4").read_bytes()[:900])
    found = list(client.read_files(uploads([tmp_path])))
    problems = [item for item in found if isinstance(item, Problem)]
    assert [problem.source for problem in problems] == ["a.mp4"]
    assert told([item.page for item in found if isinstance(item, client.Rendered)]) == [
        (0, "picture", ""),
        (0, "speech", "hello"),
    ]


def test_a_query_is_no_film(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mp4", [(3, RED)])
    found = client.read_picture(Upload(path, "talk.mp4"))
    assert isinstance(found, Problem)
    assert "is neither a picture nor a PDF" in found.message


def test_a_notice_names_a_moment(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mp4", [(12, Image.new("RGB", (640, 360)))], [(1, "x " * 3000)])
    pages, [notice] = split(uploads([path]))
    assert read(pages[0]).notices == ("is blank, and was left out.",)
    assert isinstance(notice, Notice)
    assert notice.message.startswith("talk.mp4 at 0:00 (speech) has more than 4,000 letters")


def test_read_files_is_lazy(tmp_path: Path) -> None:
    """A page comes before the next frame is decoded, but for the one that ends it."""
    path = film(tmp_path / "talk.mp4", [(20, RED), (20, GREEN), (20, BLUE)])
    assert isinstance(next(iter(read_files(uploads([path])))), Page)


def test_a_long_stretch_without_anything_new_is_told(tmp_path: Path) -> None:
    """So that reading is not taken for one that hangs."""
    path = film(tmp_path / "still.mp4", [(100, RED)])
    found, messages = read_one(path, LIMITS.model_copy(update={"seconds_per_page": 0.0}))
    assert found == [(0, "picture", "")]
    assert messages
    assert all(message.startswith("still.mp4 has nothing new to read from ") for message in messages)


def test_subtitles_that_hold_none_are_told(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mp4", [(12, RED)], [(1, "hello")])
    (tmp_path / "talk.srt").write_text("nothing of the kind")
    pages, [notice] = split(uploads([tmp_path]))
    assert told(pages) == [(0, "picture", ""), (0, "speech", "hello")]
    assert notice.message.startswith(f"The subtitles beside {path.name} hold none that can be read. Save")
