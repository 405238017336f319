"""Measurements that anyone can repeat: `make bench`, or `make bench BENCH=name`."""
