"""A conversation as the prompt a model knows: the folder's template, rendered as published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopscope.core.errors import LoopscopeError
from loopscope.core.generation import chat
from loopscope.core.generation.chat import Message, as_prompt

pytestmark = pytest.mark.slow
TALK = [
    Message("system", "Be <b>brief</b>."),
    Message("user", "Hi & hello\n"),
    Message("assistant", "Yes?"),
    Message("user", "é"),
]
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# With the statements that published templates use: blocks, loop controls, tojson, refusals.
LONG = """
{{- bos_token }}
{%- for m in messages %}
    {%- if m.role == 'system' %}{% continue %}{% endif %}
    {%- if not m.content %}
        {{- raise_exception('empty message') }}
    {%- endif %}
[{{ m.role | upper }}] {{ {'text': m.content.strip()} | tojson }}
    {%- if loop.last %} {{ eos_token }}{% endif %}
{%- endfor %}
"""


def folder_with(tmp_path: Path, template: str, **config: object) -> Path:
    (tmp_path / "chat_template.jinja").write_text(template)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def published(template: str, **tokens: str) -> str:
    """What transformers renders."""
    from transformers.utils.chat_template_utils import render_jinja_template

    talk = [{"role": m.role, "content": m.content} for m in TALK]
    rendered, _ = render_jinja_template(
        [talk], chat_template=template, add_generation_prompt=True, **tokens
    )
    return rendered[0]


@pytest.mark.parametrize("template", [CHATML, LONG], ids=["chatml", "long"])
def test_it_is_rendered_as_transformers_does(tmp_path: Path, template: str) -> None:
    pytest.importorskip("jinja2")
    folder = folder_with(
        tmp_path, template, bos_token="<s>", eos_token={"content": "</s>", "lstrip": False}
    )
    assert as_prompt(folder, TALK) == published(template, bos_token="<s>", eos_token="</s>")


def test_of_several_the_default_is_used(tmp_path: Path) -> None:
    named = [
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "plain {{ messages[0].role }}"},
    ]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert as_prompt(tmp_path, TALK) == "plain system"


def test_without_one_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoopscopeError, match="no chat template"):
        as_prompt(tmp_path, TALK)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ 'x' * 10**7 }}",
        "{% if %}",
        "{{ raise_exception('only once') }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_hostile_one_ends_in_one_line(tmp_path: Path, template: str) -> None:
    with pytest.raises(LoopscopeError, match="the chat template refuses") as error:
        as_prompt(folder_with(tmp_path, template), TALK)
    assert "\n" not in str(error.value)


def test_one_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "PATIENCE", 3.0)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(LoopscopeError, match="more than 3 s"):
        as_prompt(folder_with(tmp_path, loops), TALK)
