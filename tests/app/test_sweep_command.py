"""`loopscope sweep` and `loopscope serve` as processes: stopped with Ctrl-C, served, asked dry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopscope.app.cli.main import main
from loopscope.app.cli.sweep import duration, progress

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytest.importorskip("pyarrow", reason="the extra `cluster` is not installed")

ROOT = Path(__file__).parents[2]
STUDY = """
checkpoints = ["bundled:looped"]
prompts = [{path = "bundled:hops", first = 24}]
R = [1, 2]
measures = ["relative_step"]
seeds = [0, 1]
prompts_per_task = 1
"""


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT / ".dev"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "loopscope.app", *arguments],
        cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
        # Whatever the tests before left: a process whose parent ignores Ctrl-C ignores it too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def test_time_left_is_that_of_the_rate_so_far() -> None:
    shown: list[tuple[float, str]] = []
    now = iter([100.0, 130.0])
    told = progress(lambda share, note: shown.append((share, note)), lambda: next(now))
    told(0, 40)
    told(10, 30)
    told(40, 0)
    assert shown == [
        (0, "0 of 40"),
        (0.25, "10 of 40, 2 min left"),
        (1, "40 of 40"),
    ]
    assert [duration(s) for s in (0.2, 45, 600, 12_000)] == ["1 s", "45 s", "10 min", "3 h 20 min"]


def test_without_the_extra_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["sweep", "bundled:hops", "-o", str(tmp_path / "o")]) == 2
    assert "pip install 'loopscope[cluster]'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ctrl_c_leaves_a_store_that_goes_on_where_it_was_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from loopscope.core.sweeps.parts import read_rows

    (tmp_path / "s.toml").write_text(STUDY)
    sweep = started(tmp_path, "sweep", "s.toml", "-o", "out", "--workers", "1")
    while sweep.poll() is None and not list(tmp_path.glob("out/rows/part-*.parquet")):
        time.sleep(0.02)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does: the workers are told too
    _, said = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    assert "Traceback" not in said
    some = read_rows(tmp_path / "out").num_rows
    assert 0 < some < 96

    server = started(tmp_path, "serve", "--workers", "1", "--port", "8799")
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("tcp://127.0.0.1:8799: 1 workers; dashboard ")
        run = [
            "sweep",
            str(tmp_path / "s.toml"),
            "-o",
            str(tmp_path / "out"),
            "--on",
            "tcp://127.0.0.1:8799",
        ]
        assert main([*run, "--dry-run"]) == 0
        dry = capsys.readouterr().out
        assert f"96 cells: {some} are done, {96 - some} are new" in dry
        assert "48 runs on 1 workers: about " in dry
        assert main(run) == 0
        assert "all cells are done" in capsys.readouterr().out
        again = started(tmp_path, "serve", "--workers", "1", "--port", "8799")
        _, said = again.communicate(timeout=120)
        assert again.returncode == 2
        assert said.startswith("loopscope: error: no cluster can be started here: ")
        assert said.count("\n") == 1
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=120)
    assert server.returncode == 130
    assert read_rows(tmp_path / "out").num_rows == 96
