"""Which rank keeps the others waiting."""

import sys

from weather_hpc.train.progress import Judge, Progress, Sign, place_of


def sign(rank: int, beat: int, step: int, *, waits: bool = False) -> Sign:
    return Sign(f"node{rank}", beat, (3, 4, step), "training", "loader.py:210 (read)", waits)


def test_the_rank_that_does_not_wait_is_named_once_none_has_moved_for_the_limit() -> None:
    judge = Judge(limit_s=10)
    for now in range(11):
        judge.see(0, sign(0, now, 12, waits=True), now)
        judge.see(1, sign(1, now, 12), now)
        assert judge.verdict(now) is None
    judge.see(0, sign(0, 11, 12, waits=True), 11)
    judge.see(1, sign(1, 11, 12), 11)
    verdict = judge.verdict(11)
    assert verdict is not None
    assert verdict[0] == 1
    assert verdict[1] == (
        "rank 1 on node1 has not moved for 11 s: in epoch 4 after step 12 (training), at "
        "loader.py:210 (read); the others wait for it (WEATHER_HPC_RANK_TIMEOUT_S=10)"
    )


def test_a_rank_without_any_sign_of_life_is_named() -> None:
    judge = Judge(limit_s=10)
    judge.see(1, sign(1, 7, 12, waits=True), 0)
    for now in range(12):
        judge.see(0, sign(0, now, 12), now)
        judge.see(1, sign(1, 7, 12, waits=True), now)
    verdict = judge.verdict(11)
    assert verdict is not None
    assert verdict[0] == 1
    assert verdict[1].startswith("rank 1 on node1 has not answered for 11 s (stopped, killed, or ")


def test_no_verdict_while_any_rank_moves_and_all_are_named_where_all_wait() -> None:
    judge = Judge(limit_s=10)
    for now in range(0, 40, 5):
        judge.see(0, sign(0, now, now, waits=True), now)
        judge.see(1, sign(1, now, 12, waits=True), now)
        assert judge.verdict(now) is None
    judge.see(0, sign(0, 50, 35, waits=True), 50)
    judge.see(1, sign(1, 50, 12, waits=True), 50)
    verdict = judge.verdict(50)
    assert verdict is not None
    assert "rank 0 on node0 has not moved for 15 s" in verdict[1]
    assert "rank 1 on node1 has not moved for 50 s" in verdict[1]


def test_a_sign_tells_phase_and_line() -> None:
    progress = Progress()
    progress.enter("warm-up")
    own = Sign.of(progress, "here", 1)
    assert own.text.startswith("before the first epoch (warm-up), at progress.py:")
    assert not own.waits
    text, waits = place_of(sys._getframe())
    assert text.startswith("test_progress.py:")
    assert not waits
    assert place_of(None) == ("", False)
