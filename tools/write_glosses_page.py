"""Write docs/glosses.md, the looped model of dictionary text, from docs/text.json.

    python tools/write_glosses_page.py

Its rows are made by `python -m loopscope.app.cli.measure_text CORPUS docs/text.json FOLDER`. With
the word `figure` it draws docs/images/glosses-loss.png as well. A test holds the page to what
this
writes, so every number in it is of that file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loopscope.app.cli.pages import filled
from loopscope.core.experiments.text_results import TextResult, read_text_results

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, RESULTS = DOCS / "glosses.md", DOCS / "text.json"
FIGURE = DOCS / "images" / "glosses-loss.png"
SHOWN = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)


def page() -> str:
    """The whole page."""
    r = next(row for row in read_text_results(RESULTS) if row.model == "text-looped")
    text = f"""# A looped model of dictionary text

Written by `tools/write_glosses_page.py` from `docs/text.json`.

`bundled:glosses` is a looped language model small enough to ship: {r.parameters:,} parameters,
one
prelude layer, a block of two layers run again and again, one coda layer, width 128, a byte-pair
encoding of 1,024 tokens. It was trained on the glosses of WordNet 3.0
(`dog, domestic dog: a member of the genus Canis ...`), with a number of recurrences drawn from 1 to
{r.trained} for every batch, for {r.steps:,} steps of 16 sequences of {r.context} tokens:
{r.cpu_minutes:.0f} CPU minutes on one thread of a busy machine. That is little, and it writes like
a dictionary that has forgotten what words mean. It is here so that every view can be looked at on
text.

## What a recurrence is worth

Loss on held-out text, {r.sequences} sequences of {r.context} tokens; 95 % bootstrap-t intervals
over
sequences. *Gained* is paired by sequence: the loss after the first recurrence less that after R.

{_table(r)}

![Loss by recurrence](images/glosses-loss.png)

{_words(r)}

## Which tokens settle early, and which late

The likeliest next token is final from the first recurrence on for {r.final_from[0]:.1%} of the
tokens
({_tokens(r)} tokens), from the second on for {r.final_from[1]:.1%}, from the sixth on for
{r.final_from[5]:.1%}; *final* means that it is that of recurrence {len(r.final_from)} and all
between
say the same.

| soonest final after | mean recurrence | read | latest final after | mean recurrence | read |
|---|---|---|---|---|---|
{_ends(r)}

Look at it with the same views as everything else: `loopscope open bundled:glosses`, the views
*Readout*, *Lens*, *Exits*, *Settling*; over its own held-out lines with
`--prompts bundled:glosses`.

## Predictions

Written before, on the page of [the experiments](experiments.md#predictions), for {_planned()}
steps and
three seeds; this is one seed of {r.steps:,} steps.

| prediction | outcome |
|---|---|
{_outcomes(r)}

## Made again

```
python tools/wordnet_glosses.py /usr/share/wordnet glosses.txt COPYRIGHT
loopscope train text -o glosses --corpus glosses.txt --seed {r.seed} --steps {r.steps} \\
    --finishing 320 --half
```

The corpus is read from the files of Debian's package wordnet-base; its licence lets text and
what is
made of it be used and passed on for any purpose with its notice, which lies beside the weights.
Weights are
stored as float16 and run in float32.

## Not done

Its deep, shallow and untied twins, more seeds, longer training: what looping is worth on text is
not
answered by one model.
"""
    return filled(text)


def _table(r: TextResult) -> str:
    lines = ["| R | loss, nats a token | gained since R = 1 |", "|---|---|---|"]
    for n in SHOWN:
        i = n - 1
        beyond = "" if n <= r.trained else ", beyond training"
        lines.append(
            f"| {n}{beyond} | {r.loss[i]:.4f} ({r.low[i]:.4f} to {r.high[i]:.4f}) | "
            f"{r.gained[i]:.4f} ({r.gained_low[i]:.4f} to {r.gained_high[i]:.4f}) |"
        )
    return "\n".join(lines)


def _words(r: TextResult) -> str:
    last, far = r.trained - 1, 31
    drift = r.loss[far] - r.loss[last]
    return (
        f"After the last trained recurrence that is {r.bits_per_byte:.3f} bits a byte. The second "
        f"recurrence gains {r.gained[1]:.4f} nats, all others up to {r.trained} together "
        f"{r.gained[last] - r.gained[1]:.4f}. From R = {r.trained} to R = 32 the loss changes by "
        f"{drift:+.4f}."
    )


def _tokens(r: TextResult) -> str:
    return f"{min(r.sequences, 96) * r.context:,}"


def _ends(r: TextResult) -> str:
    def cells(row: tuple[str, float, int]) -> str:
        return f"`{row[0]!r}` | {row[1]:.2f} | {row[2]}"

    return "\n".join(f"| {cells(a)} | {cells(b)} |" for a, b in zip(r.early, r.late, strict=True))


def _planned() -> str:
    from loopscope.core.experiments.training_plan import RECIPES

    return f"{RECIPES['text'].plan.steps:,}"


def _outcomes(r: TextResult) -> str:
    to_six, three_to_six = r.loss[0] - r.loss[5], r.loss[2] - r.loss[5]
    beyond = r.loss[15] - r.loss[5]
    rows = (
        ("the loss falls by at least 0.02 nats from R = 1 to 6", to_six, to_six >= 0.02),
        ("and by less than 0.005 from 3 to 6", three_to_six, three_to_six < 0.005),
        ("beyond R = 6 it rises by less than 0.01 to R = 16", beyond, beyond < 0.01),
    )
    return "\n".join(
        f"| {words} | {'holds' if holds else 'does not hold'}: {value:.4f} |"
        for words, value, holds in rows
    )


def draw() -> None:
    """Draw the figure."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from loopscope.widgets.figures.style import Page

    sheet = Page("two columns")
    with rc_context(sheet.rc):
        figure = Figure(figsize=(sheet.width, sheet.width * 0.36), layout="constrained")
        FigureCanvasAgg(figure)
        loss, gain = figure.subplots(1, 2)
        for r in read_text_results(RESULTS):
            rs = range(1, len(r.loss) + 1)
            loss.plot(rs, r.loss, marker="o", markersize=2.5, color="#0072b2")
            loss.fill_between(rs, r.low, r.high, color="#0072b2", alpha=0.15, linewidth=0)
            gain.plot(rs, r.gained, marker="o", markersize=2.5, color="#0072b2")
            gain.fill_between(
                rs, r.gained_low, r.gained_high, color="#0072b2", alpha=0.25, linewidth=0
            )
            for axes in (loss, gain):
                axes.axvline(r.trained + 0.5, color="#999999", linewidth=0.6, linestyle=":")
                axes.set_xlabel("recurrence R (dotted: the last one trained)")
        loss.set(ylabel="nats a token", title="loss on held-out text, 95 % over sequences")
        gain.set(title="gained since R = 1, paired by sequence")
        figure.savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    if "figure" in sys.argv[1:]:
        draw()
