"""What was measured: written down under a fence, and read."""
