"""A process that records, seals and goes on until it is killed; it says what is safe.

    python recording_child.py PATH

Prints the number of recurrences each time that so many have been flushed or sealed.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from recordings import synthetic_recording

from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.segments import segments_of
from loopscope.core.recordings.writing import RecordingWriter
from loopscope.core.run.recording import Recording, iteration

MOST = 2000


def source() -> Recording:
    """The run that is recorded, always the same."""
    return synthetic_recording(recurrences=MOST, tokens=3, d=8, heads=2, seed=5)


def step(recording: Recording, of: Recording) -> None:
    """Append the next recurrence of the run, or what a kill left to do of it."""
    r = recording.n_recurrences + 1
    for layer in range(recording.layers_done - (r - 1) * of.n_layers, of.n_layers):
        recording.append_layer(of.layer(r, layer))
    one = iteration(of, r)
    recording.append_end(one.state, one.coda_lens, one.logit_lens)


def main() -> None:
    """Record until killed."""
    path, of, rng = Path(sys.argv[1]), source(), random.Random()
    while True:
        if path.exists() or segments_of(path).exists():
            file = open_recording(path)
            recording, begun = file.runs[0], file.runs
            writer = RecordingWriter(path, begun=begun)
        else:
            recording = Recording(of.info, of.state(0), of.capture)
            writer = RecordingWriter(path)
            writer.add(recording)
        for _ in range(rng.randrange(1, 40)):
            if recording.n_recurrences < MOST:
                step(recording, of)
            if rng.random() < 0.3:
                writer.flush()
                print(recording.n_recurrences, flush=True)
        writer.close()
        print(recording.n_recurrences, flush=True)


if __name__ == "__main__":
    main()
