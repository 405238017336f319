"""Networks of one shape that learn as one program."""
