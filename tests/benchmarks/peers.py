"""The bench beside what a user would pick instead: `python -m tests.benchmarks.peers --write`.

Makes an environment of its own with the peers (``build/peers``; torch and transformers are those of
this one), times every tool there and writes the table into the README, between its markers.

Method: one thread, float32, random weights of GPT-2's shape, `torch.inference_mode`. Each round
times a bare forward (transformers with SDPA, nothing kept) and then every tool in turn; a cell is
the median over rounds of processor time over that round's bare forward, which a busy machine leaves
as it is. The last row is Loopscope over the best peer of the same column, round by round: the
median and the interval of order statistics that holds it with 95 % or more. The best peer is chosen
on the same rounds, which flatters it. On an accelerator the time is that at which it has done its
work; what cannot be run is said.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEERS = ("nnsight==0.8.1", "transformer-lens==4.3.0")
BEGIN, END = "<!-- peers: written by tests/benchmarks/peers.py -->", "<!-- end of peers -->"
OURS = "Loopscope, states and patterns"


def environment(folder: Path) -> Path:
    """Make the environment where it is not there yet; returns its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        site = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        Path(site, "host.pth").write_text(sysconfig.get_path("purelib"))
        pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        for peer in PEERS:
            if subprocess.run([*pip, peer], check=False).returncode:
                print(f"{peer} cannot be installed here: it is left out", file=sys.stderr)
    return python


def measured(python: Path, rounds: int, sizes: list[int]) -> dict[str, Any]:
    """What `peers_tools` finds in that environment."""
    command = [
        str(python),
        str(Path(__file__).with_name("peers_tools.py")),
        "--rounds",
        str(rounds),
    ]
    command += ["--sizes", *map(str, sizes)] if sizes else []
    path = {"PYTHONPATH": str(ROOT / ".dev"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | path
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """Order statistics that hold the median with 95 % or more, of 6 values or more."""
    n, ordered = len(values), sorted(values)
    below, k = 0.0, 0
    while below + math.comb(n, k) / 2**n <= 0.025:
        below += math.comb(n, k) / 2**n
        k += 1
    return ordered[max(k - 1, 0)], ordered[min(n - k, n - 1)]


def beside_the_best(ratios: dict[str, list[float]]) -> str:
    """Loopscope over the best peer, round by round, with its interval."""
    peers = {name: own for name, own in ratios.items() if not name.startswith("Loopscope")}
    if OURS not in ratios or not peers:
        return "–"
    best = min(peers, key=lambda name: statistics.median(peers[name]))
    pairs = [a / b for a, b in zip(ratios[OURS], peers[best], strict=True)]
    low, high = interval(pairs)
    return f"{statistics.median(pairs):.2f} ({low:.2f} to {high:.2f})"


def table(found: dict[str, Any]) -> str:
    """The table and what it is of, as Markdown."""
    columns, keeps = found["found"], found["keeps"]
    head = [c["size"] + ("" if c["device"] == "cpu" else f", {c['device']}") for c in columns]
    lines = ["| over a bare forward | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name in keeps:
        cells = [c["ratios"].get(name) for c in columns]
        texts = [f"{statistics.median(own):.2f}" if own else "–" for own in cells]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    paired = [beside_the_best(c["ratios"]) for c in columns]
    lines.append(
        "| Loopscope, states and patterns, over the best peer | " + " | ".join(paired) + " |"
    )
    bare = " / ".join(f"{c['bare_ms']:.0f}" for c in columns)
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items())
    return "\n".join([
        f"Processor time, one thread, medians of {found['rounds']} rounds in turn; the last row paired, with its "
        f"95 % interval. The bare forward takes {bare} ms. {found['machine']}, {versions}.", "", *lines, "",
        "Kept beside the logits, of n layers: " + "; ".join(f"*{k}*: {v}" for k, v in keeps.items()) + ".",
        *(["", "Left out: " + "; ".join(found["skipped"]) + "."] if found["skipped"] else []),
    ])  # fmt: skip


def write(text: str, file: Path = ROOT / "README.md") -> None:
    """Put the table between its markers."""
    whole = file.read_text(encoding="utf-8")
    before, rest = whole.split(BEGIN)
    after = rest.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="of every size, at least 7")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="which columns, from 0")
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args()
    python = environment(options.environment)
    found = measured(python, max(options.rounds, 7), options.sizes)
    text = table(found)
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
