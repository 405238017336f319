"""A process of one thread for every core, forked when the data is loaded."""

import multiprocessing
from functools import partial

from benchmarks.peers.training import prepare, read_job, train, write_result


def main() -> None:
    """Train them all."""
    job, result = read_job()
    prepare(job.data, num_threads=1)  # shared by the processes to come
    with multiprocessing.get_context("fork").Pool(job.num_processes) as pool:
        finished = list(pool.imap_unordered(partial(train, job), job.trials()))
    write_result(result, finished)


if __name__ == "__main__":
    main()
