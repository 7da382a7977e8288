"""Every command of the window, in one table: menus, shortcuts, palette and tooltips follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence

if TYPE_CHECKING:
    from loopscope.app.window.window import Window


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the method ``do_NAME`` of the window or one of its desks, words, keys, menu.

    keys : shortcuts, with "; " between several.
    """

    name: str
    text: str
    keys: str
    menu: str
    tip: str
    checkable: bool = False


# fmt: off
COMMANDS: tuple[Command, ...] = (
    Command("open", "Open checkpoint folder…", "Ctrl+O", "File", "Open a local checkpoint folder; none of its code is run"),
    Command("open_bundled", "Open the bundled looped model", "", "File", "Open bundled:looped, which ships with Loopscope and settles"),
    Command("open_bundled_deep", "Open the bundled deep model", "", "File", "Open bundled:deep: the same task, as many layers as the looped one runs, each with its own weights"),
    Command("open_bundled_shallow", "Open the bundled shallow model", "", "File", "Open bundled:shallow: the looped model's parameters, one pass"),
    Command("open_prompts", "Open prompt file…", "Ctrl+Alt+O", "File", "Open a file of prompts, one a line or JSONL, for the views over a prompt set"),
    Command("bundled_prompts", "Use the bundled prompts", "", "File", "Use the pointer chasing prompts that ship with Loopscope as the prompt set"),
    Command("open_beside", "Open beside…", "Ctrl+Shift+O", "File", "Open a second checkpoint beside this one, on the same prompt"),
    Command("deep_beside", "Put the bundled deep twin beside", "", "File", "Open bundled:deep beside this model: the same depth, separate weights"),
    Command("save_cuts", "Save interventions…", "", "File", "Save the interventions of this run as data that can be replayed"),
    Command("card", "Checkpoint card", "Ctrl+I", "File", "Sizes, dtype, memory and what is unavailable"),
    Command("export_view", "Export this view…", "Ctrl+E", "File", "Export the view last clicked as PDF, SVG, PNG or CSV"),
    Command("export_all", "Export all views…", "Ctrl+Shift+E", "File", "Export every view to one folder"),
    Command("screenshot", "Copy a picture of the window", "Ctrl+Shift+C", "File", "Put a picture of the whole window on the clipboard"),
    Command("quit", "Quit", "Ctrl+Q", "File", "Close the bench; everything is remembered"),
    Command("undo", "Undo", "Ctrl+Z; Alt+Left", "Edit", "Take back the last run, branch, name or deletion; nothing is computed again"),
    Command("redo", "Redo", "Ctrl+Shift+Z; Alt+Right", "Edit", "Make the last undone change again"),
    Command("prompt", "Edit the prompt", "Ctrl+L", "Edit", "Put the keyboard into the prompt line"),
    Command("all_tokens", "Show all tokens", "Ctrl+A", "Edit", "Let every token drive the views"),
    Command("clear_hover", "Clear marks, restore views", "Esc", "Edit", "Clear the hover marks, or restore a maximised view"),
    Command("step_recurrence", "Step one recurrence", "Space", "Run", "Run the recurrent block once more"),
    Command("step_layer", "Step one layer", "Shift+Space", "Run", "Run one layer of the recurrent block"),
    Command("play", "Play", "P", "Run", "Play on from where it was paused, or pause"),
    Command("stop", "Stop", "S", "Run", "Stop stepping or loading"),
    Command("reset", "Start again from r = 0", "R", "Run", "Begin the same run again from its initial state"),
    Command("run_trained", "Run to the trained recurrences", "Ctrl+Return", "Run", "Run on to the number of recurrences the model was trained to"),
    Command("previous_recurrence", "Cursor one recurrence back", "Left", "Run", "Nothing is recomputed"),
    Command("next_recurrence", "Cursor one recurrence on", "Right", "Run", "Nothing is recomputed"),
    Command("previous_layer", "Cursor one layer back", "Shift+Left", "Run", "Nothing is recomputed"),
    Command("next_layer", "Cursor one layer on", "Shift+Right", "Run", "Nothing is recomputed"),
    Command("to_start", "Cursor to the initial state", "Home", "Run", "To r = 0"),
    Command("to_end", "Cursor to the latest recurrence", "End", "Run", "To the latest recurrence, and follow it"),
    Command("loop_span", "Loop a span of layers…", "", "Run", "Repeat some layers of a deep model without training, in damped steps"),
    Command("float32_error", "Measure the error against float32", "", "Run", "Run the same in float32 beside a bfloat16 or float16 run and compare the states"),
    Command("branch", "Branch here", "Ctrl+B", "Run", "Cut a branch off this run at the cursor, as the form of Runs and cuts says"),
    Command("swap", "Swap the two runs", "X", "Run", "Show the run beside, and put the one shown beside it"),
    Command("alone", "Show this run alone", "Shift+X", "Run", "Take away the run beside"),
    Command("replay_cuts", "Replay interventions…", "", "Run", "Make the interventions of a file into this run, as a branch"),
    Command("follow", "Follow the latest recurrence", "L", "Run", "The cursor moves along while the model steps", True),
    Command("stop_at_settling", "Stop at settling", "T", "Run", "End playing when every token has settled at the tolerance of the settling view", True),
    Command("maximise", "Maximise the view", "F11", "View", "Show the view last clicked alone, or all of them again"),
    Command("reset_views", "Show everything in each view", "Ctrl+0", "View", "Undo zooming and panning in every view"),
    Command("joint_pca", "Joint PCA of the final token (arXiv 2604.11791)", "", "View", "Draw the final token after every layer and recurrence on the components of exactly these states, as the paper does"),
    Command("theme", "Dark or light", "Ctrl+D", "View", "Switch between the dark and the light colours"),
    Command("restore_layout", "Restore the layout", "", "View", "Put every view back where it was at first"),
    Command("palette", "Find a command…", "Ctrl+K", "Help", "Find and run any command by its name"),
    Command("shortcuts", "Keyboard shortcuts", "F1", "Help", "All commands with their keys"),
    Command("about", "About Loopscope", "", "Help", "Version, licence, what is installed"),
)
# fmt: on
MENUS = ("File", "Edit", "Run", "View", "Help")
# Keys that must work as text in the prompt line and as keys in the window's views: the window
# gives them up while a text field has the focus.
TEXT_KEYS = {c.name for c in COMMANDS if c.keys and c.menu in ("Edit", "Run")} - {"prompt"}


def make_actions(window: Window, owners: Sequence[object]) -> dict[str, QAction]:
    """Make one `QAction` for each command, connected to the ``do_NAME`` of the owner that has it."""
    actions = {}
    for command in COMMANDS:
        action = QAction(command.text, window)
        action.setToolTip(command.tip + (f" ({command.keys})" if command.keys else ""))
        action.setStatusTip(command.tip)
        action.setCheckable(command.checkable)
        if command.keys:
            action.setShortcuts(QKeySequence.listFromString(command.keys))
        name = f"do_{command.name}"
        owner = next(o for o in owners if hasattr(o, name))
        action.triggered.connect(getattr(owner, name))
        window.addAction(action)
        actions[command.name] = action
    return actions
