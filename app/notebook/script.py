"""*Copy as Python*: a script that makes the figure of a view again.

A run is written as it was begun and how far it went, a measurement as it was made: with its
options, at its cursor, when the run had come that far. What a stranger's file holds (prompts,
names) enters the script as literals only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loopscope.app.view_spec import ViewSpec
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.labels import printable
from loopscope.core.run.history import Made, Point
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.second_run import SecondRun

# Views that draw what another view measured, by key.
DRAWS_TOO = {
    "state_space": ("stability", "paths"),
    "depth": ("lens",),
    "prompts": ("lens",),
}
# Views whose measurements add to those made before, rather than replacing them.
ADDS = ("lens",)
OPENING = "import loopscope\n"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What a view shows, as far as a script has to know.

    recording : of the run shown, which is at ``run``.  second : with its cursor and where it is.
    made : every measurement of the model and of the runs, the oldest first.
    difference : whether it shows what is different between the two runs.
    """

    spec: ViewSpec[Any, Any]
    options: Any
    selection: Selection
    recording: Recording
    run: Point
    second: tuple[SecondRun, Point] | None = None
    made: Sequence[Made] = ()
    difference: bool = False


def script_of(scene: Scene) -> str:
    """Return the script. Raises `LoopscopeError` for a run that no script can begin again."""
    writer = _Writer(scene)
    return writer.script()


class _Writer:
    """Writes one script; names models and runs as it comes to them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lines: list[str] = []
        self._models: dict[tuple[object, ...], str] = {}
        # By what it was begun as: the run's name, and how far the script has run it.
        self._runs: dict[tuple[object, ...], tuple[str, int]] = {}
        self._prompts: dict[str, str] = {}

    def script(self) -> str:
        """The whole script."""
        scene, spec = self._scene, self._scene.spec
        for made in self._wanted():
            self._measure(made)
        options = _changed(spec, scene.options)
        if (basis := getattr(scene.options, "basis", None)) is not None:
            options |= self._fit_basis(basis)
        run = self._run(scene.run, "run")
        if spec.key == "settling" and scene.recording.float32_error is not None:
            self._lines.append(f"{run}.compare_with_float32()")
        self._use_prompts(scene.run, scene.recording)
        call = {"at": self._place(scene.selection), **self._beside(), **options}
        self._lines.append(f"view = {run}.view({_arguments(spec.key, call)})")
        self._view_again(options)
        info = scene.run.info
        about = f"# “{spec.title}” of {info.checkpoint}, as Loopscope {info.version} showed it"
        head = [printable(about), OPENING]
        end = [
            "figure = view.figure()  # matplotlib's; view.table has the numbers",
            f'# view.save("{spec.key}.pdf")',
        ]
        return "\n".join([*head, *self._lines, "", *end]) + "\n"

    def _beside(self) -> dict[str, object]:
        """The second run, where it is drawn on the same axes or subtracted."""
        scene = self._scene
        if scene.second is None:
            return {}
        there, point = scene.second
        if not scene.difference and not scene.spec.draws_both(scene.recording, there.recording):
            return {}
        second = self._run(point, "second")
        self._lines.append(f"{second}.name = {literal(there.name)}")
        call = {"second": _Name(second), **self._following(there)}
        return call | ({"difference": True} if scene.difference else {})

    def _view_again(self, options: Mapping[str, object]) -> None:
        """The view of the second run, where it is drawn by itself."""
        scene = self._scene
        if scene.second is None or scene.difference:
            return
        there, point = scene.second
        has_any = scene.spec.request is None or any(
            m.run.begun_as == point.begun_as for m in self._wanted()
        )
        if scene.spec.drawn_twice(scene.recording, there.recording) and has_any:
            call = {"at": self._place(there.selection), **options}
            second = self._run(point, "second")
            self._lines.append(f"beside = {second}.view({_arguments(scene.spec.key, call)})")

    # ---- measurements ----
    def _wanted(self) -> list[Made]:
        """The measurements that the view draws, each as it was made last."""
        scene = self._scene
        keys = (scene.spec.key, *DRAWS_TOO.get(scene.spec.key, ()))
        kept: dict[object, Made] = {}
        for made in scene.made:
            if made.key in keys:
                which = (made.key, made.run.begun_as, made.options if made.key in ADDS else None)
                kept.pop(which, None)
                kept[which] = made
        return list(kept.values())

    def _measure(self, made: Made) -> None:
        from loopscope.app.views import BY_KEY

        run = self._run(made.run, "run")
        spec = BY_KEY[made.key]
        call: dict[str, object] = {"at": _all_fields(made.selection)}
        if made.second is not None and spec.request is not None and spec.request.second_run:
            call["second"] = _Name(self._run(made.second, "second"))
        if made.prompts:
            self._assign_prompts(self._model(made.run), made.prompts)
        call |= _changed(spec, made.options)
        self._lines.append(f"{run}.analyse({_arguments(made.key, call)})")

    def _use_prompts(self, run: Point, recording: Recording) -> None:
        """Take the prompt set in use, where the view is one of the model's."""
        request, prompts = self._scene.spec.request, recording.shared.prompts
        if request is not None and request.scope == "model" and prompts is not None:
            self._assign_prompts(self._model(run), prompts.path)

    def _assign_prompts(self, model: str, path: str) -> None:
        if self._prompts.get(model) != path:
            self._prompts[model] = path
            self._lines.append(f"{model}.prompts = {literal(path)}")

    # ---- models and runs ----
    def _model(self, point: Point) -> str:
        request = point.request
        key = point.model
        if key not in self._models:
            name = "model" if not self._models else f"model_{len(self._models) + 1}"
            self._models[key] = name
            call: dict[str, object] = {"device": point.info.device.split(":")[0]}
            call |= {"dtype": request.dtype} if request.dtype != "float32" else {}
            if request.loop is not None:
                first, end, damping = request.loop
                call |= {"loop": (first, end), "damping": damping}
            call |= {"family": request.family} if request.family else {}
            call["weights"] = point.info.weights_hash
            self._lines.append(f"{name} = loopscope.load({_arguments(request.path, call)})")
        return self._models[key]

    def _run(self, point: Point, wish: str) -> str:
        """Return the name of a run that stands at ``point``, after writing how it comes there."""
        key = point.begun_as
        name, done = self._runs.get(key, ("", -1))
        layers = point.info.architecture.n_block
        if done < 0 or done > point.layers:
            taken = {name for name, _ in self._runs.values()} | {name}
            wishes = (wish, *(f"{wish}_{i}" for i in range(2, 999)))
            name = next(n for n in wishes if n not in taken)
            if point.file:
                opened = f"loopscope.open_recording({literal(point.file)})"
                self._lines.append(f"{name} = {opened}[{point.index}]")
                self._runs[key] = name, point.layers
                return name
            done = point.layers - point.layers % layers
            call = self._begun(point) | {"recurrences": done // layers}
            self._lines.append(
                f"{name} = {self._model(point)}.run({_arguments(point.info.prompt, call)})"
            )
        if done % layers == 0 and point.layers - done >= layers:
            self._lines.append(f"{name}.step({(point.layers - done) // layers})")
            done = point.layers - point.layers % layers
        self._lines += [f"{name}.step_layer()"] * (point.layers - done)
        self._runs[key] = name, point.layers
        return name

    @staticmethod
    def _begun(point: Point) -> dict[str, object]:
        """How a run was begun, as far as it is not by default."""
        info = point.info
        if info.start == "given":
            raise LoopscopeError(
                "this run's initial state was given as an array, which a script does not hold"
            )
        call: dict[str, object] = {"seed": info.seed} if info.seed else {}
        if info.start in ("random", "zeros"):
            call["start"] = info.start
        if info.start_scale != 1:
            call["start_scale"] = info.start_scale
        if not point.patterns:
            call["keep"] = ["writes", "readouts"]
        if info.interventions:
            call["interventions"] = [_plain(own) for own in info.interventions]
        return call

    # ---- the view ----
    def _place(self, selection: Selection) -> dict[str, object]:
        """The fields of the cursor that the view reads, and the recurrence of its marks."""
        spec = self._scene.spec
        reads = (spec.reads_difference if self._scene.difference else spec.reads) | {"recurrence"}
        return {k: v for k, v in _all_fields(selection).items() if k in reads}

    @staticmethod
    def _following(there: SecondRun) -> dict[str, object]:
        """How the second run's cursor goes with the first one's."""
        how = there.pairing.step_pairing
        if how == "own":
            where = {"recurrence": there.selection.recurrence, "layer": there.selection.layer}
            return {"step_pairing": how, "second_at": where}
        return {"step_pairing": how} if how != "depth" else {}

    def _fit_basis(self, basis: Any) -> dict[str, object]:
        """Write how locked axes were fitted; a comment where they were fitted on another run."""
        scene = self._scene
        found = _as_fitted(scene.recording, scene.selection, scene.options)
        if scene.run.file and basis.n_recurrences != scene.recording.n_recurrences:
            found = None  # a run of a file is as long as it is
        if found is None:
            self._lines.append(f"# The axes were fitted on {basis.fitted_on}: here they are anew.")
            return {}
        options, tokens = found
        n = scene.recording.n_layers
        run = self._run(replace(scene.run, layers=basis.n_recurrences * n), "run")
        call = {"at": {"tokens": tokens}, **_changed(scene.spec, options)}
        self._lines.append(f"basis = {run}.view({_arguments(scene.spec.key, call)}).data.basis")
        return {"basis": _Name("basis")}


def _as_fitted(
    recording: Recording, selection: Selection, options: Any
) -> tuple[Any, tuple[int, ...]] | None:
    """Options and tokens that the locked axes were fitted with, or None where none fit."""
    from loopscope.core.views.state_space.compute import compute

    basis = options.basis
    layers = basis.n_recurrences * recording.n_layers
    if layers > recording.layers_done:
        return None
    then = recording.prefix(layers, recording.info)
    for states in dict.fromkeys((basis.states or options.states, options.states, "ends", "layers")):
        for tokens in dict.fromkeys((basis.tokens, selection.tokens, ())):
            trial = replace(options, basis=None, refit=None, states=states)
            found = compute(then, replace(selection, tokens=tokens), trial).basis
            if found is not None and np.array_equal(found.components, basis.components):
                return trial, tokens
    return None


class _Name(str):
    """A name of the script, written as it is."""

    __slots__ = ()


def _all_fields(selection: Selection) -> dict[str, object]:
    fields = {f.name: getattr(selection, f.name) for f in dataclasses.fields(Selection)}
    return {k: v for k, v in fields.items() if k != "tokens" or v}


def _changed(spec: ViewSpec[Any, Any], options: Any) -> dict[str, object]:
    """The options that are not the defaults, but for locked axes."""
    default = spec.options()
    names = (f.name for f in dataclasses.fields(default) if f.name not in ("basis", "refit"))
    return {n: v for n in names if (v := getattr(options, n)) != getattr(default, n)}


def _plain(value: Intervention | Source) -> dict[str, object]:
    """An intervention as plain values, without what is the default."""
    kind = {"kind": value.kind} if isinstance(value, Intervention) else {}
    fields: dict[str, object] = {}
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        if own != field.default:
            fields[field.name] = _plain(own) if isinstance(own, Source) else own
    return kind | {k: _nested(v) for k, v in fields.items()}


def _nested(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(v) if isinstance(v, Intervention) else v for v in value]
    return value


def _arguments(first: str, call: Mapping[str, object]) -> str:
    parts = [literal(first), *(f"{name}={literal(value)}" for name, value in call.items())]
    line = ", ".join(parts)
    return line if len(line) < 70 else "\n    " + ",\n    ".join(parts) + ",\n"


def literal(value: object) -> str:
    """Write a value as Python has it; text can hold nothing that ends its literal."""
    if isinstance(value, _Name):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else ascii(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{_joined(value)}]" if isinstance(value, list) else _tuple(value)
    return repr(value)


def _joined(values: Iterable[object]) -> str:
    return ", ".join(map(literal, values))


def _tuple(values: tuple[object, ...]) -> str:
    return f"({_joined(values)}{',' * (len(values) == 1)})"
