"""Folders that bring code of their own under the name of a plain family: refused, or read on wish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import CONFIGS, write_checkpoint

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import CheckpointError
from loopscope.core.run.stepper import Stepper

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another class": ("llama", {"architectures": ["LoopLlamaForCausalLM"]},
                      "'architectures': 'LoopLlamaForCausalLM' is not a class of Llama"),
    "a class that begins alike": ("gpt2", {"architectures": ["GPT2LoopedForCausalLM"]},
                                  "is not a class of GPT-2"),
    "no text": ("qwen3", {"architectures": [3]}, "'3' is not a class of Qwen3"),
    "code of its own": (
        "llama", {"architectures": ["LlamaForCausalLM"],
                  "auto_map": {"AutoModelForCausalLM": "modeling_loop.LlamaForCausalLM"}},
        "'auto_map': its model is code of its own, 'modeling_loop.LlamaForCausalLM'"),
    "a config class of its own": ("albert", {"auto_map": {"AutoConfig": "x.LoopConfig"}},
                                  "'auto_map': its model is code of its own"),
    "loop_times": ("llama", {"loop_times": 4}, "'loop_times': 4 is no setting of a model whose"),
    "total_ut_steps": ("olmo2", {"total_ut_steps": 2}, "'total_ut_steps': 2 is no setting"),
    "a class that is no list": ("llama", {"architectures": "LoopLlamaForCausalLM"},
                                "'LoopLlamaForCausalLM' is not a class of Llama"),
    "numLoops": ("llama", {"numLoops": 3}, "'numLoops': 3 is no setting"),
    "NUM_LOOPS": ("qwen3", {"NUM_LOOPS": 3}, "'NUM_LOOPS': 3 is no setting"),
    "layer_repeats": ("qwen3", {"layer_repeats": 2}, "'layer_repeats': 2 is no setting"),
    "mean_iterations": ("gpt2", {"mean_iterations": 8}, "'mean_iterations': 8 is no setting"),
    "num_recurrences": ("gpt_neox", {"num_recurrences": [2, 3]}, "'num_recurrences': "),
    "Ouro's of another class": ("ouro", {"architectures": ["MyOuroForCausalLM"]},
                                "is not a class of Ouro"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_with_other_code_is_refused_and_says_how_it_is_read_all_the_same(
    case: str, tmp_path: Path
) -> None:
    name, changes, message = REFUSED[case]
    folder = write_checkpoint(tmp_path / "m", name, changes)
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(str(folder))
    assert f"--as {name} reads it" in str(raised.value)
    assert "\n" not in str(raised.value)
    checkpoint = open_checkpoint(str(folder), name)
    (note,) = checkpoint.notes
    assert note.startswith(f"read as {checkpoint.family.title} because that was asked for: key '")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {"architectures": ["LlamaForCausalLM"], "loop_times": 1, "use_loop": False}),
        ("llama", {"architectures": None, "auto_map": {"AutoTokenizer": "x.MyTokenizer"}}),
        ("gpt2", {"architectures": ["GPT2LMHeadModel"], "auto_map": {}}),
        ("gpt2", {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2, "output_hidden_states": True}),
        ("gpt_neox", {"architectures": ["GPTNeoXForCausalLM"]}),
        ("albert", {"architectures": ["AlbertForMaskedLM"]}),
        ("ouro", {"architectures": ["OuroForCausalLM"],
                  "auto_map": {"AutoModelForCausalLM": "modeling_ouro.OuroForCausalLM"}}),
        ("huginn", {"architectures": ["RavenForCausalLM"], "auto_map": {"AutoConfig": "x.Y"}}),
    ],
)  # fmt: skip
def test_a_folder_of_the_familys_own_is_opened_without_a_note(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(str(write_checkpoint(tmp_path / "m", name, changes)))
    assert checkpoint.notes == ()


def test_any_folder_is_read_as_any_family_on_wish(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    (folder / "config.json").write_text(json.dumps(CONFIGS["llama"] | {"model_type": "looplm"}))
    with pytest.raises(CheckpointError, match="'looplm' is not supported"):
        open_checkpoint(str(folder))
    checkpoint = open_checkpoint(str(folder), "llama")
    assert checkpoint.recognised_by == "asked for"
    assert checkpoint.notes == ("read as Llama because that was asked for: model_type 'looplm'",)
    with pytest.raises(
        CheckpointError, match="there is no family 'lama'; there are native, huginn"
    ):
        open_checkpoint(str(folder), "lama")


def test_a_wish_for_what_it_is_changes_nothing(tmp_path: Path) -> None:
    folder = str(write_checkpoint(tmp_path / "m", "llama"))
    assert open_checkpoint(folder, "llama") == open_checkpoint(folder)


def test_every_export_of_a_run_says_how_the_folder_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_checkpoint(tmp_path / "m", "llama", {"loop_times": 4}))
    loaded = load_model(LoadRequest(folder, "cpu", family="llama"))
    recording = Stepper(loaded).begin(loaded.tokenizer.from_ids((1, 2)))
    notes = recording.info.provenance()["notes"]
    assert notes.startswith("read as Llama because that was asked for: key 'loop_times': 4")
    assert main(["inspect", folder]) == 2
    assert "--as llama" in capsys.readouterr().err
    assert main(["inspect", folder, "--as", "llama"]) == 0
    assert f"note         {notes}" in capsys.readouterr().out
    out = tmp_path / "t.npz"
    command = ["trace", folder, "--token-ids", "1,2", "--recurrences", "1", "-o", str(out)]
    assert main(command) == 2
    capsys.readouterr()
    assert main([*command, "--as", "llama"]) == 0
    assert f"loopscope: warning: {notes}" in capsys.readouterr().err
