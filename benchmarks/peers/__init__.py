"""The programs that trainyard is measured against, each as its users would write it.

They know nothing of trainyard: a job file names the data and the trials, a result file takes
what came of them. `benchmarks/contest.py` writes the one and reads the other.
"""
