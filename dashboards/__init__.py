"""What people look at: frames, tables, live progress."""
