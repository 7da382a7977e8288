"""The arguments of commands about folders, workers and this machine."""

from __future__ import annotations

import argparse

from loopscope.app.cli import numbers


def of_serve(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``serve``."""
    parser.add_argument("--port", type=numbers.whole(1, 65535), help="on loopback; 8786 without")
    parser.add_argument("--workers", type=numbers.whole(1, 256), metavar="N")
    parser.add_argument(
        "--device", choices=("auto", "cuda", "cpu"), default="auto",
        help="a worker for each CUDA device, or for each core (with --workers 1 one for all)",
    )  # fmt: skip


def of_convert(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``convert``."""
    parser.add_argument("source", help="a folder, or a file: .gguf, .bin, .pt, .pth, .safetensors")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    parser.add_argument("--config", metavar="FILE.json", help="of a family, for a file of weights")
    parser.add_argument("--map", metavar="FILE.toml", help="roles of your own model's tensors")
    parser.add_argument("--tokenizer", metavar="FILE.json", help="the tokenizer.json to put beside")
    parser.add_argument("--base", metavar="FOLDER", help="the model that a LoRA adapter changes")


def of_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``doctor``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def of_plugins(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plugins``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def of_install_desktop(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``install-desktop``."""
    parser.add_argument("--uninstall", action="store_true", help="remove them again")
    parser.add_argument("--force", action="store_true", help="also where another file has the name")
