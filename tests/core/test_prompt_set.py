"""Prompt files: what is read, and what is said of a line that cannot be."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from loopscope.core.checkpoint.loading import load
from loopscope.core.experiments.hops import prompt_lines
from loopscope.core.prompts.prompt_set import (
    MAX_CHARACTERS,
    MAX_PROMPTS,
    Item,
    PromptFileError,
    bundled_prompts,
    read_prompts,
)


def test_text_has_a_prompt_a_line_and_blank_lines_are_skipped(tmp_path) -> None:
    file = tmp_path / "some.txt"
    file.write_bytes(b"\xef\xbb\xbfab ba ? 1 : a\r\n\n  \n#1,2,3\n a \xe2\x80\xa8 b \n")
    prompts = read_prompts(str(file))
    assert prompts.items == (
        Item("ab ba ? 1 : a", None, 1),
        Item("#1,2,3", None, 4),
        Item(" a \u2028 b ", None, 5),
    )
    assert (prompts.name, prompts.path, len(prompts)) == ("some.txt", str(file), 3)
    assert not prompts.has_answers


def test_jsonl_has_answers_for_some(tmp_path) -> None:
    file = tmp_path / "some.jsonl"
    rows = [{"prompt": "a", "answer": "b"}, {"text": "c", "id": 7}, {"prompt": "d", "answer": None}]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert read_prompts(str(file)).items == (
        Item("a", "b", 1), Item("c", None, 2), Item("d", None, 3),
    )  # fmt: skip
    assert read_prompts(str(file)).has_answers


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": ', "a.jsonl, line 2: cannot be read as JSON"),
        ("a.jsonl", b"[1]", "a.jsonl, line 1: expected an object"),
        ("a.jsonl", b"\n{}", 'line 2: has neither "prompt" nor "text"'),
        ("a.jsonl", b'{"prompt": "a", "text": "b"}', 'line 1: has both "prompt" and "text"'),
        ("a.jsonl", b'{"prompt": 3}', 'line 1: "prompt" is int, not a string'),
        ("a.jsonl", b'{"prompt": "a", "answer": ["b"]}', '"answer" is list, not a string'),
        ("a.jsonl", b'{"prompt": "a", "answer": " "}', '"answer" is empty'),
        ("a.jsonl", b'{"prompt": "a", "prompt": "b"}', "'prompt' is there twice"),
        ("a.jsonl", b"[" * 50_000, "a.jsonl, line 1: cannot be read as JSON"),
        ("a.txt", b"fine\n\xff\xfe", "a.txt, line 2: is not UTF-8"),
        ("a.txt", b" \n\n", "a.txt: has no prompt"),
        ("a.txt", b"x" * (MAX_CHARACTERS + 1), "a.txt, line 1: is longer than"),
        ("a.txt", b"x\n" * (MAX_PROMPTS + 1), f"line {MAX_PROMPTS + 1}: a prompt file has at most"),
        ("a.txt", b"x" * (17 << 20), "a.txt: is larger than 16 MiB"),
    ],
)
def test_what_cannot_be_read_names_the_file_and_the_line(tmp_path, name, content, says) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PromptFileError) as error:
        read_prompts(str(tmp_path / name))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_there_or_a_folder_says_so(tmp_path) -> None:
    with pytest.raises(PromptFileError, match="No such file"):
        read_prompts(str(tmp_path / "none.txt"))
    with pytest.raises(PromptFileError, match="is a folder"):
        read_prompts(str(tmp_path))
    with pytest.raises(PromptFileError, match="there is bundled:glosses, bundled:hops"):
        read_prompts("bundled:nothing")


def test_the_bundled_file_is_what_the_task_writes_and_the_model_can_read() -> None:
    assert "hops" in bundled_prompts()
    text = (files("loopscope.resources") / "prompts" / "hops.jsonl").read_text("utf-8")
    assert [json.loads(line) for line in text.splitlines()] == prompt_lines()
    prompts = read_prompts("bundled:hops")
    assert (len(prompts), prompts.name) == (64, "bundled:hops")
    tokenizer = load("bundled:looped", "cpu").tokenizer
    for item in prompts.items:
        edges, rest = item.text.split(" ? ")
        count, queries = rest.split(" : ")
        step = {edge[0]: edge[1] for edge in edges.split()}
        for query, answer in zip(queries.split(), item.answer.split(), strict=True):
            for _ in range(int(count)):
                query = step[query]
            assert query == answer
        assert len(tokenizer.encode(item.text).token_ids) == 27
