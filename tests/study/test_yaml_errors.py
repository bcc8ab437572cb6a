"""What a user reads who wrote a study or a site wrongly: file, line, key, what would be right."""

from pathlib import Path

import pytest

from weather_hpc.errors import UserError
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.site import load_site
from weather_hpc.study.yaml_file import load

GOOD = """\
name: mine
repeats: 2
preprocess:
  - backend: [sequential]
train:
  - strategy: ddp
    device: cpu
    world_size: [1, 2]
"""


def wrong(tmp_path: Path, text: str) -> str:
    """The message for a study file that holds ``text``, without the folder's name."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(path, StudyConfig)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path), "mine.yaml")


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    study = load_study(str(path))
    assert study.name == "mine"
    assert study.train[0]["world_size"] == [1, 2]
    assert study.train[0]["batch_size"] == [32]


def test_every_error_is_told_at_once_from_the_top_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = GOOD.replace("repeats: 2", "repeets: 2").replace("[1, 2]", "[1, -2]")
    path.write_text(text.replace("- backend: [sequential]", "- backnd: [sequential]"))
    with pytest.raises(UserError) as caught:
        load(path, StudyConfig)
    assert [line.replace(f"{path}:", "") for line in caught.value.lines] == [
        "2: unknown key 'repeets'; did you mean 'repeats'?",
        "4: preprocess[0]: unknown key 'backnd'; did you mean 'backend'?",
        "8: train[0].world_size[1]: input should be greater than or equal to 1, not -2",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("repeats", "repeat", "mine.yaml:2: unknown key 'repeat'; did you mean 'repeats'?"),
        (
            "world_size",
            "worldsize",
            "mine.yaml:8: train[0]: unknown key 'worldsize'; did you mean 'world_size'?",
        ),
        (
            "[sequential]",
            "[sequental]",
            "preprocess[0].backend[0]: 'sequental' is no choice; did you mean 'sequential'?",
        ),
        ("ddp", "dpd", "mine.yaml:6: train[0].strategy[0]: 'dpd' is no choice; did you mean"),
        ("[1, 2]", "[1, 0]", "mine.yaml:8: train[0].world_size[1]: input should be greater"),
        ("[1, 2]", "'2'", "mine.yaml:8: train[0].world_size[0]: input should be a valid integer"),
        ("[1, 2]", "true", "mine.yaml:8: train[0].world_size[0]: input should be a valid integer"),
        ("name: mine\n", "", "mine.yaml:1: name: is missing"),
        ("name: mine", "name: ../mine", "mine.yaml:1: name: string should match pattern"),
        ("repeats: 2", "name: two", "mine.yaml:2: not valid YAML: key 'name' is written twice"),
        ("repeats: 2", "repeats: [", "not valid YAML"),
        ("repeats: 2", "scaling: weak", "weak scaling needs images_per_worker"),
        ("repeats: 2", "images_per_worker: 4", "images_per_worker is only for scaling: weak"),
        ("[sequential]", "sequential\n    workers: 2", "sequential has 1 worker"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in wrong(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    assert wrong(tmp_path, text).startswith("mine.yaml: expected keys such as name")


def test_yaml_tags_make_no_objects(tmp_path: Path) -> None:
    assert "not valid YAML" in wrong(tmp_path, "name: !!python/object/apply:os.getcwd []\n")


def test_nothing_to_measure(tmp_path: Path) -> None:
    assert "nothing to measure" in wrong(tmp_path, "name: mine\n")


def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'paper'"):
        load_study("papr")


def test_a_folder_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, expected a YAML file"):
        load_study(str(tmp_path))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_study(str(path))


def test_a_site_line_with_a_line_break_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text('name: here\nmodules: ["a\\nrm -rf x"]\n')
    with pytest.raises(UserError, match=r"site\.yaml:2: modules\[0\]: must be one line"):
        load_site(str(path))


def test_a_site_variable_must_have_a_shell_name(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text('environment: {"A;B": "1"}\n')
    with pytest.raises(UserError, match="environment"):
        load_site(str(path))
