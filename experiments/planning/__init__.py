"""Spec -> trials: checks, content keys, warnings, costs."""
