"""``loopscope generate``: continue a text, and say how many recurrences each token took."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import replace
from typing import Any

from loopscope.app.cli.terminal import (
    Bar,
    about_model,
    load_request,
    output_file,
    warn,
    write_json,
)
from loopscope.core.checkpoint.loading import Loaded, load_model
from loopscope.core.errors import LoopscopeError
from loopscope.core.generation.chat import Message, as_prompt
from loopscope.core.generation.continuing import NewToken, Plan, continue_text
from loopscope.core.generation.exit_rules import parse_rule
from loopscope.core.generation.sampling import Sampling
from loopscope.core.generation.stops import stop_ids
from loopscope.core.labels import printable
from loopscope.core.prompts.tokenizer import Prompt, parse_ids
from loopscope.core.run.requests import check_recurrences


def run_generate(options: Namespace) -> None:
    """Continue the prompt; prints the text, or JSON. Raises `LoopscopeError` for bad input."""
    output = output_file(options.output, ".json") if options.output else None
    rule = parse_rule(options.exit_rule) if options.exit_rule else None
    loaded = load_model(load_request(options))
    warn(loaded)
    recurrences = options.recurrences
    if recurrences is None:
        recurrences = loaded.architecture.trained_recurrences
    check_recurrences(recurrences)
    plan = Plan(options.tokens, recurrences, rule, options.seed)
    if not options.ignore_stop:
        plan = replace(plan, stops=stop_ids(loaded.checkpoint))
    prompt = _prompt(loaded, options)
    tokens = []
    with Bar("tokens") as bar:
        sampling = Sampling(options.temperature or 0.0, options.seed)
        for token in continue_text(loaded, prompt, plan, sampling):
            tokens.append(token)
            bar.show(len(tokens) / plan.tokens)
    document = _document(loaded, prompt, plan, options.temperature or 0.0, tokens)
    if output is not None or options.json:
        write_json(document, output)
    else:
        print(document["text"])
        print(_taken(document), file=sys.stderr)


def _prompt(loaded: Loaded, options: Namespace) -> Prompt:
    if options.chat:
        if options.prompt is None:
            raise LoopscopeError("--chat is of a text: give --prompt with it")
        text = as_prompt(loaded.checkpoint.path, [Message("user", options.prompt)])
        print(text, file=sys.stderr)  # what the model is asked, before it is
        return loaded.tokenizer.encode_rendered(text)
    if options.token_ids is not None:
        return loaded.tokenizer.from_ids(parse_ids(options.token_ids))
    return loaded.tokenizer.encode(options.prompt)


def _document(
    loaded: Loaded, prompt: Prompt, plan: Plan, temperature: float, tokens: list[NewToken]
) -> dict[str, Any]:
    ids = tuple(token.token_id for token in tokens)
    return {
        **about_model(loaded),
        "prompt": prompt.text,
        "prompt token ids": list(prompt.token_ids),
        "recurrences": plan.recurrences,
        "exit": None if plan.exit is None else plan.exit.text(),
        "temperature": temperature,
        "seed": plan.seed,
        "text": loaded.tokenizer.decode(ids),
        "tokens": [
            {
                "id": token.token_id,
                "text": loaded.tokenizer.label(token.token_id),
                "probability": token.probability,
                "recurrences": token.recurrences,
            }
            for token in tokens
        ],
    }


def _taken(document: dict[str, Any]) -> str:
    """Each token with the recurrences it took, in one line."""
    told = (f"{printable(token['text'])!r} {token['recurrences']}" for token in document["tokens"])
    return f"recurrences: {', '.join(told)}"
