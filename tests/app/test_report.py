"""The page of a run: its numbers are the run's, and a browser draws them and asks nothing."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from loopscope.app.cli.main import main
from loopscope.app.report.content import Shown, content
from loopscope.app.report.packing import as_bytes, packed, recurrences_that_fit
from loopscope.app.report.page import write_page
from loopscope.core.checkpoint.loading import load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import heads as heads_view
from tests.app.browser import PROGRAM, Browser

PROMPT = "sq xn uk ql lu vx ns kv ? 3 : k q x s u v l n"


def run(recurrences: int, path: str = "bundled:looped", prompt: str = PROMPT) -> Recording:
    loaded = load_model(LoadRequest(path, "cpu"))
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(prompt))
    for _ in range(recurrences):
        stepper.step()
    return stepper.recording


@pytest.fixture(scope="module")
def recording() -> Recording:
    return run(6)


def unpack(part: dict) -> np.ndarray:
    kind = {"Float32Array": "<f4", "Uint8Array": "u1"}[part["array"]]
    return np.frombuffer(base64.b64decode(part["data"]), kind).reshape(part["shape"])


def parts(path: Path) -> dict:
    text = path.read_text("utf-8")
    match = re.search(r'id="data">([^<]*)</script>', text)
    assert match
    return json.loads(gzip.decompress(base64.b64decode(match[1])))


def test_an_array_comes_back_as_it_was() -> None:
    array = np.array([[1.5, np.nan], [-2, np.inf]], np.float32)
    np.testing.assert_array_equal(unpack(packed(array)), array)
    small = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(unpack(packed(small)), small)


def test_numbers_are_those_of_the_run(recording: Recording) -> None:
    page = content(Shown("a run", recording))
    states = recording.states.astype(np.float64)
    step = np.linalg.norm(states[1:] - states[:-1], axis=-1) / np.linalg.norm(states[1:], axis=-1)
    np.testing.assert_allclose(unpack(page["settling"]["values"]), step, rtol=1e-5)
    np.testing.assert_allclose(unpack(page["settling"]["median"]), np.median(step, 1), rtol=1e-5)
    patterns = recording.patterns
    assert patterns is not None
    kept = unpack(page["patterns"]["values"]).astype(np.float64) / 255
    heads = patterns[5].reshape(-1, *patterns.shape[-2:])
    assert page["patterns"]["recurrences"] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(kept[5], heads, atol=0.5 / 255 + 1e-6)
    change = np.linalg.norm(patterns[5] - patterns[4], axis=(-1, -2)).ravel()
    np.testing.assert_allclose(
        unpack(page["heads_change"]["values"])[5], change, rtol=1e-4, atol=1e-6
    )
    # Where distances span decades, their colours are on a log scale, as the window has it.
    window = heads_view.compute(recording, Selection(recurrence=6), heads_view.Options())
    assert (page["heads_change"]["near"], page["heads_change"]["far"]) == (window.near, window.far)
    answers = recording.answers("coda")
    assert answers is not None
    said = page["readout"]["texts"][page["readout"]["answers"][5][-1][0]]
    assert said == recording.label(int(answers.ids[5, -1, 0]))
    np.testing.assert_array_equal(
        unpack(page["readout"]["probabilities"])[5], answers.probabilities[5, :, :5]
    )
    assert page["provenance"] == recording.info.provenance()
    # Distances in the state space, and the share of them that three components keep.
    points = unpack(page["state_space"]["points"])
    assert points.shape == (recording.n_tokens, 7, 3)


def test_what_does_not_fit_is_left_out_and_said(recording: Recording) -> None:
    patterns = recording.patterns
    assert patterns is not None
    one = patterns[0].size
    page = content(Shown("a run", recording), 3 * one)
    kept = page["patterns"]["recurrences"]
    assert len(kept) == 3
    assert kept[0] == 1
    assert kept[-1] == 6
    assert f"3 of 6 recurrences (1, {kept[1]}, 6)" in page["thinned"][1]
    assert unpack(page["patterns"]["values"]).size == 3 * one


@pytest.mark.parametrize(
    ("n", "room"), [(1, 1), (64, 1), (64, 2), (64, 13), (64, 63), (64, 64), (500, 100)]
)
def test_as_many_recurrences_are_kept_as_fit(n: int, room: int) -> None:
    kept = recurrences_that_fit(n, 10, 10 * room + 9)
    assert len(kept) == min(n, room)
    assert sorted(set(kept)) == kept
    assert kept[-1] == n
    assert min(room, n) == 1 or kept[0] == 1


def test_a_probability_is_rounded_to_the_nearest_step() -> None:
    assert as_bytes(np.array([0, 1, 0.5, 1 / 255, np.nan], np.float32)).tolist() == [
        0,
        255,
        128,
        1,
        0,
    ]


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.html"
    asked = [
        "report",
        "bundled:looped",
        "--prompt",
        PROMPT,
        "--recurrences",
        "3",
        "--beside",
        "bundled:deep",
    ]
    assert main([*asked, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    page = parts(path)
    # What is not looped runs as it is, once.
    assert [(run["name"], run["recurrences"]) for run in page["runs"]] == [
        ("bundled:looped", 3),
        ("bundled:deep", 1),
    ]
    assert path.stat().st_size < 8 << 20


def test_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["report", "bundled:looped", "--prompt", PROMPT, "--recurrences", "1", "-o"]
    assert main([*asked, str(tmp_path / "no" / "page.html")]) == 2
    assert main([*asked, str(tmp_path / "page.txt")]) == 2
    monkeypatch.setattr("loopscope.app.report.page.find_spec", lambda name: None)
    assert main([*asked, str(tmp_path / "page.html")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "loopscope[report]" in lines[2]
    assert not list(tmp_path.iterdir())


def test_a_name_of_bytes_that_are_no_text_is_written_as_text(
    recording: Recording, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    write_page([Shown("m\udcff", recording)], path, "loopscope report m\udcff")
    assert parts(path)["runs"][0]["name"] == "m\ufffd"
    assert "<title>m\ufffd" in path.read_text("utf-8")


def test_a_run_without_a_recurrence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoopscopeError, match="no recurrence yet"):
        write_page([Shown("a run", run(0))], tmp_path / "page.html", "")


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")
def test_a_browser_draws_it_and_asks_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    # A name that would be markup or end the script, were it read as such.
    hostile = "</script><img src=http://127.0.0.1:9/x onerror=alert(1)>"
    write_page(
        [Shown(hostile, run(4)), Shown("deep", run(1, "bundled:deep"))], page, "loopscope report"
    )
    browser = Browser(page, tmp_path / "profile")
    try:
        assert browser.value("document.querySelector('h1').textContent") == f"{hostile} and deep"
        plots = "document.querySelectorAll('.run')[0].querySelectorAll('.plot')"
        look = (
            f"(() => {{ const p = {plots}; return {{ word: document.querySelector('output').textContent,"
            " dot: p[0].data.at(-1).x[0], line: p[1].layout.shapes?.[0]?.x0 ?? null, pattern: p[3].data[0].z.flat().join(),"
            " kept: document.querySelector('[data-panel=pattern] p:last-of-type').textContent,"
            " answer: document.querySelector('.answers td').textContent }; })()"
        )
        end = browser.value(look)
        move = "() => {{ const b = document.getElementById('recurrence'); b.value = {r}; b.dispatchEvent(new Event('input')); }}"
        browser.value(f"({move.format(r=1)})()")
        first = browser.value(look)
        assert (end["word"], first["word"]) == ("r = 4 of 4", "r = 1 of 4")
        assert (end["line"], first["line"]) == (4, 1)
        for key in ("dot", "pattern", "answer", "kept"):
            assert end[key] != first[key], key
        browser.value(f"({move.format(r=0)})()")
        assert "r = 0 is the start" in browser.value(
            "document.querySelector('.answers td').textContent"
        )
        # A token is chosen by its chip; the others fade.
        browser.value("document.querySelector('.tokens button').click()")
        assert (
            browser.value(
                f"new Set(Array.from({plots}[1].data.slice(0, 3), (d) => d.opacity)).size"
            )
            == 2
        )
        # Any head can be chosen, where one recurrence leaves no matrix to choose it in as well.
        second = "document.querySelectorAll('.run')[1]"
        assert browser.value(f"{second}.querySelectorAll('.plot')[2].hidden")
        assert not browser.value(f"{plots}[2].hidden")
        told = f"{second}.querySelector('[data-panel=pattern] p:last-of-type').textContent"
        assert browser.value(told) == "Head 0.0 at r = 1, the first recurrence kept."
        browser.value(
            f"(() => {{ const s = {second}.querySelector('select'); s.selectedIndex = 5;"
            " s.dispatchEvent(new Event('change')); })()"
        )
        assert browser.value(told) == "Head 1.1 at r = 1, the first recurrence kept."
        counts = f"{second}.querySelectorAll('p')[0].textContent"
        assert browser.value(counts).startswith("1 recurrence of a 12-layer block")
        ticks = f"{second}.querySelectorAll('.plot')[1].layout.xaxis.tickvals.join()"
        assert browser.value(ticks) == "1"
        assert browser.faults == []
        assert [
            url for url in browser.requests if not url.startswith(("file:", "blob:", "data:"))
        ] == []
    finally:
        browser.close()
