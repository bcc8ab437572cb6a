"""Every check that one process makes, the most valuable first, with the seconds it needs."""

from weather_hpc.check.node import bandwidth, versions
from weather_hpc.check.ranks_here import checks_here
from weather_hpc.check.session import Check, Session
from weather_hpc.check.training import compiled_on_gpus, on_a_cpu, on_gpus


def checks_of(session: Session) -> list[Check]:
    """Those of the session's device."""
    first = [Check("versions", 1, versions), Check("bandwidth", 5, bandwidth)]
    first += checks_here(session)
    if not session.gpus:
        return first + on_a_cpu()
    from weather_hpc.check.speed import checks_of_speed

    *speed, race = checks_of_speed()
    return [*first, *on_gpus(session.gpus), *speed, race, *compiled_on_gpus()]
