"""One trial after the other in one process, with as many threads as torch takes by itself."""

from benchmarks.peers.training import prepare, read_job, train, write_result


def main() -> None:
    """Train them all."""
    job, result = read_job()
    prepare(job.data)
    write_result(result, [train(job, params) for params in job.trials()])


if __name__ == "__main__":
    main()
