"""What an answer means: variants ranked, compared, and put into words."""
