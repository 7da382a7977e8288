"""`loopscope install-desktop`: menu entry, icon and file types for the desktop of one user.

The folders are those of freedesktop.org: ``$XDG_DATA_HOME``, by default ``~/.local/share``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from importlib.resources import files
from pathlib import Path
from xml.sax.saxutils import escape

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import make_folder, reason, written
from loopscope.core.recordings.schema import FORMAT

RECORDING, SESSION = "application/x-loopscope-recording", "application/x-loopscope-session"
# Each file type: what files are called, what they are, and the general type of what is in them.
# A recording is not called HDF5, or GLib takes every such file for one of ours.
TYPES = {
    RECORDING: ("*.loopscope.h5", "Loopscope recording", "application/octet-stream"),
    SESSION: ("*.loopscope.json", "Loopscope session", "application/json"),
}
# A recording of any other name ending in .h5 is known by what is in it: HDF5 as all such files are,
# and near the beginning the value of the attribute that `core.recordings.writing` writes first.
# The name is claimed with no more weight than others claim it, so that the contents decide.
RECORDING_MAGIC = f"""\
    <glob pattern="*.h5" weight="50"/>
    <magic priority="80">
      <match type="string" value="\\x89HDF\\r\\n\\x1a\\n" offset="0">
        <match type="string" value="{FORMAT}" offset="8:4096"/>
      </match>
    </magic>
"""
ENTRY = """[Desktop Entry]
Type=Application
Version=1.1
Name=Loopscope
GenericName=Lab bench for looped transformers
Comment=Step the recurrences of a looped language model and see the state settle
Exec={program} %f
Icon=loopscope
Terminal=false
Categories=Science;ArtificialIntelligence;
Keywords=transformer;interpretability;recurrence;
MimeType={types};
StartupNotify=true
StartupWMClass=loopscope
"""
# The one beside the Python that runs this.
PROGRAM = "loopscope-gui"
# What makes the desktop read the folders anew: the package that it comes with, and the folder.
REFRESH = {
    "update-mime-database": ("shared-mime-info", "mime"),
    "update-desktop-database": ("desktop-file-utils", "applications"),
}


def run_install_desktop(options: Namespace) -> None:
    """Write the files, or remove them, and print each.

    Raises `LoopscopeError` on other systems than Linux, and where the program is not installed.
    """
    if sys.platform in ("win32", "darwin"):
        raise LoopscopeError("install-desktop is for desktops of Linux; there is none here")
    program, home = Path(sys.executable).parent / PROGRAM, data_home()
    if not (program.exists() or options.uninstall):
        raise LoopscopeError(f"{program} is not there: install Loopscope first (pip install .)")
    contents = {home / name: content for name, content in wanted(program).items()}
    if not options.force:
        _refuse_others(contents, removed=options.uninstall)
    for path, content in contents.items():
        if not options.uninstall:
            make_folder(path.parent)
            with written(path) as part:
                part.write_bytes(content)
        elif path.exists():
            _remove(path)
        else:
            continue
        print(f"{'removed' if options.uninstall else 'wrote'} {path}")
    for tool, (package, folder) in REFRESH.items():
        if shutil.which(tool) and (home / folder).is_dir():
            subprocess.run([tool, str(home / folder)], capture_output=True, check=False)
        elif not (shutil.which(tool) or options.uninstall):
            print(
                f"loopscope: {tool} is not installed (package {package}): until it has run for "
                f"{home / folder}, file managers may not open these files with Loopscope",
                file=sys.stderr,
            )


def data_home() -> Path:
    """Return the folder of the user's data; one that is not absolute counts as not given."""
    given = os.environ.get("XDG_DATA_HOME", "")
    return Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share"


def wanted(program: Path) -> dict[str, bytes]:
    """Return the content of each file, by its place in the folder of the user's data.

    ``program`` is what the menu entry starts.
    """
    entry = ENTRY.format(program=quoted(program), types=";".join(TYPES))
    found = {
        "applications/loopscope.desktop": entry.encode(),
        "mime/packages/loopscope.xml": mime_types().encode(),
    }
    icons, folder = "icons/hicolor", files("loopscope.resources") / "app"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        size = re.search(r"-(\d+)\.png$", file.name)
        place = f"{size[1]}x{size[1]}/apps/loopscope.png" if size else "scalable/apps/loopscope.svg"
        found[f"{icons}/{place}"] = file.read_bytes()
    return found


def mime_types() -> str:
    """Return the file types in the form of the shared MIME database."""
    parts = [
        f'  <mime-type type="{name}">\n    <comment>{escape(comment)}</comment>\n'
        f'    <sub-class-of type="{parent}"/>\n    <icon name="loopscope"/>\n'
        f'    <glob pattern="{glob}" weight="80"/>\n'
        f"{RECORDING_MAGIC if name == RECORDING else ''}"
        "  </mime-type>\n"
        for name, (glob, comment, parent) in TYPES.items()
    ]
    space = "http://www.freedesktop.org/standards/shared-mime-info"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f'{head}<mime-info xmlns="{space}">\n{"".join(parts)}</mime-info>\n'


def quoted(program: Path) -> str:
    """Return a path as the key ``Exec`` takes it: quoted, and its per cent signs doubled.

    A backslash is written for the quotes, and each of those for the strings of the file.
    """
    inside = re.sub(r'(["`$\\])', r"\\\1", str(program)).replace("%", "%%")
    return '"' + inside.replace("\\", "\\\\") + '"'


def _refuse_others(contents: dict[Path, bytes], *, removed: bool) -> None:
    """Refuse to touch a file that is there and is not what would be written."""
    for path, content in contents.items():
        if path.is_symlink() or (path.exists() and not _is(path, content)):
            act = "removes" if removed else "replaces"
            raise LoopscopeError(f"{path} is there and differs; --force {act} it")


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as problem:
        raise LoopscopeError(f"cannot remove {path}: {reason(problem)}") from None
