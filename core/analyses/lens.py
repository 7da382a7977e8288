"""Read the state after every layer out, through the head or the coda and the head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.lens import READINGS, Lens, Reading, Readings
from loopscope.core.model.float64 import float64, near_float64
from loopscope.core.model.flops import head_flops
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import TOP_K
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.lens.compute import Options
from loopscope.core.views.lens.token import find_token

# Of one batch of the head: about a tenth of a second on one core, and 8 MB of logits.
MOST_OPERATIONS = 1e9
MOST_LOGITS = 1 << 20
# Tokens whose probability and rank are kept at each place, and such numbers in all (64 MB).
MOST_KEPT = 512
MOST_CHANCES = 1 << 23


@torch.inference_mode()
def run(stepper: Stepper, selection: Selection, options: Options, job: Job[Readings]) -> Readings:
    """Read with the lens of the options; an earlier reading of the other lens is kept."""
    recording: Recording = stepper.recording
    written = _written(options, recording)
    reading = read_run(
        stepper.loaded, recording, options.lens, job.report, selection=selection, written=written
    )
    return (recording.result(READINGS) or Readings()).put(options.lens, reading)


@torch.inference_mode()
def read_run(
    loaded: Loaded,
    recording: Recording,
    lens: Lens,
    report: Callable[[float], None],
    *,
    selection: Selection | None = None,
    written: int | None = None,
) -> Reading:
    """Read every place of a run with one lens.

    ``report`` is given the share done. ``written`` and the final answer at the cursor ``selection``
    come first among the tokens whose probability is kept everywhere.
    """
    tokens = torch.tensor([recording.info.token_ids], device=loaded.device.device)
    model: LoopedModel = loaded.model.bound(tokens)
    n, n_layers, t = recording.n_recurrences, recording.n_layers, recording.n_tokens
    rows = _batch(recording)
    # The last readout, which the others are measured against.
    end = _states(model, recording, lens, n * n_layers - 1, 1)[0]
    parts, norms = [], []
    for logits in _logits(model, end, rows):
        parts.append(logits)
        norms.append(log_norm(logits))
        report(0.0)
    last, norm = torch.cat(parts), torch.cat(norms)
    final = last.argmax(-1)
    kept = _kept(recording, selection or Selection(), final.tolist(), written, n * n_layers * t)
    out = _Rows(n * n_layers * t, min(TOP_K, recording.info.architecture.vocab_size), len(kept))
    done, ids = 0, torch.tensor(kept, device=last.device)
    for first in range(0, n * n_layers, max(1, rows // t)):
        count = min(max(1, rows // t), n * n_layers - first)
        states = _states(model, recording, lens, first, count).flatten(0, 1)
        for logits in _logits(model, states, rows):
            token = torch.arange(done, done + len(logits), device=last.device) % t
            out.put(done, read(logits, last[token], norm[token], final[token], ids, out.k))
            done += len(logits)
            report(done / (n * n_layers * t))
    return out.reading(n, n_layers, np.array(kept, dtype=np.int64))


def _logits(model: LoopedModel, states: Tensor, rows: int) -> Iterator[Tensor]:
    """Logits of states ``[n, d]``, at most ``rows`` at a time, in parts of about one size.

    On the CPU where the model's device has no float64, in which all is summed.
    """
    for part in torch.tensor_split(states, -(-len(states) // rows)):
        yield near_float64(model.head(part[None])[0])


def _batch(recording: Recording) -> int:
    """Rows (a token at a place) that the head takes at once."""
    arch = recording.info.architecture
    most = min(MOST_OPERATIONS / head_flops(arch), MOST_LOGITS / arch.vocab_size)
    return max(1, int(most))


def _states(model: LoopedModel, recording: Recording, lens: Lens, first: int, count: int) -> Tensor:
    """What the head reads of ``count`` places from ``first`` on, ``[count, T, d]``.

    After the last layer of a recurrence that is ``s_r``, as the model itself reads it out: closed
    by the closing norm, and damped. Within the block the coda lens closes ``x[r,l]`` first, as if
    the recurrence ended there, because a coda has only ever been given closed states; the logit
    lens norms it once, by the head's own norm or, where the head has none, by the closing norm.
    """
    arch, weight = model.arch, model.unembed.weight
    n = recording.n_layers
    chosen = []
    for place in range(first, first + count):
        r, layer = divmod(place, n)
        end = layer == n - 1
        kept = recording.state(r + 1) if end else recording.layer(r + 1, layer).state
        state = torch.from_numpy(kept.copy()).to(weight.device, weight.dtype)
        if not end and arch.closing_norm and (lens == "coda" or not arch.final_norm):
            state = model.norm_after(state, layer)
        chosen.append(state)
    states = torch.stack(chosen)
    return model.coda(states) if lens == "coda" else states


def read(
    logits: Tensor, last: Tensor, norm: Tensor, final: Tensor, kept: Tensor, k: int
) -> tuple[Tensor, ...]:
    """Everything that is kept of some readouts.

    Parameters
    ----------
    logits, last
        ``[n, V]``, of each readout and of the last readout at the same token.
    norm
        `log_norm` of ``last``, ``[n]``.
    final
        int64 ``[n]``, the last readout's top answer.
    kept
        int64 ``[C]``, tokens whose probability and rank are wanted.
    k
        Answers wanted.

    Returns
    -------
    Ids and probabilities ``[n, k]`` of the top answers; entropy ``-Σ p log p`` and
    ``KL(p ‖ p_last) = Σ p log(p / p_last)`` in nats, ``[n]``; probabilities and ranks
    ``[n, C + 1]`` of ``kept`` and of ``final``. A rank is 1 + the number of larger logits. Sums are
    float64; NaN where the logits are not finite.
    """
    wide = float64(logits)
    log_p = wide - log_norm(logits)[:, None]
    p = log_p.exp()
    # 0 log 0 is 0: a probability that underflowed has no share.
    entropy = -torch.where(p == 0, 0.0, p * log_p).sum(-1)
    apart = log_p - (float64(last) - norm[:, None])
    divergence = torch.where(p == 0, 0.0, p * apart).sum(-1).clamp_min(0.0)
    top = logits.topk(k, dim=-1).indices
    wanted = torch.cat([kept.expand(len(logits), -1), final[:, None]], dim=-1)
    ascending = _ascending(logits.float())
    larger = torch.searchsorted(ascending, logits.float().gather(-1, wanted), right=True)
    rank = (logits.shape[-1] - larger + 1).to(wide.dtype)
    rank = torch.where(entropy.isnan()[:, None], torch.nan, rank)
    return top, p.gather(-1, top), entropy, divergence, p.gather(-1, wanted), rank


def log_norm(logits: Tensor) -> Tensor:
    """``log Σ exp(logits)``, ``[n, V]`` to ``[n]``; NaN where a logit is not finite."""
    norm = float64(logits).logsumexp(-1)
    return torch.where(norm.isfinite(), norm, torch.nan)


def _ascending(logits: Tensor) -> Tensor:
    # On processors NumPy sorts more than ten times as fast as torch.
    if logits.device.type != "cpu":
        return logits.sort(-1).values
    return torch.from_numpy(np.sort(logits.numpy(), axis=-1))


class _Rows:
    """Arrays that are filled batch by batch."""

    def __init__(self, n: int, k: int, n_kept: int) -> None:
        self.k = k
        self.ids = np.empty((n, k), np.int64)
        widths = {"top": (k,), "entropy": (), "divergence": (), "p": (n_kept + 1,),
                  "rank": (n_kept + 1,)}  # fmt: skip
        self.numbers: dict[str, F32] = {
            name: np.empty((n, *width), np.float32) for name, width in widths.items()
        }

    def put(self, first: int, reading: tuple[Tensor, ...]) -> None:
        """Put what `read` returned for the rows from ``first`` on."""
        ids, *numbers = reading
        self.ids[first : first + len(ids)] = ids.cpu().numpy()
        for into, values in zip(self.numbers.values(), numbers, strict=True):
            into[first : first + len(ids)] = values.float().cpu().numpy()

    def reading(self, n: int, n_layers: int, kept: Any) -> Reading:
        """All of it, by recurrence, layer and token."""

        def shaped(values: Any) -> Any:
            return values.reshape(n, n_layers, -1, *values.shape[1:])

        top, entropy, divergence, p, rank = (shaped(v) for v in self.numbers.values())
        # Without a last readout there is no final answer to have a chance.
        final_p, final_rank = (
            np.where(np.isfinite(entropy[-1, -1]), v[..., -1], np.float32(np.nan))
            for v in (p, rank)
        )
        return Reading(shaped(self.ids), top, entropy, divergence, kept, p[..., :-1],
                       rank[..., :-1], final_p, final_rank)  # fmt: skip


def _written(options: Options, recording: Recording) -> int | None:
    """The token written in the options, if it is the one that is chosen."""
    if options.target != "written" or not options.token:
        return None
    vocabulary = range(recording.info.architecture.vocab_size)
    token = find_token(options.token, vocabulary, recording.label)
    if token is None:
        raise LoopscopeError(f"no token of this model is written '{options.token}'")
    return token


def _kept(
    recording: Recording, selection: Selection, final: list[int], written: int | None, n_rows: int
) -> list[int]:
    """Tokens whose probability and rank are kept everywhere, the likeliest to be wanted first.

    The written one, the final answer at the cursor and the other final answers, the prompt's own
    tokens, and the rest of a vocabulary that is small.
    """
    vocabulary = recording.info.architecture.vocab_size

    def wanted() -> Iterator[int]:
        if written is not None:
            yield written
        yield final[min(selection.token, len(final) - 1)]
        yield from final
        # Positions that a model puts before the prompt are no answers.
        yield from (token for token in recording.info.token_ids if token < vocabulary)
        yield from range(vocabulary)

    most = max(1, min(MOST_KEPT, MOST_CHANCES // n_rows))
    kept: dict[int, None] = {}
    for token in wanted():
        kept.setdefault(token)
        if len(kept) == most:
            break
    return list(kept)
