"""Figures as data, and what draws them: for pages (plotly) and for paper (matplotlib)."""
