"""Every way of distributing preprocessing and exploration over one node, attacked while it runs.

Workers that are jobs are attacked in tests/integration/test_dask_jobqueue.py, training in
test_training.py.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.connection import Listener as PipeListener
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster

from tests.dataset.nasty import plain_folder
from tests.eda.array_store import SIDE, small_store
from tests.security.intruder import Intruder
from tests.security.listeners import Listener, family, listeners
from weather_hpc.eda import numpy_operations
from weather_hpc.eda.array_chunks import make_chunks
from weather_hpc.eda.array_engines import open_engine
from weather_hpc.preprocess.backends.base import make_backend
from weather_hpc.preprocess.chunk import Chunk, Target, pack_chunk
from weather_hpc.study.tasks import ArrayTask, Backend, Decoder, Engine, Operation

pytestmark = pytest.mark.xdist_group("intruder")

OURS = os.getpid()
PORTS = {Backend.SEQUENTIAL: 0, Backend.MULTIPROCESSING: 0, Backend.DASK: 5, Backend.DASK_NAIVE: 5}
"""How many ports are open at least: two of the scheduler, and of a worker two and its nanny's."""

EVERY_ANSWER = {"tcp takes connections", "GET /info/main/workers.html: HTTP 200", "connected"}
EVERY_RUN = {"dask-tcp uid 0", "pipe uid 0"}
"""What the attacks reach at servers without protection: an answer of each kind, and code as us."""


@pytest.fixture(scope="module")
def intruder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intruder]:
    with Intruder(tmp_path_factory.mktemp("intruder")) as other:
        yield other


@pytest.fixture
def known() -> set[Listener]:
    """What this process listens on before the test: another test's server, for example."""
    return listeners(family(OURS))


def refused(intruder: Intruder, known: set[Listener], before: list[str]) -> int:
    """Attack all that has been opened since ``known``; how many ports have withstood it."""
    attacked = intruder.attack_family(OURS, known)
    assert {target: answers for target, answers in attacked.items() if answers} == {}
    assert [target for target in attacked if not target.is_private] == []
    assert intruder.ran() == before
    return len(attacked)


def test_the_attacks_succeed_where_nothing_protects(
    intruder: Intruder, known: set[Listener], tmp_path: Path
) -> None:
    before = len(intruder.ran())
    open_to_all = tmp_path.parent / "open"
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"),
        PipeListener(("127.0.0.1", 0)) as pipes,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(f"\0whpc-{open_to_all.name}-{OURS}")
        abstract.listen()
        threading.Thread(target=read_all, args=(pipes,), daemon=True).start()
        for _ in range(5):  # a busy machine answers late
            missing = EVERY_ANSWER - {
                answer.partition(": ")[2]
                for answers in intruder.attack_family(OURS, known).values()
                for answer in answers
            }
            ran = {" ".join(line.split()[:3]) for line in intruder.ran()[before:]}
            if not missing and ran >= EVERY_RUN:
                break
    assert missing == set()
    assert ran >= EVERY_RUN


def read_all(pipes: PipeListener) -> None:
    """Read a message of each connection, as a manager without a key does."""
    with contextlib.suppress(OSError):  # closed
        while True:
            threading.Thread(target=read, args=(pipes.accept(),), daemon=True).start()


def read(pipe: Connection) -> None:
    with contextlib.suppress(Exception), pipe:
        pipe.recv()


@pytest.mark.parametrize("name", PORTS)
def test_a_backend_lets_nobody_else_in(
    name: Backend, intruder: Intruder, known: set[Listener], tmp_path: Path
) -> None:
    root = plain_folder(tmp_path / "images", per_class=2)
    pixels = tmp_path / "pixels"
    pixels.write_bytes(bytes(6 * 16 * 16 * 3))
    target = Target(root, pixels, 0, 16, Decoder.EXACT)
    paths = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))
    chunks = [Chunk(index, 2 * index, paths[2 * index : 2 * index + 2]) for index in range(3)]
    for chunk in chunks:
        pack_chunk(target, chunk)
    expected = pixels.read_bytes()
    pixels.write_bytes(bytes(len(expected)))
    before = intruder.ran()
    with contextlib.closing(make_backend(name)) as backend:
        backend.start(1, Decoder.EXACT)
        assert refused(intruder, known, before) >= PORTS[name]
        results = list(backend.run(target, chunks))
    assert sorted(result.finished.index for result in results) == [0, 1, 2]
    assert pixels.read_bytes() == expected
    assert intruder.ran() == before


def test_array_operations_by_dask_let_nobody_else_in(
    intruder: Intruder, known: set[Listener], tmp_path: Path
) -> None:
    store = small_store(tmp_path)
    before = intruder.ran()
    task = ArrayTask(
        engine=Engine.DASK_ARRAY, operation=Operation.FEATURES, workers=1, chunk_images=12,
        image_size=SIDE,
    )  # fmt: skip
    with open_engine(task, make_chunks(store, None, 12)) as engine:
        assert refused(intruder, known, before) >= PORTS[Backend.DASK]
        value = engine.compute(lambda count=1, text=None: None)
    assert np.allclose(value, numpy_operations.features(store.images[store.rows()]))
    assert intruder.ran() == before
