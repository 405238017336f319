"""Reports: an experiment's answer, the evidence for it, and how it was found, as a document."""
