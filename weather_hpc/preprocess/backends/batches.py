"""Chunks as tasks for workers that are dear to talk to: few, and yet nobody waits at the end."""

import heapq
from collections import deque
from collections.abc import Sequence

from weather_hpc.preprocess.chunk import Chunk

BATCH_CHUNKS = 16
"""The most chunks in a task: what is done anew where a run is killed."""

PART = 0.75
"""Of the work that is left, what goes into the next tasks of all workers."""

LEAST = 0.5
"""The least that goes into a task, in chunks of mean cost."""


def make_batches(chunks: Sequence[Chunk], workers: int) -> list[list[Chunk]]:
    """``chunks``, the longest first, as tasks, by factoring (Hummel, Schonberg and Flynn, 1992).

    A task costs the scheduler milliseconds, so the first ones are long: a round of one for each
    worker, equally long, takes :data:`PART` of what is left, at most :data:`BATCH_CHUNKS` each.
    The last are short, so that workers of different speed end together.
    """
    waiting = deque(chunks)
    left = sum(chunk.cost for chunk in chunks)
    least = LEAST * left / max(len(chunks), 1)
    batches: list[list[Chunk]] = []
    while waiting:
        share = max(PART * left / workers, least)
        loads = [(0, worker) for worker in range(workers)]  # a heap
        tasks: list[list[Chunk]] = [[] for _ in range(workers)]
        while waiting:
            load, worker = loads[0]
            task = tasks[worker]
            if task and (load + waiting[0].cost > share or len(task) == BATCH_CHUNKS):
                break
            task.append(waiting.popleft())
            heapq.heapreplace(loads, (load + task[-1].cost, worker))
            left -= task[-1].cost
        batches += filter(None, tasks)
    return batches
