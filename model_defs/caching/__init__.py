"""Answers and preprocessed samples, remembered by content."""
