"""Menu entry, icon and file types: what is written, what is left alone, and what is removed."""

from __future__ import annotations

import ast
import os
import runpy
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.app.cli import desktop_entry, gui
from loopscope.app.cli.desktop_entry import data_home, quoted, run_install_desktop
from loopscope.app.window.icon import app_icon
from loopscope.core.errors import LoopscopeError
from loopscope.core.recordings.writing import save

PYTHON = sys.executable  # before a test names another
ROOT = Path(__file__).parents[2]
ICONS = ROOT / "resources" / "app"
Install = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the user's data, and an installed program beside Python."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    program = tmp_path / "my $bin" / "python"
    program.parent.mkdir()
    (program.parent / "loopscope-gui").write_text("")
    monkeypatch.setattr(desktop_entry.sys, "executable", str(program))
    monkeypatch.setattr(desktop_entry.sys, "platform", "linux")
    return tmp_path / "data"


def install(*, uninstall: bool = False, force: bool = False) -> None:
    run_install_desktop(Namespace(uninstall=uninstall, force=force))


def ours(home: Path) -> set[str]:
    """Files of ours in the user's data; the shared MIME database is made anew from them."""
    found = {p.relative_to(home).as_posix() for p in home.rglob("*loopscope*") if p.is_file()}
    return {name for name in found if not name.startswith("mime/application/")}


def test_what_is_written_is_what_desktops_read(home: Path, tmp_path: Path) -> None:
    install()
    sizes = (16, 32, 48, 64, 128, 256)
    icons = {f"icons/hicolor/{n}x{n}/apps/loopscope.png" for n in sizes}
    entry, types = "applications/loopscope.desktop", "mime/packages/loopscope.xml"
    scalable = "icons/hicolor/scalable/apps/loopscope.svg"
    assert ours(home) == {entry, types, scalable, *icons}
    read = ConfigParser(interpolation=None)
    read.optionxform = str
    read.read(home / entry)
    values = dict(read["Desktop Entry"])
    # Unescaped as a string of the file, then as a quoted argument.
    exec_line = values["Exec"].replace("\\\\", "\\").replace("\\$", "$")
    assert exec_line == f'"{tmp_path}/my $bin/loopscope-gui" %f'
    assert (values["Icon"], values["Terminal"]) == ("loopscope", "false")
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    found = {
        node.get("type"): node.find(f"{space}glob").get("pattern")
        for node in ElementTree.parse(home / types).getroot()
    }
    assert found == {
        "application/x-loopscope-recording": "*.loopscope.h5",
        "application/x-loopscope-session": "*.loopscope.json",
    }
    assert values["MimeType"] == "".join(f"{name};" for name in found)


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="desktop-file-utils")
def test_the_validator_of_desktops_has_nothing_to_say(home: Path) -> None:
    install()
    done = subprocess.run(
        ["desktop-file-validate", str(home / "applications" / "loopscope.desktop")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("update-mime-database"), reason="shared-mime-info")
def test_the_types_are_known_to_the_shared_database_and_gone_again(home: Path) -> None:
    install()
    assert "80:application/x-loopscope-session:*.loopscope.json" in (
        (home / "mime" / "globs2").read_text().splitlines()
    )
    install(uninstall=True)
    assert "loopscope" not in (home / "mime" / "globs2").read_text()


RECORDED = Path(__file__).parents[1] / "data" / "recordings" / "version-1.h5"
TYPE_OF = """
import sys
from PySide6.QtCore import QMimeDatabase
print([QMimeDatabase().mimeTypeForFile(path).name() for path in sys.argv[1:]])
"""


@pytest.mark.skipif(not shutil.which("update-mime-database"), reason="shared-mime-info")
@pytest.mark.parametrize("asked", ["qt", "gio"])
def test_a_recording_of_any_name_is_known_by_what_is_in_it(
    home: Path, tmp_path: Path, asked: str
) -> None:
    install()
    ours, other = tmp_path / "run.h5", tmp_path / "other.h5"
    shutil.copy(RECORDED, ours)
    new = tmp_path / "new.h5"
    save(new, [synthetic_recording(recurrences=300)], "loopscope " + "x" * 9000)
    with h5py.File(other, "w") as file:
        file["data"] = np.zeros(3)
    files = [str(path) for path in (ours, new, other)]
    environment = os.environ | {"XDG_DATA_HOME": str(home)}
    if asked == "qt":
        done = subprocess.run(
            [PYTHON, "-c", TYPE_OF, *files],
            capture_output=True, text=True, env=environment, check=True,
        )  # fmt: skip
        found = ast.literal_eval(done.stdout)
    else:
        if not shutil.which("gio"):
            pytest.skip("no gio")
        found = [
            subprocess.run(
                ["gio", "info", "-a", "standard::content-type", path],
                capture_output=True, text=True, env=environment, check=True,
            ).stdout.split()[-1]
            for path in files
        ]  # fmt: skip
    assert found == ["application/x-loopscope-recording"] * 2 + ["application/x-hdf"]


def test_nothing_is_overwritten_or_removed_unasked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = home / "applications" / "loopscope.desktop"
    mine.parent.mkdir(parents=True)
    mine.write_text("[Desktop Entry]\nName=my own\n")
    with pytest.raises(LoopscopeError, match="differs; --force replaces it"):
        install()
    assert ours(home) == {"applications/loopscope.desktop"}  # nothing else was begun
    install(force=True)
    assert "Name=Loopscope" in mine.read_text()
    install()  # the same again is no change
    mine.write_text("[Desktop Entry]\nName=my own\n")
    with pytest.raises(LoopscopeError, match="differs; --force removes it"):
        install(uninstall=True)
    assert len(ours(home)) > 8
    other = home / "icons" / "hicolor" / "16x16" / "apps" / "x.png"
    other.write_bytes(b"")
    capsys.readouterr()
    install(uninstall=True, force=True)
    assert ours(home) == set()
    assert other.exists()
    assert capsys.readouterr().out.count("removed ") == 9
    install(uninstall=True)
    assert capsys.readouterr().out == ""


def test_without_the_program_or_a_desktop_of_this_kind_it_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop_entry.sys, "executable", str(home / "python"))
    with pytest.raises(LoopscopeError, match=r"loopscope-gui is not there: install Loopscope"):
        install()
    install(uninstall=True)  # needs no program
    monkeypatch.setattr(desktop_entry.sys, "platform", "darwin")
    with pytest.raises(LoopscopeError, match="for desktops of Linux"):
        install()


@pytest.mark.parametrize("missing", ["update-mime-database", "update-desktop-database"])
def test_what_has_to_run_before_files_open_is_said_where_it_is_not_there(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(
        desktop_entry.shutil, "which", lambda tool: None if tool == missing else tool
    )
    monkeypatch.setattr(
        desktop_entry.subprocess, "run", lambda command, **_: ran.append(command[0])
    )
    install()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"loopscope: {missing} is not installed (package ")
    assert ran == [tool for tool in desktop_entry.REFRESH if tool != missing]
    install(uninstall=True)
    assert capsys.readouterr().err == ""


def test_a_folder_that_is_not_absolute_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for given in ("", "here"):
        monkeypatch.setenv("XDG_DATA_HOME", given)
        assert data_home() == Path("/home/somebody/.local/share")


def test_a_path_is_quoted_as_the_standard_has_it() -> None:
    assert quoted(Path("/a b/$c")) == '"/a b/\\\\$c"'
    assert quoted(Path('/"%\\')) == '"/\\\\"%%\\\\\\\\"'


def test_the_icon_is_its_drawing_at_every_size(qtbot: QtBot) -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_app_icon.py"))
    assert len(app_icon().availableSizes()) == len(script["SIZES"])
    for size in script["SIZES"]:
        kept = QImage(str(ICONS / f"loopscope-{size}.png"))
        drawn = script["draw"](size)
        assert (kept.width(), kept.height()) == (size, size)
        difference = np.abs(pixels(kept) - pixels(drawn))
        assert difference.mean() < 2  # of 255: another Qt may smooth edges a little differently
        assert pixels(kept).std() > 20  # and is not blank


def pixels(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_ARGB32)
    return np.frombuffer(image.constBits(), np.uint8).astype(float)


def test_without_a_console_an_error_is_a_window(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("loopscope.app.display.has_display", lambda: True)
    monkeypatch.setattr("PySide6.QtWidgets.QMessageBox.exec", lambda box: shown.append(box.text()))
    monkeypatch.setattr(sys, "argv", ["loopscope-gui", "inspect", "/nowhere"])
    assert gui.main() == 2
    (text,) = shown
    assert "/nowhere" in text
    assert f"loopscope: error: {text}\n" == capsys.readouterr().err
    monkeypatch.setattr("loopscope.app.display.has_display", lambda: False)
    assert gui.main() == 2
    assert len(shown) == 1
