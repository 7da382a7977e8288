"""Measure trained models of text: CORPUS RESULTS.json FOLDER ...; a row each, in that order."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loopscope.app.cli.terminal import run_script
from loopscope.core.experiments.text_results import measure_text
from loopscope.core.files import write_text


def main() -> None:
    """Measure every folder and write the rows."""
    import torch

    from loopscope.core.checkpoint.folder import open_checkpoint
    from loopscope.core.experiments.text import read_corpus

    torch.set_num_threads(1)
    corpus_file, file, *folders = map(Path, sys.argv[1:])
    vocabulary = open_checkpoint(str(folders[0])).architecture.vocab_size
    corpus = read_corpus(corpus_file, vocabulary)
    rows = [json.dumps(measure_text(folder, corpus).as_json()) for folder in folders]
    write_text(file, "[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    run_script(main)
