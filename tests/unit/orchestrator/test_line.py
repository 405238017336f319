"""The packs that wait in a worker: in order, and who may go before the others."""

from dataclasses import replace
from threading import Thread

from experiments.planning.strategies import Calibration, Strategy
from experiments.records import Assignment
from orchestrator.pools.line import Line
from tests.samples import SOME_WORK, a_config


def an_assignment(trial_id: str, *, batch_size: int = 32, members: int = 16) -> Assignment:
    config = replace(a_config(), batch_size=batch_size)
    return Assignment(trial_id, 1, config, strategy=Strategy(members))


def a_line(*packs: list[Assignment]) -> Line:
    line = Line()
    for pack in packs:
        line.add(pack)
    return line


def names(assignments: list[Assignment]) -> str:
    return "".join(each.trial_id for each in assignments)


def test_packs_are_taken_in_the_order_of_their_coming() -> None:
    line = a_line([an_assignment("a"), an_assignment("b")], [an_assignment("c")])
    assert [names(line.take()), names(line.take())] == ["ab", "c"]


def test_who_leaves_is_not_taken() -> None:
    line = a_line([an_assignment("a"), an_assignment("b")], [an_assignment("c")])
    left = list[str]()
    line.leave(["c", "a", "unknown"], on_leaving=left.append)
    assert left == ["a", "c"]
    assert [names(line.take()), names(line.take())] == ["b", ""]


def test_an_emptied_pack_is_taken_after_it_was_said_who_left() -> None:
    line, order = Line(), list[str]()
    taker = Thread(target=lambda: order.append(f"taken: {names(line.take())}"))
    line.add([an_assignment("a")])

    def leaving(trial_id: str) -> None:
        taker.start()
        taker.join(0.1)  # it cannot get on
        order.append(trial_id)

    line.leave(["a"], on_leaving=leaving)
    taker.join(10.0)
    assert order == ["a", "taken: "]


def test_those_of_one_shape_are_taken_from_the_front_across_packs() -> None:
    line = a_line([an_assignment("a"), an_assignment("b")], [an_assignment("c")])
    assert names(line.take_alike(an_assignment("x"), 1)) == "a"
    assert names(line.take_alike(an_assignment("x"), 9)) == "bc"
    assert [names(line.take()), names(line.take())] == ["", ""]


def test_nobody_of_another_shape_or_trained_otherwise_is_passed_over() -> None:
    line = a_line(
        [an_assignment("a", batch_size=64)],
        [an_assignment("b", members=1)],
        [an_assignment("c")],
    )
    one = an_assignment("x")
    assert line.take_alike(one, 9) == []
    line.take()
    assert line.take_alike(one, 9) == []
    line.take()
    assert names(line.take_alike(one, 9)) == "c"


def test_nobody_joins_others_before_whom_the_worker_is_to_measure_how_they_run() -> None:
    calibration = Calibration(SOME_WORK, gpus=0.0, num_trials=100)
    line = a_line([replace(an_assignment("a"), calibration=calibration)])
    assert line.take_alike(an_assignment("x"), 9) == []
