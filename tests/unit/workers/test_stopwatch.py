from workers.stopwatch import Stopwatch


class Timer:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stopwatch_stands_still_until_it_runs() -> None:
    timer = Timer()
    watch = Stopwatch(timer)
    timer.now += 5
    assert watch.seconds() == 0
    watch.run(1)
    timer.now += 3
    assert watch.seconds() == 3


def test_seconds_count_at_the_rate_of_their_time() -> None:
    timer = Timer()
    watch = Stopwatch(timer)
    watch.run(1 / 4)
    timer.now += 8
    watch.run(1 / 2)
    assert watch.seconds() == 2
    timer.now += 6
    assert watch.seconds() == 5
    watch.run(0)
    timer.now += 1000
    assert watch.seconds() == 5


def test_shares_of_those_who_train_together_add_up_to_the_time() -> None:
    timer = Timer()
    watches = [Stopwatch(timer) for _ in range(3)]
    for watch in watches:
        watch.run(1 / 3)
    timer.now += 9
    watches[0].run(0)  # it has ended; the others go on
    for watch in watches[1:]:
        watch.run(1 / 2)
    timer.now += 4
    assert [round(watch.seconds(), 9) for watch in watches] == [3, 5, 5]
