"""What does the work: torch modules, data, training, evaluation, checkpoints."""
