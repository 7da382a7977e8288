"""Loopscope's own looped transformer, the architecture of the bundled checkpoint.

::

    e = prelude(scale * embed(tokens))
    s_0 = 0 (or seeded normal noise)
    s_{r+1} = norm( block( inject(s_r, e) ) )
    logits = unembed( final_norm( coda(s_R) ) )

Prelude, recurrent block and coda are stacks of pre-norm layers with half-split RoPE and a plain
GELU MLP, no biases. Input injection is ``adapter(cat[s, e])`` ("concat"), ``s + e`` ("add") or
none; without injection ``s_0 = e``, since nothing else tells the block what the prompt is. The
closing norm can be left out. With ``untied_passes`` the block runs once and its layers are divided
into that many passes, each with an injection and a closing norm of its own. ``task`` names the task
of Loopscope's own that the model was trained on; without it the model says the next token. The form
follows Geiping et al. (arXiv 2502.05171). Tensors in the file carry the names of
`loopscope.core.model.architecture.parameter_shapes`.
"""

from __future__ import annotations

from typing import Any, Literal

from loopscope.core.families.family import Config, Family, Source
from loopscope.core.model.architecture import Architecture, Task, parameter_shapes
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.model.rope import Rope

MODEL_TYPE = "loopscope_looped"
INJECTIONS: tuple[Literal["concat", "add", "none"], ...] = ("concat", "add", "none")
TASKS: tuple[Task, ...] = ("", "hops")
STARTS: tuple[Literal["zeros", "normal"], ...] = ("zeros", "normal")


def architecture(config: Config) -> Architecture:
    """Read `config.json` of a native checkpoint.

    Raises `CheckpointError` for a key that is missing, out of range or does not fit the others.
    """
    d_model = config.size("hidden_size")
    n_heads = config.size("num_attention_heads")
    if d_model % n_heads:
        raise config.error("hidden_size", f"{d_model} is not divisible by {n_heads} heads")
    norm_eps = config.number("norm_eps", 1e-6)
    injection = config.choice("injection", INJECTIONS)
    n_block = config.size("n_layers_in_recurrent_block")
    untied_passes = config.size("untied_passes", 0, least=0)
    if untied_passes and n_block % untied_passes:
        raise config.error("untied_passes", f"{n_block} layers do not divide by {untied_passes}")
    return Architecture(
        family="native",
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d_model,
            n_heads=n_heads,
            n_kv_heads=n_heads,
            d_head=d_model // n_heads,
            d_mlp=config.size("intermediate_size"),
            norm_eps=norm_eps,
            activation="gelu",
            gated=False,
            rope=Rope(theta=config.number("rope_theta")),
        ),
        n_prelude=config.size("n_layers_in_prelude", least=0),
        n_block=n_block,
        n_coda=config.size("n_layers_in_coda", least=0),
        trained_recurrences=config.size("trained_recurrences"),
        max_positions=config.size("max_position_embeddings"),
        norm_eps=norm_eps,
        embedding_scale=config.number("embedding_scale", 1.0),
        injection=injection,
        closing_norm=config.flag("closing_norm", True),
        initial_state="embedding"
        if injection == "none"
        else config.choice("initial_state", STARTS),
        untied_passes=untied_passes,
        task=config.choice("task", TASKS),
    )


def config_of(arch: Architecture) -> dict[str, Any]:
    """Write the `config.json` that `architecture` reads back."""
    untied = {"untied_passes": arch.untied_passes} if arch.untied_passes else {}
    task = {"task": arch.task} if arch.task else {}
    return {
        "model_type": MODEL_TYPE,
        "dtype": "float32",
        "vocab_size": arch.vocab_size,
        "hidden_size": arch.d_model,
        "num_attention_heads": arch.layer.n_heads,
        "intermediate_size": arch.layer.d_mlp,
        "n_layers_in_prelude": arch.n_prelude,
        "n_layers_in_recurrent_block": arch.n_block,
        "n_layers_in_coda": arch.n_coda,
        "trained_recurrences": arch.trained_recurrences,
        "max_position_embeddings": arch.max_positions,
        "rope_theta": arch.layer.rope.theta,
        "norm_eps": arch.norm_eps,
        "embedding_scale": arch.embedding_scale,
        "injection": arch.injection,
        "closing_norm": arch.closing_norm,
        "initial_state": "zeros" if arch.initial_state == "embedding" else arch.initial_state,
        **untied,
        **task,
    }


def _recognise(config: Config, tensors: frozenset[str]) -> str | None:
    return f"model_type {MODEL_TYPE}" if config.model_type == MODEL_TYPE else None


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    return {name: Source((name,)) for name in parameter_shapes(arch)}


FAMILY = Family("native", "Loopscope native", _recognise, architecture, _tensors)
