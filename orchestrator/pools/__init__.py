"""Where packs run: Ray, in a process of its own."""
