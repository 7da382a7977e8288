"""What is remembered: every key of a damaged file is held to what it declares."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import get_type_hints

import pytest

from loopscope.app.window.settings import (
    DAMAGED,
    FILE,
    Settings,
    absolute,
    is_there,
)
from loopscope.core.sessions.view_settings import read_settings
from loopscope.core.views.settling import Options

GOOD = {
    "theme": "dark",
    "size": [1111, 777],
    "layout": "000000ff",
    "geometry": "01d9",
    "checkpoint": "/models/a",
    "prompts": {"/models/a": "ab bc ? 2 : a b"},
    "history": ["ab bc ? 2 : a b"],
    "recent": ["/models/a", "bundled:looped"],
    "families": {"/models/a": "llama"},
    "prompt_file": "/prompts.txt",
    "session": "/sessions/a.loopscope.json",
    "address": "tcp://localhost:8786",
    "seed": 7,
    "start": "random",
    "start_scale": 2,
    "patterns": False,
    "recurrences": 12,
    "interventions": [{"kind": "zero", "recurrence": 2, "last": 2, "layer": -1}],
    "device": "cpu",
    "dtype": "bfloat16",
    "speed": 8,
    "text_size": 130,
    "step_pairing": "own",
    "options": {"settling": {"tolerance": 0.01}},
    "export": {"formats": ["pdf"], "preset": "slide", "dpi": 300, "folder": "/out"},
}
NESTED: object = 1
for _ in range(40):
    NESTED = [NESTED]
# Values that suit no key: of a wrong type, out of every range, or not to be written or given on.
NOWHERE = [None, True, -1, 10**30, float("nan"), float("inf"), "\ud800", "a\0b", NESTED, {"a": NESTED},
           [None], [[]], {"a": 5, "": None}, {"k": {"\ud800": 1}}]  # fmt: skip


def load(tmp_path: Path, text: str | bytes) -> Settings:
    (tmp_path / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Settings.load(tmp_path)


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    settings = load(tmp_path, json.dumps(GOOD))
    assert {name: getattr(settings, name) for name in GOOD} == GOOD
    assert settings.problem == ""
    assert not (tmp_path / DAMAGED).exists()
    settings.save(tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == GOOD
    # Every field is in the table above, so every key is tried below.
    assert set(get_type_hints(Settings)) - {"problem"} == set(GOOD)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_value_that_does_not_suit_its_key_falls_back_alone(tmp_path: Path, key: str) -> None:
    default = Settings()
    # True suits a flag.
    for value in (v for v in NOWHERE if not (v is True and isinstance(GOOD[key], bool))):
        text = json.dumps(GOOD | {key: value})
        settings = load(tmp_path, text)
        found = {name: getattr(settings, name) for name in GOOD}
        assert found == GOOD | {key: getattr(default, key)}, value
        assert key in settings.problem
        assert str(tmp_path / FILE) in settings.problem
        assert DAMAGED in settings.problem
        assert "\n" not in settings.problem
        assert (tmp_path / DAMAGED).read_text() == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("theme", "pink"),
        ("size", [1280, 10**9]),
        ("size", [1280]),
        ("size", [1280.0, 800.0]),
        ("layout", "zz"),
        ("checkpoint", ""),
        ("recent", ["/a", 5]),
        ("recent", ["/a"] * 1000),
        ("prompts", {"/a": 5}),
        ("seed", 2**31),
        ("seed", 1.5),
        ("start", "anywhere"),
        ("start_scale", 1e9),
        ("recurrences", 10**10),
        ("interventions", [5]),
        ("device", "tpu"),
        ("dtype", "int8"),
        ("speed", 0),
        ("step_pairing", "fast"),
        ("options", {"state_space": 5}),
        ("export", {"dpi": 10**9}),
        ("export", {"surprise": 1}),
        ("export", {"formats": "pdf"}),
    ],
)
def test_a_value_out_of_its_range_falls_back(tmp_path: Path, key: str, value: object) -> None:
    settings = load(tmp_path, json.dumps(GOOD | {key: value}))
    assert getattr(settings, key) == getattr(Settings(), key)
    assert key in settings.problem


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        b'{"seed": ' + b"9" * 10_000 + b"}",
    ],
)
def test_a_file_that_is_no_object_is_kept_aside_and_said(tmp_path: Path, text: bytes) -> None:
    settings = load(tmp_path, text)
    assert {k: getattr(settings, k) for k in GOOD} == {k: getattr(Settings(), k) for k in GOOD}
    assert "is damaged" in settings.problem
    assert (tmp_path / DAMAGED).read_bytes() == text
    # Said once: the next start finds no damaged file.
    settings.save(tmp_path)
    assert Settings.load(tmp_path).problem == ""


def test_no_file_is_no_damage(tmp_path: Path) -> None:
    assert Settings.load(tmp_path / "nowhere").problem == ""


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / FILE)  # reading it would wait for ever
    else:
        (tmp_path / FILE).mkdir()
    assert "is damaged" in Settings.load(tmp_path).problem


def test_unknown_keys_are_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, json.dumps(GOOD | {"of a later version": 1})).problem == ""


def test_what_would_be_refused_is_not_saved(tmp_path: Path) -> None:
    settings = Settings(seed=2**40, theme="dark")  # a seed of the command line
    settings.save(tmp_path)
    again = Settings.load(tmp_path)
    assert (again.seed, again.theme, again.problem) == (0, "dark", "")


@pytest.mark.parametrize(
    ("saved", "fits"),
    [
        ({"tolerance": 0.25}, True),
        ({"tolerance": "0.25"}, False),
        ({"tolerance": True}, False),
        ({"tolerance": -1.0}, False),
        ({"tolerance": float("nan")}, False),
        ({"window": 4}, True),
        ({"window": 4.0}, False),
        ({"window": 10**9}, False),
        ({"no such setting": 1}, False),
    ],
)
def test_a_saved_setting_of_a_view_is_held_to_its_type_and_range(
    saved: dict[str, object], fits: bool
) -> None:
    options = Options()
    again = read_settings(options, saved)[0]
    if fits:
        ((name, value),) = saved.items()
        assert getattr(again, name) == value != getattr(options, name)
    else:
        assert again == options


def test_a_choice_is_one_of_its_choices() -> None:
    from loopscope.core.views.state_space.data import Options as StateSpace

    options = StateSpace()
    assert read_settings(options, {"axes": "readout"})[0].axes == "readout"
    for value in ("nowhere", 5, None, ["readout"]):
        assert read_settings(options, {"axes": value}) == (options, ["axes"])


def test_paths_are_remembered_so_that_another_start_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = absolute("m/x")
    monkeypatch.chdir("/")
    assert path == str(tmp_path / "m" / "x")
    assert is_there(path)
    assert absolute("~/m") == str(Path.home() / "m")
    assert absolute("bundled:looped") == "bundled:looped"
    assert is_there("bundled:looped")
    assert not is_there(str(tmp_path / "gone"))
    assert absolute("") == ""


def test_the_speed_that_has_no_end_comes_back(tmp_path: Path) -> None:
    settings = Settings()
    settings.remember_speed(float("inf"))
    settings.save(tmp_path)
    assert Settings.load(tmp_path).speed >= 1e9
