"""Put known bugs into a copy of the project, one by one: a test must fail for each.

Each `Mutant` is a bug that the tests once did not notice. Run from the root of the project:

    python tools/mutants.py [--only WORD] [--list]

Exit code 1 when a bug survives, when its place is not found, or when its tests cannot run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "package",
    "app",
    "core",
    "widgets",
    "resources",
    "tests",
    "docs",
    "tools",
    "examples",
    ".dev",
)
FILES = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "constraints.txt",
    "mkdocs.yml",
)
PASSED, FAILED = 0, 1  # pytest's exit codes


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug.

    name : what goes wrong.  where : glob of the files it may be in; code moves.
    find, put : regular expression that fits in exactly one place there, and what is put instead.
    tests : files that notice it.
    """

    name: str
    where: str
    find: str
    put: str
    tests: tuple[str, ...]


# fmt: off
MUTANTS = (
    # families
    Mutant("Huginn's random start lacks the scale of its embedding", "core/families/huginn.py",
           r"start_std=math\.sqrt\(2 / \(5 \* d\)\) \* scale", "start_std=math.sqrt(2 / (5 * d))",
           ("tests/core/test_families.py", "tests/core/test_stepper.py")),
    Mutant("HRM-Text's default initializer range is halved", "core/families/hrm.py",
           r"\"initializer_range\": 0\.02", '"initializer_range": 0.01', ("tests/core/test_family_defaults.py",)),
    Mutant("the fused kernel ignores the window of a layer", "core/model/layers.py",
           r"if \(s\.window and s\.window < t\) or 1 < n < t", "if 1 < n < t", ("tests/core/test_windows.py",)),
    Mutant("OLMo-2's default epsilon is Llama's", "core/families/llama.py",
           r"\"rms_norm_eps\": 1e-5", '"rms_norm_eps": 1e-6', ("tests/core/test_family_defaults.py",)),
    Mutant("a head that is not the embedding is dropped", "core/checkpoint/ties.py",
           r"if same_values\(tensors\[head\], tensors\[other\]\)", "if True", ("tests/core/test_ties.py",)),
    Mutant("rope_parameters counts before rope_scaling", "core/families/rope.py",
           r"\(\"rope_scaling\", \"rope_parameters\"\)", '("rope_parameters", "rope_scaling")',
           ("tests/core/test_rope.py",)),
    Mutant("longrope keeps the short factors", "core/model/rope.py",
           r"long = n_positions > self\.original_positions", "long = False",
           ("tests/core/test_rope.py", "tests/conformance")),
    Mutant("code of its own is opened as the plain family", "core/families/foreign.py",
           r"key == \"AutoConfig\" or key\.startswith\(\"AutoModel\"\)", "False",
           ("tests/core/test_foreign_code.py",)),
    # model and interventions
    Mutant("a skip-adapter never injects", "core/model/*.py",
           r"if first and self\.arch\.skip_first_injection", "if self.arch.skip_first_injection",
           ("tests/core/test_stepper.py",)),
    Mutant("of two repeats at a layer the last wins", "core/interventions/*.py",
           r"times=plan\.times \* self\.times", "times=self.times", ("tests/core/test_intervention_pairs.py",)),
    Mutant("of two scaled writes at a layer the last wins", "core/interventions/*.py",
           r"factor=plan\.factor \* self\.factor", "factor=self.factor", ("tests/core/test_intervention_pairs.py",)),
    Mutant("of two attention scales at a layer the last wins", "core/interventions/*.py",
           r"attention=edit\.attention \* self\.factor", "attention=self.factor",
           ("tests/core/test_intervention_pairs.py",)),
    Mutant("of two MLP scales at a layer the last wins", "core/interventions/*.py",
           r"mlp=edit\.mlp \* self\.factor", "mlp=self.factor", ("tests/core/test_intervention_pairs.py",)),
    Mutant("a write scaled by a negative factor has a negative norm", "core/interventions/*.py",
           r"out\.writes \* abs\(plan\.factor\)", "out.writes * plan.factor",
           ("tests/core/test_intervention_pairs.py",)),
    # runs
    Mutant("a state that was changed is taken as its own source", "core/run/*.py",
           r"place < (\w+)\.starts_at\(n\)", r"place <= \1.starts_at(n)", ("tests/core/test_interventions.py",)),
    Mutant("the truncated normal is cut at two deviations", "core/run/*.py",
           r"trunc_normal_\(noise, 0, 1, -3, 3,", "trunc_normal_(noise, 0, 1, -2, 2,", ("tests/core/test_stepper.py",)),
    Mutant("the effect shown is the last, not the largest", "core/run/effects.py",
           r"max\(changes, default=None\)", "(changes[-1] if changes else None)", ("tests/core/test_interventions.py",)),
    Mutant("a job waits two seconds at each report", "core/run/jobs.py",
           r"MOST_WAIT, LOOK = 0\.1,", "MOST_WAIT, LOOK = 2.0,", ("tests/core/test_jobs.py",)),
    # measures
    Mutant("settling rates are fitted to half the noise", "core/measures/settling.py",
           r"NOISE_FLOORS = 32", "NOISE_FLOORS = 16",
           ("tests/core/test_settling.py", "tests/core/test_live_measures.py")),
    Mutant("small steps that wander are called a drift", "core/measures/settling_classes.py",
           r"LEAST_STRAIGHTNESS = 0\.7", "LEAST_STRAIGHTNESS = 0.5", ("tests/core/test_settling.py",)),
    Mutant("a fall is given twice as long to arrive", "core/measures/settling_classes.py",
           r"PATIENCE = 64", "PATIENCE = 128", ("tests/core/test_settling.py",)),
    Mutant("twice as large steps are a slow drift", "core/measures/settling_classes.py",
           r"WANDERING_STEP = 0\.1", "WANDERING_STEP = 0.2", ("tests/core/test_settling.py",)),
    # views
    Mutant("two maps have the scale of the first", "core/views/heads_data.py",
           r"one\.measure\.farther\(one\.far, other\.far\)", "one.far", ("tests/core/test_heads.py",)),
    # app
    Mutant("only two runs are kept", "app/bench/run_tree.py", r"KEPT_RUNS = 24", "KEPT_RUNS = 2",
           ("tests/app/test_run_tree.py",)),
    Mutant("a view says nothing of its lag for 20 s", "app/bench/analysis.py", r"LAG = 2\.0", "LAG = 20.0",
           ("tests/app/test_analysis.py",)),
    Mutant("named runs are dropped to save memory", "app/bench/run_tree.py",
           r"r not in safe and not r\.named and", "r not in safe and", ("tests/app/test_run_tree.py", "tests/app/test_runs.py")),
    Mutant("a saved option of the wrong type is accepted", "app/window/settings.py",
           r"if entry\.name in saved and _fits\(.*\)\n", "if entry.name in saved\n", ("tests/app/test_settings.py",)),
    Mutant("a start state is kept for another checkpoint", "app/window/*.py",
           r"if same and (self\.|)settings\.start in", r"if \1settings.start in",
           ("tests/app/test_opening.py", "tests/app/test_families_in_the_window.py")),
    Mutant("a view's analysis does not rest while the model steps", "app/bench/analysis.py",
           r"if stepping and now < drawing\.rest_until", "if False", ("tests/app/test_analysis.py",)),
    Mutant("a plug-in takes a name that is taken", "core/plugins.py",
           r"if point\.name in owners", "if False", ("tests/core/test_plugins.py",)),
    Mutant("a plug-in that raises takes the program down", "core/plugins.py",
           r"except \(Exception, SystemExit\)", "except LoopscopeError", ("tests/core/test_plugins.py",)),
    Mutant("plug-ins are looked for although they are switched off", "core/plugins.py",
           r'os\.environ\.get\(SWITCH\) == "off"', "False", ("tests/core/test_plugins.py",)),
    Mutant("a measure of the wrong shape is kept", "core/measures/base.py",
           r"if fresh\.ndim != 1", "if False and fresh.ndim != 1", ("tests/core/test_live_measures.py",)),
    Mutant("a stranger's menu entry is overwritten", "app/cli/desktop_entry.py",
           r"if not options\.force", "if False", ("tests/app/test_desktop_entry.py",)),
    # widgets
    Mutant("cells smaller than a pixel are dropped, not averaged", "widgets/plots/cell_images.py",
           r"TransformationMode\.SmoothTransformation", "TransformationMode.FastTransformation",
           ("tests/widgets/test_matrix.py",)),
    Mutant("the hatch over weak cells is a row short", "widgets/plots/matrix*.py",
           r"\(after - first\) \* where\.row_height", "(after - first - 1) * where.row_height",
           ("tests/widgets/test_matrix.py",)),
    Mutant("a fourth band is as strong as three", "widgets/plots/curve_plot.py",
           r"(?m)^FEW_BANDS = 3$", "FEW_BANDS = 4", ("tests/widgets/test_curve_plot.py",)),
    Mutant("a fourth band is as strong as three on the page", "widgets/figures/curves.py",
           r"(?m)^FEW_BANDS = 3$", "FEW_BANDS = 4", ("tests/widgets/test_curve_plot.py",)),
    Mutant("rows of a matrix that scrolls become too thin to see", "widgets/plots/matrix_layout.py",
           r"(?m)^MIN_ROW = 4\.0$", "MIN_ROW = 2.0", ("tests/widgets/test_matrix.py",)),
    Mutant("a dock that Qt raises while docks are arranged is taken as chosen", "app/window/docks.py",
           r"if not self\._arranging:\n            self\.take\(dock", "if True:\n            self.take(dock",
           ("tests/app/test_view_docks.py",)),
    Mutant("any number of bands is drawn", "widgets/plots/curve_plot.py",
           r"banded\[:MOST_BANDS\]", "banded", ("tests/widgets/test_curve_plot.py", "tests/widgets/test_curves_view.py")),
    Mutant("the pointer reaches 300 pixels", "widgets/plots/*.py",
           r"(?m)^REACH = 30(\.0)?$", "REACH = 300.0", ("tests/widgets/test_curve_plot.py", "tests/widgets/test_curves_view.py")),
    Mutant("on paper a distance of nothing is dark", "widgets/figures/matrix.py",
           r'\("_r" if measure\.is_distance else ""\)', '""', ("tests/widgets/test_figure_matrix.py",)),
    Mutant("on paper a log scale has its bright end far away", "widgets/figures/matrix.py",
           r'SIMILARITY_MAP \+ "_r", LogNorm', "SIMILARITY_MAP, LogNorm", ("tests/widgets/test_figure_matrix.py",)),
    Mutant("the page's colour bar stands beside the cells", "widgets/figures/matrix.py",
           r'location="top"', 'location="right"', ("tests/widgets/test_figure_matrix.py",)),
)
# fmt: on


def place_of(mutant: Mutant, root: Path) -> Path:
    """Return the one file that the bug fits into; raise `LookupError` where none or several do."""
    places = [
        (path, n)
        for path in sorted(root.glob(mutant.where))
        if (n := len(re.findall(mutant.find, path.read_text("utf-8"))))
    ]
    if sum(n for _, n in places) != 1:
        found = ", ".join(f"{p.relative_to(root)} x {n}" for p, n in places)
        raise LookupError(
            f"pattern not found: {mutant.where}" if not places else f"pattern fits {found}"
        )
    return places[0][0]


def outcome(mutant: Mutant, root: Path) -> str:
    """Put the bug in, run its tests, take it out: "killed", "survived" or why it is not known."""
    try:
        path = place_of(mutant, root)
    except LookupError as error:
        return str(error)
    tests = [t for t in mutant.tests if (root / t).is_file()]
    if not tests:
        return f"no test file of {', '.join(mutant.tests)}"
    good = path.read_text("utf-8")
    path.write_text(re.sub(mutant.find, mutant.put, good), "utf-8")
    try:
        code = run_tests(tests, root)
    finally:
        path.write_text(good, "utf-8")
    return {PASSED: "survived", FAILED: "killed"}.get(code, f"tests did not run (exit code {code})")


def run_tests(tests: list[str], root: Path) -> int:
    """Pytest's exit code for these files in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    env = os.environ | {"PYTHONPATH": str(root / ".dev"), "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    return done.returncode


def copy_to(root: Path) -> None:
    """Copy what the tests need; links stay links, so that the copy imports itself."""
    skip = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=skip)
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, root / name)


def main() -> int:
    """Run the mutants that are asked for and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="those with this word in their name or place")
    parser.add_argument("--list", action="store_true", help="say where each goes, and run nothing")
    args = parser.parse_args()
    chosen = [m for m in MUTANTS if args.only in m.name or args.only in m.where]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        copy_to(root)
        for mutant in chosen:
            if args.list:
                try:
                    became = str(place_of(mutant, root).relative_to(root))
                except LookupError as error:
                    became = str(error)
            else:
                became = outcome(mutant, root)
            outcomes.append(became)
            print(f"{became:10}  {mutant.name}", flush=True)
    killed = outcomes.count("killed")
    if not args.list:
        print(f"{killed} of {len(chosen)} killed")
    return 0 if args.list or killed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
