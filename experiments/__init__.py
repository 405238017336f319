"""What is asked and what an answer means: pure Python, no torch, Ray, SQL or MLflow."""
