"""Studies that cannot work are refused when planned: where, what, and what would be right."""

from pathlib import Path

import pytest
import yaml

from weather_hpc.errors import UserError
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.images import ImageCount
from weather_hpc.study.plan import make_plan
from weather_hpc.study.refusals import single_steps

HUNDRED = ImageCount("/photos", total=100, training=80)


def refused(text: dict[str, object], images: ImageCount | None = HUNDRED) -> str:
    study = StudyConfig.model_validate({"name": "s", "repeats": 1, **text})
    with pytest.raises(UserError) as caught:
        make_plan(study, "/photos", images=images)
    (line,) = str(caught.value).splitlines()
    return line


def planned(entry: dict[str, object], images: ImageCount = HUNDRED, **study: object) -> None:
    text = {"name": "s", "repeats": 1, "train": [entry], **study}
    assert make_plan(StudyConfig.model_validate(text), "/photos", images=images).runs


def with_entry(**entry: object) -> dict[str, object]:
    """A study whose second entry of train is a single CPU process with ``entry``'s settings."""
    plain = {"strategy": "single", "device": "cpu"}
    return {"train": [plain, {**plain, **entry}]}


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"model": "resnet81"}, "train[1].model: resnet81: no such network; did you mean 'resn"),
        ({"model": "zzz"}, "train[1].model: zzz: no such network; known: paper_cnn, weather_net"),
        (
            {"model": ["resnet18", "vit_h_14"]},
            "image_size: vit_h_14 (train[1]) takes images of a multiple of 14 px, not 256 px",
        ),
        ({"weights": "cached"}, "train[1].weights: paper_cnn has no published weights"),
        (
            {"model": "resnet18", "weights": "/no/such/file.pth"},
            "train[1].weights: /no/such/file.pth: no such file; expected a file of weights",
        ),
        (
            {"strategy": "model", "world_size": [2, 7]},
            "train[1].world_size: paper_cnn can be cut into 6 stages at most, not 7",
        ),
        (
            {"strategy": "model", "world_size": 2, "model": "resnet18"},
            "train[1].strategy: strategy model cuts paper_cnn and weather_net only, not resnet18",
        ),
        (
            {"strategy": "ddp", "world_size": 96, "batch_size": 4},
            (
                "train[1].batch_size: 4 (per-device) with world_size 96 leaves 0 images for one "
                "device in some steps; batch norm needs at least 2"
            ),
        ),
        (
            {"strategy": "ddp", "world_size": 2, "batch_size": 1},
            (
                "train[1].batch_size: 1 (per-device) with world_size 2 leaves 1 image for one "
                "device in some steps; batch norm needs at least 2"
            ),
        ),
        ({"execution": "graph"}, "train[1]: execution graph needs device cuda, not cpu"),
        ({"strategy": "dp"}, "train[1]: strategy dp needs device cuda, not cpu"),
        ({"strategy": "ddp", "world_size": 3, "nodes": 2}, "is not divisible by 2 nodes"),
        (
            {"strategy": "ddp", "world_size": 2, "execution": "graph", "device": "cuda"},
            "train[1]: execution graph is for strategy single",
        ),
        (
            {"strategy": "model", "world_size": 2, "precision": "bf16"},
            "train[1]: precision bf16 is for strategies single and ddp, not model",
        ),
    ],
)
def test_an_entry_that_cannot_work_is_named(entry: dict[str, object], line: str) -> None:
    assert line in refused(with_entry(**entry))


def test_image_sizes_of_the_papers_network_are_known() -> None:
    message = refused({"image_size": 128, **with_entry()})
    assert "image_size: paper_cnn (train[0]) takes images of 253 to 292 px, not 128 px" in message
    planned({"strategy": "single", "device": "cpu", "model": "weather_net"}, image_size=128)


def test_weights_in_a_file_that_exists_are_planned(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.touch()
    entry: dict[str, object] = {"strategy": "single", "device": "cpu", "model": "resnet18"}
    planned(entry | {"weights": str(file)})
    planned(entry | {"weights": "cached"})


def test_one_image_for_each_device_is_enough_where_none_normalises_alone() -> None:
    entry: dict[str, object] = {
        "strategy": "ddp", "device": "cpu", "world_size": 2, "batch_size": 1,
    }  # fmt: skip
    planned(entry | {"model": "alexnet"})
    planned(entry | {"batch_norm": "sync"})


WEAK: dict[str, object] = {"scaling": "weak", "images_per_worker": 30}


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            {"preprocess": [{"backend": "dask", "workers": [1, 4]}]},
            (
                "images_per_worker: preprocess-dask-w4: 4 times 30 are 120 images, but /photos has "
                "100 images: use at most 25, or fewer workers"
            ),
        ),
        (
            {"eda": [{"backend": "dask", "workers": [2, 4]}]},
            "images_per_worker: eda-dask-w4: 4 times 30 are 120 images",
        ),
        (  # the training split is smaller than the folder
            {
                "preprocess": [{"backend": "dask", "workers": 3}],
                "train": [{"strategy": "ddp", "device": "cpu", "world_size": 3, "batch_size": 8}],
            },
            (
                "images_per_worker: train-ddp-cpu-w3-b8: 3 times 30 are 90 images, but /photos has "
                "80 training images: use at most 26, or fewer workers"
            ),
        ),
    ],
)
def test_weak_scaling_needs_as_many_images_as_its_workers(
    entries: dict[str, object], line: str
) -> None:
    assert line in refused({**WEAK, **entries})


def test_array_operations_need_a_chunk_for_each_worker() -> None:
    entry = {"operation": "histogram", "engine": "numpy", "workers": [1, 4, 8]}
    message = refused({"array": [entry]})
    assert (
        "array[0].workers: 8 workers, but 100 images in chunks of 32 are 4 chunks: use" in message
    )
    assert "chunk_images of at most 12" in message
    study = {"name": "s", "array": [{**entry, "chunk_images": 12}]}
    assert make_plan(StudyConfig.model_validate(study), "/photos", images=HUNDRED).runs


def test_without_a_count_of_images_the_other_checks_remain() -> None:
    entry = {"strategy": "single", "device": "cpu", "batch_size": 9000}
    study = StudyConfig.model_validate({"name": "s", "train": [entry]})
    assert make_plan(study, "").runs
    assert "no such network" in refused(with_entry(model="nothing"), images=None)


def test_a_file_is_named_with_the_line_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nimage_size: 256\ntrain:\n  - strategy: single\n    device: cpu\n"
        "  - strategy: single\n    device: cpu\n    model: paper_cn\n"
    )

    def line() -> str:
        with pytest.raises(UserError) as caught:
            make_plan(load_study(str(path)), "/photos", images=HUNDRED)
        return str(caught.value)

    assert line().startswith(f"{path}:8: train[1].model: paper_cn: no such network; did you mean")
    text = path.read_text().replace("paper_cn", "paper_cnn").replace("256", "128")
    path.write_text(text)
    assert line().startswith(f"{path}:2: image_size: paper_cnn (train[0]) takes images of 253 to")
    path.write_text(yaml.safe_dump({"name": "m", "train": [{"strategy": "dp", "device": "cpu"}]}))
    assert line().startswith(f"{path}:3: train[0]: strategy dp needs device cuda, not cpu")


def test_a_batch_larger_than_an_epoch_is_noticed_not_refused() -> None:
    study = StudyConfig.model_validate({
        "name": "s", "repeats": 2,
        "train": [
            {"strategy": "single", "device": "cpu", "batch_size": [32, 80, 128]},
            {"strategy": "ddp", "device": "cpu", "world_size": [2, 4], "batch_size": 32},
        ],
    })  # fmt: skip
    plan = make_plan(study, "/photos", images=HUNDRED)
    notice = single_steps(plan.runs, HUNDRED)
    assert notice == (
        "train-single-cpu-w1-b128 and 1 other configuration: a batch is larger than the training "
        "images of an epoch (/photos has 80 training images), so an epoch is one step with all of "
        "them"
    )
    assert single_steps(plan.runs, ImageCount("/photos", total=160, training=128)) is None
