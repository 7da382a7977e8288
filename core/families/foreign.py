"""Folders whose config names a family that their own code is not.

A looped model is often written as a change of Llama and keeps its ``model_type``. Read as the
plain deep family it would be another model, without a word. Three things give it away: a class
that is not the family's, code of its own, and keys that a loop has.
"""

from __future__ import annotations

import re

from loopscope.core.families.family import Config, Family

# What the names of a family's classes end in.
CLASSES = (
    "Model", "ForCausalLM", "LMHeadModel", "DoubleHeadsModel", "ForMaskedLM", "ForPreTraining",
    "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
    "ForMultipleChoice",
)  # fmt: skip
# Words of a key that say how often layers run.
LOOP_WORDS = frozenset({
    "loop", "loops", "looped", "looping", "recur", "recurrence", "recurrences", "recurrent",
    "recursion", "recursions", "recursive", "ut", "cycle", "cycles", "iteration", "iterations",
    "iters", "repeat", "repeats", "repeated", "unroll", "unrolls", "unrolled", "nloop", "nloops",
    "nrecur", "ponder",
})  # fmt: skip
# A word of a key: what is between its signs, or from a capital letter on (numLoops).
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Keys of generation that have such a word and were once kept in every config.
NO_LOOP = ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size")


def foreign(config: Config, family: Family) -> str:
    """Why the folder may compute something else than its family; empty where nothing says so."""
    if not family.classes:
        return ""
    refusal = _other_class(config, family)
    return refusal if refusal or family.own_code else _own_code(config) or _loop_key(config)


def _other_class(config: Config, family: Family) -> str:
    names = config.values.get("architectures")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names:
        return ""
    if names[0] in [family.classes + ending for ending in CLASSES]:
        return ""
    return f"key 'architectures': {str(names[0])[:60]!r} is not a class of {family.title}"


def _own_code(config: Config) -> str:
    code = config.values.get("auto_map")
    for key, name in code.items() if isinstance(code, dict) else ():
        if key == "AutoConfig" or key.startswith("AutoModel"):
            return f"key 'auto_map': its model is code of its own, {str(name)[:60]!r}"
    return ""


def _loop_key(config: Config) -> str:
    for key, value in config.values.items():
        loops = value not in (None, False, 0, 1, "", [], {})
        if loops and key not in NO_LOOP and LOOP_WORDS & {w.lower() for w in WORD.findall(key)}:
            entry = f"key '{key[:60]}': {str(value)[:30]}"
            return entry + " is no setting of a model whose layers run once"
    return ""
