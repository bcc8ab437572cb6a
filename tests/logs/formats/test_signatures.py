"""Signatures of named formats: none is found in what another program prints."""

import pytest

from weather_hpc.logs import formats
from weather_hpc.logs.log_format import GENERAL, LogFormat

FORMATS = formats()
SIGNED = [form for form in FORMATS if form.signatures]


@pytest.mark.parametrize("form", SIGNED, ids=lambda form: form.name)
def test_no_other_program_prints_it(form: LogFormat) -> None:
    assert form.file.title
    for other in FORMATS:
        lines = [line for rule in other.file.lines for line in rule.example or ()]
        found = [line for line in lines if form.is_found(line.encode())]
        assert not found or other is form, other.name


def test_all_formats_but_the_general_have_one() -> None:
    assert [form.name for form in FORMATS if not form.signatures] == list(GENERAL)
