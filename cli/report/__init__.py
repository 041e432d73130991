"""The report: run folders as one HTML page. Reads the runs, their stores and pictures; trains and chooses nothing."""
