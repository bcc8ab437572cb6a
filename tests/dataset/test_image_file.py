import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weather_hpc.dataset.image_file import original, printable


@given(st.binary(min_size=1, max_size=40))
def test_any_file_name_survives_a_text_file(raw: bytes) -> None:
    text = printable(os.fsdecode(raw))
    assert len(text.encode("utf-8").decode("utf-8").splitlines()) == 1
    assert os.fsencode(original(text)) == raw


@pytest.mark.parametrize("name", ["plain.jpg", "été.jpg", "雪/1.jpg", 'a,"b".jpg'])
def test_readable_names_stay_as_they_are(name: str) -> None:
    assert printable(name) == name
