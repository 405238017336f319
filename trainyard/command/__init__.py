"""The command line: one module for each group of verbs, loaded only when its verb is typed."""
