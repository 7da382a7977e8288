"""The hops task answered without the program."""

from __future__ import annotations


def solved(text: str) -> list[str]:
    """Follow the pointers by hand, from the prompt's text alone."""
    edges, rest = text.split(" ? ")
    count, queries = rest.split(" : ")
    step = {edge[0]: edge[1] for edge in edges.split()}
    answers = []
    for letter in queries.split():
        for _ in range(int(count)):
            letter = step[letter]
        answers.append(letter)
    return answers
