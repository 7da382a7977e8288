"""Loopscope opens no connection but where it is asked to: by `--on`, `sweep` and `serve`."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What could open a connection, and the only files that name any of it.
NETWORK = {
    "aiohttp", "asyncio", "distributed", "ftplib", "http", "httpx", "huggingface_hub", "requests",
    "smtplib", "socket", "socketserver", "tornado", "urllib", "urllib3", "xmlrpc", "zmq",
}  # fmt: skip
MAY = {
    "app/cli/study_commands.py",
    "app/cli/paper.py",
    "app/cli/reproduce.py",
    "app/cli/twins.py",
    "core/sweeps/probing.py",
    "core/sweeps/small.py",
    "core/paper/running.py",
    "core/remote/cluster.py",
    "core/remote/connection.py",
    "core/remote/spread.py",
    "core/sweeps/running.py",
    "app/cli/sweep.py",
}

# Ends the process at the first socket that Python or one of its libraries makes.
WATCHED = """
import os, sys
def watch(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname":
        os.write(2, f"a socket: {event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(watch)
from loopscope.app.cli.main import main
raise SystemExit(main(sys.argv[1:]))
"""
PROMPT = ["bundled:looped", "--prompt", "ab ba ? 1 : a b", "--recurrences", "2"]
COMMANDS = [
    ["open", *PROMPT, "--screenshot", "w.png", "--exit"],
    ["inspect", "bundled:looped"],
    ["trace", *PROMPT, "-o", "t.npz"],
    ["figures", *PROMPT, "--format", "csv", "-o", "f"],
    ["report", *PROMPT, "-o", "r.html"],
    ["measure", *PROMPT],
    ["quality", "bundled:looped", "--prompts", "bundled:hops", "--recurrences", "1"],
    ["paper", "bundled:looped", "--prompts", "one.txt", "--deep", "16", "-o", "p"],
    ["doctor"],
    ["plugins"],
]


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_only_what_is_asked_to_connect_could() -> None:
    files = [
        f for room in ("app", "core", "widgets", "package") for f in (ROOT / room).rglob("*.py")
    ]
    found = {f.relative_to(ROOT).as_posix(): imported(f) & NETWORK for f in files}
    assert {name for name, modules in found.items() if modules} == MAY


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_other_command_makes_a_socket(command: list[str], tmp_path: Path) -> None:
    env = os.environ | {
        "PYTHONPATH": str(ROOT / ".dev"), "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }  # fmt: skip
    (tmp_path / "one.txt").write_text("ab ba ? 1 : a b")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert "a socket" not in done.stderr
    assert done.returncode in (0, 1 if command[0] == "doctor" else 0), done.stderr
