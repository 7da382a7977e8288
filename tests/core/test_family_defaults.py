"""What a family takes for a key that is missing is what its class in `transformers` takes."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from conformance.published import quiet

from loopscope.core.families import albert, gpt2, gpt_neox, hrm, llama
from loopscope.core.families.family import Config, Family

FAMILIES: dict[str, tuple[Family, Any]] = {
    **{family.name: (family, llama.STYLES[family.name].defaults) for family in llama.FAMILIES},
    "gpt2": (gpt2.FAMILY, gpt2.DEFAULTS),
    "gpt_neox": (gpt_neox.FAMILY, gpt_neox.DEFAULTS),
    "albert": (albert.FAMILY, albert.DEFAULTS),
    "hrm_text": (hrm.FAMILY, hrm.DEFAULTS),
}
del FAMILIES["ouro"]  # not in transformers; its class is written after Qwen2's


class Noted(dict[str, Any]):
    """A config that notes which keys are asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)


def class_defaults(model_type: str) -> dict[str, Any]:
    with quiet():
        import transformers

        kind = type(transformers.AutoConfig.for_model(model_type))
    return {f.name: f.default for f in fields(kind) if f.default is not MISSING}


@pytest.mark.parametrize("name", FAMILIES)
def test_defaults_are_the_classes(name: str) -> None:
    published = class_defaults(name)
    _, ours = FAMILIES[name]
    known = {key: value for key, value in ours.items() if key in published}
    assert known == {key: published[key] for key in known}
    assert len(known) >= 10


@pytest.mark.parametrize("name", FAMILIES)
def test_every_key_that_is_read_has_the_classes_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, ours = FAMILIES[name]
    asked: set[str] = set()

    def over(config: Config, defaults: Any, aliases: Any = None) -> Config:
        noted = Noted({**defaults, **config.values})
        noted.asked = asked
        return Config(noted, config.path)

    monkeypatch.setattr(Config, "over", over)
    family.architecture(Config({"model_type": name}, Path("config.json")))
    read = asked & set(class_defaults(name)) - {"model_type", "rope_parameters"}
    assert len(read) >= 10
    assert read <= set(ours)


def test_ouro_is_written_after_qwen2() -> None:
    extra = {"total_ut_steps": 4, "early_exit_threshold": 1.0}
    assert {**llama.QWEN2, **extra} == llama.OURO
