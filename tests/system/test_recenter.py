"""The closed loop with real processes: RunEngine, 0MQ, service, and back over 0MQ to the stage."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from operando.streamer.lab.bench.recenter import (
    RecenterRig,
    RecenterSettings,
    scan_alone,
    scan_reversed,
    scan_with_loop,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

# 40 px over 26 energies is the rate of the benchmark
SETTINGS = RecenterSettings(energies=26, creep_px=40.0, side=170)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with ExitStack() as stack:
        yield RecenterRig(SETTINGS, tmp_path_factory.mktemp("recenter"), stack)


def test_without_the_loop_the_field_leaves_and_with_it_it_stays(rig):
    alone = scan_alone(rig)
    kept, error = scan_with_loop(rig)
    assert alone.off_max > 35
    assert alone.out > 0
    assert alone.moves == alone.told == 0
    assert kept.lost == kept.out == 0
    assert kept.off_max < 3.0
    assert kept.refused == ""
    assert kept.told == kept.moves > 10
    assert kept.seen == SETTINGS.particles
    assert error < 0.2


def test_a_matrix_of_the_wrong_sign_is_noticed_before_a_second_move(rig):
    given, measured = scan_reversed(rig)
    assert given.moves == 1
    assert given.refused == "reversed"
    assert "the other way" in measured
