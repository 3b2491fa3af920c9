"""What of a user's description HTCondor gets to read."""

from __future__ import annotations

import pytest

from cloudsched.batch.htcondor_submit import sections
from cloudsched.errors import SubmitError


def test_each_queue_statement_ends_a_section() -> None:
    text = "executable = a\n# a comment\narguments = 1\nqueue 2\narguments = \\\n  2\nqueue\n"
    assert sections(text) == [
        "executable = a\narguments = 1\nqueue 2\n",
        "executable = a\narguments = 1\narguments = 2\nqueue\n",
    ]


@pytest.mark.parametrize(
    "queue",
    [
        "queue",
        "Queue 7",
        "queue $(N)",
        "queue in (a, b)",
        "queue x in (a b)",
        "queue 2 x,y from (1 2)",
        "queue x from (\na\nb\n)",
    ],
)
def test_items_in_place_are_accepted(queue: str) -> None:
    assert sections(f"N = 3\nexecutable = a\n{queue}\n") == [f"N = 3\nexecutable = a\n{queue}\n"]


@pytest.mark.parametrize(
    "line", ["if defined x", "endif", '+VMType = "x"', "queue_name = x", "a = $INT(b,%d)", "a=$(b)"]
)
def test_the_language_is_htcondors(line: str) -> None:
    assert sections(f"{line}\nqueue\n") == [f"{line}\nqueue\n"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("queue x from /etc/shadow", "queue x from /etc/shadow is not available"),
        ("queue x from cat /etc/shadow |", "queue x from cat /etc/shadow | is not available"),
        ("que\\\nue x from /etc/shadow", "queue x from /etc/shadow is not available"),
        ("queue matching *.dat", "queue matching *.dat is not available"),
        ("queue $(N)", "queue $(N) is not available"),
        ("N = x from /etc/shadow\nqueue $(N)", "queue $(N) is not available"),
        ("queue x from (\na", "has no closing parenthesis"),
        ('+Owner = "bob"', "+Owner cannot be set"),
        ('+Ow\\\nner = "bob"', "+Owner cannot be set"),
        ('MY.owner="bob"', "MY.owner cannot be set"),
        ("include : /etc/shadow", "include is not available"),
        ("include command : id", "include is not available"),
        ("environment = $ENV(SECRET)", "$ENV(...) is not available"),
        ("bad line", "'bad line' is neither"),
        ("a @=end", "'a @=end' is neither"),
        ("a = \0", "is not accepted"),
    ],
)
def test_what_reads_files_or_acts_for_others_is_refused(line: str, problem: str) -> None:
    with pytest.raises(SubmitError) as caught:
        sections(f"{line}\nqueue\n")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("line ")


def test_a_description_without_queue_is_refused() -> None:
    with pytest.raises(SubmitError, match="there is no queue statement"):
        sections("executable = a\n")
