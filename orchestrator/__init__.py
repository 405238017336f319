"""What keeps the promise: durable queue, scheduler, Ray pool, results store, MLflow mirror."""
