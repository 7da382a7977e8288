"""Argument lists drawn at random: every one ends with exit code 0 or 2, and at most one error line.

300 lists in the gate; more with ``LOOPSCOPE_FUZZ=10000 pytest tests/app/test_cli_fuzz.py``. What is
drawn depends on the number of the list alone, so that a failing one can be run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import ARGUMENT_LISTS
from models import tiny_architecture, tiny_checkpoint

from loopscope.app.cli.main import main
from loopscope.app.cli.parser import build_parser
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.training import Training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

# What takes minutes when it is asked for rightly, in place of which the fuzzer is told so.
LONG = (
    "loopscope.app.cli.desktop.make_window",
    "loopscope.app.cli.probe.probe",
    # Start processes, and one of them waits for Ctrl-C.
    "loopscope.core.remote.cluster.serving",
    "loopscope.core.remote.cluster.connected",
)
# Left out, these take their time: nearly always given.
SHORTENING = ("format", "examples", "steps", "measures", "deep")
# Looks at the machine, not at what it is given; writes where no argument says.
LEFT_OUT = {"doctor", "install-desktop"}
NASTY = (
    "", " ", "-", "--", "-1", "0", "1e999", "nan", "-inf", "1_0", "0x10", "²", "\u0663", "9" * 400,
    "1" * 5000, "x" * 5000, "../..", "~", "~nobody-at-all", "/", "/dev/null", "/dev/full", "pipe",
    "\udcff", "\x1b[31m", "a\nb", "\u202e", "é", "%s", "{}", "#1,2", "#", "a,b", ":", "3:", "1:2:3",
    "bundled:", "bundled:no", "None", "true", "'", '"', "-o", "--help me", "\ufffe", "🦜",
)  # fmt: skip
# Values that make sense, by the name that the parser keeps them under; small, to be quick.
SENSE: dict[str, tuple[str, ...]] = {
    "path": (
        "tiny",
        "tiny",
        "tiny",
        "tiny",
        "bundled:looped",
        "bundled:deep",
        "broken",
        "empty",
        "file.txt",
        "nowhere",
    ),
    "paths": ("tiny", "bundled:looped", "broken", "file.txt", "nowhere"),
    "start": ("tiny", "bundled:looped", "nowhere"),
    "deep": ("16", "17", "9"),
    "keep_every": ("1", "2", "0"),
    "on": ("tcp://127.0.0.1:1", "nowhere"),
    "prompt": ("ab ba ? 1 : a b", "a", "é", "#1,2,3", "a" * 300),
    "token_ids": ("1,2,3", "1 2", "0", "38", "39", "-1", "1,,2", "99999999999999999999"),
    "prompts": ("prompts.txt", "prompts.jsonl", "bundled:hops", "nowhere", "3"),
    "recurrences": ("1", "2", "3", "3", "0", "100001"),
    "seed": ("0", "7", str(2**63 - 1), str(2**63)),
    "output": ("out.npz", "out.json", "out", "no/out.json", "file.txt", "dir.json"),
    "interventions": ("cuts.json", "deep.json", "file.txt", "nowhere"),
    "initial_state": ("state.npy", "bad.npy", "file.txt"),
    "loop": ("1:3", "0:1", "3:1", "5:99"),
    "damping": ("0.5", "1", "2"),
    "measures": ("all", "state_norm", "settling_classes", "nothing", "state_norm,,"),
    "format": ("graphml", "dot", "csv", "bmp", ","),
    "dpi": ("50",),
    "examples": ("1", "3"),
    "hops": ("1", "2", "10"),
    "letters": ("3", "8", "99"),
    "steps": ("1", "2"),
    "batch": ("1", "4"),
    "learning_rate": ("0.001",),
    "kept": ("0.5", "2"),
    "slack": ("1", "0"),
    "pace": ("1", "0"),
    "finishing": ("1", "2"),
    "passes": ("1", "2"),
    "d_model": ("16", "8", "12"),
    "block": ("1", "2"),
    "threads": ("1",),
    "vocabulary": ("257", "300"),
    "corpus": ("corpus.txt", "file.txt"),
    "size": ("500x400",),
    "screenshot": ("w.png", "w.jpg"),
    "view": ("settling", "lens", "nothing"),
    "measure": ("settling", "nothing"),
    "set": ("tolerance=1e-3", "tolerance", "=", "window=1e9"),
    "device": ("cpu",),
    "source": ("tiny", "tiny/model.safetensors", "empty", "file.txt", "nowhere", "bad.pt"),
    "config": ("tiny/config.json", "cuts.json", "nowhere"),
    "map": ("file.txt", "nowhere"),
    "tokenizer": ("tiny/tokenizer.json", "nowhere"),
}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with files good and bad; long work ends at once, threads stay what they were."""
    monkeypatch.chdir(tmp_path)
    tiny_checkpoint(Path("tiny"), tiny_architecture())
    tiny_checkpoint(Path("broken"))
    weights = Path("broken/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-9])
    for name in ("empty", "dir.json", "dir.npz"):
        Path(name).mkdir()
    Path("file.txt").write_text("not what you think\n")
    Path("prompts.txt").write_text("ab ba ? 1 : a b\n\na\n")
    Path("prompts.jsonl").write_text('{"prompt": "ab ba ? 1 : a b", "answer": "ba"}\n')
    Path("cuts.json").write_text('[{"kind": "noise", "recurrence": 1, "last": 1, "size": 0.5}]')
    Path("deep.json").write_text("[" * 5000)
    Path("corpus.txt").write_text("a line of the corpus with words in it\n" * 400)
    np.save("state.npy", np.zeros((3, 16), np.float32))
    Path("bad.npy").write_bytes(Path("state.npy").read_bytes()[:-7])
    Path("bad.pt").write_bytes(b"no pickle")
    os.mkfifo("pipe")

    def ends(*arguments: object, **more: object) -> object:
        raise LoopscopeError("long work")

    for name in LONG:
        monkeypatch.setattr(name, ends)
    monkeypatch.setattr(Training, "length", property(lambda self: min(self.plan.steps, 2)))
    monkeypatch.setattr("loopscope.app.cli.train.EVALUATED", 2)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {name: p for name, p in commands.choices.items() if name not in LEFT_OUT}


def value(action: argparse.Action, draw: random.Random, sane: float) -> str:
    if draw.random() > sane:
        return draw.choice(NASTY)
    if action.choices:
        return str(draw.choice(list(action.choices)))
    values = SENSE.get(action.dest, NASTY)
    # The first are those that mostly work.
    return values[min(draw.randrange(len(values)) for _ in range(2 if sane < 1 else 4))]


def arguments(number: int) -> list[str]:
    """The argument list of this number."""
    draw = random.Random(number)
    table = parsers()
    command = draw.choice(list(table))
    # Mostly sensible lists come far, others end in the parser.
    sane = draw.choice((1.0, 1.0, 0.97, 0.9, 0.6))
    made = [command]
    groups = table[command]._mutually_exclusive_groups
    chosen = {id(draw.choice(g._group_actions)) for g in groups}
    others = {id(a) for g in groups for a in g._group_actions} - chosen
    for action in table[command]._actions:
        wanted = action.required or not action.option_strings
        wanted |= action.dest in SHORTENING or id(action) in chosen
        if isinstance(action, argparse._HelpAction) or draw.random() > (0.97 if wanted else 0.15):
            continue
        if id(action) in others and draw.random() < sane:
            continue
        if action.option_strings:
            made.append(draw.choice(action.option_strings))
        if action.nargs != 0:
            made += [value(action, draw, sane) for _ in range(draw.choice((0, 1, 2)))
                     if action.nargs == "*"]  # fmt: skip
            made += [] if action.nargs == "*" else [value(action, draw, sane)]
    if draw.random() > sane:
        made.insert(draw.randrange(len(made) + 1), draw.choice(NASTY))
    return made


def test_any_arguments_end_in_one_line(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failures, done, words = [], 0, set()
    for number in range(ARGUMENT_LISTS):
        given = arguments(number)
        try:
            code: object = main(list(given))
        except BaseException as error:
            code = repr(error)
        errors = capsys.readouterr().err
        done += code == 0
        words |= set(re.findall(r"error: (\w+ \w+)", errors))
        told = [line for line in errors.splitlines() if line.startswith("loopscope: error: ")]
        others = [line for line in errors.splitlines() if line not in told]
        strange = [
            line for line in others
            if line and not line.startswith(("loopscope: ", "resuming at", "stopped; "))
        ]  # fmt: skip
        if code not in (0, 2) or len(told) != (code == 2) or strange:
            failures.append((number, given, code, told, strange[:3]))
    assert not failures, f"{len(failures)}: {json.dumps(failures[:5], default=str)[:4000]}"
    # That many lists are refused at once is no test of what lies behind.
    assert done > ARGUMENT_LISTS // 10
    # Of which there are only so many.
    assert len(words) > min(ARGUMENT_LISTS, 1000) // 25
