"""The SQL store: its tables, how it is opened, upgraded and copied, and what its refusals mean."""
