"""No workers: this process does it all. The baseline of every speedup."""

from collections.abc import Iterator, Sequence

from weather_hpc.errors import UserError
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, introduce, pack_chunk
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.spec import Decoder


class SequentialBackend:
    """One chunk after the other, in this process."""

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """This process; ``workers`` must be 1."""
        if workers != 1:
            raise UserError(f"backend sequential has 1 worker, not {workers}")
        return [introduce(decoder)]

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks`` in their order."""
        return (pack_chunk(target, chunk) for chunk in chunks)

    def close(self) -> None:
        """Nothing to end."""
