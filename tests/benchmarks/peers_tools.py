"""What is timed beside the bench: one function for each tool and what it keeps.

Run by `peers` in an environment that has the peers; prints one JSON document. All run GPT-2 of one
shape with random weights, in float32, on one thread, and give logits ``[T, V]`` at the end.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from loopscope.core.checkpoint.loading import load
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper

VOCABULARY = 512
# Seconds that are timed at least, in one go.
SHORTEST = 0.1


@dataclass(frozen=True)
class Size:
    """Width, layers, heads and tokens; passes of the stack, 1 for the model as it is."""

    d: int
    layers: int
    heads: int
    tokens: int
    passes: int = 1

    def __str__(self) -> str:
        looped = f" looped {self.passes}" if self.passes > 1 else ""
        return f"d {self.d} × {self.layers}{looped}, T {self.tokens}"


SIZES = (
    Size(768, 12, 12, 16), Size(768, 12, 12, 256), Size(768, 12, 12, 512), Size(768, 12, 12, 1024),
    Size(64, 8, 4, 32), Size(1024, 4, 16, 512, 8),
)  # fmt: skip
# What each keeps beside the logits, for n layers; of a looped stack at every pass.
KEEPS = {
    "transformers, states and attention": "n + 1 hidden_states [T, d], n attentions [H, T, T]",
    "nnsight, the same": "n block outputs [T, d], n attention weights [H, T, T]",
    "TransformerLens, residual and pattern": "n hook_resid_post [T, d], n hook_pattern [H, T, T]",
    "TransformerLens, everything": "every hook point, about 40 a layer",
    "Loopscope, states and patterns": "s_0 and s_1 [T, d], n x[l] [T, d], n patterns [H, T, T]",
    "Loopscope, everything but the lenses": "the same, and n × 2 norms of writes [T]",
    "Loopscope, everything": "the same, and after each pass both lenses' "
    "five answers [T, 5] with probabilities, entropy and change [T, 2]",
}
Work = Callable[[], object]


def theirs(folder: Path, size: Size, attention: str) -> Any:
    return GPT2LMHeadModel.from_pretrained(folder, attn_implementation=attention).eval()


def looped(model: Any, tokens: torch.Tensor, passes: int, **kept: bool) -> Any:
    """A forward, or as many passes of the stack as a user would write by hand."""
    first: dict[str, Any] = {"input_ids": tokens}
    kept_all = []
    for _ in range(passes):
        out = model(**first, use_cache=False, **{"output_hidden_states": passes > 1} | kept)
        kept_all.append(out)
        if passes > 1:
            first = {"inputs_embeds": out.hidden_states[-1]}
    return kept_all


def bare(folder: Path, size: Size, tokens: torch.Tensor) -> Work:
    model = theirs(folder, size, "sdpa").to(tokens.device)
    return lambda: looped(model, tokens, size.passes)


def of_transformers(folder: Path, size: Size, tokens: torch.Tensor) -> dict[str, Work]:
    model = theirs(folder, size, "eager").to(tokens.device)
    kept = {"output_hidden_states": True, "output_attentions": True}
    name = "transformers, states and attention"
    return {name: lambda: looped(model, tokens, size.passes, **kept)}


def of_nnsight(folder: Path, size: Size, tokens: torch.Tensor) -> dict[str, Work]:
    import nnsight

    model = nnsight.NNsight(theirs(folder, size, "eager").to(tokens.device))

    def work() -> object:
        with model.trace(tokens, output_attentions=True, use_cache=False):
            states, patterns = [].save(), [].save()  # type: ignore[attr-defined]
            for block in model.transformer.h:
                patterns.append(block.attn.output[1])
                states.append(block.output)
            logits = model.output.logits.save()
        assert len(states) == len(patterns) == size.layers
        return states, patterns, logits

    return {"nnsight, the same": work}


def of_transformer_lens(folder: Path, size: Size, tokens: torch.Tensor) -> dict[str, Work]:
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(
        str(folder), hf_model=theirs(folder, size, "eager"), device=str(tokens.device),
        tokenizer=AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip
    wanted = ("hook_resid_post", "hook_pattern")
    return {
        "TransformerLens, residual and pattern": lambda: bridge.run_with_cache(
            tokens, names_filter=lambda name: name.endswith(wanted)
        ),
        "TransformerLens, everything": lambda: bridge.run_with_cache(tokens),
    }


def of_loopscope(folder: Path, size: Size, tokens: torch.Tensor) -> dict[str, Work]:
    loop = (0, size.layers, 1.0) if size.passes > 1 else None
    loaded = load(str(folder), str(tokens.device), loop=loop)
    prompt = loaded.tokenizer.from_ids(tuple(tokens[0].tolist()))

    def stepped(capture: Capture) -> object:
        stepper = Stepper(loaded, capture)
        stepper.begin(prompt)
        for _ in range(size.passes):
            stepper.step()
        stepper.recording.readouts.make()  # what waits for somebody to look
        return stepper.readout(), stepper.recording

    return {
        "Loopscope, states and patterns": lambda: stepped(Capture(True, False, False)),
        "Loopscope, everything but the lenses": lambda: stepped(Capture(True, True, False)),
        "Loopscope, everything": lambda: stepped(Capture()),
    }


TOOLS = {
    "transformers": of_transformers,
    "nnsight": of_nnsight,
    "transformer-lens": of_transformer_lens,
    "loopscope": of_loopscope,
}


def clock(device: torch.device) -> float:
    """Processor time of all threads; on an accelerator the time at which it has done its work."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def spent(work: Work, device: torch.device, times: int = 1) -> float:
    """Seconds of `clock` that ``work`` takes."""
    started = clock(device)
    for _ in range(times):
        work()
    return (clock(device) - started) / times


def timed(size: Size, device: torch.device, rounds: int, skipped: list[str]) -> dict[str, Any]:
    """Ratios over the bare forward of the same round, by tool, and its milliseconds."""
    with tempfile.TemporaryDirectory() as place:
        folder = written(Path(place), size)
        tokens = torch.randint(VOCABULARY, (1, size.tokens), device=device)
        base, tools = bare(folder, size, tokens), {}
        for name, make in TOOLS.items():
            if size.passes > 1 and name in ("nnsight", "transformer-lens"):
                skipped.append(f"{name} at {size}: has no loop over a stack of layers")
                continue
            try:
                made = make(folder, size, tokens)
                for work in made.values():
                    spent(work, device)
                tools |= made
            except Exception as problem:  # a peer that is not here, or has changed
                skipped.append(f"{name} at {size}: {type(problem).__name__}: {problem}"[:160])
        spent(base, device)
        # A short one is run several times in a row, as one call is within the noise of a machine.
        times = 1 + int(SHORTEST / spent(base, device))
        ratios: dict[str, list[float]] = {name: [] for name in tools}
        own = []
        for _ in range(rounds):
            own.append(spent(base, device, times))
            for name, work in tools.items():
                ratios[name].append(spent(work, device, times) / own[-1])
    return {"size": str(size), "bare_ms": sorted(own)[rounds // 2] * 1e3, "ratios": ratios}


def written(folder: Path, size: Size) -> Path:
    """A folder with random weights and a tokenizer of numbers."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=1024, n_embd=size.d, n_layer=size.layers,
        n_head=size.heads, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    words = WordLevel({str(i): i for i in range(VOCABULARY)}, unk_token="0")
    own = {"bos_token": "0", "eos_token": "0", "pad_token": "0"}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), **own).save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="*", default=range(len(SIZES)))
    options = parser.parse_args()
    torch.set_num_threads(1)
    skipped = [] if torch.cuda.is_available() else ["CUDA: this machine has none"]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    found = []
    for name in devices:
        for i in options.sizes:
            found.append(
                {"device": name} | timed(SIZES[i], torch.device(name), options.rounds, skipped)
            )
            print(f"{name}, {SIZES[i]}: done", file=sys.stderr, flush=True)
    versions = {"Python": platform.python_version(), "torch": torch.__version__}
    for package in ("transformers", "nnsight", "transformer-lens"):
        try:
            versions[package] = version(package)
        except ImportError:
            versions[package] = "not here"
    document = {"versions": versions, "rounds": options.rounds, "found": found, "skipped": skipped}
    print(json.dumps(document | {"keeps": KEEPS, "machine": platform.machine()}))


if __name__ == "__main__":
    main()
