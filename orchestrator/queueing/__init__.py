"""What may happen to a trial: the durable queue."""
