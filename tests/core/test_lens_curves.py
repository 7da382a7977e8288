"""Lens curves over depth: against softmaxes made here, and of two models on one axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from loopscope.core.analyses import lens as request
from loopscope.core.checkpoint.loading import load
from loopscope.core.measures.lens import READINGS
from loopscope.core.run.jobs import Job
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.depth import Options, compute, compute_second
from loopscope.core.views.lens.compute import Options as LensOptions
from loopscope.core.views.lens.curves import LENS_CURVES
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.kit.empty_text import empty_text

PROMPT = "ab bc cd de ef fg gh ha ? 3 : a b c d e f g h"


def run_of(path: str, recurrences: int, lenses: tuple[str, ...]) -> Stepper:
    loaded = load(path, "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(recurrences):
        stepper.step()
    for lens in lenses:
        options = LensOptions(lens=lens)  # type: ignore[arg-type]
        job: Job[object] = Job("test")
        recording.keep(READINGS, request.run(stepper, Selection(), options, job))
    return stepper


@pytest.fixture(scope="module")
def looped() -> Stepper:
    return run_of("bundled:looped", 6, ("coda", "logit"))


@pytest.fixture(scope="module")
def deep() -> Stepper:
    return run_of("bundled:deep", 1, ("logit",))


def logits_by_hand(stepper: Stepper, lens: str) -> np.ndarray:
    """``[R, L, T, V]`` in float64, by the model's own modules."""
    model, recording = stepper.loaded.model, stepper.recording
    out = []
    with torch.inference_mode():
        for r in range(recording.n_recurrences):
            for layer in range(recording.n_layers):
                last = layer == recording.n_layers - 1
                state = recording.states[r + 1] if last else recording.layer_states[r, layer]
                x = torch.from_numpy(state.copy())[None]
                if lens == "coda":
                    x = x if last or not model.arch.closing_norm else model.closing_norm(x)
                    x = model.coda(x)
                elif not last and not model.arch.final_norm:
                    x = model.closing_norm(x)
                out.append(model.head(x)[0].double().numpy())
    return np.array(out).reshape(recording.n_recurrences, recording.n_layers, *out[0].shape)


@pytest.mark.parametrize("lens", ["coda", "logit"])
def test_each_curve_is_the_mean_over_tokens_of_what_a_softmax_gives(
    looped: Stepper, lens: str
) -> None:
    p = softmax(logits_by_hand(looped, lens), axis=-1)
    last = p[-1, -1]
    final = last.argmax(-1)
    expected = {
        "entropy": -(p * np.log(p)).sum(-1),
        "divergence": rel_entr(p, last).sum(-1),
        "final_chance": np.take_along_axis(p, final[None, None, :, None], -1)[..., 0],
        "final_share": (p.argmax(-1) == final).astype(float),
    }
    for key, values in expected.items():
        data = compute(looped.recording, Selection(), Options(f"{lens}_{key}", "depth"))
        np.testing.assert_allclose(
            data.curves[0].y, values.mean(-1).ravel(), atol=2e-5, err_msg=key
        )
        assert data.curves[0].x.tolist() == list(range(2, 14))
    # Only the tokens shown are averaged.
    some = compute(looped.recording, Selection(tokens=(20,)), Options(f"{lens}_entropy", "depth"))
    np.testing.assert_allclose(some.curves[0].y, expected["entropy"][..., 20].ravel(), atol=2e-5)


def test_two_models_stand_on_one_axis_by_effective_depth(looped: Stepper, deep: Stepper) -> None:
    one, other = looped.recording, deep.recording
    pairing = Pairing(one.info.architecture, other.info.architecture)
    second_run = SecondRun(other, "deep", pairing, Selection())
    options = Options("logit_final_share", "depth")
    both = compute_second(one, second_run, Selection(), options)
    first, second = both.curves
    assert first.x.tolist() == second.x.tolist() == list(range(2, 14))
    np.testing.assert_array_equal(second.y, compute(other, Selection(), options).curves[0].y)
    assert first.y[-1] == second.y[-1] == 1.0  # of the last readout, by definition
    assert second.y[0] < 0.5


def test_what_was_not_read_says_where_to_read_it(deep: Stepper) -> None:
    data = compute(deep.recording, Selection(), Options("coda_entropy"))
    assert data.missing == "The coda lens has not read this run."
    words = empty_text(data.missing, data.lacks)
    assert words == f"{data.missing} Press “Read out every layer” in Lens over depth."
    assert not data.curves


def test_there_are_as_many_curves_for_either_lens() -> None:
    by_lens = [{k.split("_", 1)[1] for k in LENS_CURVES if k.startswith(x)} for x in ("coda", "lo")]
    assert by_lens[0] == by_lens[1]
    assert len(LENS_CURVES) == 2 * len(by_lens[0])
