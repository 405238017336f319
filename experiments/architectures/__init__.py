"""Networks as data: layers, templates, the named networks, and what follows from them."""
