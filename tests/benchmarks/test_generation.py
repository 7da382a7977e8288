"""Continuing a text against transformers' own cached generation of the same deep model.

In processor time on one thread, which a busy machine leaves as it is; each round times both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from loopscope.core.checkpoint.loading import load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.generation.continuing import Plan, continue_text

ROUNDS, PROMPT, NEW = 7, 32, 64


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("d", "layers"), [(64, 4), (768, 6)], ids=str)
def test_generation(say: Callable[..., None], tmp_path: Path, d: int, layers: int) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=d, intermediate_size=3 * d, num_hidden_layers=layers,
        num_attention_heads=d // 16 if d < 768 else 12, max_position_embeddings=512,
        eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path / "m")
    loaded = load_model(LoadRequest(str(tmp_path / "m"), "cpu"))
    torch.set_num_threads(1)
    ids = tuple(i % 4096 for i in range(7, 7 + PROMPT))
    prompt, tokens = loaded.tokenizer.from_ids(ids), torch.tensor([ids])

    def ours() -> list[int]:
        return [token.token_id for token in continue_text(loaded, prompt, Plan(NEW, 1))]

    def published() -> list[int]:
        with torch.inference_mode():
            made = theirs.generate(tokens, max_new_tokens=NEW, do_sample=False, pad_token_id=0)
        return made[0, PROMPT:].tolist()

    assert ours() == published()
    ratios, each = [], []
    for _ in range(ROUNDS):
        seconds = []
        for run in (ours, published):
            started = time.thread_time()
            run()
            seconds.append(time.thread_time() - started)
        ratios.append(seconds[0] / seconds[1])
        each.append(seconds[0] / NEW)
    say(
        f"continuing a text over transformers' generate, d {d} x {layers} layers",
        ratio=round(statistics.median(ratios), 3),
        ms_a_token=round(1000 * statistics.median(each), 2),
    )
