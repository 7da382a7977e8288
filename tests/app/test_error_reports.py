"""Errors that nothing caught are shown, kept in a file and can be copied."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from loopscope.app.window.actions import COMMANDS, _run
from loopscope.app.window.error_reports import FILE, ErrorReports
from loopscope.core.errors import LOG, LoopscopeError, log_unforeseen
from loopscope.core.run.runner import Runner
from loopscope.widgets.kit.error_panel import ErrorPanel

SHOWN = {"checkpoint": "bundled:looped", "prompt": "ab ba ? 1 : a", "weights sha256": "f00"}


@pytest.fixture
def reports(qapp: QApplication, tmp_path: Path) -> Iterator[ErrorReports]:
    reports = ErrorReports(lambda: SHOWN, tmp_path)
    reports.install()
    yield reports
    reports.remove()


def heard(reports: ErrorReports) -> list[tuple[str, str, str]]:
    told: list[tuple[str, str, str]] = []
    reports.reported.connect(lambda *parts: told.append(parts))
    return told


def fail(text: str) -> None:
    raise KeyError(text)


def caught(text: str) -> KeyError:
    try:
        fail(text)
    except KeyError as error:
        return error
    raise AssertionError


def test_an_error_is_reported_once_with_what_was_shown(
    reports: ErrorReports, tmp_path: Path
) -> None:
    told, error = heard(reports), caught("depth")
    for _ in range(3):
        sys.excepthook(type(error), error, error.__traceback__)
    ((line, text, file),) = told
    assert line == "Something went wrong in the window: KeyError: 'depth'"
    assert "prompt: ab ba ? 1 : a" in text
    assert "weights sha256: f00" in text
    assert "Python 3." in text
    assert "raise KeyError(text)" in text
    assert file == str(tmp_path / FILE)
    assert (tmp_path / FILE).read_text().count("Traceback") == 1


def test_the_command_that_failed_is_named(reports: ErrorReports) -> None:
    told = heard(reports)
    command = next(c for c in COMMANDS if c.name == "step_recurrence")
    with pytest.raises(AttributeError) as raised:
        _run(command, None)  # type: ignore[arg-type]
    sys.excepthook(raised.type, raised.value, None)
    assert told[0][0].startswith("Something went wrong in the command “Step one recurrence”: ")


def test_an_error_keeps_nothing_alive(reports: ErrorReports, qapp: QApplication) -> None:
    """The interpreter keeps the last traceback, and with it every widget of its frames."""
    told = heard(reports)

    class Failing(QObject):
        def slot(self) -> None:
            fail("in a slot")

    failing = Failing()
    QTimer.singleShot(0, failing.slot)
    QApplication.processEvents()
    assert [line for line, _, _ in told] == [
        "Something went wrong in the window: KeyError: 'in a slot'"
    ]
    kept = weakref.ref(failing)
    del failing
    gc.collect()
    assert kept() is None
    assert not any(hasattr(sys, f"last_{name}") for name in ("exc", "type", "value", "traceback"))


def test_threads_are_heard(reports: ErrorReports, qapp: QApplication) -> None:
    told = heard(reports)
    thread = threading.Thread(target=lambda: fail("thread"), name="a helper")
    thread.start()
    thread.join()
    QApplication.processEvents()
    assert [line for line, _, _ in told] == ["Something went wrong in a helper: KeyError: 'thread'"]


def test_what_is_the_users_to_mend_is_no_report(reports: ErrorReports) -> None:
    told = heard(reports)
    for error in (LoopscopeError("no such token"), OSError("disk"), MemoryError()):
        log_unforeseen("beginning the run", error)
    assert told == []
    log_unforeseen("running a layer", caught("layer"))
    assert told[0][0] == "Something went wrong in running a layer: KeyError: 'layer'"


class Panic(BaseException):
    """As the panic of a Rust library, which is no `Exception`."""


def test_the_worker_lives_on_after_a_panic_and_says_so(reports: ErrorReports) -> None:
    told = heard(reports)
    runner = Runner()

    def panic() -> None:
        raise Panic("a pattern without an end")

    answered: list[int] = []
    works = iter([panic])
    runner._worker._next_work = lambda: next(works, None)
    runner._worker.start()
    deadline = threading.Event()
    for _ in range(2000):
        if runner.status.error:
            break
        deadline.wait(0.05)
    assert runner.status.error == "serving the model: Panic: a pattern without an end"
    runner._worker._next_work = lambda: None if answered else (lambda: answered.append(1))
    runner._worker.wake()
    for _ in range(2000):
        if answered:
            break
        deadline.wait(0.05)
    runner.close()
    QApplication.processEvents()
    assert answered == [1]
    assert "Panic" in told[0][1]


def test_a_file_that_cannot_be_written_loses_nothing_else(
    qapp: QApplication, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    reports = ErrorReports(lambda: {}, tmp_path / "file")
    told = heard(reports)
    reports.report("a test", caught("x"))
    assert told[0][2] == ""


def test_a_file_that_has_grown_is_begun_anew(qapp: QApplication, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("x" * (2 << 20))
    ErrorReports(lambda: {}, tmp_path).report("a test", caught("x"))
    assert (tmp_path / FILE).stat().st_size < 10_000
    assert (tmp_path / "errors.old.log").stat().st_size == 2 << 20


def test_the_hooks_are_given_back(qapp: QApplication, tmp_path: Path) -> None:
    before = sys.excepthook, threading.excepthook, list(LOG.handlers)
    reports = ErrorReports(lambda: {}, tmp_path)
    reports.install()
    reports.remove()
    assert (sys.excepthook, threading.excepthook, list(LOG.handlers)) == before


def test_the_panel_shows_and_copies_the_report(qtbot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    panel = ErrorPanel(parent)
    panel.add("Something went wrong in <s>", "the report", "/logs/errors.log")
    assert panel.isVisible()
    assert "/logs/errors.log" in panel.file.text()
    panel.copy_button.click()
    assert "the report" in QApplication.clipboard().text()
