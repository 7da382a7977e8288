"""Every command of the window, in one table: menus, shortcuts, palette and tooltips follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.window.appearance import Appearance
from loopscope.app.window.bars import Bars
from loopscope.app.window.chat import ChatPrompt
from loopscope.app.window.copying import Copying
from loopscope.app.window.docks import Docks
from loopscope.app.window.elsewhere import Elsewhere
from loopscope.app.window.exporting import Exporter
from loopscope.app.window.files import Files
from loopscope.app.window.opening import Opening
from loopscope.app.window.prompt_files import BUNDLED_PROMPTS, BUNDLED_TEXT, PromptFiles
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.run_commands import RunCommands
from loopscope.app.window.scripts import Scripts
from loopscope.app.window.sessions import Sessions
from loopscope.app.window.studies import Studies
from loopscope.app.window.tree_commands import TreeCommands
from loopscope.app.window.view_docks import ViewDocks
from loopscope.widgets.kit.plain_text import plain_tip

if TYPE_CHECKING:
    from loopscope.app.window.popups import Popups
    from loopscope.app.window.series import Series


class CommandWindow(Protocol):
    """What commands ask of the window itself."""

    @property
    def popups(self) -> Popups:
        """The command palette and the page of shortcuts."""

    @property
    def series(self) -> Series:
        """The checkpoints of one training that are open as one thing."""

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""

    def close(self) -> bool:
        """Close the window."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What commands act on."""

    window: CommandWindow
    files: Files
    appearance: Appearance
    bench: Bench
    bars: Bars
    docks: Docks
    views: ViewDocks
    opening: Opening
    exporter: Exporter
    chat: ChatPrompt
    prompt_files: PromptFiles
    running: RunCommands
    tree: TreeCommands
    sessions: Sessions
    scripts: Scripts
    copying: Copying
    recordings: Recordings
    elsewhere: Elsewhere
    studies: Studies


@dataclass(frozen=True, slots=True)
class Command:
    """One command: words, keys, menu, and what it does.

    keys : shortcuts, with "; " between several.
    """

    name: str
    text: str
    keys: str
    menu: str
    tip: str
    run: Callable[[Targets], object]
    checkable: bool = False


def clear_marks(to: Targets) -> None:
    """Clear the hover marks, and show all views when one is maximised."""
    to.bench.session.set_hover({})
    to.docks.unmaximise()


def reset_views(to: Targets) -> None:
    """Show everything in each view, and every recurrence."""
    to.bench.session.show_whole()
    to.views.reset()


def play_side_by_side(to: Targets) -> None:
    """Play the sculptor and the assembly line; what does it is imported when it is asked for."""
    from loopscope.app.window.side_by_side import SideBySide

    player = to.bench.findChild(SideBySide) or SideBySide(to.bench, to.opening, to.docks)
    player.show()


def export_page(to: Targets) -> None:
    """Ask for a file and write the page; what does it is imported when it is asked for."""
    from loopscope.app.window.page_export import PageExport

    PageExport(to.bench, to.window.say, to.bars.header.window()).ask()


def on_current(act: Callable[[Targets, str], object]) -> Callable[[Targets], None]:
    """Return what acts on the current view, by its key, and says so where none is in sight."""

    def run(to: Targets) -> None:
        if key := to.docks.current:
            act(to, key)
        else:
            to.window.say("No view is in sight: open one under View, Views")

    return run


def plugins() -> str:
    """What other packages add, in one line."""
    from loopscope.app.plugins import in_one_line

    return in_one_line()


def show_about(to: Targets) -> None:
    """Say in a small window what this is; what that takes is imported when it is asked for."""
    from loopscope.app.window.about import show_about

    show_about(to.bars.header.window())


# fmt: off
COMMANDS: tuple[Command, ...] = (
    Command("open", "Open checkpoint folder…", "Ctrl+O", "File", "Open a local checkpoint folder; none of its code is run", lambda to: to.files.ask_for_checkpoint()),
    Command("open_bundled", "Open the bundled looped model", "", "File", "Open bundled:looped: asked for the final answer alone, it walks hop by hop, stops and keeps its answer", lambda to: to.opening.open("bundled:looped")),
    Command("open_bundled_deep", "Open the bundled deep model", "", "File", "Open bundled:deep: the same task, as many layers as the looped one runs, each with its own weights", lambda to: to.opening.open("bundled:deep")),
    Command("open_bundled_shallow", "Open the bundled shallow model", "", "File", "Open bundled:shallow: the looped model's parameters, one pass", lambda to: to.opening.open("bundled:shallow")),
    Command("open_bundled_orbit", "Open the bundled model that never stops", "", "File", "Open bundled:orbit: it walks on whatever is asked, and its state comes round with the graph's cycle", lambda to: to.opening.open("bundled:orbit")),
    Command("open_bundled_creeping", "Open the bundled model that creeps off its answers", "", "File", "Open bundled:creeping: it halts, and loses its answers while the step of most tokens vanishes", lambda to: to.opening.open("bundled:creeping")),
    Command("open_bundled_settled", "Open the bundled model that walks, stops and settles", "", "File", "Open bundled:settled: as bundled:looped, with a first hop that is read out less surely", lambda to: to.opening.open("bundled:settled")),
    Command("open_bundled_halting", "Open the bundled model that walks and stops", "", "File", "Open bundled:halting: asked for the final answer alone, it walks hop by hop and stops at the one asked for", lambda to: to.opening.open("bundled:halting")),
    Command("open_bundled_anytime", "Open the bundled model that was taught to walk", "", "File", "Open bundled:anytime: an answer was asked for after every recurrence, one hop further each time", lambda to: to.opening.open("bundled:anytime")),
    Command("open_bundled_glosses", "Open the bundled model of text", "", "File", "Open bundled:glosses: a looped language model that was trained on a dictionary's glosses", lambda to: to.opening.open("bundled:glosses")),
    Command("open_session", "Open session…", "Ctrl+Shift+S", "File", "Open a saved session: its runs are made again, and the screen is as it was", lambda to: to.files.ask_for_session()),
    Command("open_prompts", "Open prompt file…", "Ctrl+Alt+O", "File", "Open a file of prompts, one a line or JSONL, for the views over a prompt set", lambda to: to.prompt_files.ask()),
    Command("bundled_prompts", "Use the bundled prompts", "", "File", "Use the pointer chasing prompts that ship with Loopscope as the prompt set", lambda to: to.prompt_files.open(BUNDLED_PROMPTS)),
    Command("bundled_text_prompts", "Use the bundled lines of text", "", "File", "Use lines of a dictionary that bundled:glosses has not seen as the prompt set", lambda to: to.prompt_files.open(BUNDLED_TEXT)),
    Command("open_recording", "Open a recording…", "Ctrl+Alt+R", "File", "Open runs that were kept in a file; their checkpoint is not needed", lambda to: to.recordings.ask()),
    Command("open_study", "Open a study…", "", "File", "Open a study's TOML file or the folder of its results: its grid is drawn as it comes", lambda to: to.studies.ask()),
    Command("bundled_study", "Open the bundled study", "", "File", "Open bundled:hops: how two bundled models settle and answer from random starts", lambda to: to.studies.open("bundled:hops")),
    Command("export_study", "Export the study…", "", "File", "Export what is drawn of the study as PDF, SVG, PNG or CSV", lambda to: to.studies.export()),
    Command("save_recording", "Save the recording…", "Ctrl+Alt+K", "File", "Keep all runs in a file; what is run from then on is written as it is made", lambda to: to.recordings.ask_to_save()),
    Command("go_on", "Go on with a checkpoint…", "", "File", "Choose the checkpoint of the recording shown, to step, cut and measure on", lambda to: to.recordings.ask_for_checkpoint()),
    Command("run_on", "Run on…", "", "File", "Open a checkpoint on another machine: a worker at an address has the model, the window stays here", lambda to: to.elsewhere.ask()),
    Command("reconnect", "Reconnect", "", "File", "Be on a worker again after it was lost; runs go on from where they stand", lambda to: to.elsewhere.reconnect()),
    Command("open_second_model", "Open beside…", "Ctrl+Shift+O", "File", "Open a second checkpoint beside this one, on the same prompt", lambda to: to.tree.ask_for_second_model()),
    Command("open_deep_twin", "Put the bundled deep twin beside", "", "File", "Open bundled:deep beside this model: the same depth, separate weights", lambda to: to.tree.open_second_model("bundled:deep")),
    Command("sculptor", "The sculptor and the assembly line", "", "File", "Play a looped model beside a deep one, layer by layer: the same two layers again and again, or twelve that each work once", play_side_by_side),
    Command("save_session", "Save session", "Ctrl+S", "File", "Save runs, cursor, views and their places as one small file", lambda to: to.sessions.save()),
    Command("save_session_as", "Save session as…", "Ctrl+Alt+S", "File", "Save the session to another file", lambda to: to.sessions.save_as()),
    Command("save_cuts", "Save interventions…", "", "File", "Save the interventions of this run as data that can be replayed", lambda to: to.tree.ask_to_save_interventions()),
    Command("card", "Checkpoint card", "Ctrl+I", "File", "Sizes, dtype, memory and what is unavailable", lambda to: to.bars.header.show_card()),
    Command("export_view", "Export this view…", "Ctrl+E", "File", "Export the current view as PDF, SVG, PNG or CSV", on_current(lambda to, key: to.exporter.ask(key))),
    Command("export_all", "Export all views…", "Ctrl+Shift+E", "File", "Export every view to one folder", lambda to: to.exporter.ask(None)),
    Command("export_page", "Export a page…", "", "File", "Write the runs shown as one page that any browser opens, without a network", export_page),
    Command("screenshot", "Copy a picture of the window", "Ctrl+Shift+C", "File", "Put a picture of the whole window on the clipboard", lambda to: to.copying.window()),
    Command("quit", "Quit", "Ctrl+Q", "File", "Close the bench; everything is remembered", lambda to: to.window.close()),
    Command("undo", "Undo", "Ctrl+Z; Alt+Left", "Edit", "Take back the last run, branch, name, deletion or setting of a view; nothing is run again", lambda to: to.bench.runs.undo()),
    Command("redo", "Redo", "Ctrl+Shift+Z; Alt+Right", "Edit", "Make the last undone change again", lambda to: to.bench.runs.redo()),
    Command("prompt", "Edit the prompt", "Ctrl+L", "Edit", "Put the keyboard into the prompt line", lambda to: to.bars.prompt.edit()),
    Command("chat", "Prompt from the chat template…", "", "Edit", "Write a message as the model's own chat template does, and see the prompt before it is used", lambda to: to.chat.ask()),
    Command("all_tokens", "Show all tokens", "Ctrl+A", "Edit", "Let every token drive the views", lambda to: to.bench.session.select({"tokens": ()})),
    Command("clear_hover", "Clear marks, restore views", "Esc", "Edit", "Clear the hover marks, or restore a maximised view", clear_marks),
    Command("step_recurrence", "Step one recurrence", "Space", "Run", "Run the recurrent block once more", lambda to: to.bench.transport.step_recurrence()),
    Command("step_layer", "Step one layer", "Shift+Space", "Run", "Run one layer of the recurrent block", lambda to: to.bench.transport.step_layer()),
    Command("play", "Play", "P", "Run", "Play on from where it was paused, or pause", lambda to: to.bench.transport.toggle_playing()),
    Command("stop", "Stop", "S", "Run", "Stop stepping or loading", lambda to: to.bench.transport.stop()),
    Command("reset", "Start again from r = 0", "R", "Run", "Begin the same run again from its initial state", lambda to: to.running.reset()),
    Command("run_trained", "Run to the trained recurrences", "Ctrl+Return", "Run", "Run on to the number of recurrences the model was trained to", lambda to: to.running.run_trained()),
    Command("previous_recurrence", "Cursor one recurrence back", "Left", "Run", "Nothing is recomputed", lambda to: to.bench.session.scrub(to.bench.session.selection.recurrence - 1)),
    Command("next_recurrence", "Cursor one recurrence on", "Right", "Run", "Nothing is recomputed", lambda to: to.running.next_recurrence()),
    Command("previous_layer", "Cursor one layer back", "Shift+Left", "Run", "Nothing is recomputed", lambda to: to.bench.session.scrub_layer(-1)),
    Command("next_layer", "Cursor one layer on", "Shift+Right", "Run", "Nothing is recomputed", lambda to: to.bench.session.scrub_layer(1)),
    Command("to_start", "Cursor to the initial state", "Home", "Run", "To r = 0", lambda to: to.bench.session.scrub(0)),
    Command("to_end", "Cursor to the latest recurrence", "End", "Run", "To the latest recurrence, and follow it", lambda to: to.bench.transport.set_following(True)),
    Command("continue_text", "Continue the text…", "Ctrl+T", "Run", "Let the model write on from this prompt, token by token, each looped as often as you say or a rule asks", lambda to: to.running.ask_to_continue()),
    Command("loop_span", "Loop a span of layers…", "", "Run", "Repeat some layers of a deep model without training, in damped steps", lambda to: to.running.ask_for_span()),
    Command("float32_error", "Measure the error against float32", "", "Run", "Run the same in float32 beside a bfloat16 or float16 run and compare the states", lambda to: to.running.measure_float32_error()),
    Command("branch", "Branch here", "Ctrl+B", "Run", "Cut a branch off this run at the cursor, as the form of Runs and cuts says", lambda to: to.tree.branch_by_form()),
    Command("swap", "Swap the two runs", "X", "Run", "Show the second run, and make the one shown the second", lambda to: to.tree.swap()),
    Command("alone", "Show this run alone", "Shift+X", "Run", "Take away the second run", lambda to: to.tree.show_alone()),
    Command("difference", "Show the difference of two runs", "D", "Run", "Heat maps and matrices show the run shown less the second run, or both again", lambda to: to.bench.second_runs.toggle_difference(), checkable=True),
    Command("other_run", "Show the other run", "O", "Run", "Show the second run alone, then the run shown alone, then both", lambda to: to.bench.second_runs.show_other()),
    Command("replay_cuts", "Replay interventions…", "", "Run", "Make the interventions of a file into this run, as a branch", lambda to: to.tree.ask_for_interventions()),
    Command("earlier_checkpoint", "Earlier checkpoint of the series", "[", "Run", "Show the checkpoint before in training: the same prompt and cursor, run as far", lambda to: to.window.series.go(-1)),
    Command("later_checkpoint", "Later checkpoint of the series", "]", "Run", "Show the next checkpoint in training: the same prompt and cursor, run as far", lambda to: to.window.series.go(1)),
    Command("follow", "Follow the latest recurrence", "L", "Run", "The cursor moves along while the model steps", lambda to: to.bench.transport.set_following(not to.bench.transport.following), checkable=True),
    Command("stop_at_settling", "Stop at settling", "T", "Run", "End playing when every token has settled at the tolerance of the settling view", lambda to: to.bench.transport.set_stop_at_settling(not to.bench.transport.stop_at_settling), checkable=True),
    Command("keep_patterns", "Keep attention patterns", "", "Run", "Make the run again with its attention patterns, or without: layers that nobody looks into then run torch’s fused attention", lambda to: to.bench.restart(patterns=not keeps_patterns(to.bench)), checkable=True),
    Command("maximise", "Maximise the view", "F11", "View", "Show the current view alone, or all of them again", on_current(lambda to, key: to.docks.maximise(key))),
    Command("view_settings", "Settings of the view…", "Ctrl+,", "View", "Open the settings of the current view", on_current(lambda to, key: to.views.show_settings(key))),
    Command("reset_view", "Show everything in the view", "", "View", "Undo zooming, panning and scrolling in the current view", on_current(lambda to, key: to.bench.displays[key].view.reset_view())),
    Command("hide_view", "Hide the view", "Ctrl+W", "View", "Hide the current view; View, Views has it", on_current(lambda to, key: to.docks.by_key[key].close())),
    Command("copy_picture", "Copy the picture", "Ctrl+Alt+P", "View", "Put a picture of the current view on the clipboard", on_current(lambda to, key: to.copying.picture(key))),
    Command("copy_numbers", "Copy the numbers", "Ctrl+Alt+N", "View", "Put the numbers of the current view on the clipboard, tab-separated, for a spreadsheet", on_current(lambda to, key: to.copying.numbers(key))),
    Command("copy_python", "Copy as Python", "Ctrl+Alt+C", "View", "Copy a script that makes the present figure of the current view again, with loopscope as a library", on_current(lambda to, key: to.scripts.copy(key))),
    Command("zoom_in", "Fewer recurrences", "Z", "View", "Show half as many recurrences in every heat map and curve, about the cursor", lambda to: to.bench.session.zoom(to.bench.session.selection.recurrence, 0.5)),
    Command("zoom_out", "More recurrences", "Shift+Z", "View", "Show twice as many recurrences in every heat map and curve", lambda to: to.bench.session.zoom(to.bench.session.selection.recurrence, 2.0)),
    Command("all_recurrences", "Every recurrence", "Ctrl+Alt+0", "View", "Show every recurrence in every heat map and curve", lambda to: to.bench.session.show_whole()),
    Command("log_r", "Log axis of recurrences", "G", "View", "Let the recurrences of heat maps and curves stand on a log axis, so that the first have room", lambda to: to.bench.session.set_log(not to.bench.session.shown_range.log), checkable=True),
    Command("reset_views", "Show everything in each view", "Ctrl+0", "View", "Undo zooming and panning in every view, and show every recurrence", reset_views),
    Command("joint_pca", "Joint PCA of the final token (arXiv 2604.11791)", "", "View", "Draw the final token after every layer and recurrence on the components of exactly these states, as the paper does", lambda to: to.views.show_joint_pca()),
    Command("theme", "Dark or light", "Ctrl+D", "View", "Switch between the dark and the light colours", lambda to: to.appearance.switch_theme()),
    Command("larger_text", "Larger text", "Ctrl++; Ctrl+=", "View", "Make all text of the window larger", lambda to: to.appearance.change_text_size(10)),
    Command("smaller_text", "Smaller text", "Ctrl+-", "View", "Make all text of the window smaller", lambda to: to.appearance.change_text_size(-10)),
    Command("usual_text", "Text of the system's size", "", "View", "Make all text as large as the system has it", lambda to: to.appearance.change_text_size(0)),
    Command("restore_layout", "Restore the layout", "", "View", "Put every view back where it was at first", lambda to: to.docks.apply("Step")),
    Command("palette", "Find a command…", "Ctrl+K", "Help", "Find and run any command by its name", lambda to: to.window.popups.palette.open()),
    Command("shortcuts", "Keyboard shortcuts", "F1", "Help", "All commands with their keys", lambda to: to.window.popups.show_shortcuts()),
    Command("plugins", "Plug-ins", "", "Help", "What other packages add, and why what is left out is", lambda to: to.window.say(plugins())),
    Command("about", "About Loopscope", "", "Help", "Version, licence, what is installed", show_about),
)
# fmt: on
TIPS = {c.name: c.tip for c in COMMANDS}
# What cannot be done to a run that is shown from its recording alone.
NEED_MODEL = (
    "open_second_model", "open_deep_twin", "step_recurrence", "step_layer", "play", "reset",
    "run_trained", "loop_span", "float32_error", "branch", "replay_cuts", "keep_patterns",
)  # fmt: skip
MENUS = ("File", "Edit", "Run", "View", "Help")
# Keys that must work as text in the prompt line and as keys in the window's views: the window
# gives them up while a text field has the focus.
TEXT_KEYS = {c.name: c.keys for c in COMMANDS if c.keys and c.menu in ("Edit", "Run")}
TEXT_KEYS |= {c.name: c.keys for c in COMMANDS if c.name in ("zoom_in", "zoom_out", "log_r")}
del TEXT_KEYS["prompt"]


def make_actions(parent: QWidget, to: Targets) -> dict[str, QAction]:
    """Make one `QAction` of ``parent`` for each command, by its name."""
    actions = {}
    for command in COMMANDS:
        action = QAction(command.text, parent)
        action.setToolTip(command.tip + (f" ({command.keys})" if command.keys else ""))
        action.setStatusTip(command.tip)
        action.setCheckable(command.checkable)
        if command.keys:
            action.setShortcuts(QKeySequence.listFromString(command.keys))
        action.triggered.connect(lambda _=False, command=command: _run(command, to))
        parent.addAction(action)
        actions[command.name] = action
    return actions


def _run(command: Command, to: Targets) -> None:
    """Run a command; an error that it raises says of which."""
    try:
        command.run(to)
    except Exception as error:
        error.add_note(f"the command “{command.text}”")
        raise


def lift_text_keys(actions: dict[str, QAction], typing: bool) -> None:
    """Leave single keys to a text field while one has the focus, and take them again after."""
    for name, keys in TEXT_KEYS.items():
        actions[name].setShortcuts([] if typing else QKeySequence.listFromString(keys))


def keeps_patterns(bench: Bench) -> bool:
    """Whether the run shown was begun to keep attention patterns."""
    return bench.session.request is None or bench.session.request.patterns


def show_states(actions: dict[str, QAction], bench: Bench) -> None:
    """Show in the menus what can be done now, and what undo would undo."""
    history, play, session = bench.runs.history, bench.transport, bench.session
    for name, changes in (("undo", history.done), ("redo", history.undone)):
        word = name.capitalize()
        actions[name].setEnabled(bool(changes))
        actions[name].setText(f"{word} {changes[-1].text}" if changes else word)
    actions["swap"].setEnabled(session.second is not None)
    for name in ("difference", "other_run"):
        actions[name].setEnabled(session.second is not None)
    actions["log_r"].setChecked(session.shown_range.log)
    actions["keep_patterns"].setChecked(keeps_patterns(bench))
    actions["difference"].setChecked(session.two_runs == "difference")
    actions["alone"].setEnabled(session.second is not None or bench.second_runs.model is not None)
    barred = session.no_model
    for name in NEED_MODEL:
        action = actions[name]
        action.setEnabled(not barred)
        tip = barred or TIPS[name]
        action.setToolTip(plain_tip(tip))
        action.setStatusTip(tip)
    actions["go_on"].setEnabled(session.without_model)
    loaded = session.status.loaded
    actions["reconnect"].setEnabled(loaded is not None and bool(loaded.lost))
    actions["play"].setText("Pause" if play.playing else "Play")
    actions["follow"].setChecked(play.following)
    actions["stop_at_settling"].setChecked(play.stop_at_settling)
