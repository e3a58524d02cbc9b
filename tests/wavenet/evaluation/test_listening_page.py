"""The listening page: one file that plays, says what is so, and lets no name become markup."""

import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wavenet.errors import AudioDecodeError
from wavenet.evaluation.baselines import Baselines
from wavenet.evaluation.listening_page import (
    UNKNOWN,
    ListeningPage,
    StemSection,
    TakeTable,
    format_number,
    format_seconds,
    format_share,
    write_listening_page,
)
from wavenet.evaluation.plots import plot_loss, plot_mel, plot_onsets

SAMPLE_RATE = 8000
NASTY = "\"bass\" & 'sub' <script>alert(1)</script> Контрабас"
CHROMIUM = shutil.which("chromium")


class PageReader(HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write_clip(folder: Path, name: str, seconds: float = 0.5) -> tuple[Path, Path]:
    """A float clip that exceeds full scale here and there, and its mel spectrogram."""
    noise = np.random.default_rng(len(name)).normal(0, 0.4, round(seconds * SAMPLE_RATE))
    waveform = noise.astype(np.float32)
    wav, png = folder / f"{name}.wav", folder / f"{name}.png"
    soundfile.write(wav, waveform, SAMPLE_RATE, subtype="FLOAT")
    plot_mel(waveform, SAMPLE_RATE, png)
    return wav, png


BASELINES = Baselines(uniform=8.0, unigram=5.0, order2=3.75, order4=3.5, unresolved=3.0)


def create_section(folder: Path, stem: str, with_reference: bool) -> StemSection:
    take, take_mel = write_clip(folder, f"take-{with_reference}")
    plot_onsets(np.zeros(100), SAMPLE_RATE, folder / "onsets.png")
    reference, reference_mel = write_clip(folder, "reference") if with_reference else (None, None)
    loss_curve = folder / "loss.png"
    plot_loss([], {"uniform": 8.0}, loss_curve)
    return StemSection(
        stem, heldout_bits=2.95, baselines=BASELINES, quantization_snr_db=37.4,
        train_seconds=1450.0, heldout_seconds=361.5, steps=1200, num_parameters=96320,
        receptive_field_seconds=0.128, take=take, take_mel=take_mel, reference=reference,
        reference_mel=reference_mel, loss_curve=loss_curve, take_onsets=folder / "onsets.png",
        reference_onsets=folder / "onsets.png" if with_reference else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> ListeningPage:
    folder = tmp_path_factory.mktemp("page")
    mix, mix_mel = write_clip(folder, "mix")
    return ListeningPage(
        title="An evening", mix=mix, mix_mel=mix_mel, mix_loudness_lufs=-18.24, sample_rate=SAMPLE_RATE,
        seconds=0.5, clip_mode="rescale",
        stems=[create_section(folder, "drums", True), create_section(folder, NASTY, False)],
        tracks=[("song-01", "train, 24.0 s")], set_aside=[("notes.txt.mp3", "not audio at all")],
        notes=["Trained on a laptop."], config_yaml="ingest:\n  sample_rate: 8000\n",
    )  # fmt: skip


def render(page: ListeningPage, folder: Path) -> str:
    write_listening_page(page, folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def read(page: ListeningPage, folder: Path) -> PageReader:
    return PageReader(render(page, folder))


def decode_clip(uri: str | None) -> tuple[NDArray[np.int16], int, str]:
    assert uri is not None
    content = base64.b64decode(uri.removeprefix("data:audio/wav;base64,"), validate=True)
    samples, sample_rate = soundfile.read(io.BytesIO(content), dtype="int16")
    return samples, sample_rate, soundfile.info(io.BytesIO(content)).subtype


def test_every_clip_has_a_player_and_every_player_a_name(page, tmp_path):
    players = read(page, tmp_path).all("audio")
    assert [player["aria-label"] for player in players] == [
        "Mix", "Generated drums", "Real drums", f"Generated {NASTY}",
    ]  # fmt: skip
    assert all("controls" in player for player in players)


def test_every_picture_has_a_description(page, tmp_path):
    pictures = read(page, tmp_path).all("img")
    assert len(pictures) == 1 + 5 + 3
    assert all(picture["alt"] for picture in pictures)


def test_page_refers_to_nothing_outside_itself(page, tmp_path):
    reader = read(page, tmp_path)
    references = [
        value or "" for _, attributes in reader.elements for name, value in attributes.items()
        if name in {"src", "href", "srcset", "poster", "action", "data"}
    ]  # fmt: skip
    assert references
    assert all(reference.startswith("data:") for reference in references)
    shell = re.sub(r"data:[\w/]+;base64,[\w+/=]+", "", render(page, tmp_path))
    assert "://" not in shell
    assert "url(" not in shell
    assert "@import" not in shell


@pytest.mark.parametrize("field", ["title", "tracks", "set_aside", "notes", "config_yaml", "clip_mode"])
def test_names_never_become_markup(page, tmp_path, field):
    value = {"tracks": [(NASTY, NASTY)], "set_aside": [(NASTY, NASTY)], "notes": [NASTY]}.get(field, NASTY)
    nasty = replace(page, **{field: value})
    reader = read(nasty, tmp_path)
    assert len(reader.all("script")) == 1  # the page's own
    assert NASTY in reader.text


def test_stem_names_never_leave_their_attributes(page, tmp_path):
    reader = read(page, tmp_path)
    assert len(reader.all("script")) == 1
    assert reader.text.count(NASTY) == 3  # control, table, heading
    known = {"alt", "aria-label", "aria-labelledby", "id", "src", "controls", "preload", "width", "height"}
    assert {name for found in reader.all("audio") + reader.all("img") for name in found} <= known


def test_embedded_mix_decodes_to_the_samples_that_were_given(page, tmp_path):
    samples, sample_rate, subtype = decode_clip(read(page, tmp_path).all("audio")[0]["src"])
    given = soundfile.read(page.mix, dtype="float32")[0]
    assert (sample_rate, subtype) == (SAMPLE_RATE, "PCM_16")
    assert np.abs(given).max() > 1
    np.testing.assert_array_equal(samples, np.clip(np.rint(given * 32768), -32768, 32767))


def test_samples_that_were_16_bit_stay_as_they_were(page, tmp_path):
    codes = np.array([-32768, -32767, -1, 0, 1, 12345, 32767], np.int16)
    soundfile.write(tmp_path / "codes.wav", (codes / 32768).astype(np.float32), SAMPLE_RATE, subtype="FLOAT")
    reader = read(replace(page, mix=tmp_path / "codes.wav"), tmp_path)
    np.testing.assert_array_equal(decode_clip(reader.all("audio")[0]["src"])[0], codes)


def test_same_page_gives_same_bytes(page, tmp_path):
    assert render(page, tmp_path) == render(page, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_table_says_how_far_below_the_best_baseline_a_stem_is(page, tmp_path):
    text = read(page, tmp_path).text
    assert "\N{MINUS SIGN}16%" in text
    assert all(number in text for number in ("2.95", "3.50", "3.75", "5.00", "8.00", "37.4"))


def test_takes_on_the_way_are_heard_and_seen_by_step(page, tmp_path):
    wav, png = write_clip(tmp_path, "early")
    drums = replace(page.stems[0], on_the_way=[(5000, wav, png), (35000, wav, png)])
    reader = read(replace(page, stems=[drums]), tmp_path)
    assert "Step 5,000" in reader.text
    assert "Step 35,000" in reader.text
    assert sum("after 5,000 steps" in (a.get("aria-label") or "") for a in reader.all("audio")) == 1
    assert "While it learned" not in read(page, tmp_path).text


def test_scores_of_takes_are_a_table_of_their_own(page, tmp_path):
    table = TakeTable(["Take", "Badness"], [["Range", UNKNOWN], ["take.wav", "0.42"], [NASTY, "7.10"]])
    drums, other = page.stems
    reader = read(replace(page, stems=[replace(drums, scores=table), other]), tmp_path)
    assert "Takes, the best first" in reader.text
    assert reader.text.index("take.wav") < reader.text.index("0.42") < reader.text.index("7.10")
    assert NASTY in reader.text
    assert len(reader.all("script")) == 1
    assert [one["id"] for one in reader.all("h4")] == ["scores-1"]
    assert "Takes, the best first" not in read(page, tmp_path).text


def test_missing_values_are_dashes(page, tmp_path):
    drums = replace(page.stems[0], heldout_bits=float("nan"), quantization_snr_db=None)
    text = read(replace(page, stems=[drums], mix_loudness_lufs=None), tmp_path).text
    assert "nan" not in text.lower()
    assert "None" not in text
    assert "Too quiet or too short" in text


def test_what_was_set_aside_is_listed_with_its_reason(page, tmp_path):
    text = read(page, tmp_path).text
    assert "notes.txt.mp3" in text
    assert "not audio at all" in text


def test_page_says_that_nothing_was_set_aside(page, tmp_path):
    assert "Nothing: every audio file" in read(replace(page, set_aside=[]), tmp_path).text


def test_headings_are_in_order(page, tmp_path):
    levels = [int(tag[1]) for tag, _ in read(page, tmp_path).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


def test_identifiers_are_unique_and_every_label_exists(page, tmp_path):
    attributes = [pair for _, found in read(page, tmp_path).elements for pair in found.items()]
    identifiers = [value for name, value in attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    named = {value for name, value in attributes if name in {"aria-labelledby", "data-take"}}
    assert named <= set(identifiers)


def test_one_stem_alone_has_no_band_to_play(page, tmp_path):
    reader = read(replace(page, stems=page.stems[:1]), tmp_path)
    assert not reader.all("progress")
    assert "by 1 WaveNet," in reader.text


def test_a_name_with_stray_bytes_can_be_written(page, tmp_path):
    assert "caf\\udce9.wav" in render(replace(page, set_aside=[("caf\udce9.wav", "odd")]), tmp_path)


def test_a_broken_clip_is_named_and_no_page_appears(page, tmp_path):
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioDecodeError, match=r"torn\.wav"):
        write_listening_page(replace(page, mix=tmp_path / "torn.wav"), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.128, "128 ms"), (0.9999, "1.0 s"), (10, "10.0 s"), (59.97, "1 min 0 s"), (361.5, "6 min 2 s"),
     (3599.7, "1 h 0 min"), (28800, "8 h 0 min")],
)  # fmt: skip
def test_lengths_are_in_words(seconds, words):
    assert format_seconds(seconds) == words


def test_numbers_have_true_minus_signs_and_no_minus_zero():
    assert format_number(-1234.56, 1) == "\N{MINUS SIGN}1,234.6"
    assert format_number(-0.0001, 1) == "0.0"
    assert format_number(float("inf")) == UNKNOWN
    assert format_share(2.95, 5.0) == "\N{MINUS SIGN}41%"
    assert format_share(5.5, 5.0) == "+10%"


PROBE = """<script>
addEventListener("load", async () => {
  const players = [...document.querySelectorAll("audio")];
  const known = player => player.readyState >= 1 || new Promise(done => player.onloadedmetadata = done);
  await Promise.all(players.map(known));
  document.body.dataset.durations = players.map(player => player.duration).join(" ");
  document.body.dataset.pictures = [...document.images].map(image => image.naturalWidth).join(" ");
  document.body.dataset.band = document.getElementById("band").hidden ? "hidden" : "shown";
});
</script>"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_plays_every_clip_and_shows_every_picture(page, tmp_path):
    probed = render(page, tmp_path).replace("</body>", PROBE + "</body>")
    (tmp_path / "page.html").write_text(probed, encoding="utf-8")
    body = next(iter(PageReader(open_in_chromium(tmp_path / "page.html", tmp_path / "profile")).all("body")))
    assert [float(seconds) for seconds in (body["data-durations"] or "").split()] == [0.5] * 4
    assert (body["data-pictures"] or "").split() == ["840"] * 9
    assert body["data-band"] == "shown"


def open_in_chromium(path: Path, profile: Path) -> str:
    """The page's DOM once it has settled."""
    switches = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
                f"user-data-dir={profile}", "virtual-time-budget=10000", "dump-dom"]  # fmt: skip
    command = [str(CHROMIUM), *(f"--{switch}" for switch in switches), path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
