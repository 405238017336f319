"""MLflow, told beside the work of what the store knows."""
