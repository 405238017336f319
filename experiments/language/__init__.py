"""How a spec's text becomes checked values: YAML, kinds, records."""
