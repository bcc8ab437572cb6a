import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.eda.array_store import small_store
from weather_hpc.dataset.store import Store
from weather_hpc.eda.array_chunks import check_workers, forget, make_chunks
from weather_hpc.eda.request import chosen_rows
from weather_hpc.errors import UserError
from weather_hpc.runs.page_cache import cached_share


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("chunks"))


@pytest.mark.parametrize("images", [None, 23, 7, 1])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_chunks_have_each_valid_image_once_in_order(
    store: Store, images: int | None, size: int
) -> None:
    chunks = make_chunks(store, images, size)
    pixels = [chunk.read() for chunk in chunks]
    assert [part.shape for part in pixels] == [chunk.shape for chunk in chunks]
    assert all(chunk.images <= size for chunk in chunks)
    assert np.array_equal(np.concatenate(pixels), store.images[chosen_rows(store, images)])


def test_part_of_a_chunk_is_one_image(store: Store) -> None:
    whole = make_chunks(store, None, 64)[0]  # an invalid row lies between its images
    assert len(whole.spans) == 2
    pixels = whole.read()
    for number in (0, 10, 11, 12, 22):
        assert np.array_equal(whole.part(number).read(), pixels[number : number + 1])


def test_fewer_images_are_in_the_proportions_of_the_classes(store: Store) -> None:
    labels = store.labels[chosen_rows(store, 12)]
    assert np.bincount(labels).tolist() == [4, 4, 4]


def test_more_images_than_there_are(store: Store) -> None:
    with pytest.raises(UserError, match=r"--images 24: .* has 23 images"):
        make_chunks(store, 24, 5)


def test_more_workers_than_chunks(store: Store) -> None:
    chunks = make_chunks(store, None, 5)
    check_workers(5, chunks, 5)
    with pytest.raises(UserError, match="23 images in chunks of 5 are 5 chunks, fewer than"):
        check_workers(6, chunks, 5)


def file_system(path: Path) -> str:
    done = subprocess.run(
        ["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_file_is_dropped_from_memory_where_it_is_on_disk(tmp_path: Path) -> None:
    chunks = make_chunks(small_store(tmp_path), None, 5)
    os.sync()  # what is not on disk yet cannot be dropped
    chunks[0].file.read_bytes()
    assert cached_share(chunks[0].file) == 1
    in_memory = file_system(chunks[0].file) in ("tmpfs", "ramfs")
    assert forget(chunks) == (1 if in_memory else 0)


def test_a_file_in_memory_cannot_be_dropped() -> None:
    folder = Path("/dev/shm")  # noqa: S108
    if not folder.is_dir() or file_system(folder) != "tmpfs":
        pytest.skip("no tmpfs at /dev/shm")
    path = folder / f"weather_hpc-{os.getpid()}"
    try:
        path.write_bytes(bytes(1 << 16))
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert cached_share(path) == 1
    finally:
        path.unlink()


def test_an_empty_file_has_no_share(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert cached_share(tmp_path / "empty") is None
