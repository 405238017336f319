"""The loop between queue and workers, and what it stands on."""
