"""What a loss curve says: findings, each with its evidence and what to change."""
