"""Real training runs with known faults, labelled, to hold the curve doctor to."""
