"""A study: a TOML file that says which runs are made and what is measured of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from loopscope.core.checkpoint.request import LoadRequest, Loop
from loopscope.core.checkpoint.series import series_in
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import expanded, read_text
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import from_json, load_interventions
from loopscope.core.prompts.prompt_set import PromptSet, read_prompts
from loopscope.core.run.requests import check_recurrences
from loopscope.core.sweeps.quantities import check_quantity
from loopscope.core.typed_json import Reader

BUNDLED, MOST_BYTES, MOST_VALUES, MOST_CELLS = "bundled:", 1 << 20, 1_000_000, 10_000_000
# Of a checkpoint that is of no training step.
NO_STEP = -1
Start = Literal["default", "zeros", "random"]
Places = Literal["layers", "all"]


@dataclass(frozen=True, slots=True)
class StudyCheckpoint:
    """A checkpoint of a study; ``name`` is what its rows say, by default the path's last part.

    loop, damping : the span of a deep model that is looped.  family : read as this family.
    series : whether the folder holds the checkpoints of one training, each of which is meant.
    step : of its training, for its rows; -1 for none.
    """

    path: str
    name: str = ""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    loop: tuple[int, int] | None = None
    damping: float = 1.0
    family: str = ""
    series: bool = False
    step: int = NO_STEP

    @property
    def request(self) -> LoadRequest:
        """What a worker loads."""
        loop: Loop | None = None if self.loop is None else (*self.loop, self.damping)
        return LoadRequest(self.path, self.device, self.dtype, loop, self.family)

    def named(self, folder: Path) -> StudyCheckpoint:
        """With a name, and with a relative path taken from ``folder``."""
        path = self.path
        if not path.startswith((BUNDLED, "~")):
            path = str(folder / path)
        name = self.name or (path if path.startswith(BUNDLED) else Path(path).name)
        return replace(self, path=path, name=name)

    def members(self) -> tuple[StudyCheckpoint, ...]:
        """Itself, or each checkpoint of its series, called NAME@STEP.

        Raises `LoopscopeError` where there is no series.
        """
        if not self.series:
            return (self,)
        found = series_in(self.path)
        if not found:
            raise LoopscopeError(
                f"{self.path}: holds no series: folders of checkpoints whose names end in the "
                "step, as `loopscope train --keep-every` makes them"
            )
        return tuple(
            replace(self, path=m.path, name=f"{self.name}@{m.step}", step=m.step, series=False)
            for m in found
        )


@dataclass(frozen=True, slots=True)
class StudyPrompts:
    """A prompt file of a study, or its ``first`` prompts; 0 for all."""

    path: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class StudyStart:
    """How a run's state starts; ``scale`` is of the noise of a random one."""

    start: Start = "default"
    scale: float = 1.0

    @property
    def label(self) -> str:
        """What its rows say."""
        return self.start if self.scale == 1 else f"{self.start} × {self.scale:g}"


@dataclass(frozen=True, slots=True)
class StudyInterventions:
    """Cuts that are made together in a run, given here or in a file; none is the run as it is."""

    name: str
    cuts: tuple[Intervention, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True)
class StudyRecording:
    """Runs of the grid that are kept as recordings, to ``R`` recurrences.

    checkpoints, prompts, interventions : by name; lines : of prompts in their files; seeds. What is
        left empty chooses all.
    """

    R: int
    checkpoints: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    interventions: tuple[str, ...] = ()

    def chooses(self, checkpoint: str, prompts: str, line: int, seed: int, cuts: str) -> bool:
        """Whether a run is one of them."""
        return all(
            not chosen or value in chosen
            for chosen, value in (
                (self.checkpoints, checkpoint), (self.prompts, prompts), (self.lines, line),
                (self.seeds, seed), (self.interventions, cuts),
            )
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Study:
    """What a study asks for: every combination of its axes.

    R : lengths of the runs.  places : "layers" averages tokens and heads, "all" keeps them.
    prompts_per_task : prompts that a worker is given at a time.
    recordings : which runs are kept whole as well.
    """

    checkpoints: tuple[StudyCheckpoint, ...]
    prompts: tuple[StudyPrompts, ...]
    R: tuple[int, ...]
    measures: tuple[str, ...]
    title: str = ""
    seeds: tuple[int, ...] = (0,)
    starts: tuple[StudyStart, ...] = (StudyStart(),)
    interventions: tuple[StudyInterventions, ...] = (StudyInterventions("none"),)
    places: Places = "layers"
    prompts_per_task: int = 8
    recordings: tuple[StudyRecording, ...] = ()

    def misused(self) -> str:
        """What no model could make right, or ""."""
        for axis in ("checkpoints", "prompts", "R", "measures", "seeds", "starts", "interventions"):
            if not getattr(self, axis):
                return f"'{axis}': is empty"
        if not 1 <= self.prompts_per_task <= 10_000:
            return f"'prompts_per_task': {self.prompts_per_task} is not between 1 and 10,000"
        if min(self.seeds) < 0:
            return f"'seeds': {min(self.seeds)} is below 0"
        return ""


@dataclass(frozen=True, slots=True)
class OpenedStudy:
    """A study with its prompt files read, its names settled and its text as it was.

    folder : that its relative paths are taken from.
    """

    study: Study
    prompt_sets: tuple[PromptSet, ...]
    text: str
    name: str
    folder: str = ""

    @property
    def n_runs(self) -> int:
        """Runs of the grid, each measured at every R."""
        s, prompts = self.study, sum(map(len, self.prompt_sets))
        return len(s.checkpoints) * prompts * len(s.seeds) * len(s.starts) * len(s.interventions)

    @property
    def n_cells(self) -> int:
        """Runs × lengths × measures."""
        return self.n_runs * len(self.study.R) * len(self.study.measures)


def _whole_numbers(value: Any, where: str) -> tuple[int, ...]:
    """Read whole numbers: one, a list, or ``"A:B"``, both ends included."""
    if isinstance(value, str):
        first, _, last = value.partition(":")
        if not all(p.isascii() and p.isdigit() and len(p) < 19 for p in (first, last)):
            raise LoopscopeError(f"{where}: '{value[:40]}' is not a range such as 1:16")
        if int(last) - int(first) >= MOST_VALUES:
            raise LoopscopeError(f"{where}: {value} are more than {MOST_VALUES:,} values")
        return tuple(range(int(first), int(last) + 1))
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if type(entry) is not int or not abs(entry) < 1 << 63:
            raise LoopscopeError(f"{where}: expected whole numbers or a range such as 1:16")
    return tuple(dict.fromkeys(entries))


def _by_path(cls: type[Any]) -> Any:
    """Read a list of paths or tables."""

    def read(value: Any, where: str) -> tuple[Any, ...]:
        entries = value if isinstance(value, list) else [value]
        return tuple(
            _READER.fields(cls, {"path": e} if isinstance(e, str) else e, f"{where}, entry {i + 1}")
            for i, e in enumerate(entries)
        )

    return read


_SPECIAL: dict[Any, Any] = {
    tuple[int, ...]: _whole_numbers,
    tuple[Intervention, ...]: from_json,
    tuple[StudyCheckpoint, ...]: _by_path(StudyCheckpoint),
    tuple[StudyPrompts, ...]: _by_path(StudyPrompts),
}
_READER = Reader(_SPECIAL)


def bundled_studies() -> list[str]:
    """Names of the studies that ship with Loopscope."""
    root = files("loopscope.resources") / "studies"
    return sorted(Path(entry.name).stem for entry in root.iterdir() if entry.name[-5:] == ".toml")


def open_study(path: str, base: Path | None = None) -> OpenedStudy:
    """Read a study, or ``bundled:NAME``, and the prompt files it names.

    Relative paths are taken from ``base``, or else from the study's folder. Raises
    `LoopscopeError` in one line for what cannot be read, an unknown measure and a grid of more than
    ten million cells.
    """
    file = _resolve(path)
    text = read_text(file, MOST_BYTES)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoopscopeError(f"{file.name}: cannot be read as TOML: {error}") from None
    study: Study = _READER.fields(Study, values, file.name)
    folder = base or file.parent.absolute()
    settled = _settled(study, folder, file.name)
    sets = tuple(_prompts(own, folder) for own in study.prompts)
    opened = OpenedStudy(settled, sets, text, file.stem, str(folder))
    if opened.n_cells > MOST_CELLS:
        raise LoopscopeError(
            f"{file.name}: the grid has {opened.n_cells:,} cells; at most {MOST_CELLS:,}: "
            "fewer seeds, lengths or prompts, or several studies"
        )
    return opened


def _resolve(path: str) -> Path:
    if not path.startswith(BUNDLED):
        return expanded(path)
    name = path.removeprefix(BUNDLED)
    if name not in bundled_studies():
        known = ", ".join(BUNDLED + n for n in bundled_studies())
        raise LoopscopeError(f"there is no bundled study '{name}'; there is {known}")
    return Path(str(files("loopscope.resources") / "studies" / f"{name}.toml"))


def _settled(study: Study, folder: Path, where: str) -> Study:
    for r in study.R:
        check_recurrences(r)
    for key in study.measures:
        check_quantity(key)
    for chosen in study.recordings:
        check_recurrences(chosen.R)
    named = (own.named(folder) for own in study.checkpoints)
    checkpoints = tuple(member for own in named for member in own.members())
    cuts = tuple(
        own
        if not own.file
        else StudyInterventions(own.name, load_interventions(folder / expanded(own.file)))
        for own in study.interventions
    )
    for names in ([c.name for c in checkpoints], [i.name for i in cuts]):
        if twice := [name for name in names if names.count(name) > 1]:
            raise LoopscopeError(f"{where}: two entries are called '{twice[0]}'; name one of them")
    return Study(
        checkpoints, study.prompts, tuple(sorted(study.R)), tuple(dict.fromkeys(study.measures)),
        study.title, study.seeds, tuple(dict.fromkeys(study.starts)), cuts, study.places,
        study.prompts_per_task, study.recordings,
    )  # fmt: skip


def _prompts(own: StudyPrompts, folder: Path) -> PromptSet:
    path = own.path if own.path.startswith(BUNDLED) else str(folder / expanded(own.path))
    prompts = read_prompts(path)
    items = prompts.items[: own.first] if own.first > 0 else prompts.items
    return PromptSet(prompts.path, prompts.name, items)
