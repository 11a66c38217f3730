"""Launching: workers that a job starts on other machines, and ends with itself. Nothing of the job is known here."""
