"""A recording that another process goes on making, as it comes."""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.files import shortened
from loopscope.core.recordings.parts import SegmentParts
from loopscope.core.recordings.reader import RecordingFile, labels_of, run_of
from loopscope.core.run.recording import Recording


class Follower:
    """Reads on where opening ended; the runs themselves become longer.

    file : what there is of it.  ended : whether there is nothing more to come.
    completed : at the end, whether its writer completed the file; else whoever opens it does.

    Parameters
    ----------
    file
        That another process writes.
    growing
        Of that file.
    """

    def __init__(self, file: RecordingFile, growing: SegmentParts) -> None:
        self.file, self._growing = file, growing
        self.ended = self.completed = False

    def look(self) -> bool:
        """Take what has come; returns whether anything has. Raises `LoopscopeError`.

        One thread looks, any number read.
        """
        # Before: what is read then is all of it. A writer that completes a file lets go of it last.
        abandoned = self._growing.abandoned
        completed = self._growing.ended
        new = self._growing.read()
        if new:
            self._take()
        self.ended, self.completed = completed or abandoned, completed
        return new

    def _take(self) -> None:
        runs: list[Recording] = list(self.file.runs)
        parts = self._growing.parts
        label = labels_of(parts[0].about.pieces)
        for i, part in enumerate(parts):
            where = f"{shortened(self.file.path)}, run {i}"
            made = run_of(part, runs[:i], label, where)
            if i < len(runs):
                runs[i].read_on(made)
            else:
                made.shared = runs[0].shared
                runs.append(made)
        parents = tuple(part.head.parent for part in parts)
        self.file = replace(self.file, runs=tuple(runs), parents=parents)
